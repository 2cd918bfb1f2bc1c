"""Faults at times drawn from the whole run, not at named moments: the seed tells them all, and is printed."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from docker.errors import DockerException

from tests.chaos.config import MODES, SPEAK_S, Mode
from tests.chaos.drivers import AnsibleDriver, Driver, ProcessDriver, SshDriver
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.suite import LIMIT_S, Began, Outcome, judge_after, run_until
from tests.chaos.world import Scene, World, scene

POLICIES = ("unless-stopped", "always", "on-failure", "no")
DRIVERS: tuple[type[Driver], ...] = (ProcessDriver, AnsibleDriver, SshDriver)
NOTHING_THERE = (OSError, ValueError, AssertionError, StopIteration, DockerException)
"""What a fault raises whose victim is not there yet, or not any more."""
REAL_SHARE = 0.3
"""Of the faults that can be done to the product's own job."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One fault, and when."""

    number: int
    fault: Fault
    driver: type[Driver]
    real: Mode | None
    policy: str
    share: float
    """When: 0 is the start of the controller, 1 the end of a run without a fault."""

    @property
    def who(self) -> str:
        """Return what suffers it, as the table names it."""
        return self.driver.name if self.real is None else f"job {self.real}"


def draw(seed: int, count: int) -> list[Drawn]:
    """Return what a seed draws: every fault once before any is drawn again."""
    found: list[Drawn] = []
    left: list[Fault] = []
    dice = random.Random(seed)
    for number in range(count):
        left = left or dice.sample(FAULTS, len(FAULTS))
        fault = left.pop()
        driver = dice.choice([each for each in DRIVERS if each.name in fault.drivers])
        modes = [
            mode for mode in MODES if driver is ProcessDriver and not (fault.eats_memory and mode == "pause")
        ]
        real = dice.choice(modes) if modes and dice.random() < REAL_SHARE else None
        found.append(Drawn(number, fault, driver, real, dice.choice(POLICIES), dice.random()))
    return found


class Lengths:
    """How long a run takes without a fault, measured once for each that suffers them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[tuple[str, float], float] = {}

    def of(self, drawn: Drawn) -> float:
        """Return the seconds of such a run."""
        key = (drawn.who, _speak_s(drawn))
        if key not in self._known:
            with _scene(self._world, drawn) as made:
                self._known[key] = run_until(made, None)
        return self._known[key]


def _speak_s(drawn: Drawn) -> float:
    return drawn.driver.heartbeat_limit_s + 6.0 if drawn.fault.of_controller else SPEAK_S


def _scene(world: World, drawn: Drawn) -> AbstractContextManager[Scene]:
    watch = drawn.fault.eats_memory
    return scene(
        world, drawn.driver, None, drawn.policy, real=drawn.real, watch=watch, speak_s=_speak_s(drawn)
    )


def run_drawn(world: World, drawn: Drawn, lengths: Lengths, limit_s: float = LIMIT_S) -> Outcome:
    """Do what was drawn and return what became of it; a fault whose victim is not there counts as none."""
    at_s = drawn.share * lengths.of(drawn)
    with _scene(world, drawn) as made:
        run_until(made, at_s)
        state = made.watcher_state() or "not lent"
        began = Began(time.monotonic(), time.time())
        asked = (drawn.fault.name, f"{at_s:4.1f} {state}", drawn.who, drawn.policy)
        try:
            drawn.fault.inject(made)
        except NOTHING_THERE:
            return Outcome(*asked, restored=True, seconds=None, problems=["no victim: does not count"])
        made.case.injected.touch()
        seconds, problems = judge_after(made, began, limit_s)
        down_s = made.log.down_s(made.case.container_id)
        return Outcome(*asked, restored=not problems, seconds=seconds, problems=problems, down_s=down_s)


def play_drawn(world: World, seed: int, count: int) -> Iterator[Outcome]:
    """Do what a seed draws, until `count` faults have had a victim."""
    lengths, hit = Lengths(world), 0
    for drawn in draw(seed, 3 * count):
        if hit == count:
            return
        outcome = run_drawn(world, drawn, lengths)
        hit += outcome.down_s is not None
        yield outcome


def tell_of_outages(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line a fault: how often it was done, and how long the neighbour was down in the middle and at worst."""
    lines = []
    for name in sorted({each.fault for each in outcomes}):
        down = sorted(each.down_s for each in outcomes if each.fault == name and each.down_s is not None)
        if down:
            lines.append(
                f"{name:31} {len(down):3} times, down {down[len(down) // 2]:5.1f} s, at most {down[-1]:5.1f}"
            )
    return lines
