"""What the module `bench_takes` calls on a host: do a job that was sent."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.errors import AuditionError
from bench.jobs.abandoned import JOBS, remove_abandoned, remove_ended
from bench.jobs.archive import pack, unpack
from bench.jobs.containers import remove_containers
from bench.jobs.control import await_controller
from bench.jobs.follow import find_process, sign
from bench.jobs.heartbeat import touch_heartbeat
from bench.jobs.job import run_job
from bench.jobs.spec import OtherSide

_END_LIMIT_S = 60.0


def do_job(job_dir: Path) -> dict[str, Any]:
    """Unpack and do the job in `job_dir`; returns the module's result. What it made is in `job_dir/out.tar`."""
    begin_attempt(job_dir)
    try:
        unpack(job_dir / "job.tar", job_dir)
        tokens = _take_token(job_dir), _take_token(job_dir, OtherSide.TOKEN)
        await_controller(job_dir)
        result = run_job(job_dir, token=tokens[0], other_token=tokens[1])
        size = pack(job_dir / "out", job_dir / "out.tar")
    except (AuditionError, OSError) as error:
        return {"failed": True, "msg": str(error), "fault": "host"}
    finally:
        (job_dir / "done").touch()
    return {
        "changed": True,
        "failed": not result.ok,
        "msg": result.error or "",
        "fault": result.fault,
        "tar": str(job_dir / "out.tar"),
        "tar_bytes": size,
        "seconds": result.seconds,
        "passes": {name: made.model_dump(mode="json") for name, made in result.passes.items()},
    }


def _take_token(job_dir: Path, name: str = "token") -> str | None:
    """Return a bearer token that came with the job; it does not stay on the disk."""
    (job_dir / "job.tar").unlink(missing_ok=True)
    try:
        return (job_dir / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    finally:
        (job_dir / name).unlink(missing_ok=True)


def begin_attempt(job_dir: Path) -> None:
    """Say who does this job, end an earlier attempt at it that an interruption left behind, and remove what such a one
    left: one controller at a time does something for a run."""
    sign(job_dir)
    touch_heartbeat(job_dir)
    phase = job_dir.name.rpartition("-")[0]
    for other in sorted(job_dir.parent.iterdir()):
        if other == job_dir:
            continue
        if other.name.startswith(f"{phase}-"):
            _end_attempt(other)
        remove_ended(other)
    if job_dir.parent.parent.name == JOBS:
        remove_abandoned(job_dir.parent.parent)
    with suppress(
        OSError
    ):  # an engine that outlived its attempt; what Docker cannot remove must not stop this one
        remove_containers(job_dir.parent.name)


def _end_attempt(job_dir: Path) -> None:
    """End the process that does a job, in order if it lets itself be ended so."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        if (process := find_process(job_dir)) is None:
            return
        with suppress(ProcessLookupError):
            os.kill(process, which)
        end = time.monotonic() + _END_LIMIT_S
        while find_process(job_dir) is not None and time.monotonic() < end:
            time.sleep(0.1)
