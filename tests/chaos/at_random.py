"""Faults at times drawn from the whole run, not at named moments: the seed tells them all, and is printed."""

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from docker.errors import DockerException

from tests.chaos.config import MODES, SPEAK_S, Mode
from tests.chaos.drivers import (
    AnsibleDriver,
    Driver,
    PairDriver,
    ProcessDriver,
    SecondHost,
    SshDriver,
    UserDriver,
)
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.suite import (
    LIMIT_S,
    Began,
    Outcome,
    is_over,
    judge_after,
    judge_untouched,
    resume,
    run_until,
)
from tests.chaos.world import Scene, World, scene

POLICIES = ("unless-stopped", "always", "on-failure", "no")
DRIVERS: tuple[type[Driver], ...] = (ProcessDriver, UserDriver, AnsibleDriver, SshDriver, PairDriver)
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
        own = f"job {self.real}" + (" user" if self.driver is UserDriver else "")
        return self.driver.name if self.real is None else own


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
            mode
            for mode in MODES
            if issubclass(driver, ProcessDriver) and not (fault.eats_memory and mode == "pause")
        ]
        real = dice.choice(modes) if modes and dice.random() < REAL_SHARE else None
        found.append(Drawn(number, fault, driver, real, dice.choice(POLICIES), dice.random()))
    return found


class Worlds:
    """The machine of the suite, and a second one once a play has two hosts."""

    def __init__(self, first: World) -> None:
        self.first = first

    @cached_property
    def second(self) -> World:
        """The second host's Docker engine."""
        return World()

    def close(self) -> None:
        """End the second; the first is its maker's."""
        if "second" in vars(self):
            self.second.close()

    @contextlib.contextmanager
    def scenes(self, drawn: Drawn) -> Iterator[tuple[Scene, Scene | None]]:
        """Set up what was drawn: the host that suffers, and the one beside it where the play has two."""
        speak_s = drawn.driver.heartbeat_limit_s + 6.0 if drawn.fault.of_controller else SPEAK_S
        watch = drawn.fault.eats_memory
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            made = enter(
                scene(
                    self.first,
                    drawn.driver,
                    None,
                    drawn.policy,
                    real=drawn.real,
                    watch=watch,
                    speak_s=speak_s,
                )
            )
            if not isinstance(made.driver, PairDriver):
                yield made, None
                return
            beside = enter(scene(self.second, SecondHost, None, drawn.policy, speak_s=speak_s))
            assert isinstance(beside.driver, SecondHost)
            made.driver.second = beside.driver
            yield made, beside


class Lengths:
    """How long a run takes without a fault, measured once for each that suffers them."""

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self._known: dict[tuple[str, bool], float] = {}

    def of(self, drawn: Drawn) -> float:
        """Return the seconds of such a run."""
        key = (drawn.who, drawn.fault.of_controller)
        if key not in self._known:
            with self._worlds.scenes(drawn) as (made, _):
                self._known[key] = run_until(made, None)
        return self._known[key]


def run_drawn(worlds: Worlds, drawn: Drawn, lengths: Lengths, limit_s: float = LIMIT_S) -> Outcome:
    """Do what was drawn and return what became of it; a fault whose victim is not there counts as none.

    Where the play has two hosts, the one beside has to end its run as if nothing were, or, where their controller is
    what suffers, to come back as well.
    """
    at_s = drawn.share * lengths.of(drawn)
    with worlds.scenes(drawn) as (made, beside):
        run_until(made, at_s)
        state = made.watcher_state() or "not lent"
        began = Began(time.monotonic(), time.time())
        asked = (drawn.fault.name, f"{at_s:4.1f} {state}", drawn.who, drawn.policy)
        if is_over(made):
            return Outcome(*asked, restored=True, seconds=None, problems=["over by then: does not count"])
        # A lease whose watcher has not spoken yet holds nothing: what falls with Docker comes back by Docker's policy.
        if drawn.fault.only_lent and (made.lease_free() or made.watcher_state() is None):
            return Outcome(*asked, restored=True, seconds=None, problems=["not lent: does not count"])
        try:
            drawn.fault.inject(made)
        except NOTHING_THERE:
            return Outcome(*asked, restored=True, seconds=None, problems=["no victim: does not count"])
        made.case.injected.touch()
        seconds, problems = judge_after(made, began, limit_s)
        down_s = made.log.down_s(made.case.container_id)
        problems += [] if problems else resume(made)
        if beside is not None:
            judge = judge_after if drawn.fault.of_controller else judge_untouched
            problems += [f"the host beside: {each}" for each in judge(beside, began, limit_s)[1]]
        return Outcome(*asked, restored=not problems, seconds=seconds, problems=problems, down_s=down_s)


def play_drawn(world: World, seed: int, count: int) -> Iterator[Outcome]:
    """Do what a seed draws, until `count` faults have had a victim."""
    worlds, hit = Worlds(world), 0
    lengths = Lengths(worlds)
    try:
        for drawn in draw(seed, 3 * count):
            if hit == count:
                return
            outcome = run_drawn(worlds, drawn, lengths)
            hit += outcome.down_s is not None
            yield outcome
    finally:
        worlds.close()


def tell_of_outages(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the table: by fault how often it was done, what came back and when, and how long the neighbour was down.

    `back`: from the fault, or Docker's return after it, until the neighbour is up for good. `down`: all that it was
    down in the run, by Docker's events; a pause that the fault did not cut short is in it, that of the run's next
    attempt is not.
    """
    lines = [
        "| fault | n | came back | back s, p50 | back s, max | limit s | down s, p50 | down s, max |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in sorted({each.fault for each in outcomes}):
        of = [each for each in outcomes if each.fault == name and each.down_s is not None]
        back = sorted(each.seconds for each in of if each.seconds is not None) or [float("nan")]
        down = sorted(each.down_s for each in of if each.down_s is not None) or [float("nan")]
        lines.append(
            f"| {name} | {len(of)} | {sum(each.restored for each in of)} | {back[len(back) // 2]:.1f} | {back[-1]:.1f} "
            f"| {LIMIT_S:.0f} | {down[len(down) // 2]:.1f} | {down[-1]:.1f} |"
        )
    return lines
