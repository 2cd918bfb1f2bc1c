"""A reference that git keeps: refused in this checkout, warned of elsewhere."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.controller.steps import run_step
from bench.controller.tracked import check_untracked
from bench.controller.wheel import REPO
from bench.errors import BadInput
from tests.controller.conftest import Asked


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """A file in a repository that does not track it."""
    folder = tmp_path / "mine" / "private"
    folder.mkdir(parents=True)
    git(tmp_path / "mine", "init", "-q")
    (folder / "voice ä.wav").write_bytes(b"RIFF")
    return folder / "voice ä.wav"


def test_what_nobody_tracks_is_nobodys_matter(voice: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.wav").write_bytes(b"RIFF")
    assert check_untracked([voice, tmp_path / "alone.wav", tmp_path / "missing.wav"], tmp_path / "mine") == []


def test_a_reference_that_this_checkout_tracks_is_refused(voice: Path, tmp_path: Path) -> None:
    git(voice.parent, "add", voice.name)
    with pytest.raises(BadInput, match="this checkout's git tracks the reference"):
        check_untracked([voice], tmp_path / "mine")


def test_a_link_to_a_tracked_voice_is_the_voice(voice: Path, tmp_path: Path) -> None:
    git(voice.parent, "add", voice.name)
    (tmp_path / "link.wav").symlink_to(voice)
    with pytest.raises(BadInput):
        check_untracked([tmp_path / "link.wav"], tmp_path / "mine")


def test_one_that_another_repository_tracks_is_warned_of(voice: Path, tmp_path: Path) -> None:
    git(voice.parent, "add", voice.name)
    (warned,) = check_untracked([voice], tmp_path / "audition")
    assert f"tracked by the git repository {tmp_path / 'mine'}" in warned and str(voice) in warned


def test_preflight_says_it_and_refuses_before_a_run_is_begun(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    git(folder, "init", "-q")
    request = asked()
    copied = {}
    for key in ("reference_audio", "reference_transcript", "reference_rights"):
        given: Path = getattr(request, key)
        copied[key] = folder / given.name
        copied[key].write_bytes(given.read_bytes())
    git(folder, "add", ".")
    run = request.model_copy(update=copied).model_dump(mode="json")

    def opened() -> dict[str, Any]:
        return run_step(run=run, phase="preflight", state="opened", host={}, failure={}, task="", check=False)

    (warned,) = opened()["warnings"]
    assert str(folder) in warned
    before = sorted(request.runs_dir.iterdir())
    monkeypatch.setattr("bench.controller.steps.REPO", folder)
    with pytest.raises(BadInput, match="this checkout's git tracks"):
        opened()
    assert sorted(request.runs_dir.iterdir()) == before


def test_the_place_where_the_guides_put_a_voice_is_ignored_here() -> None:
    for name in ("mine", "titan"):
        git(REPO, "check-ignore", f"inventory/{name}/private/voice.wav")  # fails where git would take it
