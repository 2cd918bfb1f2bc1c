"""A user with settings that get in the way, a repository with work in it, and a run to publish."""

import os
import shutil
from pathlib import Path

import pytest

from tests.publish.build import RUN_ID, decide, environment, make, program, rate, repository
from tests.support.once import make_once

_SETTINGS = """\
[user]
    name = Ann Other
    email = ann@example.org
[commit]
    gpgSign = true
[push]
    gpgSign = if-asked
    followTags = true
[gpg]
    program = {home}/no-such-gpg
[core]
    hooksPath = {home}/hooks
    autocrlf = true
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who signs with a broken gpg and whose hooks refuse every commit and every moved ref."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    (folder / ".gitconfig").write_text("[user]\n    name = Ann Other\n    email = ann@example.org\n")
    return folder


@pytest.fixture
def hostile(home: Path, repo: Path) -> None:
    """From here on: hooks that refuse, signatures that fail, line endings that are changed."""
    (home / ".gitconfig").write_text(_SETTINGS.format(home=home))
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"):
        program(home / "hooks" / hook, f"#!/bin/sh\ntouch {home}/ran-{hook}\nexit 1\n")


@pytest.fixture(scope="session")
def rated_once(tmp_path_factory: pytest.TempPathFactory, unrated_once: Path) -> Path:
    def rated(runs_dir: Path) -> None:
        run_dir = Path(shutil.copytree(unrated_once, runs_dir / RUN_ID))
        rate(run_dir)
        assert decide(run_dir) == "keep_baseline_survey_complete"

    return make_once(tmp_path_factory, "published-rated", rated) / RUN_ID


@pytest.fixture(scope="session")
def unrated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "published-unrated", lambda runs_dir: make(runs_dir / RUN_ID)) / RUN_ID


@pytest.fixture
def run_dir(rated_once: Path, tmp_path: Path) -> Path:
    """A copy of one's own, decided."""
    return Path(shutil.copytree(rated_once, tmp_path / "runs" / RUN_ID))


@pytest.fixture
def unrated(unrated_once: Path, tmp_path: Path) -> Path:
    """A copy of one's own that nobody has rated."""
    return Path(shutil.copytree(unrated_once, tmp_path / "runs" / RUN_ID))


@pytest.fixture
def repo(tmp_path: Path, home: Path) -> Path:
    return repository(tmp_path / "repo")


@pytest.fixture
def plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the HTML page, whose plots take most of a publication's time, where it is not the subject."""
    monkeypatch.setattr("bench.publish.contents.render", lambda shown: f"<title>{shown.run_id}</title>")
    monkeypatch.setattr("bench.controller.conclude.render", lambda shown: f"<title>{shown.run_id}</title>")
