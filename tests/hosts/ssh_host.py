"""A host over SSH for tests: a container as bare as a fresh Debian, which is not the controller.

It has its own processes, files, name and network; of what Audition needs it has sshd, sudo, Python and a
login user who is not root. Only what names this machine's package sources goes along: pip's and apt's
settings, and folders of packages that they name. What they are is read from the running machine.
"""

import ast
import configparser
import contextlib
import hashlib
import io
import os
import secrets
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import getproxies_environment

from tests.support.docker import BASE_IMAGE, SEARCH, DockerEnv, base_image
from tests.support.neighbours import until

USER = "owner"
DOCKERFILE = f"""
FROM {BASE_IMAGE}
COPY apt.conf /etc/apt/apt.conf.d/99controller
COPY pip.conf /etc/pip.conf
RUN apt-get update -q && apt-get install -q -y --no-install-recommends openssh-server sudo \\
 && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* && mkdir -p /run/sshd \\
 && useradd --create-home --shell /bin/bash {USER} && install -d -o {USER} -m 700 /home/{USER}/.ssh \\
 && echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
CMD ["sh", "-c", "ssh-keygen -A && exec /usr/sbin/sshd -D -e"]
"""


@dataclass(frozen=True, slots=True)
class SshHost:
    """A running host."""

    container: Any
    """The SDK's container."""
    name: str
    """Its host name."""
    address: str
    pid: int
    """Its first process, as this machine counts."""
    state_dir: Path
    """Exists in the host; here there is but its `lease`, which the host's Docker engine must see as well."""
    variables: dict[str, Any]
    """How Ansible reaches it."""

    def run(self, script: str) -> str:
        """Run a shell script in it as root and return what it prints; it must succeed."""
        code, output = self.container.exec_run(["sh", "-c", script])
        assert code == 0, f"{script}: {output.decode(errors='replace')}"
        return str(output.decode())

    def write(self, path: str, text: str) -> None:
        """Write a file in it."""
        with io.BytesIO() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                member = tarfile.TarInfo(Path(path).name)
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
            self.container.put_archive(str(Path(path).parent), stream.getvalue())

    def cut(self) -> None:
        """Drop every packet of SSH, in the host's own firewall: the link is silent and the host lives."""
        self._filter("-I")

    def mend(self) -> None:
        """Let SSH through again."""
        self._filter("-D")

    def _filter(self, action: str) -> None:
        inside = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "iptables", "--wait", action]
        for rule in (["INPUT", "-p", "tcp", "--dport", "22"], ["OUTPUT", "-p", "tcp", "--sport", "22"]):
            subprocess.run([*inside, *rule, "-j", "DROP"], check=True, env={**os.environ, "PATH": SEARCH})

    def processes(self) -> list[tuple[bool, list[str]]]:
        """List the processes anywhere on this machine that run a program of the host's state directory.

        Each is its command line, and whether it runs in the host (in its PID namespace).
        """
        own = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    argv = (entry / "cmdline").read_text(errors="replace").split("\0")
                    if argv[0].startswith(f"{self.state_dir}/"):
                        found.append(((entry / "ns/pid").readlink() == own, argv))
        return found


