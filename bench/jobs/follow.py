"""Follow a job: new lines out, heartbeat in. Light to import, for it is called every second."""

import json
import os
import time
from pathlib import Path
from typing import Any

from bench.jobs.heartbeat import touch_heartbeat

_START_LIMIT_S = 60.0
"""A job in the background that has not begun by then never will."""


def follow(job_dir: Path, offset: int) -> dict[str, Any]:
    """Touch the heartbeat; return the lines since `offset`, where to go on, and whether the job runs."""
    job_dir.mkdir(parents=True, exist_ok=True)
    touch_heartbeat(job_dir)
    # Asked before the lines are read: lines written between the two are then seen, not lost.
    running = _running(job_dir)
    data = b""
    try:
        with (job_dir / "progress.jsonl").open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except FileNotFoundError:
        pass
    whole = data[: data.rfind(b"\n") + 1]
    lines = [text for line in whole.splitlines() if (text := _read(line)) is not None]
    return {"lines": lines, "offset": offset + len(whole), "running": running}


def _read(line: bytes) -> str | None:
    """Return what a line says; None of a damaged one, which must not end the run that is followed."""
    try:
        text = json.loads(line)["text"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return text if isinstance(text, str) else None


def _running(job_dir: Path) -> bool:
    if (job_dir / "done").exists():
        return False
    if not (job_dir / "pid").exists():
        # Not begun yet: how long it has been waited for says whether it ever will.
        return 0.0 <= _waited_s(job_dir) < _START_LIMIT_S
    return find_process(job_dir) is not None


def _waited_s(job_dir: Path) -> float:
    """Return how long a job is being followed, by CLOCK_BOOTTIME; negative when that was in another boot."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    first = job_dir / "followed"
    try:
        return now - float(first.read_text())
    except (OSError, ValueError):
        first.write_text(repr(now))  # whole: rounded up, it would lie ahead of the next look
        return 0.0


def sign(job_dir: Path, pid: int | None = None) -> None:
    """Enter a process, by default this one, as the one that does a job; whole at once, for half a line is nobody's."""
    pid = pid or os.getpid()
    scratch = job_dir / ".pid"
    scratch.write_text(f"{pid} {_identity(pid)}")
    scratch.replace(job_dir / "pid")


def find_process(job_dir: Path) -> int | None:
    """Return the process that does a job, or None when it is gone; a reused PID is not taken for it."""
    try:
        pid, _, identity = (job_dir / "pid").read_text().partition(" ")
        return int(pid) if _identity(int(pid)) == identity else None
    except (OSError, ValueError):
        return None


def _identity(pid: int) -> str:
    """Return what tells a process from another that has its number later: its start, in ticks since this boot.

    Not psutil's create_time: that is counted from the wall clock, and moves when somebody sets it.

    Raises:
        ProcessLookupError: it is gone; a zombie is.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(pid)
    return f"{fields[19]} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
