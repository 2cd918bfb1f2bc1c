"""The engine's image, built by a real Docker engine and run as on a host: read-only, without capabilities.

The base is a Debian made by debootstrap, because no image registry is asked; the packages are those of the
tests' CPU environment. Everything else is what a host gets.
"""

import hashlib
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.engines.image import context
from bench.engines.server import CONFIG_VARIABLE, EngineConfig
from bench.host import docker as our_docker
from tests.engines import make_f5_venv, tiny_f5
from tests.hosts.engine import base_image, ensure_docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
WITH_VENV = """
FROM {base}
RUN apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv
"""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with closing(ensure_docker().client(timeout_s=1500)) as found:
        yield found


@pytest.fixture(scope="module")
def base(client: Any) -> str:
    """The debootstrap base with python3-venv, which python:3.12-slim has."""
    name = "audition-test-base:venv"
    if not client.images.list(name=name):
        text = WITH_VENV.format(base=base_image())
        archive = Path(make_f5_venv.CACHE) / "base-venv.Dockerfile"
        archive.write_text(text)
        with archive.open("rb") as dockerfile:
            client.images.build(fileobj=dockerfile, tag=name, rm=True, network_mode="host")
    return name


def _pip(*arguments: str) -> str:
    command = [str(make_f5_venv.python()), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _without_extension(wheel: Path, folder: Path) -> Path:
    """Write torchaudio's wheel again without its compiled extension, which wants CUDA's libraries.

    Its version is marked `+python`: of two equal versions pip would take the index's.
    """
    name, version, rest = wheel.name.split("-", 2)
    out = folder / f"{name}-{version}+python-{rest}"
    old_info, new_info = f"{name}-{version}.dist-info/", f"{name}-{version}+python.dist-info/"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            data = old.read(member)
            if re.fullmatch(rf"{name}/lib/.*\.so", member):
                continue
            if member == old_info + "METADATA":
                data = data.replace(f"Version: {version}".encode(), f"Version: {version}+python".encode(), 1)
            if member == old_info + "RECORD":
                kept = [line for line in data.decode().splitlines() if f"{name}/lib/" not in line]
                unhashed = [re.sub(r",sha256=[^,]*,\d*$", ",,", line) for line in kept]
                data = "\n".join([*unhashed, ""]).replace(old_info, new_info).encode()
            new.writestr(zipfile.ZipInfo(member.replace(old_info, new_info)), data)  # of 1980: the same bytes
    return out


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The lock of the CPU environment with torch in it, and the wheels that no index has."""
    folder = tmp_path_factory.mktemp("wheels")
    frozen = _pip("list", "--format=freeze").splitlines()
    cuda_apart = [
        p.partition("+")[0] for p in frozen if re.match(r"(torch|triton|(nvidia|cuda)-[\w-]+)==", p)
    ]
    _pip("download", "--no-deps", "-d", str(folder), *cuda_apart)
    _pip("download", "--no-deps", "-d", str(folder / "whole"), "torchaudio==2.11.0")
    _without_extension(next((folder / "whole").glob("torchaudio-*.whl")), folder)
    wheels = sorted(folder.glob("*.whl"))
    lines = [make_f5_venv.LOCK.read_text().partition("torchaudio==")[0]]
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    lock = folder / "requirements.txt"
    lock.write_text("".join(lines))
    return lock, wheels


@pytest.fixture(scope="module")
def image(client: Any, base: str, packages: tuple[Path, list[Path]]) -> str:
    lock, wheels = packages
    certificate = {"PIP_CERT": CA_BUNDLE} if Path(CA_BUNDLE).exists() else {}
    # Compiling everything to bytecode would take longer here than all the rest.
    arguments = {"INSTALL_OPTIONS": "--no-deps --no-compile", "CHECK": "no", **certificate}
    name, _ = context.build(
        client, "f5", lock, base=base, wheels=wheels, network="host", build_args=arguments
    )
    return name


def test_carries_the_tag_of_its_content(client: Any, image: str) -> None:
    assert re.fullmatch(r"audition-engine-f5:[0-9a-f]{16}", image)
    assert client.images.get(image).attrs["Config"]["User"] == "10001:10001"


def test_answers_as_on_a_host(client: Any, image: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    subprocess.run(
        [str(make_f5_venv.python()), "-m", "tests.engines.tiny_f5", str(weights)],
        cwd=Path(__file__).parents[2], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    config = EngineConfig(
        model="f5", adapter="bench.engines.f5:F5", profile={"arch": tiny_f5.ARCH, "nfe_step": 4},
        weights=tiny_f5.pinned(Path("/weights")), nonce="n",
    )  # fmt: skip
    running = our_docker.run_engine(
        image=image, run_id="test-image",
        environment={CONFIG_VARIABLE: config.model_dump_json(), "OMP_NUM_THREADS": "1"},
        command=["--port", "8000"], container_port=8000, host_port=None, weights=weights, gpu=False,
        log=tmp_path / "engine.log", engine=our_docker.Engine(ensure_docker().host),
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{running.host_port}", timeout=300) as http:
            _wait_ready(http, tmp_path / "engine.log", running)
            answer = http.post(
                "/v1/audio/speech", json={"input": "Good morning.", "voice": "basic_ref_en", "seed": 1}
            )
            assert answer.status_code == 200
            assert len(answer.content) > 24000
        container = client.containers.get(running.id)
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert container.exec_run(["id", "-u"]).output.strip() == b"10001"
        for path in ("/opt/audition/x", "/weights/x", "/x"):
            assert container.exec_run(["touch", path]).exit_code != 0
    finally:
        running.remove()


def _wait_ready(http: httpx.Client, log: Path, running: Any) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert running.exit_code() is None, log.read_text()
        try:
            health = http.get("/health")
        except httpx.TransportError:
            time.sleep(0.5)
            continue
        assert health.json().get("error") is None, log.read_text()
        if health.status_code == 200:
            return
        time.sleep(0.5)
    raise AssertionError(log.read_text())
