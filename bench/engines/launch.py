"""Start an engine, wait until it is ready and is what was asked for, and end it (design: "Rules").

An engine lives inside one bench call and nothing supervises it. As a process it dies with its owner
(PR_SET_PDEATHSIG) and listens on a socket handed to it, so there is no port to race for. As a container it is
labelled with the run, so that the watcher can end it when its owner is gone.
"""

import contextlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import bench
from bench.catalog.entry import EngineRun, Entry, StartedRun
from bench.engines.environment import for_engine
from bench.errors import AuditionError, BadInput
from bench.memory.processes import EngineProcesses, ProcessTree, find_container
from bench.records.settings import Started
from bench.serving.config import CONFIG_VARIABLE, EngineConfig
from bench.text.outside import clean
from bench.weights.store import revision_of

_CONTAINER_PORT = 8000
_IN_CONTAINER = Path("/weights")
"""Where the store is mounted."""
_POLL_S = 0.05
_STRANGER_POLL_S = 0.5
"""Of a server that is not ours: it may write a line of its log for each look."""
_END_S = 10.0
_LOG_TAIL_BYTES = 4000


class EngineFailed(AuditionError):
    """The engine did not start, died, or is not what was asked for; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What to start and how."""

    entry: Entry
    profile: str
    run_id: str
    install: Started
    log: Path
    python: str = sys.executable
    """Interpreter that has the engine's packages (`system`, `venv`)."""
    image: str | None = None
    code: Path | None = None
    """Folder that has the engine's code (`system`); null: what `python` has, or this checkout."""
    weights: Path | None = None
    """The store of weights on this host."""
    port: int | None = None
    """Null: any free port of the loopback."""

    @property
    def run(self) -> StartedRun:
        """Return how the entry is started."""
        if self.entry.started is None:
            raise BadInput(
                f"{self.entry.name} is served by somebody else (run.kind: http); nothing to start."
            )
        return self.entry.started

    @property
    def ours(self) -> EngineRun:
        """Return how the entry runs behind our own server."""
        assert self.entry.ours is not None
        return self.entry.ours

    def settings(self) -> dict[str, Any]:
        """Return the profile's settings."""
        if self.profile not in self.entry.profiles:
            known = ", ".join(self.entry.profiles)
            raise BadInput(f"{self.entry.name} has no profile '{self.profile}'; it has: {known}.")
        return self.entry.profiles[self.profile]


class _Running(Protocol):
    """A started engine, whichever way it was started."""

    processes: EngineProcesses

    def exit_code(self) -> int | None:
        """Return None while it runs."""
        ...

    def end(self) -> None:
        """End it and wait until it is gone."""
        ...

    def health(self) -> dict[str, Any] | None:
        """Return what it says of itself, ready or not; None while nothing answers."""
        ...


@dataclass(slots=True)
class Engine:
    """A ready engine."""

    url: str
    health: dict[str, Any]
    """As answered when it became ready."""
    start_s: float
    """Seconds from the start of the process until it was ready."""
    running: _Running
    log: Path

    @property
    def processes(self) -> EngineProcesses:
        """Return what the memory sampler follows."""
        return self.running.processes

    def health_now(self) -> dict[str, Any]:
        """Ask again how it is (torch's peak is read at the end of a pass)."""
        return self.running.health() or {}

    def died(self) -> str | None:
        """Return why the engine is no longer there, or None while it runs."""
        code = self.running.exit_code()
        return None if code is None else f"the engine ended with code {code}: {_tail(self.log)}"

    def end(self) -> None:
        """End the engine now."""
        self.running.end()


