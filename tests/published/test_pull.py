"""A published image is had by its digest from a real registry. What fails there is the host's fault; that there is no
image for this machine is the model's."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from docker import errors as docker_errors

from bench.catalog.entry import Entry
from bench.errors import AuditionError, BadInput, OutOfReach
from bench.install.provision import InstallFailed, Provisioner
from tests.support import entries
from tests.support.docker import DockerEnv
from tests.support.neighbours import free_port
from tests.support.registry import MANIFEST, Registry, Way, layer, list_of, put, put_manifest, size_of

pytestmark = pytest.mark.needs("docker-registry")
NAME = "somebody/voice"
LABELS = {"org.opencontainers.image.version": "1.2.3", "long": "x" * 1000}


@pytest.fixture
def way(registry: Registry) -> Iterator[Way]:
    with Way(registry.port) as opened:
        yield opened


@pytest.fixture
def here(docker_env: DockerEnv) -> str:
    with contextlib.closing(docker_env.client()) as client:
        return str(client.version()["Arch"])


@pytest.fixture
def host(docker_env: DockerEnv, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A host whose Docker has, at the end, no image of ours left."""
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    client: Any = docker_env.client()
    yield client
    for image in client.images.list():
        if any(NAME in name or "audition-published-" in name for name in (image.attrs["RepoDigests"] or [])
               + image.tags):  # fmt: skip
            client.images.remove(image.id, force=True)
    client.close()


def _entry(port: int, platforms: dict[str, str | None]) -> Entry:
    return entries.entry(entries.published("voice", f"127.0.0.1:{port}/{NAME}", platforms))


def _pull(entry: Entry, said: list[str] | None = None) -> tuple[dict[str, Any], Provisioner]:
    provisioner = Provisioner(300, (said if said is not None else []).append)
    return provisioner.pull(entry), provisioner


def _other(here: str) -> str:
    return "arm64" if here == "amd64" else "amd64"


