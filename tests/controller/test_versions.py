"""What `audition --version` says: in a clean checkout, in an edited one, in none, and beneath somebody else's."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from bench.controller.versions import read_commit
from bench.controller.wheel import REPO

INSTALLED = metadata.version("audition")
NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
NOBODY = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.invalid")


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *NOBODY, *words], check=True, env=os.environ | NO_CONFIG)


def _commit_all(folder: Path) -> str:
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "All of it")
    commit = read_commit(folder)
    assert commit is not None and re.fullmatch("[0-9a-f]{40}", commit)
    return commit[:7]


def _say_version(folder: Path) -> str:
    command = [sys.executable, "-m", "bench.commands.cli", "--version"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the command runs, in a folder with a blank in its name."""
    shutil.copytree(
        REPO / "bench", tmp_path / "a copy" / "bench", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "a copy" / ".gitignore").write_text("__pycache__/\n")
    return tmp_path / "a copy"


def test_the_commit_and_whether_it_was_edited(copy: Path) -> None:
    commit = _commit_all(copy)
    assert _say_version(copy) == f"audition {INSTALLED} ({commit})\n"
    (copy / "notes.txt").write_text("no part of it\n")
    assert _say_version(copy) == f"audition {INSTALLED} ({commit})\n"
    with (copy / "bench" / "errors.py").open("a") as file:
        file.write("# edited\n")
    assert _say_version(copy) == f"audition {INSTALLED} ({commit}, edited)\n"


def test_no_commit_outside_a_checkout_or_beneath_somebody_elses(copy: Path) -> None:
    assert _say_version(copy) == f"audition {INSTALLED}\n"
    _commit_all(copy.parent)
    assert _say_version(copy) == f"audition {INSTALLED}\n"


def test_no_commit_without_git(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _commit_all(copy)
    monkeypatch.setenv("PATH", str(copy))
    assert _say_version(copy) == f"audition {INSTALLED}\n"


def test_it_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys, bench.commands.cli as cli\n"
        "try: cli.main(['--version'])\n"
        "except SystemExit: print([m for m in ('numpy', 'pydantic', 'yaml', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[1:] == ["[]"]


def test_the_changelog_begins_with_this_version() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    headings = re.findall(r"^## \[(\S+)\] - (.+)$", (REPO / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0][0] == project["version"]
    assert [version for version, _ in headings][-1] == "0.1.0"
    for version, when in headings:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d|not released", when), version
