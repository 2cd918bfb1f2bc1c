"""Follow a job: new lines out, heartbeat in. Light to import, for it is called every second."""

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil

from bench.host.heartbeat import touch_heartbeat

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
    lines = [json.loads(line)["text"] for line in whole.splitlines()]
    return {"lines": lines, "offset": offset + len(whole), "running": running}


def _running(job_dir: Path) -> bool:
    if (job_dir / "done").exists():
        return False
    if not (job_dir / "pid").exists():
        # Not begun yet: how long the job has lain there says whether it ever will.
        try:
            return time.time() - (job_dir / "job.tar").stat().st_mtime < _START_LIMIT_S
        except FileNotFoundError:  # it began, and took its tar away, between the two looks
            pass
    return process_of(job_dir) is not None


def write_pid(job_dir: Path) -> None:
    """Say that this process does the job; whole at once, for half a number is nobody's."""
    scratch = job_dir / ".pid"
    scratch.write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    scratch.replace(job_dir / "pid")


def process_of(job_dir: Path) -> psutil.Process | None:
    """Return the process that does a job, or None when it is gone; a reused PID is not taken for it."""
    try:
        pid, born = (job_dir / "pid").read_text().split()
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(born)) < 1.0 else None
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
