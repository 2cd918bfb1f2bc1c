"""The engine's image as the install phase makes it, built by a real Docker engine and launched as on a host.

The base is a Debian made by debootstrap, because no image registry is asked; the packages are those of the
tests' CPU environment (cpu_lock.py), installed whole with hashes and `pip check`. Everything else is what a host
gets: `Provisioner.image`, `bench.engines.image.build`, `launch(install="container")`.
"""

import functools
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.catalog.loader import load
from bench.controller.parts import find_engine_part, pack_part
from bench.controller.wheel import REPO
from bench.docker_host.host import DockerHost
from bench.engines.container import keep_cache
from bench.engines.image import context
from bench.engines.launch import LaunchSpec, launch
from bench.errors import OutOfReach
from bench.install.provision import InstallFailed, Provisioner
from tests.support import cpu_lock, make_f5_venv, tiny_f5
from tests.support.docker import base_image, ensure_docker
from tests.support.index import Index
from tests.support.neighbours import free_port

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(1800)]
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ADAPTER = "bench.serving.f5.adapter:F5"
PART = find_engine_part(REPO, ADAPTER)
COMPILE = """
/opt/engine/bin/python -c '
from triton.runtime.build import compile_module_from_src as build
source = "#include <Python.h>\\nstatic struct PyModuleDef d = {PyModuleDef_HEAD_INIT, \\"m\\"};"
build(source + "PyMODINIT_FUNC PyInit_m(void) {return PyModule_Create(&d);}", "m")'
"""
"""What Triton does for each kernel before it is started, as the engine's user in its container."""
WITH_VENV = """
FROM {base}
RUN apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv
"""


@pytest.fixture(scope="module")
def client(needs_docker: None) -> Iterator[Any]:
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


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def host(client: Any) -> Iterator[pytest.MonkeyPatch]:
    """A host's environment: its Docker, and where its pip finds the wheels that no index has."""
    del client
    cpu_lock.make()
    handler = functools.partial(_Quiet, directory=str(cpu_lock.HOME))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        patch.setenv("DOCKER_HOST", ensure_docker().host)
        patch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_address[1]}/")
        patch.setenv("AUDITION_BUILD_NETWORK", "host")
        patch.setenv(
            "PIP_COMPILE", "0"
        )  # compiling everything to bytecode would take longer than all the rest
        if Path(CA_BUNDLE).exists():
            patch.setenv("PIP_CERT", CA_BUNDLE)
        yield patch
        server.shutdown()


def _provisioner() -> Provisioner:
    return Provisioner(1500, lambda _: None)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that an F5 engine gets."""
    path = tmp_path_factory.mktemp("code") / "engine.tar"
    path.write_bytes(pack_part(PART))
    return path


@pytest.fixture(scope="module")
def image(host: pytest.MonkeyPatch, base: str, code: Path) -> str:
    name = context.name_image("f5", cpu_lock.LOCK, PART.sha256, base=base)
    _provisioner().image(name, cpu_lock.LOCK, code, base)
    return name


def test_carries_the_tag_of_its_content_and_is_built_once(
    client: Any, image: str, base: str, code: Path
) -> None:
    assert re.fullmatch(r"audition-engine-f5:[0-9a-f]{16}", image)
    assert client.images.get(image).attrs["Config"]["User"] == "10001:10001"
    again = _provisioner()
    assert not again.image(image, cpu_lock.LOCK, code, base)
    assert again.steps == []


def test_the_build_that_fails_says_with_what(
    host: pytest.MonkeyPatch, base: str, code: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "unhashed.txt"
    lock.write_text("six==1.17.0\n")
    with pytest.raises(InstallFailed) as failed:
        _provisioner().image("audition-engine-f5:unhashed", lock, code, base)
    assert "Hashes are required in --require-hashes mode" in str(failed.value)
    assert "Traceback" not in str(failed.value)


def test_a_build_whose_index_is_away_is_no_finding_and_no_wheel_for_this_machine_is(
    host: pytest.MonkeyPatch, base: str, code: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "lock.txt"
    with Index() as index, pytest.MonkeyPatch.context() as patch:
        lock.write_text(index.wheel("tiny", "1.0", tag="cp27-cp27m-win32"))
        patch.setenv("PIP_FIND_LINKS", "")
        patch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free_port()}/simple")
        with pytest.raises(OutOfReach, match="Connection refused"):
            _provisioner().image("audition-engine-f5:away", lock, code, base)
        patch.setenv("PIP_INDEX_URL", index.url)
        index.pages = 429
        with pytest.raises(OutOfReach, match="429"):
            _provisioner().image("audition-engine-f5:away", lock, code, base)
        index.pages = None
        with pytest.raises(InstallFailed, match="No matching distribution found for tiny"):
            _provisioner().image("audition-engine-f5:away", lock, code, base)


def test_the_gpu_check_is_made_inside_it(image: str) -> None:
    check = [sys.executable, "-m", "bench.engines.image.check", image, "test-check", ADAPTER]
    found = _provisioner().gpu_check(check)
    assert (found["error"], found["torchaudio"].partition("+")[0]) == (None, "2.11.0")
    failing = _provisioner()
    with pytest.raises(InstallFailed, match=r"cannot be started. Docker says: .*(gpu|nvidia)"):
        failing.gpu_check([*check, "--gpu", "a GPU that this Docker cannot give"])
    assert failing.steps[-1].name == "gpu check"


def test_answers_as_on_a_host(client: Any, image: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    subprocess.run(
        [str(make_f5_venv.python()), "-m", "tests.support.tiny_f5", str(weights)],
        cwd=Path(__file__).parents[2], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    entry = load("f5")
    entry.profiles["upstream"] |= {"arch": tiny_f5.ARCH, "nfe_step": 4}
    entry.weights[:] = [file.model_copy(update={"revision": tiny_f5.REVISION}) for file in entry.weights]
    entry.run = entry.run.model_copy(update={"gpu": False})  # this Docker has none to give
    spec = LaunchSpec(
        entry=entry, profile="upstream", run_id="test-image", install="container", log=tmp_path / "engine.log",
        image=image, weights=weights,
    )  # fmt: skip
    client.api.remove_volume(keep_cache(DockerHost(), image))
    with launch(spec) as engine, httpx.Client(base_url=engine.url, timeout=300) as http:
        assert engine.health["profile"]["nfe_step"] == 4
        answer = http.post(
            "/v1/audio/speech", json={"input": "Good morning.", "voice": "basic_ref_en", "seed": 1}
        )
        assert answer.status_code == 200
        assert len(answer.content) > 24000
        (container,) = client.containers.list(filters={"label": "audition.run=test-image"})
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert container.exec_run(["id", "-u"]).output.strip() == b"10001"
        without = {"TMPDIR": "/tmp", "CC": "/bin/false"}
        assert container.exec_run(["sh", "-c", COMPILE], environment=without).exit_code != 0
        compiled = container.exec_run(["sh", "-c", COMPILE], environment={"TMPDIR": "/tmp"})
        assert compiled.exit_code == 0, compiled.output
        for path in ("/opt/audition/x", "/weights/x", "/x"):
            assert container.exec_run(["touch", path]).exit_code != 0
    assert not client.containers.list(all=True, filters={"label": "audition.run=test-image"})
    with launch(spec):
        (container,) = client.containers.list(filters={"label": "audition.run=test-image"})
        found = container.exec_run(["sh", "-c", COMPILE], environment=without)
        assert found.exit_code == 0, found.output  # the next start compiles nothing
