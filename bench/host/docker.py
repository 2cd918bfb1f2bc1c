"""Docker, as far as Audition needs it, through its Python SDK.

`Neighbour` can inspect, stop, start and set the restart policy of one container that is not ours; it has no
way to create, recreate or remove one. `Engine` lists, ends and removes containers that carry our run label,
and no others, and runs the watcher. Only the watcher stops and starts the neighbour while a lease exists.
"""

import contextlib
import difflib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import docker
import requests
from docker import errors as docker_errors
from docker.types import DeviceRequest, LogConfig

from bench.errors import AuditionError, BadInput
from bench.records import Record

RUN_LABEL = "audition.run"
"""Label with the run's id on every container of ours."""
ROLE_LABEL = "audition.role"
"""`watcher` on the watcher; anything else, or nothing, is ended with the lease."""
DEFAULT_HOST = "unix:///var/run/docker.sock"
WATCHER_CONTEXT = Path(__file__).parent / "watcher"
WATCHER_FILES = ("Dockerfile", "watcher.py")
KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEFAULT_WATCHER_BASE = "python:3.12-slim"


class DockerSilent(AuditionError):
    """Docker does not answer (exit 2)."""

    exit_code = 2


class NameTaken(AuditionError):
    """A container of this name exists already."""


class RestartPolicy(Record):
    """A container's restart policy, as Docker has it."""

    name: Literal["no", "on-failure", "unless-stopped", "always"]
    maximum_retry_count: int = 0

    @classmethod
    def of(cls, inspected: dict[str, Any]) -> Self:
        """Read the policy from Docker's inspection; an empty name is `no`."""
        raw = inspected["HostConfig"]["RestartPolicy"]
        return cls(name=raw["Name"] or "no", maximum_retry_count=raw.get("MaximumRetryCount") or 0)

    def for_docker(self) -> dict[str, Any]:
        """Return the policy as the Engine API writes it."""
        return {"Name": self.name, "MaximumRetryCount": self.maximum_retry_count}


@contextlib.contextmanager
def _answering(host: str) -> Iterator[None]:
    """Turn a silent Docker into an error that says what to do."""
    try:
        yield
    except docker_errors.APIError:  # Docker answered, and said no
        raise
    except (requests.exceptions.RequestException, docker_errors.DockerException, OSError) as error:
        raise _silent(host, error) from error


def _silent(host: str, error: Exception) -> DockerSilent:
    return DockerSilent(
        f"Docker does not answer at {host} ({error}). Start it (`systemctl start docker`), "
        "let this user use its socket, or set DOCKER_HOST."
    )


