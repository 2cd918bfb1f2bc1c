"""`audition pin`: what an entry leaves null is looked up at a hub and a registry, and written down to be read over."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.entry import ImageRun
from bench.catalog.loader import load
from bench.commands.cli import main
from tests.support import entries
from tests.support.docker import DockerEnv
from tests.support.hub import LARGE, Hub
from tests.support.registry import Registry, layer, list_of, put, put_manifest, size_of

Output = pytest.CaptureFixture[str]
OLD, NEW = "a" * 40, "b" * 40
BIG, SMALL = bytes(range(256)) * 500, b'{"layers": 2}'
FILES = {"somebody/voice": {OLD: {"model.safetensors": BIG[:-1]}, NEW: {"model.safetensors": BIG, "config.json": SMALL,
                                                                ".gitattributes": b"*"}}}  # fmt: skip
assert len(BIG) > LARGE


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(FILES) as opened:
        monkeypatch.setenv("HF_ENDPOINT", opened.url)
        yield opened


@pytest.fixture
def pinning(tmp_path: Path) -> Callable[..., int]:
    def run(tree: dict[str, Any], *arguments: str) -> int:
        folder = entries.write(tmp_path / "catalog", tree)
        return main(
            ["pin", tree["name"], "--catalog-dir", str(folder), "--out", str(tmp_path / "out"), *arguments]
        )

    return run


def _weights(*files: dict[str, Any]) -> dict[str, Any]:
    empty = {"repo": "somebody/voice", "revision": None, "path": "*", "bytes": None, "sha256": None}
    return entries.raw("voice") | {"weights": [empty | each for each in files]}


def _pinned(tmp_path: Path) -> dict[str, tuple[str | None, int | None, str | None]]:
    found = load("voice", tmp_path / "out")
    return {file.path: (file.revision, file.bytes, file.sha256) for file in found.weights}


def _facts(commit: str, data: bytes) -> tuple[str, int, str]:
    return commit, len(data), hashlib.sha256(data).hexdigest()


def test_a_repository_is_pinned_whole_at_its_newest_commit(
    hub: Hub, pinning: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    assert pinning(_weights({})) == 0
    assert _pinned(tmp_path) == {"config.json": _facts(NEW, SMALL), "model.safetensors": _facts(NEW, BIG)}
    said = capsys.readouterr().out
    assert f"somebody/voice at {NEW} by 127.0.0.1:" in said and "2 files" in said
    assert "Read it over" in said
    text = (tmp_path / "out" / "voice.yml").read_text()
    assert text.startswith("# voice, pinned by `audition pin` on 20") and NEW in text.splitlines()[0]
    assert load("voice", tmp_path / "out").unpinned() == []
    assert [one.path for one in hub.requests if one.method == "GET"] == ["config.json"], (
        "a large file's hash is the hub's own word, to which its download is held"
    )


def test_a_named_file_and_a_hash_that_lacks_are_looked_up_where_they_are(
    hub: Hub, pinning: Callable[..., int], tmp_path: Path
) -> None:
    assert pinning(_weights({"path": "config.json"}, {"path": "model.safetensors", "revision": OLD})) == 0
    assert _pinned(tmp_path) == {
        "config.json": _facts(NEW, SMALL),
        "model.safetensors": _facts(OLD, BIG[:-1]),
    }


@pytest.mark.parametrize(
    ("change", "says", "code"),
    [
        ({"path": "absent.bin"}, "somebody/voice at bbbbbbbbbbbb has no absent.bin; it has: ", 2),
        ({"repo": "somebody/nothing"}, "does not say what somebody/nothing holds: HTTP 404", 1),
    ],
)
def test_what_a_hub_does_not_have_is_named(
    hub: Hub, pinning: Callable[..., int], tmp_path: Path, capsys: Output, change: dict[str, Any], says: str,
    code: int,
) -> None:  # fmt: skip
    assert pinning(_weights(change)) in (code, 2)
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_there_may_be_nothing_to_look_up_and_nothing_is_written_over(
    hub: Hub, pinning: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    assert pinning(entries.raw("voice")) == 2
    assert "voice leaves nothing null" in capsys.readouterr().err
    assert pinning(_weights({})) == 0
    before = (tmp_path / "out" / "voice.yml").read_bytes()
    assert pinning(_weights({})) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "voice.yml").read_bytes() == before


def test_an_unpinned_entry_is_refused_with_the_way_to_pin_it(tmp_path: Path, capsys: Output) -> None:
    folder = entries.write(tmp_path, _weights({}))
    assert main(["try", "voice", "--catalog-dir", str(folder), "--state-dir", str(tmp_path / "state")]) == 2
    said = capsys.readouterr().err
    assert "the revision of somebody/voice is null in its entry" in said and "audition pin voice" in said
    assert not (tmp_path / "state").exists()


# Images


@pytest.fixture
def registry(docker_env: DockerEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    with Registry(tmp_path / "registry") as opened:
        yield opened


@pytest.mark.needs("docker-registry")
def test_an_images_digest_is_that_of_its_tag_and_a_platform_without_one_goes(
    registry: Registry, pinning: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    one = put(registry.url, "somebody/voice", [layer({"one": b"1"})])
    listed = list_of({"amd64": one}, {"amd64": size_of(registry.url, "somebody/voice", one)})
    digest = put_manifest(registry.url, "somebody/voice", listed, tag="v1")
    image = f"127.0.0.1:{registry.port}/somebody/voice"
    tree = entries.published("voice", image, {"linux/amd64": None, "linux/arm64": None})
    assert pinning(tree) == 2
    assert "names no tag" in capsys.readouterr().err
    assert pinning(tree, "--tag", "v1") == 0
    run = load("voice", tmp_path / "out").run
    assert isinstance(run, ImageRun)
    assert (run.tag, run.platforms) == ("v1", {"linux/amd64": digest})
    assert "there is none for linux/arm64" in capsys.readouterr().out


@pytest.mark.needs("docker-registry")
def test_a_tag_that_a_registry_does_not_have_is_named(
    registry: Registry, pinning: Callable[..., int], tmp_path: Path, capsys: Output
) -> None:
    tree = entries.published(
        "voice", f"127.0.0.1:{registry.port}/somebody/voice", {"linux/amd64": None}, tag="v2"
    )
    assert pinning(tree) in (1, 2)
    assert "cannot be looked up" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
