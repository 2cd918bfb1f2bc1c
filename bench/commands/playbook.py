"""One playbook through ansible-runner: its lines as they come, its results, and nothing left on disk.

ansible-runner writes the whole environment and every event into its private directory. The environment may
hold tokens, so that directory is a fresh temporary one, the file with the environment is removed before the
playbook starts, events are handed on and never written, and the rest goes when the playbook has ended.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from bench.errors import AuditionError, BadInput

GRACE_S = 10.0
"""How long an interrupted ansible-playbook may take to end its workers before all of them are killed."""
_POLL_S = 1
_TAIL_LINES = 12
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Interrupted(AuditionError):
    """Somebody pressed Ctrl-C or sent SIGTERM (exit 130, as a shell gives it)."""

    exit_code = 130


BY_A_SIGNAL = -1
"""The code of a playbook that a signal ended: killed, or interrupted before it could see to that itself."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed on a host, rescued or not."""

    host: str
    task: str
    message: str
    unreachable: bool


@dataclass(slots=True)
class Played:
    """How a playbook ended."""

    rc: int
    """0, or what `ansible-playbook` exits with: 2 a task failed, 4 a host is out of reach; `BY_A_SIGNAL`."""
    hosts: set[str] = field(default_factory=set)
    """Those on which any task ran."""
    changed: int = 0
    failures: list[Failure] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    """The last lines said outside of tasks; what went wrong before the first."""

    def why(self) -> str:
        """Return what stopped the playbook, in words."""
        if self.rc == BY_A_SIGNAL:
            return "this machine: ansible-playbook was killed. Is its memory used up? The kernel's log says."
        if self.failures:
            last = self.failures[-1]
            return f"{last.host}: {last.message}"
        return " ".join(self.tail) or f"ansible-playbook ended with {self.rc} and said nothing"


class Stop:
    """Whether to stop, set by SIGINT and SIGTERM while the block runs; a second signal changes nothing."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at = 0.0
        self._family: list[psutil.Process] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator["Stop"]:
        """Take both signals over; main thread only."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            self._asked.set()

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def asked(self) -> bool:
        """Return whether to stop."""
        return self._asked.is_set()

    def expired(self) -> bool:
        """Interrupt our children once when asked to stop; return whether their time to end is up."""
        if not self.asked():
            return False
        if not self._family:
            own = psutil.Process()
            self._family = own.children(recursive=True)
            self._at = time.monotonic()
            for child in own.children():
                with contextlib.suppress(psutil.Error):
                    child.send_signal(signal.SIGINT)
        return time.monotonic() - self._at > GRACE_S

    def kill_rest(self) -> None:
        """Kill what the interrupted playbook left: its workers have sessions of their own."""
        for process in self._family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._family = []


def list_inventories(given: Sequence[str]) -> list[str]:
    """Return inventories as absolute paths, or as they are when they list hosts (`host1,host2`).

    Raises:
        BadInput: there is no such file or directory.
    """
    found = []
    for each in given:
        if "," in each and not Path(each).exists():
            found.append(each)
            continue
        if not Path(each).exists():
            raise BadInput(f"there is no inventory {each}; inventory/local and inventory/titan are examples.")
        found.append(str(Path(each).resolve()))
    return found


def read_variable(given: str) -> str:
    """Return what a user gives after `-e` as ansible-playbook must get it.

    `key=value` is one variable whose value is all that follows the first `=` (Ansible itself would end it at
    the first space); JSON in braces and `@file` are Ansible's own.

    Raises:
        BadInput: none of the three, or no such file.
    """
    if given.startswith("@"):
        path = Path(given[1:])
        if not path.is_file():
            raise BadInput(f"-e {given}: there is no such file.")
        return f"@{path.resolve()}"
    if given.lstrip().startswith("{"):
        return given
    key, equals, value = given.partition("=")
    if not equals or not key.isidentifier():
        raise BadInput(f"-e {given}: give key=value, a JSON object, or @file.")
    return json.dumps({key: value})


