"""A published image as an engine: a real neural voice behind somebody else's server, from a real registry, in a real
Docker; what it may do, what is known of it, and how it ends."""

import contextlib
import dataclasses
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.docker_host.host import RUN_LABEL, DockerHost
from bench.docker_host.networks import INTERNAL, NETWORK_LABEL, OPEN, keep_network, remove_networks
from bench.engines import container
from bench.engines import published as published_engine
from bench.engines.launch import EngineFailed, LaunchSpec, launch
from bench.engines.published import UNKNOWN, find_platform, name_reference, run_published, tell_device
from bench.engines.readback import ReadBack
from bench.errors import BadInput
from bench.install.module import remove
from bench.memory.nvml import NvmlReader
from tests.published.conftest import Published
from tests.support import entries
from tests.support.docker import DockerEnv
from tests.support.neighbours import until
from tests.support.pace import limit

pytestmark = [pytest.mark.needs("docker-registry"), pytest.mark.slow]
REVISION = "a" * 40
WEIGHTS = {"repo": "somebody/voice", "revision": REVISION, "path": "voice.bin", "bytes": 5, "sha256": None}


@pytest.fixture(autouse=True)
def _host(docker_env: DockerEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)


@pytest.fixture
def spec(pulled: Published, tmp_path: Path) -> Any:
    """Makes what is launched: `run` are keys of the entry's run, `top` its own."""

    def make(top: dict[str, Any] | None = None, /, **run: Any) -> LaunchSpec:
        given = {"health": {"path": "/ready"}, "start_timeout_s": 60, "memory_limit_gib": 2.0} | run
        tree = entries.published("neural", pulled.repository, pulled.platforms, **given) | (top or {})
        return LaunchSpec(
            entry=entries.entry(tree), profile="upstream", run_id="published-1", install="image",
            log=tmp_path / "engine.log",
        )  # fmt: skip

    return make


