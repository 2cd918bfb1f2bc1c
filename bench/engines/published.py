"""A published image as the engine: somebody else's server in a container of ours.

It has no nonce to answer with. In its place stand the image's digest, by which it was created, and the address that
Docker's inspection gives of the very container: nothing else can answer there, for no port is published.
"""

import http.client
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import errors as docker_errors
from docker.types import LogConfig

from bench.catalog.entry import Entry, ImageRun, Mount, Platform
from bench.docker_host.host import ROLE_LABEL, RUN_LABEL, DockerHost, all_gpus
from bench.docker_host.networks import keep_network, remove_networks
from bench.engines.container import LAST_WORDS_S, follow_log, need_image, read_state, remove_container
from bench.errors import AuditionError, BadInput
from bench.memory.meminfo import read_available_bytes
from bench.memory.nvml import NvmlReader
from bench.weights.store import revision_of

GIB, MIB = 2**30, 2**20
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
"""What tells the usual libraries that there is no network, so that they do not wait for one."""
_TMP = "/tmp"  # noqa: S108 - a container's own
_TMP_MIB = 4096
_PIDS = 4096
_NO_NAMES = ["127.0.0.1"]
"""Nobody answers there: on an internal network Docker's own name server would still ask the host's (CVE-2024-29018)."""
UNKNOWN = ("the revision of the weights in use", "precision", "sampling settings", "how a text is cut")
"""What nobody but the server knows, and it is not asked: no two servers say it alike."""


class NothingHere(AuditionError):
    """A model's entry has no image for this machine."""


def find_platform(docker_host: DockerHost) -> str:
    """Return this host's platform as Docker names it."""
    with docker_host.answering():
        said = docker_host.api.version()
    return f"{said['Os']}/{said['Arch']}"


def name_reference(entry: Entry, platform: str) -> str:
    """Return what is pulled and run on a platform: `repository@sha256:...`.

    Raises:
        NothingHere: the entry has no image for it.
        BadInput: nobody has looked its digest up.
    """
    run = entry.run
    assert isinstance(run, ImageRun)
    digests: Mapping[Platform, str | None] = run.platforms
    found = next((digest for name, digest in digests.items() if name == platform), "")
    if found == "":
        raise NothingHere(
            f"no {platform.partition('/')[2]}: {entry.title} is published for {', '.join(digests)} alone"
        )
    if found is None:
        raise BadInput(
            f"run.platforms of {entry.name} has no digest for {platform}: nobody has looked it up. "
            f"`audition pin {entry.name}` does, and writes an entry of your own to read over."
        )
    return f"{run.image}@{found}"


@dataclass(slots=True)
class PublishedContainer:
    """A container of a published image, and what can be known of it from outside."""

    id: str
    pid: int
    """Of its first process, on the host."""
    url: str
    _docker: DockerHost
    _entry: Entry
    _settings: Mapping[str, Any]
    _reference: str
    _log: Path
    _follower: threading.Thread | None = None

    def exit_code(self) -> int | None:
        """Return None while it runs; -1 when it is gone altogether. Its last words are in the log by then."""
        state = read_state(self._docker, self.id)
        if state.code is not None and self._follower is not None:
            self._follower.join(LAST_WORDS_S)
        if state.out_of_memory:
            with self._log.open("a", encoding="utf-8") as log:
                log.write("\nended by the kernel: above its memory limit (run.memory_limit_gib)\n")
        return state.code

    def remove(self) -> None:
        """Kill and remove it, and the network where nothing else runs on it; gone already is well."""
        remove_container(self._docker, self.id)
        remove_networks(self._docker)

    def health(self) -> dict[str, Any] | None:
        """Return what our own engine's `/health` would say, as far as it can be known; None while nothing answers.

        `known` was read back from Docker, `unknown` is what only the server knows.
        """
        run = self._run
        status = _ask(self.url, run.health.path)
        if status is None:
            return None
        try:
            with self._docker.answering():
                found = self._docker.api.inspect_container(self.id)
        except docker_errors.NotFound:
            return None
        variables = dict(each.split("=", 1) for each in found["Config"]["Env"] or [] if "=" in each)
        return {
            "ready": status == run.health.status,
            "status": status,
            "model": self._entry.name,
            "revision": self._reference,
            "profile": {name: variables.get(name) for name in self._settings},
            "device": self._device(),
            "known": {
                "image": found["Image"],
                "entrypoint": found["Config"]["Entrypoint"],
                "command": found["Config"]["Cmd"],
                "user": found["Config"]["User"],
                "environment": {name: variables.get(name) for name in run.environment},
                "memory_limit_bytes": found["HostConfig"]["Memory"],
                "networks": sorted(found["NetworkSettings"]["Networks"]),
            },
            "unknown": list(UNKNOWN),
            "memory": None,
            "error": None,
        }

    @property
    def _run(self) -> ImageRun:
        assert isinstance(self._entry.run, ImageRun)
        return self._entry.run

    def _device(self) -> str | None:
        """Return `cuda` where NVML sees one of its processes, `cpu` where it sees a GPU and none of them."""
        from bench.memory.processes import find_container

        reader = NvmlReader()
        try:
            if not reader.open():
                return None
            return tell_device(reader, find_container(self.pid).pids())
        finally:
            reader.close()