def play(
    playbook: str,
    *,
    project: Path,
    stop: Stop,
    inventory: Sequence[str] = (),
    limit: str | None = None,
    extra: Sequence[str] = (),
    on_line: Callable[[str], None] = lambda _line: None,
    on_result: Callable[[str, str, dict[str, Any]], None] = lambda _host, _action, _result: None,
) -> Played:
    """Run `playbook` (a path under `project`) and return how it ended.

    Args:
        playbook: relative to `project`.
        project: the checkout: where ansible.cfg, roles and modules are, and the playbook's working directory.
        stop: when it is asked, ansible-playbook gets SIGINT, and SIGKILL after `GRACE_S`.
        inventory: from `list_inventories`; none means ansible.cfg's own.
        limit: Ansible's host pattern.
        extra: each as after `ansible-playbook -e`; a later one wins.
        on_line: gets what our action plugins say while a task runs, a line each.
        on_result: gets host, action and result of every task that succeeded.

    Raises:
        BadInput: there is no ansible-playbook beside this Python.
    """
    import ansible_runner

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if shutil.which("ansible-playbook", path=path) is None:
        raise BadInput("there is no ansible-playbook beside this Python; run `make setup`.")
    events = _Events(on_line, on_result)

    def on_status(status: dict[str, Any], runner_config: Any) -> None:
        if status["status"] == "starting":
            # Killed, we can end nothing; the kernel then interrupts the playbook, which ends its workers.
            runner_config.command = ["setpriv", "--pdeathsig", "INT", *runner_config.command]
            if (
                "ANSIBLE_HOST_KEY_CHECKING" not in os.environ
            ):  # ansible.cfg decides; runner would switch it off
                del runner_config.env["ANSIBLE_HOST_KEY_CHECKING"]
        if status["status"] == "running":  # written by now, and not read by anything
            (Path(runner_config.artifact_dir) / "command").unlink()

    with tempfile.TemporaryDirectory(prefix="audition-runner-", ignore_cleanup_errors=True) as private:
        try:
            runner = ansible_runner.run(
                private_data_dir=private,
                project_dir=str(project),
                playbook=playbook,
                inventory=list(inventory) or None,
                limit=limit,
                cmdline=shlex.join(word for each in extra for word in ("-e", each)) or None,
                envvars={
                    "PATH": path,
                    "ANSIBLE_CONFIG": os.environ.get("ANSIBLE_CONFIG") or str(project / "ansible.cfg"),
                },
                settings={"pexpect_timeout": _POLL_S, "suppress_output_file": True},
                suppress_env_files=True,
                quiet=True,
                event_handler=events.take,
                status_handler=on_status,
                cancel_callback=stop.expired,
            )
        finally:
            stop.kill_rest()
    return events.played(BY_A_SIGNAL if runner.rc is None else int(runner.rc))


class _Events:
    """Turns runner's events into lines, results and failures."""

    def __init__(
        self, on_line: Callable[[str], None], on_result: Callable[[str, str, dict[str, Any]], None]
    ) -> None:
        self._on_line = on_line
        self._on_result = on_result
        self._out = Played(rc=0)
        self._begun = False

    def take(self, event: dict[str, Any]) -> bool:
        """Handle one event; False, so that runner does not write it to disk."""
        data = event.get("event_data") or {}
        match event.get("event"):
            case "playbook_on_start":
                self._begun = True
            case "verbose":
                self._said(event.get("stdout", ""))
            case "error" | "warning" | "deprecated" if not self._begun:
                self._said(event.get("stdout", ""))
            case "error":  # a task's own says more; what no task says is here alone
                self._keep(event.get("stdout", ""))
            case "runner_on_ok":
                self._on_result(data.get("host", ""), data.get("task_action", ""), data.get("res") or {})
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._failed(data, unreachable=False)
            case "runner_on_unreachable":
                self._failed(data, unreachable=True)
            case "playbook_on_stats":
                self._out.hosts = set(data.get("processed") or {})
                self._out.changed = sum((data.get("changed") or {}).values())
        return False

    def played(self, rc: int) -> Played:
        self._out.rc = rc
        return self._out

    def _said(self, text: str) -> None:
        for line in self._keep(text):
            if self._begun:
                self._on_line(line)

    def _keep(self, text: str) -> list[str]:
        lines = [line for raw in _ANSI.sub("", text).splitlines() if (line := raw.strip())]
        self._out.tail = [*self._out.tail, *lines][-_TAIL_LINES:]
        return lines

    def _failed(self, data: dict[str, Any], *, unreachable: bool) -> None:
        result = data.get("res") or {}
        words = [str(result[key]).strip() for key in ("msg", "stderr", "module_stderr") if result.get(key)]
        words += [str(each) for each in result.get("argument_errors") or []]
        self._out.failures.append(
            Failure(
                host=data.get("host", ""),
                task=data.get("task", ""),
                message=" ".join(words) or "no message",
                unreachable=unreachable,
            )
        )
