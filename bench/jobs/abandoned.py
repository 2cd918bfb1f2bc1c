"""What a killed controller left of its jobs on a host, the reference among it: it goes with the next contact."""

import contextlib
import shutil
import time
from pathlib import Path

from bench.jobs.follow import find_process
from bench.jobs.heartbeat import read_heartbeat

JOBS = "jobs"
"""Where the jobs of a host are, in its state directory, by run."""
LEFT_S = 900.0
"""So long without a sign of life nobody waits for a job any more: it was sent a moment ago, or is being taken back."""
_A_JOBS = ("job.tar", "job.json", "heartbeat", "pid")
"""One of these is in the directory of any job; a folder without them is somebody else's."""


def remove_abandoned(jobs: Path) -> list[str]:
    """Remove the directories of jobs, by run in `jobs`, that nobody does and nobody waits for; returns them.

    What cannot be removed is left to the next contact, or to teardown.
    """
    return [
        str(job_dir)
        for job_dir in sorted(jobs.glob("*/*"))
        if _quiet_s(job_dir) > LEFT_S and remove_ended(job_dir)
    ]


def remove_ended(job_dir: Path) -> bool:
    """Remove the directory of a job that no process does, and its run's where it was the last; says whether it did."""
    if find_process(job_dir) is not None or not any((job_dir / name).exists() for name in _A_JOBS):
        return False
    shutil.rmtree(job_dir, ignore_errors=True)
    with contextlib.suppress(OSError):
        job_dir.parent.rmdir()
    return True


def _quiet_s(job_dir: Path) -> float:
    """Return for how long the controller of a job has not been heard of, by CLOCK_BOOTTIME; infinite where its
    heartbeat is of another boot, and by the clock on the wall where there was none yet."""
    beat = read_heartbeat(job_dir)
    if beat == 0.0:
        with contextlib.suppress(OSError):
            return time.time() - job_dir.stat().st_mtime
        return 0.0
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - beat
    return age if age >= 0.0 else float("inf")