class Neighbour:
    """One named container that is not ours. It can be looked at, stopped, started; never made or removed."""

    def __init__(self, client: Any, host: str, name: str) -> None:
        """Name the container; nothing is asked of Docker yet."""
        self._client = client
        self._host = host
        self.name = name

    def inspect(self) -> dict[str, Any]:
        """Return Docker's inspection.

        Raises:
            BadInput: there is no container of exactly this name.
            DockerSilent: Docker does not answer.
        """
        with _answering(self._host):
            try:
                found: dict[str, Any] = self._client.api.inspect_container(self.name)
            except docker_errors.NotFound:
                found = {}
            # Docker also takes the start of an id for a name; the neighbour is named in full or not at all.
            if found and self.name in (found["Name"].lstrip("/"), found["Id"]):
                return found
            names = [n.lstrip("/") for c in self._client.api.containers(all=True) for n in c["Names"] or []]
        near = difflib.get_close_matches(self.name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise BadInput(
            f"There is no container named {self.name!r} on this host.{hint} Name the neighbour as "
            "`docker ps -a` lists it, or set the mode to `none` where there is none."
        )

    def stop(self, timeout_s: int = 60) -> None:
        """Stop it in order, by SIGKILL after `timeout_s`."""
        with _answering(self._host):
            self._client.api.stop(self.inspect()["Id"], timeout=timeout_s)

    def start(self) -> None:
        """Start it as it is."""
        with _answering(self._host):
            self._client.api.start(self.inspect()["Id"])

    def set_policy(self, policy: RestartPolicy) -> None:
        """Set its restart policy in place; the container stays the same."""
        with _answering(self._host):
            self._client.api.update_container(self.inspect()["Id"], restart_policy=policy.for_docker())


class OurContainer(Record):
    """A container that carries our run label."""

    id: str
    name: str
    run_id: str
    role: str
    state: str


class Engine:
    """The Docker engine of this host."""

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
        with _answering(self.host):
            self._client = docker.DockerClient(base_url=self.host, timeout=timeout_s)

    def __enter__(self) -> Self:
        """Return the engine; leaving closes its connections."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections to Docker."""
        self._client.close()

    @property
    def api(self) -> Any:
        """The SDK's low-level client, for this module."""
        return self._client.api

    @property
    def containers(self) -> Any:
        """The SDK's containers, for this module."""
        return self._client.containers

    @property
    def socket(self) -> Path:
        """The socket's path on this host."""
        return Path(self.host.removeprefix("unix://")).resolve()

    def version(self) -> str:
        """Return the engine's version, for instance `20.10.24`."""
        with _answering(self.host):
            return str(self._client.version()["Version"])

    def neighbour(self, name: str) -> Neighbour:
        """Return the handle of a container that is not ours; nothing is asked of Docker yet."""
        return Neighbour(self._client, self.host, name)

    def labelled(self, run_id: str | None = None) -> list[OurContainer]:
        """List containers of ours, those of one run or of all, running or not."""
        wanted = RUN_LABEL if run_id is None else f"{RUN_LABEL}={run_id}"
        with _answering(self.host):
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
        with _answering(self.host):
            try:
                inspected = self._client.api.inspect_container(container.id)
                if inspected["Config"]["Labels"].get(RUN_LABEL) != container.run_id:
                    raise BadInput(
                        f"Container {container.name} is not of run {container.run_id}: left alone."
                    )
                self._client.api.remove_container(container.id, force=True)
            except docker_errors.NotFound:
                return
            except docker_errors.APIError as error:
                if error.status_code != 409:  # being removed already
                    raise

    def remove_run(self, run_id: str) -> list[str]:
        """Kill and remove the run's containers, its watcher left out; return their names."""
        mine = [each for each in self.labelled(run_id) if each.role != "watcher"]
        for each in mine:
            self.remove(each)
        return [each.name for each in mine]

    # The watcher

    def build_watcher(self, base: str = DEFAULT_WATCHER_BASE) -> tuple[str, bool]:
        """Build the watcher's image unless it is there; return its tag and whether it was built.

        Raises:
            BadInput: it cannot be built, because `base` is not to be had for instance.
        """
        tag = watcher_tag(base)
        if self.has_image(tag):
            return tag, False
        with _answering(self.host):
            try:
                self._client.images.build(
                    path=str(WATCHER_CONTEXT), tag=tag, buildargs={"BASE": base}, rm=True, forcerm=True,
                    labels={ROLE_LABEL: "watcher"},
                )  # fmt: skip
            except (docker_errors.BuildError, docker_errors.APIError) as error:
                raise BadInput(
                    f"The watcher's image could not be built on {base}: {error}. Load that image into Docker "
                    "or set neighbour_watcher_base to one with Python 3.9 or newer that is there."
                ) from error
        return tag, True

    def has_image(self, tag: str) -> bool:
        """Tell whether Docker has an image of this name."""
        with _answering(self.host):
            try:
                self._client.images.get(tag)
            except docker_errors.ImageNotFound:
                return False
        return True

    def need_image(self, tag: str) -> None:
        """Check that Docker has an engine's image.

        Raises:
            BadInput: it has not.
        """
        if not self.has_image(tag):
            raise BadInput(f"The engine's image {tag} is not on this host; run the install phase.")

    def prune_images(self, repository: str, *, keep: str) -> None:
        """Remove the images of `repository` but `keep`; one that a container uses stays."""
        with _answering(self.host):
            for image in self._client.images.list(name=repository):
                for tag in image.tags:
                    if tag != keep and tag.startswith(f"{repository}:"):
                        with contextlib.suppress(docker_errors.APIError):
                            self._client.images.remove(tag)

    def root(self) -> Path:
        """Return where Docker keeps images."""
        with _answering(self.host):
            return Path(self._client.info()["DockerRootDir"])

    def run_once(self, image: str, command: list[str], *, run_id: str, gpu: bool) -> tuple[int, str]:
        """Run `command` in a container of ours, as an engine's is; return its exit code and what it wrote.

        Raises:
            BadInput: Docker cannot start it, because it has no GPU to give for instance.
        """
        with _answering(self.host):
            try:
                container = self._client.containers.create(
                    image, command[1:], entrypoint=command[:1],
                    device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])] if gpu else None,
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

    def run_watcher(self, image: str, terms: dict[str, Any], lease_dir: Path, boot_id: Path) -> str:
        """Start a watcher on its terms; return its container's id.

        The socket's directory is mounted, not the socket: a restarted Docker makes a new socket. `boot_id`
        is the kernel's file, or a stand-in where a test plays a power loss.

        Raises:
            NameTaken: a watcher of this neighbour exists.
        """
        environment = {
            "AUDITION_LEASE": json.dumps(terms),
            "AUDITION_DOCKER_SOCKET": f"/docker/{self.socket.name}",
            "AUDITION_LEASE_DIR": "/lease",
        }
        volumes = {
            str(self.socket.parent): {"bind": "/docker", "mode": "ro"},
            str(lease_dir): {"bind": "/lease", "mode": "rw"},
        }
        if boot_id != KERNEL_BOOT_ID:
            volumes[str(boot_id.parent)] = {"bind": "/boot-id", "mode": "ro"}
            environment["AUDITION_BOOT_ID"] = f"/boot-id/{boot_id.name}"
        options: dict[str, Any] = {
            "name": terms["watcher_name"],
            "environment": environment,
            "volumes": volumes,
            "labels": {RUN_LABEL: terms["run_id"], ROLE_LABEL: "watcher"},
            "restart_policy": {"Name": "always"},
            "network_mode": "host" if terms.get("health_url") else "none",
            "cap_drop": ["ALL"],
            "cap_add": ["DAC_OVERRIDE"],  # the lease directory may be another user's
            "userns_mode": "host",  # else a Docker with userns-remap refuses both the network and the socket
            "read_only": True,
            "log_config": LogConfig(type="json-file", config={"max-size": "1m"}),
        }
        with _answering(self.host):
            try:
                # It has to outlive an engine that eats the memory; not every host lets us ask for that.
                return self._create_and_start(image, {**options, "oom_score_adj": -999})
            except docker_errors.APIError as error:
                if error.status_code == 409:
                    raise NameTaken(f"a container named {terms['watcher_name']} exists") from error
            try:
                return self._create_and_start(image, options)
            except docker_errors.APIError as error:
                raise BadInput(
                    f"The watcher cannot be started, so nothing was done to the neighbour. Docker says: {error}"
                ) from error

    def _create_and_start(self, image: str, options: dict[str, Any]) -> str:
        container = self._client.containers.create(image, **options)
        try:
            container.start()
        except docker_errors.APIError:
            container.remove(force=True)
            raise
        return str(container.id)

    def watcher(self, name: str) -> dict[str, Any] | None:
        """Return Docker's inspection of a watcher, None when there is no container of ours by that name."""
        with _answering(self.host):
            try:
                found: dict[str, Any] = self._client.api.inspect_container(name)
            except docker_errors.NotFound:
                return None
        return found if found["Config"]["Labels"].get(ROLE_LABEL) == "watcher" else None

    def start_watcher(self, name: str) -> None:
        """Start a watcher again that somebody stopped; gone is well."""
        if self.watcher(name) is None:
            return
        with _answering(self.host), contextlib.suppress(docker_errors.NotFound):
            self._client.api.start(name)

    def tell_watcher_to_end(self, name: str) -> None:
        """Send SIGTERM to a watcher: it restores at once and retires. Gone is well."""
        if self.watcher(name) is None:
            return
        with _answering(self.host):
            try:
                self._client.api.kill(name, "SIGTERM")
            except docker_errors.NotFound:
                return
            except docker_errors.APIError as error:
                if error.status_code != 409:  # it does not run
                    raise

    def remove_watcher(self, name: str) -> None:
        """Remove a watcher's container; only ours, and gone is well."""
        if self.watcher(name) is None:
            return
        with _answering(self.host):
            try:
                self._client.api.remove_container(name, force=True)
            except docker_errors.NotFound:
                return
            except docker_errors.APIError as error:
                if error.status_code != 409:
                    raise

    def log_tail(self, name: str, lines: int = 5) -> str:
        """Return the last lines that a container of ours wrote, empty when it is gone."""
        with _answering(self.host):
            try:
                raw: bytes = self._client.api.logs(name, tail=lines)
            except docker_errors.NotFound:
                return ""
        return raw.decode(errors="replace").strip()