@contextlib.contextmanager
def launch(
    spec: LaunchSpec, started: Callable[[Callable[[], None]], None] = lambda _end: None
) -> Iterator[Engine]:
    """Start the engine, yield it once it is ready, and end it whatever happens.

    `started` is given what ends the engine as soon as there is one: loading takes minutes, and the floor, a
    signal or a controller that is gone must end it then too.

    Raises:
        BadInput: the port is taken, or the profile is unknown.
        EngineFailed: it did not become ready in time, died, or runs with other settings than the profile's.
    """
    settings = spec.settings()
    began = time.monotonic()
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    running, url, nonce = _start(spec, settings)
    try:
        started(running.end)
        health = _wait_ready(spec, running, url, nonce, began + spec.run.start_timeout_s)
        check_settings(spec.entry, spec.profile, health)
        yield Engine(url, health, time.monotonic() - began, running, spec.log)
    finally:
        running.end()


def _start(spec: LaunchSpec, settings: dict[str, Any]) -> tuple[_Running, str, str | None]:
    """Start the engine; return it, where it answers, and the nonce it has to answer with, if it is our server."""
    if spec.entry.ours is None:
        return *_start_published(spec, settings), None
    nonce = secrets.token_hex(16)
    config = EngineConfig(
        model=spec.entry.name,
        adapter=spec.ours.adapter,
        profile=settings,
        weights=_pinned(spec.entry, _IN_CONTAINER if spec.install == "container" else spec.weights),
        nonce=nonce,
    )
    begin = _start_container if spec.install == "container" else _start_process
    return *begin(spec, config), nonce


def _pinned(entry: Entry, store: Path | None) -> dict[str, Path]:
    """Return where each repository lies in the store, whatever other revisions lie beside the pinned one."""
    return {} if store is None else {file.repo: revision_of(store, file) for file in entry.weights}


@dataclass(slots=True)
class _Process:
    popen: subprocess.Popen[bytes]
    processes: EngineProcesses
    url: str
    scratch: tempfile.TemporaryDirectory[str]
    """Its temporary files, the voice it was given among them: killed, it cannot remove them itself."""

    def health(self) -> dict[str, Any] | None:
        return _get_health(self.url)

    def exit_code(self) -> int | None:
        return self.popen.poll()

    def end(self) -> None:
        self.popen.terminate()
        try:
            self.popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.scratch.cleanup()


def _start_process(spec: LaunchSpec, config: EngineConfig) -> tuple[_Running, str]:
    listener = _listen(spec.port)
    # Beside its log: where even this process is killed, the job's folder is removed with what is in it.
    scratch = tempfile.TemporaryDirectory(dir=spec.log.parent, prefix=".engine-", ignore_cleanup_errors=True)
    try:
        # -P: the working directory may be a checkout, and its `bench` is not the one this interpreter has.
        command = [spec.python, "-P", "-m", "bench.serving.server"]
        with spec.log.open("ab") as log:
            popen = subprocess.Popen(
                [*command, "--fd", str(listener.fileno()), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                env=for_engine(os.environ)
                | ({"PYTHONPATH": os.pathsep.join(_find_code(spec))} if spec.install == "system" else {})
                | {
                    CONFIG_VARIABLE: config.model_dump_json(),
                    "HF_HUB_OFFLINE": "1",
                    "TMPDIR": str(Path(scratch.name).absolute()),
                },
            )
        host, port = listener.getsockname()
    finally:
        listener.close()  # the engine holds its own copy
    url = f"http://{host}:{port}"
    return _Process(popen, ProcessTree(popen.pid), url, scratch), url


def _find_code(spec: LaunchSpec) -> list[str]:
    """Return where a system engine finds its code, and the adapters that somebody put beside ours."""
    given = os.environ.get("PYTHONPATH")
    return [str((spec.code or Path(bench.__file__).parents[1]).absolute()), *([given] if given else [])]


def _listen(port: int | None) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port or 0))
    except OSError as error:
        raise BadInput(
            f"port {port} is already taken by another server ({error.strerror}); stop it or set another "
            "engine_port (0 takes any free port)."
        ) from error


