"""What the Ansible tests share: one host's venv, and one whole run that many of them look at.

The venv of this checkout's `bench` is the dear part, so `.cache/test-state` is kept from session to session;
venvs of other versions in it are removed.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from bench.controller.wheel import build
from tests.support.play import REPO, STATE_DIR, Played, play


@contextlib.contextmanager
def locked_state_dir(folder: Path) -> Iterator[Path]:
    """A host's state directory, with no more of an earlier session than its venv; the lock keeps two sessions apart."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = Path(build(REPO).venv(str(folder))).name
        for venv in (folder / "venvs").glob("bench-*"):
            if venv.name != wanted:
                shutil.rmtree(venv)
        for left in ("jobs", "receipts", "engines"):
            shutil.rmtree(folder / left, ignore_errors=True)
        yield folder


@pytest.fixture(scope="session")
def state_dir(needs_venv: None) -> Iterator[Path]:
    """The host's state directory."""
    with locked_state_dir(STATE_DIR) as found:
        yield found


@pytest.fixture(scope="session")
def private(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Gives a fresh folder for ansible-runner."""
    root, number = tmp_path_factory.mktemp("runner"), count()
    return lambda: root / str(next(number))


@dataclass(frozen=True, slots=True)
class Demo:
    """The default inventory's run: made, then asked for again."""

    runs_dir: Path
    run_id: str
    first: Played
    again: Played

    @property
    def run_dir(self) -> Path:
        return self.runs_dir / self.run_id


@pytest.fixture(scope="session")
def demo(state_dir: Path, private: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`ansible-playbook site.yml`, twice."""
    runs_dir = tmp_path_factory.mktemp("demo") / "runs"
    given = {"state_dir": str(state_dir), "runs_dir": str(runs_dir)}
    first = play(private(), given)
    assert first.rc == 0, first.text[-6000:]
    again = play(private(), given)
    return Demo(runs_dir, (runs_dir / "latest").readlink().name, first, again)


@pytest.fixture
def copied(demo: Demo, tmp_path: Path) -> Path:
    """A runs directory of one's own that holds the demo's run."""
    return Path(shutil.copytree(demo.runs_dir, tmp_path / "runs", symlinks=True))
