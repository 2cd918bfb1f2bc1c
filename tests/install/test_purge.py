"""What is removed from a host for good, and what is left: only what is ours."""

import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from bench.docker_host.host import ROLE_LABEL, RUN_LABEL, DockerHost, OurContainer
from bench.engines.container import CACHE_LABEL
from bench.errors import BadInput
from bench.install.purge import OURS, purge_step
from bench.jobs.follow import sign
from tests.support.docker import BASE_IMAGE, DockerEnv, base_image


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's folder with something in each place, a thing of somebody else's, and no Docker."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    folder = tmp_path / "state"
    for name in OURS:
        (folder / name / "run-1" / "benchmark-1").mkdir(parents=True)
        (folder / name / "run-1" / "benchmark-1" / "file").write_bytes(b"x" * 1000)
    (folder / "notes").mkdir()
    (folder / "notes" / "mine").write_text("mine")
    return folder


def _purge(state: Path, **more: Any) -> dict[str, Any]:
    store = more.pop("store", state / "weights")
    return purge_step(state, store, **({"weights": False, "confirmed": True} | more))


def test_looking_changes_nothing_and_says_it_all(state: Path) -> None:
    before = sorted(state.rglob("*"))
    done = _purge(state, confirmed=False)
    assert not done["changed"] and sorted(state.rglob("*")) == before
    listed = {Path(item["name"]).name: item["bytes"] for item in done["plan"]["remove"]}
    assert listed == dict.fromkeys(set(OURS) - {"weights"}, 1000)
    left = " ".join(done["plan"]["leave"])
    assert "notes: not ours" in left and "weights: weights, 0.0 MiB (--weights" in left
    assert "Docker was not asked" in left


def test_what_is_ours_goes_and_the_rest_stays(state: Path) -> None:
    assert _purge(state)["changed"]
    assert sorted(path.name for path in state.iterdir()) == ["notes", "weights"]
    assert _purge(state, weights=True)["removed"] == [f"folder {state}/weights"]
    assert not _purge(state, weights=True)["changed"], "what is gone is gone"
    shutil.rmtree(state / "notes")
    assert _purge(state) | {"plan": 0} == {"changed": False, "removed": [], "plan": 0}
    assert not state.exists()


def test_a_store_elsewhere_and_a_link_are_left(state: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "models"
    elsewhere.mkdir()
    (elsewhere / "weights").write_bytes(b"x")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "precious").write_bytes(b"x")
    (state / "engines").rename(tmp_path / "engines")
    (state / "engines").symlink_to(tmp_path / "others")
    (state / "venvs" / "bench-1").symlink_to(tmp_path / "others")
    left = " ".join(_purge(state, store=elsewhere, weights=True)["plan"]["leave"])
    assert f"{elsewhere}: a store of weights that is not under state_dir" in left
    assert f"{state}/engines: a link" in left
    assert (elsewhere / "weights").exists() and (tmp_path / "others" / "precious").exists()
    assert sorted(path.name for path in state.iterdir()) == ["engines", "notes"]


@pytest.mark.parametrize("who", ["job", "lease"])
def test_nothing_goes_while_somebody_is_at_work(state: Path, who: str) -> None:
    if who == "job":
        sign(state / "jobs" / "run-1" / "benchmark-1")
    else:
        (state / "lease" / "lease.json").write_text("{}")
    before = sorted(state.rglob("*"))
    with pytest.raises(BadInput, match="nothing was removed, for somebody is at work"):
        _purge(state)
    assert sorted(state.rglob("*")) == before


# Docker's


class OfThisTest(DockerHost):
    """Docker, without what other tests have there at the same time."""

    mine = "t-purge"

    def labelled(self, run_id: str | None = None) -> list[OurContainer]:
        return [each for each in super().labelled(run_id) if self.mine in each.name]

    @property
    def api(self) -> Any:
        return _Filtered(super().api, self.mine)