def _start_container(spec: LaunchSpec, config: EngineConfig) -> tuple[_Running, str]:
    from bench.engines.container import run_engine

    if spec.image is None:
        raise BadInput(
            f"{spec.entry.name} is to run as a container and no image was built; run the install phase."
        )
    container = run_engine(
        image=spec.image,
        run_id=spec.run_id,
        environment={CONFIG_VARIABLE: config.model_dump_json(), "HF_HUB_OFFLINE": "1"},
        command=["--port", str(_CONTAINER_PORT)],
        container_port=_CONTAINER_PORT,
        host_port=spec.port,
        weights=spec.weights,
        gpu=spec.run.gpu,
        log=spec.log,
    )
    url = f"http://127.0.0.1:{container.host_port}"
    return _Container(container, find_container(container.pid), lambda: _get_health(url)), url


def _start_published(spec: LaunchSpec, settings: dict[str, Any]) -> tuple[_Running, str]:
    from bench.engines.published import run_published

    container = run_published(spec.entry, settings, run_id=spec.run_id, weights=spec.weights, log=spec.log)
    return _Container(container, find_container(container.pid), container.health), container.url


class _EngineContainer(Protocol):
    pid: int

    def exit_code(self) -> int | None: ...
    def remove(self) -> None: ...


@dataclass(slots=True)
class _Container:
    container: _EngineContainer
    processes: EngineProcesses
    health: Callable[[], dict[str, Any] | None]

    def exit_code(self) -> int | None:
        return self.container.exit_code()

    def end(self) -> None:
        self.container.remove()


def _wait_ready(
    spec: LaunchSpec, running: _Running, url: str, nonce: str | None, deadline: float
) -> dict[str, Any]:
    name = spec.entry.name
    while time.monotonic() < deadline:
        if (code := running.exit_code()) is not None:
            raise EngineFailed(
                f"{name}'s engine ended with code {code} before it was ready: {_tail(spec.log)}"
            )
        health = running.health()
        if health is not None:
            if nonce is not None and health.get("nonce") != nonce:
                raise EngineFailed(f"{url} answers, but it is not the engine just started; free that port.")
            if health.get("error"):
                said = clean(str(health["error"]))
                raise EngineFailed(f"{name}'s engine could not load the model: {said}")
            if health.get("ready"):
                return health
        time.sleep(_POLL_S if nonce else _STRANGER_POLL_S)
    raise EngineFailed(
        f"{name}'s engine was not ready within {spec.run.start_timeout_s:.0f} s "
        f"(run.start_timeout_s of its catalog entry): {_tail(spec.log)}"
    )


def check_settings(entry: Entry, profile: str, health: Mapping[str, Any]) -> None:
    """See that the settings read back are the profile's.

    Raises:
        EngineFailed: they are not; the message names each difference.
    """
    read_back = health.get("profile") or {}
    different = {
        k: (v, read_back.get(k)) for k, v in entry.profiles[profile].items() if read_back.get(k) != v
    }
    if different:
        listed = "; ".join(f"{k}: asked {a!r}, runs {b!r}" for k, (a, b) in different.items())
        raise EngineFailed(f"{entry.name} does not run as profile '{profile}' says: {listed}")


def check_device(entry: Entry, health: Mapping[str, Any]) -> None:
    """See that a stranger's server computes where its entry says, once it has spoken: some load with the first request.

    Raises:
        EngineFailed: the host has a GPU, and none of the engine's processes is on it.
    """
    if (
        entry.ours is None
        and entry.started is not None
        and entry.started.gpu
        and health.get("device") == "cpu"
    ):
        raise EngineFailed(
            f"{entry.title} has spoken and NVML sees none of its processes on a GPU: it runs on the CPU. See what its "
            "log says, and run.gpu, run.environment and run.image of its entry."
        )


def _get_health(url: str) -> dict[str, Any] | None:
    """Return the JSON of `/health`, ready or not; None while nothing answers or it is not JSON."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/health")
        body = json.loads(connection.getresponse().read(1_000_000))
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if isinstance(body, dict) else {}


def _tail(log: Path) -> str:
    try:
        text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return "no log"
    return clean(text).strip() or "its log is empty"
