"""The machine of the suite: a private Docker engine that faults may kill, and one neighbour for each case."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.docker_host.host import DockerHost
from bench.memory.meminfo import read_available_bytes
from bench.neighbour.lease_files import LeaseDirectory
from bench.neighbour.watcher_container import build_watcher, remove_watcher
from tests.chaos import real_job
from tests.chaos.config import SPEAK_S, Case, Mode, Moment
from tests.chaos.drivers import Driver
from tests.support.docker import BASE_IMAGE, Dockerd, DockerEnv, base_image, install_missing
from tests.support.neighbours import ChatNeighbour, chat_image, chat_neighbour, free_port
from tests.support.onlooker import EventLog, Onlooker

MARGIN_BYTES = 1 << 30
"""How far MemAvailable may fall in a case that eats memory before the watcher ends the engine."""


class World:
    """A private engine, started once and used by all cases; faults kill it and start it again."""

    def __init__(self) -> None:
        install_missing(("dockerd", "docker.io"), ("ip", "iproute2"))
        self.root = Path(tempfile.mkdtemp(prefix="audition-chaos-"))
        self.root.chmod(0o711)  # a case may be another user's
        self.daemon = Dockerd(self.root / "docker", bridge=False)
        self.daemon.start()
        self.env: DockerEnv = self.daemon.env
        base_image(self.env)
        chat_image(self.env)
        self._engine_image()
        with DockerHost(self.env.host) as docker_host:
            build_watcher(docker_host, BASE_IMAGE)

    def _engine_image(self) -> None:
        """Build the engine of the real job, under the name by which the job looks for it."""
        with contextlib.closing(self.env.client()) as client:
            context = Path(__file__).parent / "engine"
            client.images.build(
                path=str(context), tag=real_job.image_name(), buildargs={"BASE": BASE_IMAGE}, rm=True
            )

    def close(self) -> None:
        """End the engine and remove all that it kept."""
        self.daemon.erase()
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass
class Scene:
    """One case, running."""

    world: World
    case: Case
    neighbour: ChatNeighbour
    driver: Driver
    log: EventLog
    onlooker: Onlooker

    @property
    def directory(self) -> Path:
        return Path(self.case.directory)

    def bench_pid(self) -> int:
        """Return the benchmarking process."""
        return int((self.directory / "bench.pid").read_text())

    def bench_alive(self) -> bool:
        """Tell whether it still runs."""
        try:
            state = Path(f"/proc/{self.bench_pid()}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError):
            return False
        return state not in ("Z", "X")

    def container_pid(self, container: str) -> int:
        """Return the first process of a container."""
        with contextlib.closing(self.world.env.client()) as client:
            pid = int(client.api.inspect_container(container)["State"]["Pid"])
        assert pid, f"{container} does not run"
        return pid

    def container_processes(self, container: str) -> list[int]:
        """Return all processes of a container: the first may be an init that does nothing itself."""
        with contextlib.closing(self.world.env.client()) as client:
            found = client.api.top(container)
        return [int(each[found["Titles"].index("PID")]) for each in found["Processes"]]

    def engines(self) -> list[str]:
        """Return the run's engines."""
        with DockerHost(self.world.env.host) as docker_host:
            return [each.id for each in docker_host.labelled(self.case.run_id) if each.role != "watcher"]

    def takes(self) -> int:
        """Return how many timed takes the real job has shown so far."""
        shown = (self.directory / "state" / "jobs").glob("*/*/progress.jsonl")
        return sum(each.read_text().count(" | TTFA ") for each in shown)

    def watcher_state(self) -> str | None:
        """Return what the watcher last said; used to time a fault, never as evidence."""
        status = LeaseDirectory(Path(self.case.lease_dir)).status()
        return status.state if status else None

    def lease_free(self) -> bool:
        """Tell whether nothing of a lease is left but its record."""
        return not (Path(self.case.lease_dir) / "lease.json").exists()


@contextlib.contextmanager
def scene(
    world: World,
    driver: type[Driver],
    gate: Moment | None,
    policy: str,
    *,
    real: Mode | None = None,
    watch: bool = False,
    **changes: Any,
) -> Iterator[Scene]:
    """Set a case up: a fresh neighbour, an event log, an onlooker, and the controller about to start.

    `real` is the mode of the product's own job; without it the stand-in borrows.
    """
    run_id = f"chaos-{uuid.uuid4().hex[:10]}"
    directory = world.root / run_id
    for each in ("lease", "run", "boot"):
        (directory / each).mkdir(parents=True)
    boot_id = directory / "boot" / "boot_id"
    boot_id.write_text(uuid.uuid4().hex)
    with chat_neighbour(world.env, policy=policy, environment={"CHAT_READY_S": "0,1"}) as neighbour:
        case = Case(
            **{
                "container": neighbour.name,
                "container_id": neighbour.id,
                "run_id": run_id,
                "url": neighbour.url,
                "docker_host": world.env.host,
                "directory": str(directory),
                "lease_dir": str(directory / "lease"),
                "run_dir": str(directory / "run"),
                "boot_id_file": str(boot_id),
                "watcher_base": BASE_IMAGE,
                "engine_image": BASE_IMAGE,
                "engine_port": free_port(),
                "gate": gate,
                "with_lease": True,
                "watch_bytes": max(0, (read_available_bytes() or 0) - MARGIN_BYTES) if watch else 0,
                "speak_s": SPEAK_S,
                "heartbeat_limit_s": driver.heartbeat_limit_s,
                "real": real is not None,
                "mode": real or "pause",
                **changes,
            }
        )  # fmt: skip
        if real is not None:
            run = real_job.prepare(directory, world.env.host, real_job.neighbour_of(case))
            case = replace(case, run_id=run.run_id, run_dir=str(run.path))
        log = EventLog(world.env, directory / "docker-events.jsonl")
        onlooker = Onlooker(world.env, neighbour.name, neighbour.id, policy, case.run_id)
        made = Scene(world, case, neighbour, driver(case), log, onlooker)
        try:
            yield made
        finally:
            onlooker.end()
            log.end()
            made.driver.end()
            with contextlib.suppress(OSError, ValueError):
                os.kill(made.bench_pid(), signal.SIGKILL)
            world.daemon.start()
            with DockerHost(world.env.host) as docker_host:
                remove_watcher(docker_host, f"audition-watcher-{neighbour.name}")
                docker_host.remove_run(case.run_id)


def wait(what: Any, limit_s: float) -> bool:
    """Wait until `what()` is true; return whether it became so."""
    end = time.monotonic() + limit_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def run_again(case: Case, driver: Driver) -> subprocess.CompletedProcess[str]:
    """Resume the run: the same run id, in the same directories, by the same user, without a fault."""
    path = Path(case.directory) / "resume.json"
    case.engine_hangs.unlink(missing_ok=True)
    resumed = replace(case, gate=None, watch_bytes=0, speak_s=SPEAK_S)
    path.write_bytes(resumed.save().read_bytes())
    return subprocess.run(
        [driver.python, "-m", "tests.chaos.controller", str(path)],
        capture_output=True, text=True, timeout=120, **driver.who(),
    )  # fmt: skip
