"""One injected fault: set the case up, inject at the moment, watch from outside, judge, resume."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.host.lease_files import LeaseDirectory
from bench.host.neighbour_record import NeighbourRecord
from tests.chaos.config import GRACE_S, SPEAK_S, TTL_S, Moment
from tests.chaos.drivers import Driver
from tests.chaos.evidence import complaints
from tests.chaos.faults import Fault
from tests.chaos.world import Scene, World, run_again, scene, wait

LIMIT_S = TTL_S + GRACE_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one injected fault."""

    fault: str
    moment: str
    driver: str
    policy: str
    restored: bool
    seconds: float | None
    """From the fault, or from Docker's return after it, until the neighbour was up, the same, its policy
    back and no engine left, for good. None: it never was within the limit."""
    problems: list[str]

    def row(self) -> str:
        """Return the outcome as a row of the table."""
        seconds = "-" if self.seconds is None else f"{self.seconds:.1f}"
        word = "restored" if self.restored else "NOT RESTORED"
        rest = f"  {'; '.join(self.problems)}" if self.problems else ""
        return f"{self.fault:31} {self.moment:16} {self.driver:8} {self.policy:14} {seconds:>6}  {word}{rest}"


HEADER = f"{'fault':31} {'moment':16} {'driver':8} {'policy':14} {'s':>6}"


def run_case(
    world: World,
    fault: Fault,
    moment: Moment,
    driver: type[Driver],
    policy: str,
    *,
    with_lease: bool = True,
    limit_s: float = LIMIT_S,
    resume: bool = True,
) -> Outcome:
    """Inject one fault and return what became of it; `resume` also runs it again without one."""
    # Without its controller a run has to be ended before it ends by itself: it goes on for longer than it may.
    speak_s = driver.heartbeat_limit_s + 6.0 if fault.of_controller else SPEAK_S
    with scene(
        world, driver, moment, policy, with_lease=with_lease, watch=fault.eats_memory, speak_s=speak_s
    ) as made:
        made.driver.start()
        problems = [] if _reach(made, moment) else [f"the run never came to {moment!r}"]
        if not problems:
            began = time.monotonic()
            fault.inject(made)
            made.case.injected.touch()
            seconds = _await_return(made, began, limit_s)
            problems += _judge(made, seconds, limit_s)
            if with_lease and not problems:
                problems += _leftovers(made, resume)
        else:
            seconds = None
            problems += _why(made)
        return Outcome(fault.name, moment, driver.name, policy, not problems, seconds, problems)


def _reach(made: Scene, moment: Moment) -> bool:
    """Wait until the run is where the fault is to be injected."""
    if moment == "during restore" and made.case.with_lease:
        return wait(lambda: made.watcher_state() == "restoring", 60.0)
    if not wait(made.case.reached.exists, 60.0):
        return False
    return (
        moment != "before stop"
        or not made.case.with_lease
        or wait(lambda: made.watcher_state() == "armed", 30)
    )


def _await_return(made: Scene, began: float, limit_s: float) -> float | None:
    """Wait until all is over and the neighbour well; return the seconds it took to become so."""

    def over() -> bool:
        look = made.onlooker.last
        return bool(look and look.well and not made.bench_alive() and made.lease_free())

    def settled() -> bool:
        return over() and not wait(lambda: not over(), 0.5)

    # A run that survived its fault goes on to its end first: the limit is then on the end of its pause.
    wait(settled, limit_s + 10.0)
    since = made.onlooker.back_since()
    if since is None:
        return None
    docker_since = made.onlooker.docker_since()
    return max(0.0, since - max(began, docker_since or began))


def _judge(made: Scene, seconds: float | None, limit_s: float) -> list[str]:
    problems = []
    look = made.onlooker.last
    if seconds is None:
        problems.append(f"after {limit_s + 10.0:.0f} s: {look.what if look else 'never seen'}")
        return problems
    if seconds > limit_s:
        problems.append(f"took {seconds:.1f} s, limit {limit_s:.0f} s")
    wait(lambda: not complaints(made.log, made.case.container_id, made.case.run_id), 3.0)
    return problems + complaints(made.log, made.case.container_id, made.case.run_id)


def _leftovers(made: Scene, resume: bool) -> list[str]:
    if not made.lease_free():
        return ["a lease is left"]
    return _told(made) + (_resume(made) if resume else [])


def _told(made: Scene) -> list[str]:
    """Check that the run directory, with the host's history, tells what happened."""
    run_dir = Path(made.case.run_dir)
    try:
        told = NeighbourRecord.load(run_dir)
        json.loads((run_dir / "result.json").read_text())
    except (OSError, ValueError) as error:
        return [f"the run directory tells nothing: {error}"]
    if told.state == "held" and not LeaseDirectory(Path(made.case.state_dir)).history(made.case.run_id):
        return ["neither the run directory nor the host's history tells how the lease ended"]
    return []


def _resume(made: Scene) -> list[str]:
    """Check that the run can be done again, and that its record then tells of the earlier attempt."""
    run_dir = Path(made.case.run_dir)
    ended = LeaseDirectory(Path(made.case.state_dir)).history(made.case.run_id)
    again = run_again(made.case, sys.executable)
    if again.returncode:
        return [f"it cannot be resumed: {_tail(made)}"]
    known = {each.lease_id for each in NeighbourRecord.load(run_dir).leases}
    forgotten = [each.lease_id for each in ended if each.lease_id not in known]
    return [f"the resumed run does not tell of {len(forgotten)} earlier leases"] if forgotten else []


def _why(made: Scene) -> list[str]:
    return [_tail(made), f"watcher: {made.watcher_state()}"]


def _tail(made: Scene) -> str:
    log = made.directory / "bench.log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-4:]) if log.exists() else "no log"
