"""`audition purge HOST` as it is typed: what it says, what it asks, and what is left."""

import os
import subprocess
import sys
from pathlib import Path

from tests.ansible.conftest import Demo
from tests.support.play import REPO, inventory


def _link_venvs(there: Path, here: Path) -> None:
    """Have bench on a host without an installation."""
    (here / "venvs").mkdir(parents=True)
    for venv in (there / "venvs").glob("bench-*"):
        (here / "venvs" / venv.name).symlink_to(venv)


def test_a_host_is_listed_and_then_emptied(demo: Demo, state_dir: Path, tmp_path: Path) -> None:
    del demo  # the host's venv is made by then
    state = tmp_path / "state"
    _link_venvs(state_dir, state)
    for name in ("jobs/run-1", "weights/a--b", "receipts"):
        (state / name).mkdir(parents=True)
    hosts = inventory(tmp_path / "hosts.yml", {"mine": {}}, state_dir=str(state))

    def purge(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "bench.commands.cli", "purge", "mine", "-i", str(hosts), *words]
        done = subprocess.run(
            command, cwd=REPO, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"},  # what is in this machine's stays
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, said = purge()
    assert code == 2 and "nobody can be asked" in said
    assert f"folder {state}/jobs" in said and f"{state}/weights: weights" in said
    assert (state / "jobs" / "run-1").is_dir()
    code, said = purge("--yes")
    assert code == 0 and "removed: " in said, said
    assert [path.name for path in state.iterdir()] == ["weights"]
    assert list((state_dir / "venvs").glob("bench-*/bin/python")), "a link goes, and not what it leads to"
    _link_venvs(state_dir, state)
    code, said = purge("--yes", "--weights")
    assert code == 0 and not state.exists(), said
    assert "mine has nothing of Audition" in purge("--yes")[1]
