"""What `ansible-playbook site.yml` costs when there is nothing to do, against an empty play.

Run: `python -m benchmarks.idle [--json PATH] [--repeats 5] [-i INVENTORY] [-e KEY=VALUE ...]`.

`-i` and `-e` are those of ansible-playbook: `-e runs_dir=... -e state_dir=...` say where, `-e run_id=...` names a run
that is decided. Two plays that are not timed come first: the first makes the run unless there is one, the second
must change nothing. Then site.yml and a play without a task on the same hosts are timed in turn. Seconds are those of
the clock and depend on what else runs; CPU seconds, those of every process of the play together, hardly do.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.controller.wheel import REPO
from bench.errors import AuditionError

_EMPTY = "- name: Nothing\n  hosts: audition_hosts\n  gather_facts: false\n"
_RECAP = re.compile(
    r"^\S+ +: ok=(?P<ok>\d+) +changed=(?P<changed>\d+) .*skipped=(?P<skipped>\d+)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Played:
    """One play: seconds, CPU seconds, and its tasks over all hosts as Ansible's recap counts them."""

    s: float
    cpu_s: float
    ok: int
    changed: int
    skipped: int


def play(playbook: Path, options: list[str]) -> Played:
    """Run a playbook in the checkout as a user does.

    Raises:
        AuditionError: it failed; the message ends with what it said.
    """
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), *options]
    environment = os.environ | {"ANSIBLE_CONFIG": str(REPO / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    began, cpu_began = time.monotonic(), _children_cpu_s()
    done = subprocess.run(
        command, cwd=REPO, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip
    seconds, cpu_s = time.monotonic() - began, _children_cpu_s() - cpu_began
    if done.returncode != 0:
        raise AuditionError(
            f"{playbook.name} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        )
    hosts = [
        {key: int(value) for key, value in found.groupdict().items()}
        for found in _RECAP.finditer(done.stdout)
    ]
    count = {key: sum(host[key] for host in hosts) for key in ("ok", "changed", "skipped")}
    return Played(round(seconds, 3), round(cpu_s, 3), **count)


def measure(options: list[str], repeats: int) -> dict[str, Any]:
    """Return every figure.

    Raises:
        AuditionError: a play failed, or site.yml still has something to do the second time.
    """
    site = REPO / "site.yml"
    play(site, options)
    if (again := play(site, options)).changed:
        raise AuditionError(
            f"site.yml changed {again.changed} things when it was played again, so this is not what idling costs; "
            "a run that has its decision is gone on with only when it is named: -e run_id=."
        )
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.yml"
        empty.write_text(_EMPTY)
        pairs = [(play(empty, options), play(site, options)) for _ in range(repeats)]
    sides = {"empty": [one for one, _ in pairs], "site": [two for _, two in pairs]}
    medians = {
        name: {"s": median(one.s for one in played), "cpu_s": median(one.cpu_s for one in played)}
        for name, played in sides.items()
    }
    return {
        "repeats": repeats,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "tasks": {"ok": again.ok, "skipped": again.skipped},
        "median": medians,
        "ratio": median(two.s / one.s for one, two in pairs),
        "cpu_ratio": median(two.cpu_s / one.cpu_s for one, two in pairs),
        "plays": {name: [asdict(one) for one in played] for name, played in sides.items()},
    }


def main() -> int:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--repeats", type=int, default=5, help="plays of each kind")
    parser.add_argument("-i", "--inventory", action="append", default=[], help="as of ansible-playbook")
    parser.add_argument("-e", "--extra-vars", action="append", default=[], help="as of ansible-playbook")
    given = parser.parse_args()
    options = [word for each in given.inventory for word in ("-i", str(Path(each).resolve()))]
    options += [word for each in given.extra_vars for word in ("-e", each)]
    try:
        found = measure(options, given.repeats)
    except AuditionError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    tasks = {"empty": "0", "site": f"{found['tasks']['ok']} and {found['tasks']['skipped']} skipped"}
    lines = [
        f"{found['repeats']} plays of each in turn, {found['cores']} cores, load {found['load_average']:.1f}"
    ]
    for name, figures in found["median"].items():
        lines.append(f"{name:6} {figures['s']:7.2f} s {figures['cpu_s']:7.2f} CPU-s   {tasks[name]} tasks")
    lines.append(f"ratio  {found['ratio']:7.2f}   {found['cpu_ratio']:7.2f}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _children_cpu_s() -> float:
    """Return CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
