"""This host's Docker, as far as Audition needs it.

`DockerHost` lists, ends and removes containers that carry our run label, and no others. It knows neither the
neighbour nor an engine: what each of them needs of Docker is in its own room.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
import requests
from docker import errors as docker_errors
from docker.types import DeviceRequest

from bench.docker_host.lost import end_lost
from bench.errors import AuditionError, BadInput
from bench.records.base import Record

RUN_LABEL = "audition.run"
"""Label with the run's id on every container of ours."""
ROLE_LABEL = "audition.role"
"""`watcher` on the watcher; anything else, or nothing, is ended with the lease."""
DEFAULT_HOST = "unix:///var/run/docker.sock"


class DockerSilent(AuditionError):
    """Docker does not answer (exit 2)."""

    exit_code = 2


class NameTaken(AuditionError):
    """A container of this name exists already."""


class OurContainer(Record):
    """A container that carries our run label."""

    id: str
    name: str
    run_id: str
    role: str
    state: str


class DockerHost:
    """The Docker of this host; an object of it is a connection."""

    def __init__(self, host: str | None = None, timeout_s: int = 120) -> None:
        """Connect to `host` (`unix:///...`), by default `DOCKER_HOST` or Docker's own socket.

        Raises:
            DockerSilent: nothing answers there.
            BadInput: `host` is not a socket of this machine.
        """
        self.host = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        if not self.host.startswith("unix://"):
            raise BadInput(
                f"DOCKER_HOST is {self.host}: the neighbour's watcher needs the Docker socket of the host "
                "it runs on. Unset DOCKER_HOST, or set it to unix:///path/to/docker.sock."
            )
        with self.answering():
            self._client = docker.DockerClient(base_url=self.host, timeout=timeout_s)

    def __enter__(self) -> Self:
        """Return the connection; leaving closes its connections."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections to Docker."""
        self._client.close()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Turn a silent Docker into an error that says what to do.

        Raises:
            DockerSilent: it did not answer what the block asked.
        """
        try:
            yield
        except docker_errors.APIError:  # Docker answered, and said no
            raise
        except (requests.exceptions.RequestException, docker_errors.DockerException, OSError) as error:
            raise _silent(self.host, error) from error

    @property
    def api(self) -> Any:
        """The SDK's low-level client; ask it within `answering`."""
        return self._client.api

    @property
    def containers(self) -> Any:
        """The SDK's containers; ask them within `answering`."""
        return self._client.containers

    @property
    def socket(self) -> Path:
        """The socket's path on this host."""
        return Path(self.host.removeprefix("unix://")).resolve()

    @property
    def images(self) -> Any:
        """The SDK's images; ask them within `answering`."""
        return self._client.images

    def version(self) -> str:
        """Return Docker's version, for instance `20.10.24`."""
        with self.answering():
            return str(self._client.version()["Version"])

    def labelled(self, run_id: str | None = None) -> list[OurContainer]:
        """List containers of ours, those of one run or of all, running or not."""
        wanted = RUN_LABEL if run_id is None else f"{RUN_LABEL}={run_id}"
        with self.answering():
            found = self._client.api.containers(all=True, filters={"label": [wanted]})
        return [
            OurContainer(
                id=each["Id"],
                name=(each["Names"] or ["?"])[0].lstrip("/"),
                run_id=each["Labels"][RUN_LABEL],
                role=each["Labels"].get(ROLE_LABEL, ""),
                state=each["State"],
            )
            for each in found
        ]

    def remove(self, container: OurContainer) -> None:
        """Kill and remove a container of ours; gone already is well.

        Raises:
            BadInput: Docker says now that it does not carry our label.
        """
        with self.answering():
            try:
                inspected = self._client.api.inspect_container(container.id)
                if inspected["Config"]["Labels"].get(RUN_LABEL) != container.run_id:
                    raise BadInput(
                        f"Container {container.name} is not of run {container.run_id}: left alone."
                    )
                self._client.api.remove_container(container.id, force=True)
            except docker_errors.NotFound:
                pass
            except docker_errors.APIError as error:
                if error.status_code != 409:  # being removed already
                    raise
                return
        end_lost([container.id])

    def remove_run(self, run_id: str) -> list[str]:
        """Kill and remove the run's containers, its watcher left out; return their names."""
        mine = [each for each in self.labelled(run_id) if each.role != "watcher"]
        for each in mine:
            self.remove(each)
        return [each.name for each in mine]

    def has_image(self, tag: str) -> bool:
        """Tell whether Docker has an image of this name."""
        with self.answering():
            try:
                self._client.images.get(tag)
            except docker_errors.ImageNotFound:
                return False
        return True

    def prune_images(self, repository: str, *, keep: str) -> None:
        """Remove the images of `repository` but `keep`; one that a container uses stays."""
        with self.answering():
            for image in self._client.images.list(name=repository):
                for tag in image.tags:
                    if tag != keep and tag.startswith(f"{repository}:"):
                        with contextlib.suppress(docker_errors.APIError):
                            self._client.images.remove(tag)

    def root(self) -> Path:
        """Return where Docker keeps images."""
        with self.answering():
            return Path(self._client.info()["DockerRootDir"])

    def run_once(self, image: str, command: list[str], *, run_id: str, gpu: bool) -> tuple[int, str]:
        """Run `command` in a container of ours, as an engine's is; return its exit code and what it wrote.

        Raises:
            BadInput: Docker cannot start it, because it has no GPU to give for instance.
        """
        with self.answering():
            try:
                container = self._client.containers.create(
                    image, command[1:], entrypoint=command[:1],
                    device_requests=all_gpus() if gpu else None,
                    labels={RUN_LABEL: run_id, ROLE_LABEL: "check"}, network_mode="none", read_only=True,
                    tmpfs={"/tmp": "rw,size=1g"}, cap_drop=["ALL"], security_opt=["no-new-privileges"],  # noqa: S108
                )  # fmt: skip
            except docker_errors.APIError as error:
                raise BadInput(f"A container of {image} cannot be made. Docker says: {error}") from error
            try:
                container.start()
                code = int(container.wait()["StatusCode"])
                return code, container.logs().decode(errors="replace").strip()
            except docker_errors.APIError as error:
                raise BadInput(f"A container of {image} cannot be started. Docker says: {error}") from error
            finally:
                container.remove(force=True)

    def log_tail(self, name: str, lines: int = 5) -> str:
        """Return the last lines that a container of ours wrote, empty when it is gone."""
        with self.answering():
            try:
                raw: bytes = self._client.api.logs(name, tail=lines)
            except docker_errors.NotFound:
                return ""
        return raw.decode(errors="replace").strip()


def _silent(host: str, error: Exception) -> DockerSilent:
    return DockerSilent(
        f"Docker does not answer at {host} ({error}). Start it (`systemctl start docker`), "
        "let this user use its socket, or set DOCKER_HOST."
    )


def all_gpus() -> list[DeviceRequest]:
    """Return the device requests of a container that is to see every GPU."""
    return [DeviceRequest(count=-1, capabilities=[["gpu"]])]
