"""Real containers for the tests: the neighbour that is borrowed from, and a stand-in for an engine."""

import contextlib
import hashlib
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx

from bench.docker_host.host import RUN_LABEL
from bench.neighbour.container import read_policy
from bench.neighbour.watcher_container import name_watcher
from tests.support.docker import BASE_IMAGE, DockerEnv, base_image
from tests.support.pace import limit

CONTEXT = Path(__file__).parent / "chatserver"


def chat_image(env: DockerEnv) -> str:
    """Return the chat server's image, built when its sources have changed."""
    base_image(env)
    sources = b"".join((CONTEXT / name).read_bytes() for name in ("Dockerfile", "server.py"))
    tag = f"audition-test-chat:{hashlib.sha256(sources).hexdigest()[:12]}"
    with contextlib.closing(env.client()) as client:
        if not client.images.list(name=tag):
            client.images.build(path=str(CONTEXT), tag=tag, buildargs={"BASE": BASE_IMAGE}, rm=True)
    return tag


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class ChatNeighbour:
    """A container that serves chat."""

    client: Any
    name: str
    id: str
    port: int
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.api.inspect_container(self.id)
        return found

    def running(self) -> bool:
        return bool(self.inspect()["State"]["Running"])

    def policy(self) -> str:
        return read_policy(self.inspect()).name

    def starts(self) -> int:
        """How often it was started, by its own count."""
        return int(self.client.api.logs(self.id).decode().count("start "))

    def serves(self) -> bool:
        try:
            return httpx.get(self.url + "/health", timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False


@contextlib.contextmanager
def chat_neighbour(
    env: DockerEnv,
    policy: str = "unless-stopped",
    environment: dict[str, str] | None = None,
    wait: bool = True,
    network: str = "host",
    address: str = "127.0.0.1",
    **options: Any,
) -> Iterator[ChatNeighbour]:
    """Run a neighbour, by default until it serves; it is removed at the end, with its watcher.

    `network` is Docker's network mode; `address` is where it answers then.
    """
    client: Any = env.client()
    with contextlib.closing(client):
        port = free_port()
        name = f"chat-{uuid.uuid4().hex[:8]}"
        restart = {"Name": policy, "MaximumRetryCount": 3 if policy == "on-failure" else 0}
        container = client.containers.run(
            chat_image(env),
            name=name,
            detach=True,
            network_mode=network,
            environment={"CHAT_PORT": str(port), "CHAT_ADDRESS": address, **(environment or {})},
            **({} if options.get("auto_remove") else {"restart_policy": restart}),
            **options,
        )
        neighbour = ChatNeighbour(client=client, name=name, id=container.id, port=port, address=address)
        try:
            if wait:
                until(neighbour.serves, 30.0, "the neighbour serves")
            yield neighbour
        finally:
            for each in (f"audition-watcher-{name}", name):
                with contextlib.suppress(docker.errors.APIError):
                    client.api.remove_container(each, force=True)


def run_engine(client: Any, run_id: str, command: list[str] | None = None, network: str = "host") -> str:
    """Start a container with the run's label, as an engine would be; return its id."""
    made = client.containers.run(
        BASE_IMAGE,
        command or ["sleep", "3600"],
        detach=True,
        network_mode=network,
        labels={RUN_LABEL: run_id},
        init=True,
    )
    return str(made.id)


def exists(client: Any, container: str) -> bool:
    try:
        client.api.inspect_container(container)
    except docker.errors.NotFound:
        return False
    return True


def await_cleared(neighbour: ChatNeighbour) -> None:
    """Wait until a neighbour's watcher has removed itself: a lease's end is told before that."""
    name = name_watcher(neighbour.name)
    until(lambda: not exists(neighbour.client, name), 10.0, f"{name} has removed itself")


def until(what: Any, limit_s: float, meaning: str) -> None:
    """Wait until `what()` is true."""
    end = time.monotonic() + limit(limit_s)
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {meaning}")
        time.sleep(0.1)
