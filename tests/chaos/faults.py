"""The faults. Each is done to a running case, once; none waits for its consequences. One that cannot be done is an
error: it must not count as survived."""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.docker_host.host import RUN_LABEL
from bench.neighbour.watcher_container import name_watcher
from tests.chaos.drivers import SshDriver
from tests.chaos.world import Scene

EATER = """
import sys, time
eaten = []
while len(eaten) < 80:
    eaten.append(bytearray(b"x" * (32 << 20)))
    time.sleep(0.01)
time.sleep(3600)
"""


ON_HOST = ("process", "user", "pair")
"""What suffers the faults that are done on the host."""
ALONE = ("process", "user")
"""The same for those that all hosts of this machine would suffer, or their controller as well."""
CONTROLLERS = ("process", "user", "ansible", "pair")
"""What suffers the faults that are done to a controller."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and what it needs of the case."""

    name: str
    inject: Callable[[Scene], None]
    eats_memory: bool = False
    drivers: tuple[str, ...] = ON_HOST
    """The controllers it is done with, by their names."""

    only_lent: bool = False
    """Whether there is nothing to judge while nothing is lent: Docker goes down with it, and what comes back then is
    by its own policy; or nobody watches the memory yet."""

    @property
    def of_controller(self) -> bool:
        """Whether it is done to the controller itself, or to the way between it and the host."""
        return self.drivers not in (ON_HOST, ALONE)


def _task_fails(scene: Scene) -> None:
    os.kill(scene.bench_pid(), signal.SIGUSR1)


def _bench_killed(scene: Scene) -> None:
    os.kill(scene.bench_pid(), signal.SIGKILL)


def _engine_hangs(scene: Scene) -> None:
    scene.case.engine_hangs.touch()
    for each in scene.engines():
        for process in scene.container_processes(each):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)


def _engine_eats(scene: Scene) -> None:
    _run_labelled(scene, EATER)


def _run_labelled(scene: Scene, program: str) -> str:
    """Run a container of the run beside its engine, as its greedy part."""
    with contextlib.closing(scene.world.env.client()) as client:
        made = client.containers.run(
            scene.case.engine_image, ["python3", "-c", program, scene.case.run_id],
            detach=True, network_mode="none", labels={RUN_LABEL: scene.case.run_id},
        )  # fmt: skip
    return str(made.id)


def _watcher_killed(scene: Scene) -> None:
    if scene.case.with_lease:  # `docker kill` would also call off the restart policy; a crash does not
        os.kill(scene.container_pid(name_watcher(scene.case.container)), signal.SIGKILL)


def _watcher_removed(scene: Scene) -> None:
    with contextlib.closing(scene.world.env.client()) as client:
        client.api.remove_container(name_watcher(scene.case.container), force=True)


def _docker_killed(scene: Scene) -> None:
    scene.world.daemon.kill()
    time.sleep(1.0)
    scene.world.daemon.start()


def _power_lost(scene: Scene) -> None:
    scene.driver.kill()
    _bench_killed(scene)
    scene.world.daemon.kill_everything()
    Path(scene.case.boot_id_file).write_text(uuid.uuid4().hex)  # the machine comes up as another boot
    time.sleep(1.0)
    scene.world.daemon.start()


def _cable_pulled(scene: Scene) -> None:
    assert isinstance(scene.driver, SshDriver)
    scene.driver.cut()


def _signal(which: signal.Signals) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        scene.driver.signal(which)

    return inject


FAULTS: tuple[Fault, ...] = (
    Fault("task failure", _task_fails),
    Fault("controller SIGINT", _signal(signal.SIGINT), drivers=CONTROLLERS),
    Fault("controller SIGTERM", _signal(signal.SIGTERM), drivers=CONTROLLERS),
    Fault("controller SIGHUP", _signal(signal.SIGHUP), drivers=CONTROLLERS),
    Fault("controller SIGKILL", _signal(signal.SIGKILL), drivers=CONTROLLERS),
    Fault("ansible-runner cancel", lambda scene: scene.driver.cancel(), drivers=CONTROLLERS),
    Fault("controller frozen", lambda scene: scene.driver.freeze(), drivers=CONTROLLERS),
    Fault("SSH cut", _cable_pulled, drivers=("ssh",)),
    Fault("benchmarking process killed", _bench_killed),
    Fault("engine hung", _engine_hangs),
    Fault("engine eats memory", _engine_eats, eats_memory=True, drivers=ALONE, only_lent=True),
    Fault("watcher killed", _watcher_killed),
    Fault("watcher removed", _watcher_removed),
    Fault("dockerd killed, restarted", _docker_killed, only_lent=True),
    Fault("everything killed (power loss)", _power_lost, drivers=ALONE, only_lent=True),
)
