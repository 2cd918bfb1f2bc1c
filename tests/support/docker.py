"""A Docker engine and a base image for tests, on a machine that may have neither and reaches no registry.

`ensure_docker()` gives the engine that `DOCKER_HOST` or Docker's own socket names where one answers, else
one of ours: a private `dockerd` with its own socket and data, shared by every test process that runs at the
same time and ended by the last of them. `base_image()` gives the name of a Debian image with Python, made by
debootstrap once and kept as a tarball under `.cache/`. What is missing is installed, which needs root.
"""

import atexit
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker

BASE_IMAGE = "audition-base:bookworm"
REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"
SHARED = Path("/var/lib/audition-tests/docker")
DOCKER_SOCKET = "unix:///var/run/docker.sock"
HOST_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
HOST_CA_DIRECTORY = Path("/usr/local/share/ca-certificates")


class EngineMissing(RuntimeError):
    """No Docker engine could be had; the message says why."""


@dataclass(frozen=True, slots=True)
class DockerEnv:
    """A Docker engine that answers. `host` is what `DOCKER_HOST` has to be for it."""

    host: str

    def client(self, timeout_s: int = 60) -> "docker.DockerClient":
        """Return a new client of this engine; the caller closes it."""
        return docker.DockerClient(base_url=self.host, timeout=timeout_s)

    def environ(self) -> dict[str, str]:
        """Return a copy of this process's environment in which `DOCKER_HOST` names this engine."""
        return {**os.environ, "DOCKER_HOST": self.host}

    @property
    def socket(self) -> Path:
        """The engine's socket on this machine."""
        return Path(self.host.removeprefix("unix://"))


def answers(host: str) -> bool:
    """Tell whether a Docker engine answers at `host` (`unix:///...`)."""
    try:
        client = docker.DockerClient(base_url=host, timeout=5)
    except (docker.errors.DockerException, OSError):
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False


