"""`python -m tests.chaos`: every fault at every moment, the table, and `N of N restored`."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator

from tests.chaos.config import MOMENTS, Moment
from tests.chaos.drivers import AnsibleDriver, Driver, ProcessDriver, SshDriver
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.suite import HEADER, LIMIT_S, Outcome, run_case
from tests.chaos.world import World

POLICIES = ("unless-stopped", "always", "on-failure", "no")


def cases(driver: str, fault: str, moment: str) -> Iterator[tuple[type[Driver], Fault, Moment]]:
    """Yield every case: each fault with each controller that it is done with, at each moment."""
    drivers: tuple[type[Driver], ...] = (ProcessDriver, AnsibleDriver, SshDriver)
    for each in (d for d in drivers if driver in d.name):
        for done in (f for f in FAULTS if fault in f.name and each.name in f.drivers):
            for when in (m for m in MOMENTS if moment in m):
                yield each, done, when


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--without-lease", action="store_true", help="switch the lease off: it has to fail")
    parser.add_argument("--fault", default="", help="only faults whose name contains this")
    parser.add_argument("--moment", default="", help="only moments whose name contains this")
    parser.add_argument("--driver", default="", help="only controllers whose name contains this")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engine is cleared away then too
    began = time.monotonic()
    print(f"limit {LIMIT_S:.0f} s from the fault, or from Docker's return after it\n{HEADER}", flush=True)
    outcomes: list[Outcome] = []
    world = World()
    try:
        for driver, fault, moment in cases(asked.driver, asked.fault, asked.moment):
            # Shifted by one each fault, so that every moment meets every policy.
            policy = POLICIES[(len(outcomes) + len(outcomes) // 4) % 4]
            outcome = run_case(world, fault, moment, driver, policy, with_lease=not asked.without_lease)
            outcomes.append(outcome)
            print(outcome.row(), flush=True)
    finally:
        world.close()
    good = [each for each in outcomes if each.restored]
    times = sorted(each.seconds for each in good if each.seconds is not None)
    if times:
        print(f"seconds to restoration: median {times[len(times) // 2]:.1f}, longest {times[-1]:.1f}")
    print(f"took {(time.monotonic() - began) / 60:.1f} minutes")
    print(f"{len(good)} of {len(outcomes)} restored")
    return 0 if len(good) == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