def watcher_tag(base: str) -> str:
    """Return the image's tag: a hash of the build context and of the base's name."""
    digest = hashlib.sha256(base.encode())
    for name in WATCHER_FILES:
        digest.update(b"\0" + name.encode() + b"\0" + (WATCHER_CONTEXT / name).read_bytes())
    return f"audition-watcher:{digest.hexdigest()[:16]}"


def watcher_name(container: str) -> str:
    """Return the name of a neighbour's watcher: Docker allows one of it, so two runs cannot hold at once."""
    return f"audition-watcher-{container}"


@dataclass(slots=True)
class EngineContainer:
    """A container of ours that serves a model; its port is published on 127.0.0.1 alone."""

    id: str
    pid: int
    """Of its first process, on the host."""
    host_port: int
    _engine: Engine

    def exit_code(self) -> int | None:
        """Return None while it runs; -1 when it is gone altogether."""
        with _answering(self._engine.host):
            try:
                state = self._engine.api.inspect_container(self.id)["State"]
            except docker_errors.NotFound:
                return -1
        return None if state["Running"] else int(state["ExitCode"])

    def remove(self) -> None:
        """Kill and remove it; gone already is well."""
        with _answering(self._engine.host):
            try:
                self._engine.api.remove_container(self.id, force=True)
            except docker_errors.NotFound:
                return
            except docker_errors.APIError as error:
                if error.status_code != 409:  # the watcher is removing it
                    raise


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
    engine: Engine | None = None,
) -> EngineContainer:
    """Start an engine's container with the run's label; what it writes goes to `log`.

    `weights` is mounted read-only at /weights; `host_port` None takes any free one. Nothing restarts it.

    Raises:
        BadInput: the image is missing, the port is taken, or Docker cannot give it the GPU.
        DockerSilent: Docker does not answer.
    """
    engine = engine or Engine()
    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if gpu else None
    volumes = {str(weights.resolve()): {"bind": "/weights", "mode": "ro"}} if weights else None
    engine.need_image(image)
    with _answering(engine.host):
        container = engine.containers.create(
            image,
            command,
            environment=environment,
            ports={f"{container_port}/tcp": ("127.0.0.1", host_port)},
            volumes=volumes,
            device_requests=gpus,
            labels={RUN_LABEL: run_id, ROLE_LABEL: "engine"},
            init=True,
            read_only=True,
            tmpfs={"/tmp": "rw,size=4g"},  # noqa: S108 - the engine's only writable place
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            oom_score_adj=500,  # of all that is on the host, the kernel is to end this first
        )
        made = EngineContainer(id=str(container.id), pid=0, host_port=0, _engine=engine)
        try:
            container.start()
            inspected = engine.api.inspect_container(made.id)
            published = inspected["NetworkSettings"]["Ports"].get(f"{container_port}/tcp")
            made.pid = inspected["State"]["Pid"]
            made.host_port = int(published[0]["HostPort"]) if published else 0
        except docker_errors.APIError as error:
            made.remove()
            raise BadInput(f"The engine's container cannot be started. Docker says: {error}") from error
        except BaseException:
            made.remove()
            raise
    threading.Thread(target=_follow, args=(container, log), name="engine log", daemon=True).start()
    return made


def _follow(container: Any, log: Path) -> None:
    """Copy what a container writes into a file until it ends."""
    with log.open("ab", buffering=0) as stream, contextlib.suppress(Exception):
        for piece in container.logs(stream=True, follow=True):
            stream.write(piece)