@contextlib.contextmanager
def ssh_host(env: DockerEnv, folder: Path) -> Iterator[SshHost]:
    """Start a host on Docker's bridge and remove it at the end; keys and state are below `folder`."""
    state_dir = folder / "state"
    (state_dir / "lease").mkdir(parents=True)
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    base_image(env)
    name = f"audition-host-{secrets.token_hex(4)}"
    # A socket's path may have 107 bytes, and those of an earlier host of this address must not be met again.
    sockets = tempfile.TemporaryDirectory(prefix="audition-ssh-")
    with sockets, contextlib.closing(env.client(timeout_s=600)) as client:
        container = client.containers.run(
            _image(client), name=name, hostname=name, detach=True, init=True, volumes=_volumes(env, state_dir),
        )  # fmt: skip
        try:
            container.reload()
            address = container.attrs["NetworkSettings"]["IPAddress"]
            variables = _variables(folder, address, sockets.name)
            host = SshHost(container, name, address, container.attrs["State"]["Pid"], state_dir, variables)
            until(lambda: container.exec_run("test -s /run/sshd.pid").exit_code == 0, 60.0, "sshd is up")
            # Docker's engine is where the host looks for it, under the path by which the engine knows it itself.
            host.run(f"test -S /run/docker.sock || ln -s {env.socket} /run/docker.sock")
            public = key.with_suffix(".pub").read_text().strip()
            host.run(f"echo '{public}' > /home/{USER}/.ssh/authorized_keys")
            known = host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").split()
            (folder / "known_hosts").write_text(f"{address} {known[0]} {known[1]}\n")
            yield host
        finally:
            container.remove(force=True)


def _variables(folder: Path, address: str, sockets: str) -> dict[str, Any]:
    return {
        "ansible_connection": "ssh",
        "ansible_host": address,
        "ansible_user": USER,
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(folder / "key"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder / 'known_hosts'} -o IdentitiesOnly=yes",
        "ansible_control_path_dir": sockets,
    }


def _image(client: Any) -> str:
    """Return the host's image, built when it or this machine's package settings have changed."""
    pip = io.StringIO()
    _pip_settings().write(pip)
    files = {
        "Dockerfile": DOCKERFILE,
        "apt.conf": _apt_settings(),
        "pip.conf": pip.getvalue(),
    }
    tag = f"audition-test-host:{hashlib.sha256(repr(files).encode()).hexdigest()[:12]}"
    if not client.images.list(name=tag):
        with tempfile.TemporaryDirectory(prefix="audition-host-") as context:
            for name, text in files.items():
                (Path(context) / name).write_text(text)
            client.images.build(path=context, tag=tag, rm=True, forcerm=True)
    return tag


def _apt_settings() -> str:
    """Return how this machine's apt fetches, in the words of its configuration; not where from.

    The image's own sources stay: they name the mirror that debootstrap used.
    """
    said = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True
    ).stdout
    kept = [line for line in said.splitlines() if not line.startswith("Acquire::IndexTargets")]
    proxies = [f'Acquire::{kind}::Proxy "{url}";' for kind, url in _proxies().items()]
    return "\n".join([*kept, *proxies, ""])


def _pip_settings() -> configparser.RawConfigParser:
    """Return what pip goes by on this machine, its files and the environment together."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = configparser.RawConfigParser()
    found.add_section("global")
    if proxy := _proxies().get("https"):
        found.set("global", "proxy", proxy)
    # The environment has the last word.
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, value = line.split("=", 1)
        section, key = name.rsplit(".", 1)
        section = "global" if section == ":env:" else section
        if not found.has_section(section):
            found.add_section(section)
        if key != "config-file":
            found.set(section, key, " ".join(ast.literal_eval(value).split()))
    return found


def _proxies() -> dict[str, str]:
    """Return the proxies that the environment names, which does not go along, by the scheme they are for."""
    return {kind: url for kind, url in getproxies_environment().items() if kind in ("http", "https")}


def _volumes(env: DockerEnv, state_dir: Path) -> dict[str, dict[str, str]]:
    """Return what the host shares with this machine: Docker's socket, the lease, folders of packages."""
    volumes = {
        str(env.socket): {"bind": str(env.socket), "mode": "rw"},
        str(state_dir / "lease"): {"bind": str(state_dir / "lease"), "mode": "rw"},
    }
    pip = _pip_settings()
    for section in pip.sections():
        for word in " ".join(pip[section].values()).split():
            path = Path(word.removeprefix("file://"))
            # An index's pages name files beside it. What is under /etc/ssl the image has of its own.
            path = path.parent if path.name == "simple" else path
            if path.is_absolute() and path.exists() and not path.is_relative_to("/etc/ssl"):
                volumes[str(path)] = {"bind": str(path), "mode": "ro"}
    return volumes