class _Filtered:
    def __init__(self, api: Any, mine: str) -> None:
        self._api, self._mine = api, mine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def images(self) -> list[dict[str, Any]]:
        return [each for each in self._api.images() if self._mine in str(each["RepoTags"])]

    def volumes(self, **given: Any) -> dict[str, Any]:
        return {
            "Volumes": [each for each in self._api.volumes(**given)["Volumes"] if self._mine in each["Name"]]
        }


TAGS = {
    "ours": "audition-engine-t-purge:1",
    "inherited": "somebodys-t-purge:1",
    "old": "audition-engine-t-purge:old",
    "pulled": "audition-published-t-purge:0123",
    "also theirs": "audition-published-t-purge-2:0123",
}
THEIR_NAME = "somebody/t-purge:latest"


@pytest.fixture
def docker_with_things(
    docker_env: DockerEnv, docker_host: DockerHost, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """An image, a volume and a container of ours, and their likes of somebody else's."""
    base_image(docker_env)
    with closing(docker_env.client()) as client, OfThisTest(docker_host.host) as only:
        monkeypatch.setattr("bench.install.purge._connect", lambda: only)
        api: Any = client.api
        for name, tag in TAGS.items():
            made = api.create_container(
                BASE_IMAGE, "true", labels={ROLE_LABEL: "engine"} if name in ("ours", "inherited") else {}
            )
            repository, _, version = tag.partition(":")
            api.commit(made["Id"], repository=repository, tag=version)
            api.remove_container(made["Id"])
        api.tag(TAGS["also theirs"], *THEIR_NAME.split(":"))
        api.create_volume("audition-cache-t-purge", labels={CACHE_LABEL: TAGS["ours"]})
        api.create_volume("audition-cache-t-purge-theirs")
        api.create_container(BASE_IMAGE, "true", name="t-purge-ours", labels={RUN_LABEL: "run-1"})
        api.create_container(BASE_IMAGE, "true", name="t-purge-theirs")
        try:
            yield api
        finally:
            for remove, names in (
                (api.remove_container, ["t-purge-ours", "t-purge-theirs"]),
                (api.remove_volume, ["audition-cache-t-purge", "audition-cache-t-purge-theirs"]),
                (api.remove_image, [*TAGS.values(), THEIR_NAME]),
            ):
                for name in names:
                    with suppress(NotFound):
                        remove(name)


def test_of_docker_only_what_carries_our_label_goes(docker_with_things: Any, tmp_path: Path) -> None:
    api = docker_with_things
    done = _purge(tmp_path / "state")
    tags = {tag for image in api.images() for tag in image["RepoTags"] or []}
    gone = {TAGS[name] for name in ("ours", "pulled", "also theirs")}
    assert not gone & tags and {TAGS["inherited"], TAGS["old"], THEIR_NAME, BASE_IMAGE} <= tags
    volumes = {each["Name"] for each in api.volumes()["Volumes"]}
    assert "audition-cache-t-purge" not in volumes and "audition-cache-t-purge-theirs" in volumes
    containers = {name for each in api.containers(all=True) for name in each["Names"]}
    assert "/t-purge-ours" not in containers and "/t-purge-theirs" in containers
    assert f"image {TAGS['old']}: named as ours are, without our label" in " ".join(done["plan"]["leave"])
    expected = {"container t-purge-ours", "volume audition-cache-t-purge", *(f"image {tag}" for tag in gone)}
    assert set(done["removed"]) == expected


def test_a_container_of_ours_that_runs_is_somebody_at_work(docker_with_things: Any, tmp_path: Path) -> None:
    api = docker_with_things
    api.remove_container("t-purge-ours")
    api.create_container(BASE_IMAGE, ["sleep", "600"], name="t-purge-ours", labels={RUN_LABEL: "run-1"})
    api.start("t-purge-ours")
    try:
        with pytest.raises(BadInput, match="container t-purge-ours of run run-1"):
            _purge(tmp_path / "state")
    finally:
        api.kill("t-purge-ours")
