"""The controller of a case: starts the benchmarking process and shows that it lives. `... controller CASE`.

Like Ansible, it restores nothing when it is interrupted: the job runs in a session of its own, as an async
task does, and goes by the heartbeat.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.config import HEARTBEAT_S, Case


def main() -> None:
    path = Path(sys.argv[1])
    case = Case.load(path)
    case.heartbeat.touch()
    with (Path(case.directory) / "bench.log").open("ab") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.bench_process", str(path)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    while job.poll() is None:
        case.heartbeat.touch()
        time.sleep(HEARTBEAT_S)
    sys.exit(job.returncode)


if __name__ == "__main__":
    main()