@pytest.fixture(autouse=True)
def _nothing_stays(_host: None, docker_host: DockerHost) -> Iterator[None]:
    yield
    assert docker_host.labelled("published-1") == []
    assert docker_host.api.networks(filters={"label": [NETWORK_LABEL]}) == []


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A port of another machine: a network namespace behind a link, to which this host hands packets on."""
    name, here = f"aud{secrets.token_hex(4)}", "10.254.253.1/30"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", "out", "netns", name)
        ip("address", "add", here, "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "address", "add", "10.254.253.2/30", "dev", "out")
        ip("-n", name, "link", "set", "out", "up")
        listen = ["ip", "netns", "exec", name, sys.executable, "-m", "http.server", "8000"]
        with subprocess.Popen(listen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            until(lambda: _answers("10.254.253.2", 8000), 20.0, "the other machine listens")
            yield "10.254.253.2:8000"
            server.kill()
        # Gone when the command ends; a namespace takes its end with it some time later.
        ip("link", "delete", f"{name}a")
    finally:
        ip("netns", "delete", name)


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _refused(spec: LaunchSpec) -> str:
    with pytest.raises(EngineFailed) as failed, launch(spec):
        raise AssertionError("it was taken for ready")
    return str(failed.value)


@pytest.mark.parametrize("network", [False, True])
def test_it_has_no_network_no_capability_and_nothing_to_write_unless_its_entry_says_so(
    spec: Any, docker_host: DockerHost, elsewhere: str, network: bool
) -> None:
    run = {"network": network, "environment": {"REACH": elsewhere}, "command": ["one", "two"]}
    with launch(spec(**run)) as engine:
        (mine,) = docker_host.labelled("published-1")
        found = docker_host.api.inspect_container(mine.id)
        facts = httpx.get(f"{engine.url}/facts", timeout=30).json()
    assert facts["reaches"] == {elsewhere: network}
    assert (facts["capabilities"], facts["no_new_privs"]) == ("0" * 16, "1")
    assert (facts["uid"], facts["arguments"]) == (1234, ["one", "two"])
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"} & facts["environment"].keys()
    assert bool(offline) is not network
    root = next(line for line in facts["mounts"].splitlines() if line.split()[1] == "/")
    assert "ro" in root.split()[3].split(",")
    assert not any(found["NetworkSettings"]["Ports"].values()), "no port is published"
    (name,) = found["NetworkSettings"]["Networks"]
    assert name == (OPEN if network else INTERNAL)
    assert found["HostConfig"]["PidsLimit"] and found["HostConfig"]["Memory"] == 2 * 2**30
    assert found["HostConfig"]["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "2"}


def test_what_is_known_is_read_back_and_what_is_not_is_listed(spec: Any, docker_host: DockerHost) -> None:
    asked = spec(
        {"profiles": {"upstream": {"SPEED": "fast"}}},
        environment={"SPEED": "slow", "OTHER": "1"},
        user="4321",
    )
    with launch(asked) as engine:
        health = engine.health
        after = ReadBack(engine, asked.entry, "upstream").after()
        facts = httpx.get(f"{engine.url}/facts", timeout=30).json()
    reference = name_reference(asked.entry, find_platform(docker_host))
    assert health["revision"] == reference
    assert health["profile"] == after["profile"] == {"SPEED": "fast"}, "a profile wins over the environment"
    assert health["known"]["environment"] == {"SPEED": "fast", "OTHER": "1"}
    assert health["known"]["image"] == docker_host.images.get(reference).id
    assert health["known"]["user"] == "4321" and facts["uid"] == 4321
    assert health["unknown"] == list(UNKNOWN)


@pytest.mark.parametrize("layout", ["folder", "hub_cache"])
def test_it_sees_its_own_weights_at_the_pinned_revision_and_no_others(
    spec: Any, tmp_path: Path, layout: str
) -> None:
    store = tmp_path / "store"
    for owner, revision in (("somebody", REVISION), ("somebody", "b" * 40), ("another", "c" * 40)):
        folder = store / f"{owner}--voice" / revision
        folder.mkdir(parents=True)
        (folder / "voice.bin").write_text(f"{owner} {revision[0]}")
    mount = {"repo": "somebody/voice", "to": "/models", "layout": layout}
    asked = dataclasses.replace(spec({"weights": [WEIGHTS]}, mounts=[mount]), weights=store)
    with launch(asked) as engine:
        facts = httpx.get(f"{engine.url}/facts", timeout=30).json()
    if layout == "folder":
        assert facts["models"] == {"/models/voice.bin": "somebody a"}
        return
    cache = "/models/models--somebody--voice"
    assert facts["models"] == {
        f"{cache}/refs/main": REVISION,
        f"{cache}/snapshots/{REVISION}/voice.bin": "somebody a",
    }
    assert facts["environment"]["HF_HUB_CACHE"] == "/models"


def test_one_that_never_gets_healthy_is_ended_at_its_limit(spec: Any) -> None:
    seconds = round(limit(5))
    message = _refused(spec(environment={"MODE": "never"}, start_timeout_s=seconds))
    assert f"not ready within {seconds} s (run.start_timeout_s" in message
    assert "somebody's server starts" in message, "its log says how far it came"


def test_one_that_exits_leaves_its_code_and_its_last_words(spec: Any) -> None:
    assert "ended with code 1 before it was ready: " in (
        said := _refused(spec(environment={"MODE": "exits"}))
    )
    assert "no weights at /models" in said


def test_one_that_writes_where_it_may_not_says_where(spec: Any) -> None:
    said = _refused(spec(environment={"MODE": "writes"}))
    assert "Read-only file system: '/srv/cache/compiled'" in said


def test_what_an_entry_lists_can_be_written(spec: Any) -> None:
    with launch(spec(environment={"MODE": "writes"}, writes=[{"path": "/srv/cache"}])) as engine:
        assert engine.health["ready"]


def test_nothing_is_run_from_what_can_be_written_unless_its_entry_says_so(spec: Any) -> None:
    mode, writes = {"MODE": "runs"}, [{"path": "/srv/cache", "size_mib": 8}]
    said = _refused(spec(environment=mode, writes=writes))
    assert "Permission denied: " in said and "/srv/cache/program" in said
    with launch(spec(environment=mode, writes=[writes[0] | {"exec": True}])) as engine:
        facts = httpx.get(f"{engine.url}/facts", timeout=30).json()
    assert "tmpfs /srv/cache tmpfs" in facts["mounts"] and "size=8192k" in facts["mounts"]


def test_one_that_takes_more_memory_than_its_limit_is_ended_and_says_so(spec: Any) -> None:
    said = _refused(spec(environment={"MODE": "hungry"}, memory_limit_gib=0.25))
    assert "above its memory limit (run.memory_limit_gib)" in said


def test_what_it_writes_is_bounded(spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LOG_BYTES", 100_000)
    asked = spec(environment={"MODE": "chatters"})
    with launch(asked):
        assert asked.log.stat().st_size < 500_000
    assert asked.log.stat().st_size < 500_000
    assert b"more was written, and is not kept" in asked.log.read_bytes()


def test_what_a_run_left_goes_with_its_network(spec: Any, docker_host: DockerHost, tmp_path: Path) -> None:
    asked = spec()
    made = run_published(asked.entry, {}, run_id="published-1", weights=None, log=tmp_path / "log")
    assert docker_host.api.inspect_container(made.id)["Config"]["Labels"][RUN_LABEL] == "published-1"
    name = docker_host.labelled("published-1")[0].name
    assert sorted(remove(tmp_path, "published-1")["removed"]) == sorted([name, INTERNAL])


def test_a_network_that_another_jobs_end_took_in_the_meantime_is_made_again(
    spec: Any, docker_host: DockerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[str]] = []

    def and_gone(docker_host: DockerHost, *, internal: bool) -> str:
        name = keep_network(docker_host, internal=internal)
        if not taken:
            taken.append(remove_networks(docker_host))
        return name

    monkeypatch.setattr(published_engine, "keep_network", and_gone)
    with launch(spec()) as engine:
        assert engine.health["known"]["networks"] == [INTERNAL]
    assert taken == [[INTERNAL]]


def test_a_network_of_somebody_elses_is_left_alone(docker_host: DockerHost) -> None:
    made = docker_host.api.create_network(INTERNAL, internal=True)
    try:
        with pytest.raises(BadInput, match="a network audition-internal that is not ours"):
            keep_network(docker_host, internal=True)
    finally:
        docker_host.api.remove_network(made["Id"])


def test_an_image_that_is_not_there_is_asked_of_install(spec: Any) -> None:
    asked = spec(image="127.0.0.1:1/nobody/nothing")
    with pytest.raises(BadInput, match="is not on this host; run the install phase"):
        launch(asked).__enter__()


@pytest.mark.parametrize(
    ("listed", "device"), [({1: [7, 9]}, "cuda"), ({1: [8]}, "cpu"), ({1: [8], 2: [9]}, "cuda"), ({}, None)]
)
def test_where_it_computes_is_where_nvml_sees_it(listed: dict[int, list[int]], device: str | None) -> None:
    reader = NvmlReader(_Library(listed))
    reader.open()
    assert tell_device(reader, {9, 10}) == device


class _Library:
    """The functions of pynvml that are asked, of a machine with these processes by GPU."""

    def __init__(self, listed: dict[int, list[int]]) -> None:
        self._listed = list(listed.values())

    def nvmlInit(self) -> None:  # noqa: N802
        """Begin."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._listed)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"GPU {handle}"

    nvmlDeviceGetUUID = nvmlDeviceGetName  # noqa: N815

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [type("Process", (), {"pid": pid}) for pid in self._listed[handle]]
