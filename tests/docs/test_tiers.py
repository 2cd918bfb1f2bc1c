"""What a quick test finds on the machine, and what fixtures find that end with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SAMPLE = """
import atexit
import os
import shutil
from collections.abc import Iterator

import pytest

atexit.register(lambda: print("at last", os.environ["PATH"]))


@pytest.fixture(scope="module")
def daemon() -> Iterator[None]:
    assert shutil.which("dockerd")
    yield
    assert shutil.which("dockerd"), "gone as the fixture ended"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/elsewhere", prepend=":")
        yield


@pytest.mark.needs("docker")
def test_whole(daemon: None, elsewhere: None) -> None:
    assert shutil.which("dockerd")


def test_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shutil.which("dockerd")
    monkeypatch.setenv("PATH", "/nowhere", prepend=":")
"""


def test_a_fixture_that_ends_with_a_quick_test_finds_the_whole_machine(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in ("__init__.py", "support/__init__.py", "support/tiers.py", "support/pace.py"):
        (tmp_path / "tests" / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / file, tmp_path / "tests" / file)
    sample = tmp_path / "tests/sample/test_sample.py"
    sample.parent.mkdir()
    sample.write_text(SAMPLE, encoding="utf-8")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "dockerd").symlink_to(sys.executable)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.tiers", "-p", "no:cacheprovider", str(sample)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
    assert "at last" in ran.stdout
    assert "/elsewhere" not in ran.stdout, "a fixture's change of PATH came back after its end"
