#!/usr/bin/python
"""Run a case's benchmarking process on the host, as a job: its pid and its end are written where jobs do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from bench.jobs.follow import sign


def main() -> None:
    """Arguments in, one process, JSON out."""
    module = AnsibleModule(
        argument_spec={
            "case": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        }
    )
    directory = Path(module.params["directory"])
    with (directory / "bench.log").open("ab") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.bench_process", module.params["case"]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    sign(directory, job.pid)
    code = job.wait()
    (directory / "done").touch()
    module.exit_json(changed=True, failed=code != 0, msg=f"the process ended with code {code}")


if __name__ == "__main__":
    main()
