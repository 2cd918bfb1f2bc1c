"""What drives a case: the controller that faults are done to. `ProcessDriver` is a process of ours, `UserDriver` the
same process of a user who is not root;
`AnsibleDriver` is ansible-playbook under ansible-runner, started as `audition survey` starts it and following the
job with the code of our plugins;
`SshDriver` is the same over a real SSH connection, whose cable can be pulled; `PairDriver` plays to
two hosts at once."""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.chaos.config import HEARTBEAT_LIMIT_S, Case
from tests.support.docker import REPOSITORY, hash_of


class Driver(Protocol):
    """A controller: started, interrupted in every way, ended."""

    name: str
    heartbeat_limit_s: float
    """How old a heartbeat of this controller may be."""
    python: str
    """What the case's processes run on."""

    def __init__(self, case: Case) -> None: ...

    def who(self) -> dict[str, Any]:
        """Return whose processes they are, as `subprocess` wants it said."""
        ...

    def start(self) -> None:
        """Start the controller, which starts the run."""
        ...

    def signal(self, which: signal.Signals) -> None:
        """Send the controller a signal."""
        ...

    def cancel(self) -> None:
        """Cancel it the way ansible-runner does."""
        ...

    def freeze(self) -> None:
        """Freeze it: the controller is there, and nothing more comes of it."""
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
    python = sys.executable

    def __init__(self, case: Case) -> None:
        self.case = case
        self.process: subprocess.Popen[bytes] | None = None

    def who(self) -> dict[str, Any]:
        return {}

    def start(self) -> None:
        path = self.case.save()
        with (Path(self.case.directory) / "controller.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "tests.chaos.controller", str(path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.who(),
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

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def end(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class UserDriver(ProcessDriver):
    """The same, of a user who is not root and may use Docker's socket by its group, as the user of a host may."""

    name = "user"
    python = "/usr/bin/python3"
    """Debian's: whoever runs the tests may have one that nobody else may read."""

    def who(self) -> dict[str, Any]:
        socket = Path(self.case.docker_host.removeprefix("unix://")).stat()
        assert socket.st_gid and not socket.st_mode & 0o006, "the socket is a group's, and not everybody's"
        path = os.pathsep.join((str(REPOSITORY), sysconfig.get_path("purelib")))
        env = {**os.environ, "HOME": self.case.directory, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        user = pwd.getpwnam("nobody").pw_uid
        return {"user": user, "group": socket.st_gid, "extra_groups": [], "env": env, "cwd": "/"}

    def start(self) -> None:
        folder = Path(self.case.directory)
        for each in (folder, *folder.rglob("*")):
            os.chown(each, pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)
        super().start()


class AnsibleDriver:
    """The controller is ansible-playbook, run by ansible-runner."""

    name = "ansible"
    python = sys.executable
    heartbeat_limit_s = 8.0  # each poll is an Ansible module: a second or two on a busy machine
    prefix: tuple[str, ...] = ()
    """What the controller is run by."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.runner: subprocess.Popen[bytes] | None = None

    def who(self) -> dict[str, Any]:
        return {}

    def start(self) -> None:
        path = self.case.save()
        with (Path(self.case.directory) / "controller.log").open("ab") as log:
            self.runner = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "tests.chaos.runner", str(path)],
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
        assert self.runner is not None
        if which == signal.SIGHUP:
            # The terminal is closed. ansible-runner has ansible-playbook ignore that: it dies of its parent's death.
            os.killpg(self.runner.pid, which)
        elif which == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(os.getpgid(self.playbook()), which)
        else:
            os.kill(self.playbook(), which)

    def cancel(self) -> None:
        # What `audition survey` does when it is told to stop: it has ansible-runner cancel.
        assert self.runner is not None
        self.runner.terminate()

    def freeze(self) -> None:
        # Each of them: Ansible's workers, which follow the job, have sessions of their own.
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):  # a module that has just ended
                process.suspend()

    def family(self) -> list[psutil.Process]:
        """Return the controller and all that it has started here; the job is no child of it."""
        assert self.runner is not None
        try:
            first = psutil.Process(self.runner.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def end(self) -> None:
        self.kill()
        if self.runner is not None:
            self.runner.wait()


class SecondHost(AnsibleDriver):
    """The second host of a `PairDriver`'s play: it has no controller of its own."""

    name = "pair"

    def start(self) -> None:
        path = self.case.save()
        (path.parent / "job.tar").touch()
        self.case.heartbeat.touch()

    def end(self) -> None:
        pass


class PairDriver(AnsibleDriver):
    """One ansible-playbook that plays to two hosts at once; the faults are done to the first, or to the playbook."""

    name = "pair"
    second: SecondHost | None = None

    def start(self) -> None:
        assert self.second is not None
        self.second.start()
        (Path(self.case.directory) / "hosts.ini").write_text(
            "".join(
                f"{name} ansible_connection=local chaos_directory={case.directory}\n"
                for name, case in (("first", self.case), ("second", self.second.case))
            )
        )
        super().start()


class SshDriver(AnsibleDriver):
    """ansible-playbook in a network of its own, which reaches this machine by SSH over one cable."""

    name = "ssh"

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        number = hash_of(Path(case.directory))
        # Names of devices have 15 letters at most; the addresses are of the range kept for tests of networks.
        self.network, self.near, self.far = (f"{end}{number % 10**10}" for end in ("aud", "aun", "auf"))
        self.address = f"198.{18 + number % 2}.{number // 2 % 256}.{number // 512 % 64 * 4 + 1}"
        self.prefix = ("ip", "netns", "exec", self.network)
        self.sshd: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        controller = f"{self.address.rpartition('.')[0]}.{int(self.address.rpartition('.')[2]) + 1}"
        for command in (
            f"ip netns add {self.network}",
            f"ip link add {self.near} type veth peer name {self.far} netns {self.network}",
            f"ip address add {self.address}/30 dev {self.near}",
            f"ip link set {self.near} up",
            f"ip -n {self.network} address add {controller}/30 dev {self.far}",
            f"ip -n {self.network} link set {self.far} up",
            f"ip -n {self.network} link set lo up",
        ):
            subprocess.run(command.split(), check=True)
        self._serve()
        super().start()

    def _serve(self) -> None:
        """Start an sshd of our own at this end, and tell Ansible how to reach it."""
        folder = Path(self.case.directory)
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        (folder / "sshd_config").write_text(
            f"ListenAddress {self.address}:22\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/user_key.pub\nPermitRootLogin prohibit-password\nUsePAM yes\n"
            f"SetEnv PYTHONPATH={REPOSITORY}\n"
        )
        with (folder / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        (folder / "known_hosts").write_text(f"{self.address} {(folder / 'host_key.pub').read_text()}")
        (folder / "hosts.ini").write_text(
            f"localhost ansible_connection=ssh ansible_host={self.address} ansible_user=root"
            f" ansible_ssh_private_key_file={folder}/user_key ansible_control_path_dir={folder}/cp"
            f" ansible_ssh_common_args='-o UserKnownHostsFile={folder}/known_hosts'\n"
        )

    def cut(self) -> None:
        """Pull the cable: nothing reaches either end any more, and neither is told."""
        subprocess.run(["ip", "link", "set", self.near, "down"], check=True)

    def end(self) -> None:
        super().end()
        if self.sshd is not None:
            self.sshd.terminate()
            self.sshd.wait()
        subprocess.run(["ip", "link", "delete", self.near], check=False)
        subprocess.run(["ip", "netns", "delete", self.network], check=False)
