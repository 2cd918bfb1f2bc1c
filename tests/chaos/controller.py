"""The controller of a case: starts the benchmarking process and shows that it lives. `... controller CASE`.

Like Ansible, it restores nothing when it is interrupted: the job runs in a session of its own, as an async
task does, and goes by the heartbeat.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.jobs.heartbeat import touch_heartbeat
from bench.storage.clock import utc_now
from tests.chaos.config import HEARTBEAT_S, Case, hear_signals


def main() -> None:
    hear_signals()
    path = Path(sys.argv[1])
    case = Case.load(path)
    case.heartbeat.touch()
    sys.exit(_real(case) if case.real else _stand_in(case, path))


def _stand_in(case: Case, path: Path) -> int:
    return _follow(case, ["tests.chaos.bench_process", str(path)], None)


def _real(case: Case) -> int:
    """Do what the action plugin of bench_takes does: send the job, follow it, take what it made."""
    from tests.chaos import real_job

    job_dir = real_job.send(case)
    if job_dir is None:
        return 0
    started = utc_now()
    _follow(case, ["tests.chaos.real_job", str(job_dir)], job_dir)
    return 0 if real_job.take_back(case, job_dir, started) else 1


def _follow(case: Case, program: list[str], job_dir: Path | None) -> int:
    with (Path(case.directory) / "bench.log").open("ab") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", *program],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "DOCKER_HOST": case.docker_host},
        )  # fmt: skip
    (Path(case.directory) / "bench.pid").write_text(str(job.pid))
    while job.poll() is None:
        case.heartbeat.touch()
        if job_dir is not None:
            touch_heartbeat(job_dir)
        time.sleep(HEARTBEAT_S)
    return job.returncode


if __name__ == "__main__":
    main()