class Dockerd:
    """One private `dockerd` with its own containerd, socket and data under `root`.

    `bridge` false leaves docker0 and the machine's firewall alone, so that any number of such engines can
    run beside each other and beside the machine's own; their containers use the host's network, or none.
    """

    def __init__(self, root: Path, *, bridge: bool) -> None:
        self.root = root
        self.bridge = bridge
        # A socket's path may have 107 bytes: it lives in a short directory, whatever `root` is.
        self.run = Path(tempfile.gettempdir()) / f"audition-dockerd-{hash_of(root) % 10**10}"
        self.socket = self.run / "s" / "docker.sock"
        self.env = DockerEnv(host=f"unix://{self.socket}")

    @property
    def pid(self) -> int | None:
        """The daemon's process, None when it does not run."""
        return next(iter(self._alive("dockerd")), None)

    def _alive(self, name: str) -> list[int]:
        return [pid for pid in processes_named(name, f"{self.run}/") if not is_zombie(pid)]

    def start(self, timeout_s: float = 90.0) -> None:
        """Start the daemon and wait until it answers; nothing happens where it already does."""
        if self.pid is not None and answers(self.env.host):
            return
        for directory in (self.socket.parent, self.root):
            directory.mkdir(parents=True, exist_ok=True)
        if not self._alive("containerd"):
            self._start_containerd()
        (self.run / "pid").unlink(missing_ok=True)  # a killed daemon leaves it, and its pid may be another's
        network = [] if self.bridge else self._bridge_of_its_own()
        process = self._spawn(
            "dockerd", "--host", self.env.host, "--data-root", str(self.root / "data"),
            "--exec-root", str(self.run / "exec"), "--pidfile", str(self.run / "pid"),
            "--containerd", str(self.run / "containerd.sock"), "--max-download-attempts", "2", *network,
        )  # fmt: skip
        end = time.monotonic() + timeout_s
        while not answers(self.env.host):
            if process.poll() is not None or time.monotonic() > end:
                raise EngineMissing(f"dockerd did not come up; the end of its log:\n{tail(self.log)}")
            time.sleep(0.2)

    def _bridge_of_its_own(self) -> list[str]:
        """Return the options for a bridge that is nobody else's.

        Never `--bridge none`: with it dockerd deletes docker0, whoever it belongs to.
        """
        number = hash_of(self.root)
        if not Path(f"/sys/class/net/{self.bridge_name}").exists():
            address = f"10.{200 + number % 50}.{number // 50 % 250}.1/24"
            subprocess.run(["ip", "link", "add", self.bridge_name, "type", "bridge"], check=True)
            subprocess.run(["ip", "address", "add", address, "dev", self.bridge_name], check=True)
        return ["--bridge", self.bridge_name, "--iptables=false", "--ip6tables=false"]

    @property
    def bridge_name(self) -> str:
        """The network device of an engine without docker0; a name has 15 letters at most."""
        return f"aud{hash_of(self.root) % 10**10}"

    @property
    def log(self) -> Path:
        """What dockerd and containerd write."""
        return self.root / "dockerd.log"

    def _start_containerd(self) -> None:
        """Start containerd beside dockerd, as distributions do: a killed dockerd leaves it, and its shims."""
        config = self.run / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{self.root}/containerd"\nstate = "{self.run}/containerd"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.run}/containerd.sock"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{self.root}/opt"\n'
        )
        self._spawn("containerd", "--config", str(config))

    def _spawn(self, *command: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as stream:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
                cwd="/", env={**os.environ, "PATH": SEARCH},
            )  # fmt: skip

    def stop(self) -> None:
        """End the daemon and its containers in order."""
        self._end("dockerd", signal.SIGTERM)
        self._end("containerd", signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the daemon; containerd and the containers' processes stay."""
        self._end("dockerd", signal.SIGKILL)

    def kill_everything(self) -> None:
        """SIGKILL the daemon, containerd, the shims and every process in a container: a power loss."""
        self._end("dockerd", signal.SIGKILL)
        self._end("containerd", signal.SIGKILL)
        # With both gone nothing starts a new one. The kernel keeps 15 letters of a process's name.
        while shims := self._alive("containerd-shim"):
            for shim in shims:
                children: list[str] = []
                with contextlib.suppress(OSError):
                    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
                for pid in (
                    shim,
                    *map(int, children),
                ):  # the first process of a container takes the rest along
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def erase(self) -> None:
        """End whatever is left of this engine, whatever state it is in, and remove all that it kept."""
        self.kill_everything()
        for mount in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            place = mount.split()[4]
            if place.startswith((f"{self.root.resolve()}/", f"{self.run}/")):
                subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)
        if Path(f"/sys/class/net/{self.bridge_name}").exists():
            subprocess.run(["ip", "link", "delete", self.bridge_name], check=False)
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)

    def _end(self, name: str, which: signal.Signals, timeout_s: float = 60.0) -> None:
        """Send every process of ours with this name a signal and wait until it is gone."""
        pids = self._alive(name)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)
        end = time.monotonic() + timeout_s
        while self._alive(name):
            if time.monotonic() > end:
                raise EngineMissing(f"{name} did not end within {timeout_s:.0f} s of {which.name}")
            time.sleep(0.05)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def processes_named(name: str, argument: str) -> list[int]:
    """Return the processes of exactly this name that have `argument` somewhere in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "comm").read_text().strip() == name and argument in (
                    entry / "cmdline"
                ).read_text():
                    found.append(int(entry.name))
    return found


def is_zombie(pid: int) -> bool:
    """Tell whether a process is dead but not yet reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def hash_of(path: Path) -> int:
    """Return a number that is the same in every process for one path (`hash` of a string is not)."""
    return int.from_bytes(hashlib.sha256(str(path.resolve()).encode()).digest()[:8], "big")


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a text file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def install_missing(*programs: tuple[str, str]) -> None:
    """Install the Debian packages of `(program, package)` pairs whose program is not there."""
    packages = [package for program, package in programs if not shutil.which(program, path=SEARCH)]
    if not packages:
        return
    if os.geteuid() != 0:
        raise EngineMissing(f"These tests need {', '.join(packages)}: install them, or run as root.")
    with locked(Path(tempfile.gettempdir()) / "audition-tests-apt.lock"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], check=True, env=quiet, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
        subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)


SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among all processes of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


