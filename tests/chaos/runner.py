"""The real controller of a case: ansible-playbook under ansible-runner. `python -m tests.chaos.runner CASE`."""

import os
import sys
from pathlib import Path

import ansible_runner

from tests.chaos.config import Case
from tests.hosts.engine import REPOSITORY

HERE = Path(__file__).parent / "ansible"


def main() -> None:
    path = Path(sys.argv[1])
    case = Case.load(path)
    private = Path(case.directory) / "runner"
    private.mkdir()
    (Path(case.directory) / "job.tar").touch()
    case.heartbeat.touch()
    play = Path(case.directory) / "play.yml"
    play.write_text(
        f"- hosts: localhost\n  gather_facts: false\n  tasks:\n    - name: Benchmark\n      chaos_job:\n"
        f"        case: {path}\n        directory: {case.directory}\n"
    )
    done = ansible_runner.run(
        private_data_dir=str(private),
        playbook=str(play),
        inventory=[str(_inventory(case))],
        settings={"pexpect_timeout": 1},
        cancel_callback=(Path(case.directory) / "cancel").exists,
        envvars={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_ACTION_PLUGINS": str(HERE / "action_plugins"),
            "ANSIBLE_LIBRARY": f"{HERE / 'library'}:{REPOSITORY / 'library'}",
        },
        quiet=True,
    )
    sys.exit(done.rc)


def _inventory(case: Case) -> Path:
    """Return what the driver wrote of the way to the host, by default this process's own machine."""
    hosts = Path(case.directory) / "hosts.ini"
    if not hosts.exists():
        hosts.write_text("localhost ansible_connection=local\n")
    return hosts


if __name__ == "__main__":
    main()