def tell_device(reader: NvmlReader, pids: set[int]) -> str | None:
    """Return where processes compute, as NVML sees it; None where it does not say."""
    seen = None
    for gpu in reader.gpus:
        listed = reader.list_pids(gpu)
        if listed is None:
            continue
        if listed & pids:
            return "cuda"
        seen = "cpu"
    return seen


def run_published(
    entry: Entry,
    settings: Mapping[str, Any],
    *,
    run_id: str,
    weights: Path | None,
    log: Path,
    docker_host: DockerHost | None = None,
) -> PublishedContainer:
    """Start a published image with the run's label; what it writes goes to `log`.

    `settings` are the profile's: variables, beside the entry's own. Nothing restarts it.

    Raises:
        BadInput: the image is missing, or Docker cannot start it.
        DockerSilent: Docker does not answer.
    """
    run = entry.run
    assert isinstance(run, ImageRun)
    docker_host = docker_host or DockerHost()
    reference = name_reference(entry, find_platform(docker_host))
    need_image(docker_host, reference)
    network = keep_network(docker_host, internal=not run.network)
    mounts, cache = _mount(entry, run, weights, log.parent)
    limit = _memory_limit(run)
    with docker_host.answering():
        try:
            container = docker_host.containers.create(
                reference,
                run.command,
                entrypoint=run.entrypoint,
                environment={**run.environment, **settings, **({} if run.network else OFFLINE), **cache},
                user=run.user,
                network=network,
                dns=None if run.network else _NO_NAMES,
                volumes=mounts,
                tmpfs=dict(_tmpfs(run)),
                read_only=True,
                shm_size=run.shm_mib * MIB if run.shm_mib else None,
                mem_limit=limit,
                memswap_limit=limit,
                pids_limit=_PIDS,
                device_requests=all_gpus() if run.gpu else None,
                labels={RUN_LABEL: run_id, ROLE_LABEL: "engine"},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
                oom_score_adj=500,  # of all that is on the host, the kernel is to end this first
            )
        except docker_errors.APIError as error:
            raise BadInput(f"A container of {reference} cannot be made. Docker says: {error}") from error
        made = PublishedContainer(str(container.id), 0, "", docker_host, entry, settings, reference, log)
        try:
            _start(container, docker_host, run)
            found = docker_host.api.inspect_container(made.id)
            made.pid = found["State"]["Pid"]
            made.url = f"http://{found['NetworkSettings']['Networks'][network]['IPAddress']}:{run.port}"
        except docker_errors.APIError as error:
            made.remove()
            raise BadInput(f"The container of {reference} cannot be started. Docker says: {error}") from error
        except BaseException:
            made.remove()
            raise
    made._follower = follow_log(container, log)
    return made


def _start(container: Any, docker_host: DockerHost, run: ImageRun) -> None:
    """Start it. Whoever ends another job meanwhile finds nothing on the network and removes it: it is made again."""
    for _ in range(3):
        try:
            container.start()
        except docker_errors.NotFound:
            keep_network(docker_host, internal=not run.network)
        else:
            return
    container.start()


def _memory_limit(run: ImageRun) -> int | None:
    """Return in bytes what it is ended above: as the entry says, else twice what it needs, else what is free."""
    if run.memory_limit_gib is not None:
        return int(run.memory_limit_gib * GIB)
    if run.memory_gib:
        return int(run.memory_gib * 2 * GIB)
    return read_available_bytes()


def _tmpfs(run: ImageRun) -> Iterator[tuple[str, str]]:
    """Yield what is writable, with Docker's options."""
    named = {each.path: each for each in run.writes}
    if _TMP not in named:
        yield _TMP, f"rw,noexec,size={_TMP_MIB}m"
    for path, each in named.items():
        yield path, f"rw,{'exec' if each.exec else 'noexec'},size={each.size_mib}m"


def _mount(
    entry: Entry, run: ImageRun, store: Path | None, scratch: Path
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return the volumes of a container, read-only, and the variables that say where a hub's cache is."""
    volumes: dict[str, dict[str, str]] = {}
    variables: dict[str, str] = {}
    for mount in run.mounts:
        assert store is not None
        folder = revision_of(store, next(file for file in entry.weights if file.repo == mount.repo))
        if mount.layout == "folder":
            volumes[str(folder.resolve())] = {"bind": mount.to, "mode": "ro"}
            continue
        cache = f"{mount.to}/models--{mount.repo.replace('/', '--')}"
        volumes[str(folder.resolve())] = {"bind": f"{cache}/snapshots/{folder.name}", "mode": "ro"}
        volumes[str(_write_ref(mount, folder.name, scratch))] = {"bind": f"{cache}/refs/main", "mode": "ro"}
        variables["HF_HUB_CACHE"] = mount.to
    return volumes, variables


def _write_ref(mount: Mount, revision: str, scratch: Path) -> Path:
    """Write what a hub's cache says of the branch that a server asks for by default."""
    path = scratch.absolute() / f"ref-{mount.repo.replace('/', '--')}"
    path.write_text(revision)
    return path


def _ask(url: str, path: str) -> int | None:
    """Return the status that a server answers with, or None while nothing answers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read(1_000_000)  # a server whose answer nobody takes fills its log with that
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
