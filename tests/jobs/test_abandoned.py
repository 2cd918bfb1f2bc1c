"""What a killed controller left on a host is gone after the next contact, and nothing that somebody waits for."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.install.module import engine_step
from bench.jobs.abandoned import LEFT_S, remove_abandoned
from bench.jobs.follow import sign
from bench.jobs.heartbeat import touch_heartbeat
from bench.jobs.module import begin_attempt


def _job(state_dir: Path, name: str, heard_s: float | None, *, on_the_wall_s: float = 0.0) -> Path:
    """A job's directory whose controller was last heard of so long ago (None: never)."""
    folder = state_dir / "jobs" / name
    folder.mkdir(parents=True)
    (folder / "job.tar").touch()
    (folder / "reference.wav").write_bytes(b"a voice")
    if heard_s is not None:
        touch_heartbeat(folder)
        (folder / "heartbeat").write_text(f"{time.clock_gettime(time.CLOCK_BOOTTIME) - heard_s}")
    os.utime(folder, (time.time() - on_the_wall_s,) * 2)
    return folder


@pytest.fixture
def living() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def test_only_what_nobody_does_and_nobody_waits_for_goes(tmp_path: Path, living: int) -> None:
    left = _job(tmp_path, "r1/benchmark-1", LEFT_S + 5)
    never_begun = _job(tmp_path, "r2/baseline-1", None, on_the_wall_s=LEFT_S + 60)
    earlier_boot = _job(tmp_path, "r3/install-1", -1000.0)
    waited_for = _job(tmp_path, "r1/baseline-2", 3.0)
    being_sent = _job(tmp_path, "r4/benchmark-1", None)
    running = _job(tmp_path, "r5/benchmark-1", LEFT_S + 5)
    sign(running, living)
    (tmp_path / "jobs/r6/notes").mkdir(parents=True)
    os.utime(tmp_path / "jobs/r6/notes", (1e9, 1e9))
    assert set(remove_abandoned(tmp_path / "jobs")) == {str(left), str(never_begun), str(earlier_boot)}
    assert all(path.is_dir() for path in (waited_for, being_sent, running, tmp_path / "jobs/r6/notes"))
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["r1", "r4", "r5", "r6"]


def test_the_next_job_of_a_run_takes_away_what_the_one_before_left_at_once(tmp_path: Path) -> None:
    before = _job(tmp_path, "mine/benchmark-1", 3.0)
    of_another_phase = _job(tmp_path, "mine/baseline-1", 3.0)
    another_runs = _job(tmp_path, "other/benchmark-1", LEFT_S + 5)
    now = _job(tmp_path, "mine/benchmark-2", 0.0)
    begin_attempt(now)
    assert now.is_dir() and not any(path.exists() for path in (before, of_another_phase, another_runs))


def test_looking_at_an_installation_is_a_contact_and_check_mode_changes_nothing(tmp_path: Path) -> None:
    left = _job(tmp_path, "r1/benchmark-1", LEFT_S + 5)
    asked = {
        "action": "look",
        "state_dir": str(tmp_path),
        "model": "f5",
        "profile": "upstream",
        "receipt": "r",
    }
    engine_step(asked, check=True)
    assert left.is_dir()
    engine_step(asked, check=False)
    assert not left.exists()