_found: DockerEnv | None = None
_using: IO[Any] | None = None


def ensure_docker() -> DockerEnv:
    """Return an engine that answers, starting a private one when this machine has none.

    Raises:
        EngineMissing: none answers and none can be started (not root, or the kernel refuses).
    """
    global _found
    if _found is not None and answers(_found.host):
        return _found
    for host in (os.environ.get("DOCKER_HOST", ""), DOCKER_SOCKET):
        if host.startswith("unix://") and answers(host):
            _found = DockerEnv(host=host)
            return _found
    install_missing(("dockerd", "docker.io"), ("iptables", "iptables"))
    if os.geteuid() != 0:
        raise EngineMissing("No Docker engine answers and starting one needs root: start Docker.")
    _found = _share_private_engine()
    return _found


def _share_private_engine() -> DockerEnv:
    """Start or join the shared private engine; the last process that uses it ends it."""
    global _using
    SHARED.mkdir(parents=True, exist_ok=True)
    daemon = Dockerd(SHARED, bridge=True)
    with locked(SHARED / "start.lock"):
        if _using is None:
            _using = (SHARED / "users.lock").open("w")
            fcntl.flock(_using, fcntl.LOCK_SH)
            atexit.register(_leave, daemon, os.getpid())
        daemon.start()
    return daemon.env


def _leave(daemon: Dockerd, owner: int) -> None:
    if _using is None or os.getpid() != owner:
        return
    with locked(SHARED / "start.lock"):
        try:
            fcntl.flock(_using, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process is still using it
        daemon.stop()


def base_image(env: DockerEnv | None = None) -> str:
    """Return the name of an image with Debian bookworm, Python 3 and this machine's CA certificates.

    Takes about a minute the first time on a machine, seconds the first time on an engine, else nothing.
    `env` is the engine that needs it; by default that of `ensure_docker()`.
    """
    with contextlib.closing((env or ensure_docker()).client(timeout_s=300)) as client:
        if client.images.list(name=BASE_IMAGE):
            return BASE_IMAGE
        tarball = debootstrapped("base-bookworm", ("python3", "ca-certificates"))
        with locked(CACHE / "base-import.lock"):
            if not client.images.list(name=BASE_IMAGE):
                repository, tag = BASE_IMAGE.split(":")
                client.api.import_image_from_file(str(tarball), repository=repository, tag=tag)
    return BASE_IMAGE


def debootstrapped(name: str, packages: Sequence[str], arch: str = "") -> Path:
    """Return `<name>.tar`, the root file system of a Debian with these packages alone; made on first use.

    `arch` is Debian's name of a processor, by default this machine's; another's programs must run here.
    """
    tarball = CACHE / f"{name}.tar"
    with locked(CACHE / f"{name}.lock"):
        if tarball.exists():
            return tarball
        install_missing(("debootstrap", "debootstrap"))
        with tempfile.TemporaryDirectory(prefix="audition-root-") as directory:
            root = Path(directory) / "root"
            command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}"]
            command += [f"--arch={arch}"] if arch else []
            command.append("bookworm")
            path = {**os.environ, "PATH": SEARCH}
            made = subprocess.run([*command, str(root)], env=path, capture_output=True, text=True)
            if made.returncode:
                raise EngineMissing(f"debootstrap failed:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
            copy_certificates(root)
            for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc"):
                shutil.rmtree(root / unneeded, ignore_errors=True)
                (root / unneeded).mkdir(parents=True, exist_ok=True)
            scratch = tarball.with_suffix(".part")
            with tarfile.open(scratch, "w") as archive:
                archive.add(root, arcname=".")
            scratch.replace(tarball)
    return tarball


def copy_certificates(root: Path) -> None:
    """Let programs in the image trust what this machine trusts (a proxy's authority, for instance)."""
    for certificate in sorted(HOST_CA_DIRECTORY.glob("**/*.crt")):
        shutil.copy(certificate, root / "usr/local/share/ca-certificates" / certificate.name)
    if HOST_CA_BUNDLE.exists():
        shutil.copy(HOST_CA_BUNDLE, root / "etc/ssl/certs/ca-certificates.crt")
