"""The real controller of a case: the product's own way of playing a playbook. `python -m tests.chaos.runner CASE`."""

import os
import sys
from pathlib import Path

from bench.commands.playbook import Stop, play
from tests.chaos.config import Case, hear_signals
from tests.support.docker import REPOSITORY

HERE = Path(__file__).parent / "ansible"


def main() -> None:
    hear_signals()
    path = Path(sys.argv[1])
    case = Case.load(path)
    (Path(case.directory) / "job.tar").touch()
    case.heartbeat.touch()
    book = Path(case.directory) / "play.yml"
    book.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Benchmark\n      chaos_job:\n"
        f"        directory: \"{{{{ chaos_directory | default('{case.directory}') }}}}\"\n"
        f"        case: \"{{{{ chaos_directory | default('{case.directory}') }}}}/{path.name}\"\n"
    )
    os.environ.update(
        PYTHONPATH=str(REPOSITORY),
        ANSIBLE_CONFIG=str(REPOSITORY / "ansible.cfg"),
        ANSIBLE_ACTION_PLUGINS=str(HERE / "action_plugins"),
        ANSIBLE_LIBRARY=f"{HERE / 'library'}:{REPOSITORY / 'library'}",
    )
    with Stop().watching() as stop:
        done = play(str(book), project=REPOSITORY, stop=stop, inventory=[str(_inventory(case))])
    sys.exit(done.rc)


def _inventory(case: Case) -> Path:
    """Return what the driver wrote of the way to the host, by default this process's own machine."""
    hosts = Path(case.directory) / "hosts.ini"
    if not hosts.exists():
        hosts.write_text("localhost ansible_connection=local\n")
    return hosts


if __name__ == "__main__":
    main()
