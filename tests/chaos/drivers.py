"""What drives a case: the controller that faults are done to. `ProcessDriver` is a process of ours;
`AnsibleDriver` is ansible-playbook under ansible-runner, following the job with the code of our plugins."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from tests.chaos.config import HEARTBEAT_LIMIT_S, Case
from tests.hosts.engine import REPOSITORY


class Driver(Protocol):
    """A controller: started, interrupted in every way, ended."""

    name: str
    heartbeat_limit_s: float
    """How old a heartbeat of this controller may be."""

    def __init__(self, case: Case) -> None: ...

    def start(self) -> None:
        """Start the controller, which starts the run."""
        ...

    def signal(self, which: signal.Signals) -> None:
        """Send the controller a signal."""
        ...

    def cancel(self) -> None:
        """Cancel it the way ansible-runner does."""
        ...

    def cut(self) -> None:
        """Cut the connection: the controller lives, and nothing of it reaches the host."""
        ...

    def kill(self) -> None:
        """SIGKILL it and all that it started here: its side of a power loss."""
        ...

    def end(self) -> None:
        """Make sure it is gone."""
        ...


class ProcessDriver:
    """The controller is `tests.chaos.controller`."""

    name = "process"
    heartbeat_limit_s = HEARTBEAT_LIMIT_S

    def __init__(self, case: Case) -> None:
        self.case = case
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.case.save()
        with (Path(self.case.directory) / "controller.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.controller", str(path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def signal(self, which: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(which)

    def cancel(self) -> None:
        # ansible-runner: SIGTERM to the process group, then SIGKILL to it.
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            time.sleep(0.2)
            os.killpg(self.process.pid, signal.SIGKILL)

    def cut(self) -> None:
        self.signal(signal.SIGSTOP)  # it lives, and its heartbeat no longer arrives

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def end(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class AnsibleDriver:
    """The controller is ansible-playbook, run by ansible-runner."""

    name = "ansible"
    heartbeat_limit_s = 8.0  # each poll is an Ansible module: a second or two on a busy machine

    def __init__(self, case: Case) -> None:
        self.case = case
        self.runner: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.case.save()
        with (Path(self.case.directory) / "controller.log").open("ab") as log:
            self.runner = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.runner", str(path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=REPOSITORY,
            )  # fmt: skip

    def playbook(self) -> int:
        """Return the process of ansible-playbook itself, the runner's child."""
        assert self.runner is not None
        pid = self.runner.pid
        children = [
            p for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()
        ]
        return next(
            int(p) for p in children if b"ansible-playbook" in Path(f"/proc/{p}/cmdline").read_bytes()
        )

    def signal(self, which: signal.Signals) -> None:
        # A terminal sends SIGINT and SIGHUP to the whole group; `kill` sends one process its signal.
        if which in (signal.SIGINT, signal.SIGHUP):
            os.killpg(os.getpgid(self.playbook()), which)
        else:
            os.kill(self.playbook(), which)

    def cancel(self) -> None:
        (Path(self.case.directory) / "cancel").touch()

    def cut(self) -> None:
        os.killpg(os.getpgid(self.playbook()), signal.SIGSTOP)

    def kill(self) -> None:
        with contextlib.suppress(StopIteration, OSError):
            os.killpg(os.getpgid(self.playbook()), signal.SIGKILL)
        if self.runner is not None:
            self.runner.kill()

    def end(self) -> None:
        self.kill()
        if self.runner is not None:
            self.runner.wait()