def test_it_is_pulled_by_digest_once_named_and_described(registry: Registry, here: str, host: Any) -> None:
    noise = [layer({f"{n}.bin": os.urandom(300_000)}) for n in range(3)]
    digest = put(registry.url, NAME, noise, machine=here, labels=LABELS)
    entry, said = _entry(registry.port, {f"linux/{here}": digest}), list[str]()
    facts, provisioner = _pull(entry, said)
    assert facts["reference"] == f"127.0.0.1:{registry.port}/{NAME}@{digest}"
    assert facts["platform"] == f"linux/{here}"
    assert 900_000 <= facts["bytes"] < 2_000_000
    assert facts["labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert len(facts["labels"]["long"]) == 300
    assert facts["pulled"] is True
    assert [step.name for step in provisioner.steps] == ["image"]
    assert provisioner.steps[0].waited_s == pytest.approx(provisioner.steps[0].seconds, abs=0.3)
    assert any(" MB, " in line and "layers" in line for line in said), said
    assert host.images.get(facts["reference"]).tags == [f"audition-published-voice:{digest[7:23]}"]
    again, provisioner = _pull(entry)
    assert again == facts
    assert provisioner.steps == [], "nothing was asked of anybody"


def test_an_image_that_was_there_is_used_and_not_named(registry: Registry, here: str, host: Any) -> None:
    digest = put(registry.url, NAME, [layer({"theirs": b"1"})], machine=here)
    reference = f"127.0.0.1:{registry.port}/{NAME}@{digest}"
    host.api.pull(reference)
    facts, _ = _pull(_entry(registry.port, {f"linux/{here}": digest}))
    assert facts["pulled"] is False
    assert host.images.get(reference).tags == []


def test_an_entry_without_an_image_for_this_machine_is_the_models_fault(here: str, host: Any) -> None:
    entry = _entry(1, {f"linux/{_other(here)}": f"sha256:{'0' * 64}"})
    with pytest.raises(InstallFailed, match=rf"no {here}: Voice is published for linux/{_other(here)} alone"):
        _pull(entry)


def test_a_digest_that_nobody_has_looked_up_is_refused(here: str, host: Any) -> None:
    with pytest.raises(BadInput, match=r"no digest for linux/\w+: .*`audition pin voice`"):
        _pull(_entry(1, {f"linux/{here}": None}))


@pytest.mark.parametrize("listed", [False, True])
def test_an_image_for_another_machine_is_the_models_fault_and_does_not_stay(
    registry: Registry, here: str, host: Any, listed: bool
) -> None:
    digest = put(registry.url, NAME, [layer({"other": b"1"})], machine=_other(here))
    if listed:
        sizes = {_other(here): size_of(registry.url, NAME, digest)}
        digest = put_manifest(registry.url, NAME, list_of({_other(here): digest}, sizes))
    with pytest.raises(InstallFailed, match=rf"image: no {here}: .* has nothing for linux/{here}"):
        _pull(_entry(registry.port, {f"linux/{here}": digest}))
    with pytest.raises(docker_errors.ImageNotFound):
        host.images.get(f"127.0.0.1:{registry.port}/{NAME}@{digest}")


def _hosts_fault(entry: Entry) -> str:
    with pytest.raises(AuditionError) as stopped:
        _pull(entry)
    assert not isinstance(stopped.value, InstallFailed), stopped.value
    return str(stopped.value)


def test_other_bytes_than_the_digests_say_nothing_of_the_model(
    registry: Registry, way: Way, here: str, host: Any
) -> None:
    digest = put(registry.url, NAME, [layer({"right": b"1"})], machine=here)
    other = put(registry.url, NAME, [layer({"wrong": b"2"})], machine=here)
    way.manifest = _manifest(registry.port, other)
    assert "digest" in _hosts_fault(_entry(way.port, {f"linux/{here}": digest}))


def _manifest(port: int, digest: str) -> bytes:
    return httpx.get(
        f"http://127.0.0.1:{port}/v2/{NAME}/manifests/{digest}",
        headers={"Accept": MANIFEST},
    ).content


def test_a_digest_that_a_registry_does_not_have_says_nothing_of_the_model(
    registry: Registry, here: str, host: Any
) -> None:
    put(registry.url, NAME, [layer({"there": b"1"})], machine=here)
    said = _hosts_fault(_entry(registry.port, {f"linux/{here}": f"sha256:{'1' * 64}"}))
    assert "could not be pulled" in said


def test_a_registry_that_is_down_is_out_of_reach(here: str, host: Any) -> None:
    entry = _entry(free_port(), {f"linux/{here}": f"sha256:{'1' * 64}"})
    with pytest.raises(OutOfReach, match="run the same command again"):
        _pull(entry)


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_registry_that_refuses_says_nothing_of_the_model(
    registry: Registry, way: Way, here: str, host: Any, status: int
) -> None:
    digest = put(registry.url, NAME, [layer({"there": b"1"})], machine=here)
    way.status = status
    _hosts_fault(_entry(way.port, {f"linux/{here}": digest}))


@pytest.mark.slow
def test_a_pull_that_is_cut_is_the_hosts_fault_and_can_be_made_again(
    registry: Registry, way: Way, here: str, host: Any
) -> None:
    layers = [layer({f"{n}.bin": os.urandom(400_000)}) for n in range(2)]
    digest = put(registry.url, NAME, layers, machine=here)
    is_cut = f"sha256:{hashlib.sha256(layers[1]).hexdigest()}"
    way.cut_after, way.spare = 1000, {f"sha256:{hashlib.sha256(layers[0]).hexdigest()}"}
    entry = _entry(way.port, {f"linux/{here}": digest})
    _hosts_fault(entry)
    assert way.asked.count(is_cut) > 1, "Docker tries again by itself before it gives up"
    way.cut_after = None
    facts, _ = _pull(entry)
    assert facts["bytes"] >= 800_000
