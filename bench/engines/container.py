"""An engine as a container of ours: labelled with the run, so that the watcher can end it."""

import contextlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import errors as docker_errors

from bench.docker_host.host import ROLE_LABEL, RUN_LABEL, DockerHost, all_gpus
from bench.docker_host.lost import end_lost
from bench.errors import BadInput

CACHE_LABEL = "audition.cache-of"
"""Label with the image's name on the volume that keeps its cache."""
LAST_WORDS_S = 5.0
"""How long to wait for what a container wrote before it ended."""
LOG_BYTES = 32 << 20
"""This much of what an engine writes is kept."""
CACHE = "/var/cache/engine"
"""Where it is in the container: beside /tmp, which is memory, the engine's only writable place."""


def need_image(docker_host: DockerHost, tag: str) -> None:
    """Check that Docker has an engine's image.

    Raises:
        BadInput: it has not.
    """
    if not docker_host.has_image(tag):
        raise BadInput(f"The engine's image {tag} is not on this host; run the install phase.")


def keep_cache(docker_host: DockerHost, image: str) -> str:
    """Return the volume that keeps what an image's engine compiled; it is made when first asked for.

    One for each image, so that nothing which one engine wrote is run by another. `docker volume rm` loses only time.
    """
    name = "audition-cache-" + re.sub(r"[^a-zA-Z0-9_.-]", "-", image)
    docker_host.api.create_volume(name, labels={CACHE_LABEL: image})
    return name


@dataclass(slots=True)
class EngineContainer:
    """A container of ours that serves a model; its port is published on 127.0.0.1 alone."""

    id: str
    pid: int
    """Of its first process, on the host."""
    host_port: int
    _docker: DockerHost
    _follower: threading.Thread | None = None

    def exit_code(self) -> int | None:
        """Return None while it runs; -1 when it is gone altogether. Its last words are in the log by then."""
        code = read_state(self._docker, self.id).code
        if code is not None and self._follower is not None:
            self._follower.join(LAST_WORDS_S)
        return code

    def remove(self) -> None:
        """Kill and remove it; gone already is well."""
        remove_container(self._docker, self.id)


@dataclass(frozen=True, slots=True)
class State:
    """How a container is. `code` is None while it runs, -1 when it is gone altogether."""

    code: int | None
    out_of_memory: bool = False


def read_state(docker_host: DockerHost, container: str) -> State:
    """Return whether a container runs, and how it ended where it does not."""
    with docker_host.answering():
        try:
            state = docker_host.api.inspect_container(container)["State"]
        except docker_errors.NotFound:
            return State(-1)
    return State(None if state["Running"] else int(state["ExitCode"]), bool(state.get("OOMKilled")))


def remove_container(docker_host: DockerHost, container: str) -> None:
    """Kill and remove a container; gone already is well."""
    with docker_host.answering():
        try:
            docker_host.api.remove_container(container, force=True)
        except docker_errors.NotFound:
            pass
        except docker_errors.APIError as error:
            if error.status_code != 409:  # the watcher is removing it
                raise
            return
    end_lost([container])


def run_engine(
    *,
    image: str,
    run_id: str,
    environment: dict[str, str],
    command: list[str],
    container_port: int,
    host_port: int | None,
    weights: Path | None,
    gpu: bool,
    log: Path,
    docker_host: DockerHost | None = None,
) -> EngineContainer:
    """Start an engine's container with the run's label; what it writes goes to `log`.

    `weights` is mounted read-only at /weights, the image's cache at `CACHE`; `host_port` None takes any free one.
    Nothing restarts it.

    Raises:
        BadInput: the image is missing, the port is taken, or Docker cannot give it the GPU.
        DockerSilent: Docker does not answer.
    """
    docker_host = docker_host or DockerHost()
    need_image(docker_host, image)
    with docker_host.answering():
        volumes = {keep_cache(docker_host, image): {"bind": CACHE, "mode": "rw"}}
        if weights:
            volumes[str(weights.resolve())] = {"bind": "/weights", "mode": "ro"}
        container = docker_host.containers.create(
            image,
            command,
            environment=environment,
            ports={f"{container_port}/tcp": ("127.0.0.1", host_port)},
            volumes=volumes,
            device_requests=all_gpus() if gpu else None,
            labels={RUN_LABEL: run_id, ROLE_LABEL: "engine"},
            init=True,
            read_only=True,
            tmpfs={"/tmp": "rw,size=4g"},  # noqa: S108 - a container's own
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            oom_score_adj=500,  # of all that is on the host, the kernel is to end this first
        )
        made = EngineContainer(id=str(container.id), pid=0, host_port=0, _docker=docker_host)
        try:
            container.start()
            inspected = docker_host.api.inspect_container(made.id)
            published = inspected["NetworkSettings"]["Ports"].get(f"{container_port}/tcp")
            made.pid = inspected["State"]["Pid"]
            made.host_port = int(published[0]["HostPort"]) if published else 0
        except docker_errors.APIError as error:
            made.remove()
            raise BadInput(f"The engine's container cannot be started. Docker says: {error}") from error
        except BaseException:
            made.remove()
            raise
    made._follower = follow_log(container, log)
    return made


def follow_log(container: Any, log: Path) -> threading.Thread:
    """Begin to copy what a container writes into a file; the thread ends with the container."""
    thread = threading.Thread(target=copy_log, args=(container, log), name="engine log", daemon=True)
    thread.start()
    return thread


def copy_log(container: Any, log: Path) -> None:
    """Copy what a container writes into a file until it ends, or has written more than anybody reads."""
    with log.open("ab", buffering=0) as stream, contextlib.suppress(Exception):
        for piece in container.logs(stream=True, follow=True):
            stream.write(piece)
            if stream.tell() > LOG_BYTES:
                stream.write(b"\n... more was written, and is not kept\n")
                return
