"""One run of a playbook through ansible-runner, and what each of its tasks said."""

import os
import shlex
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import ansible_runner
import yaml

REPO = Path(__file__).resolve().parents[2]
DEMO_REFERENCE = REPO / ".cache" / "demo-reference"
STATE_DIR = REPO / ".cache" / "test-state"
"""Of this machine as a host; tests/ansible/conftest.py has it."""

TEN_WORDS = ("Yes.", "No, thanks.", "Go on.", "Well done.", "Not yet.", "Call me.", "I see.", "Quite so.", "Stop it.",
             "Hello.")  # fmt: skip
"""Ten utterances that take no time."""

Status = Literal["ok", "failed", "skipped", "unreachable"]


@dataclass(frozen=True, slots=True)
class Task:
    """A task's result on a host."""

    host: str
    play: str
    name: str
    status: Status
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return self.status == "ok" and bool(self.result.get("changed"))

    @property
    def said(self) -> str:
        """What it printed or why it failed."""
        message = self.result.get("msg", "")
        lines = message if isinstance(message, list) else [message]
        return "\n".join(str(line) for line in [*lines, *self.result.get("argument_errors", [])])


@dataclass(slots=True)
class Played:
    """How a playbook ended."""

    rc: int = 0
    text: str = ""
    """All that ansible-playbook printed."""
    tasks: list[Task] = field(default_factory=list)

    def of(self, host: str) -> list[Task]:
        return [task for task in self.tasks if task.host == host]

    def changed(self, play: str) -> list[str]:
        """The tasks of a play that changed something."""
        return [task.name for task in self.tasks if task.play == play and task.changed]

    def why(self, host: str) -> str:
        """What the last failed task of a host said."""
        failed = [task.said for task in self.of(host) if task.status == "failed"]
        return failed[-1] if failed else ""

    def plays(self) -> list[str]:
        return list(dict.fromkeys(task.play for task in self.tasks))


def play(
    private: Path,
    extra: Mapping[str, Any] | None = None,
    *options: str,
    inventory: Path | None = None,
    environ: Mapping[str, str] | None = None,
    playbook: str = "site.yml",
) -> Played:
    """Run `playbook` of the checkout as a user does, with `-e` of `extra`; `private` is runner's own folder."""
    out = Played()

    def take(event: dict[str, Any]) -> bool:
        statuses: dict[str, Status] = {
            "runner_on_ok": "ok",
            "runner_on_failed": "failed",
            "runner_on_skipped": "skipped",
            "runner_on_unreachable": "unreachable",
        }
        data = event.get("event_data") or {}
        if status := statuses.get(event.get("event", "")):
            out.tasks.append(
                Task(data["host"], data["play"], data["task"], status, data.get("res") or {}),
            )
        return True

    private.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    cancelled = threading.Event()
    thread, runner = ansible_runner.run_async(
        private_data_dir=str(private),
        project_dir=str(REPO),
        playbook=playbook,
        inventory=str(inventory) if inventory else None,
        extravars=dict(extra or {}),
        cmdline=shlex.join(options) or None,
        envvars={
            "PATH": path,
            "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",  # as ansible.cfg has it; runner would switch it off
            **(environ or {}),
        },
        quiet=True,
        event_handler=take,
        cancel_callback=cancelled.is_set,  # without one, runner takes SIGINT and SIGTERM away from pytest for good
    )
    try:
        thread.join()
    finally:  # who ends the tests ends the play
        cancelled.set()
        thread.join()
    out.rc = int(runner.rc)
    out.text = runner.stdout.read()
    return out


def inventory(path: Path, hosts: Mapping[str, Mapping[str, Any]], **common: Any) -> Path:
    """Write an inventory of several hosts that are all this machine; each has variables of its own.

    What the demo's inventory sets holds unless `common` or a host says otherwise, but for the candidate: espeak, which
    needs no environment of its own.
    """
    demo = yaml.safe_load((REPO / "inventory/local/group_vars/audition_hosts.yml").read_text())
    shared = (
        demo
        | {"model": "espeak"}
        | demo_reference()
        | {"ansible_connection": "local", "manage_packages": False}
        | common
    )
    del shared["chain"]
    tree = {"audition_hosts": {"hosts": {host: dict(given) for host, given in hosts.items()}, "vars": shared}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def demo_reference() -> dict[str, str]:
    """The three variables of the synthetic reference that `make setup` makes."""
    files = {"audio": "demo.wav", "transcript": "demo.vtt", "rights": "demo.rights.yml"}
    return {f"reference_{name}": str(DEMO_REFERENCE / file) for name, file in files.items()}


def lines(path: Path, texts: Sequence[str]) -> Path:
    """Write an utterances file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path
