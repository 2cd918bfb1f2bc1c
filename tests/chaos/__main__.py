"""`python -m tests.chaos`: every fault at every moment, the table, and `N of N restored`."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator

from tests.chaos.at_random import play_drawn, tell_of_outages
from tests.chaos.config import MODES, MOMENTS, Mode, Moment
from tests.chaos.drivers import AnsibleDriver, Driver, ProcessDriver, SshDriver
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.suite import HEADER, LIMIT_S, Outcome, run_case
from tests.chaos.world import World

POLICIES = ("unless-stopped", "always", "on-failure", "no")
Chosen = tuple[type[Driver], Fault, Moment, Mode | None]
OF_THE_JOB = (
    "benchmarking process killed",
    "engine hung",
    "engine eats memory",
    "watcher killed",
    "everything killed",
)
"""Faults that are done to the product's own job as well; each case takes a whole run."""
LOST = (("benchmarking process killed", "just after stop"), ("benchmarking process killed", "mid-benchmark"),
        ("everything killed", "just after stop"), ("everything killed", "mid-benchmark"))  # fmt: skip
"""Of these nothing comes back without the lease."""
KEPT = (("task failure", "mid-benchmark"), ("controller SIGKILL", "mid-benchmark"))
"""These a careful script survives without it."""
DRAWN = 30
"""Faults at random times, after those at named moments."""


def cases(driver: str, fault: str, moment: str) -> Iterator[Chosen]:
    """Yield every case: each fault with each controller that it is done with, at each moment, and the cheaper ones
    done to the product's own job in both modes."""
    drivers: tuple[type[Driver], ...] = (ProcessDriver, AnsibleDriver, SshDriver)
    for each in (d for d in drivers if driver in d.name):
        for done in (f for f in FAULTS if fault in f.name and each.name in f.drivers):
            for when in (m for m in MOMENTS if moment in m):
                yield each, done, when, None
    for done in (f for f in FAULTS if fault in f.name and f.name.startswith(OF_THE_JOB)):
        for mode in MODES:
            # Paused, a job ends when the host is nearly out of memory: no test may bring a machine there.
            if (
                driver in f"job {mode}"
                and moment in "mid-benchmark"
                and not (done.eats_memory and mode == "pause")
            ):
                yield ProcessDriver, done, "mid-benchmark", mode


def of(pairs: tuple[tuple[str, str], ...]) -> Iterator[Chosen]:
    """Yield the cases that are named by fault and moment."""
    for name, moment in pairs:
        yield from ((d, f, m, r) for d, f, m, r in cases("process", name, moment) if r is None)


def suite(world: World, chosen: Iterator[Chosen], *, with_lease: bool) -> list[Outcome]:
    """Inject one fault after another and print what became of each."""
    outcomes: list[Outcome] = []
    for driver, fault, moment, real in chosen:
        # Shifted by one each fault, so that every moment meets every policy.
        policy = POLICIES[(len(outcomes) + len(outcomes) // 4) % 4] if with_lease else POLICIES[0]
        outcome = run_case(world, fault, moment, driver, policy, real=real, with_lease=with_lease)
        outcomes.append(outcome)
        print(outcome.row(), flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--without-lease", action="store_true", help="switch the lease off: it has to fail")
    parser.add_argument("--fault", default="", help="only faults whose name contains this")
    parser.add_argument("--moment", default="", help="only moments whose name contains this")
    parser.add_argument("--driver", default="", help="only controllers whose name contains this")
    parser.add_argument("--random", type=int, metavar="N", help="N faults at random times, and nothing else")
    parser.add_argument("--seed", type=int, default=None, help="the same random faults again")
    asked = parser.parse_args()
    seed = time.time_ns() % 10**6 if asked.seed is None else asked.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engine is cleared away then too
    began = time.monotonic()
    print(f"limit {LIMIT_S:.0f} s from the fault, or from Docker's return after it\n{HEADER}", flush=True)
    chosen = cases(asked.driver, asked.fault, asked.moment)
    whole = not (asked.driver or asked.fault or asked.moment or asked.without_lease)
    world = World()
    try:
        if asked.without_lease:
            lost = suite(world, (each for each in chosen if each[3] is None), with_lease=False)
            print(f"{sum(each.restored for each in lost)} of {len(lost)} restored without the lease")
            return 0
        outcomes = [] if asked.random else suite(world, chosen, with_lease=True)
        if whole:
            outcomes += at_random(world, seed, asked.random or DRAWN)
        counter = judge_without(world) if whole and not asked.random else True
    finally:
        world.close()
    good = [each for each in outcomes if each.restored]
    times = sorted(each.seconds for each in good if each.seconds is not None)
    if times:
        print(f"seconds to restoration: median {times[len(times) // 2]:.1f}, longest {times[-1]:.1f}")
    print(f"took {(time.monotonic() - began) / 60:.1f} minutes")
    print(f"{len(good)} of {len(outcomes)} restored")
    return 0 if len(good) == len(outcomes) and counter else 1


def at_random(world: World, seed: int, count: int) -> list[Outcome]:
    """Inject faults at times drawn from the whole run, print what became of each, and how long each kind cost."""
    print(
        f"at random, --seed {seed}: `python -m tests.chaos --random {count} --seed {seed}` does the same again"
    )
    outcomes = []
    for outcome in play_drawn(world, seed, count):
        print(outcome.row(), flush=True)
        if outcome.down_s is not None:
            outcomes.append(outcome)
    for line in tell_of_outages(outcomes):
        print(line)
    return outcomes


def judge_without(world: World) -> bool:
    """Do some of the same without the lease; return whether those are lost that must be."""
    print("without the lease:", flush=True)
    lost = suite(world, of(LOST), with_lease=False)
    kept = suite(world, of(KEPT), with_lease=False)
    up = [each for each in lost + kept if each.restored]
    can_fail = not any(each.restored for each in lost)
    said = "the suite can fail" if can_fail else "THE SUITE DOES NOT FAIL WHERE IT MUST"
    print(f"{len(up)} of {len(lost) + len(kept)} restored without the lease: {said}", flush=True)
    return can_fail


if __name__ == "__main__":
    sys.exit(main())
