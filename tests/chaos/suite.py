"""One injected fault: set the case up, inject at the moment, watch from outside, judge, resume."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.controller.run import Run
from bench.neighbour.lease_files import LeaseDirectory
from bench.records.neighbour import NeighbourRecord
from bench.storage.record_file import load_record
from tests.chaos.config import SPEAK_S, TTL_S, Mode, Moment
from tests.chaos.drivers import Driver
from tests.chaos.faults import Fault
from tests.chaos.world import Scene, World, run_again, scene, wait
from tests.support.onlooker import GRACE_S, complaints

LIMIT_S = TTL_S + GRACE_S
BEGINS_S = 20.0
"""So long a job may be on its way that has not begun at the fault: Ansible's is, even when its controller is gone."""


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
    back and no engine left, for good: the later of what Docker's events and the onlooker say. None: it never
    was within the limit."""
    problems: list[str]
    down_s: float | None = None
    """For how long the neighbour was down in all, by Docker's events."""

    def row(self) -> str:
        """Return the outcome as a row of the table."""
        seconds = "-" if self.seconds is None else f"{self.seconds:.1f}"
        word = "restored" if self.restored else "NOT RESTORED"
        rest = f"  {'; '.join(self.problems)}" if self.problems else ""
        down = "" if self.down_s is None else f" {self.down_s:>6.1f}"
        return f"{self.fault:31} {self.moment:16} {self.driver:12} {self.policy:14} {seconds:>6}{down}  {word}{rest}"


HEADER = f"{'fault':31} {'moment':16} {'driver':12} {'policy':14} {'s':>6}"


def run_case(
    world: World,
    fault: Fault,
    moment: Moment,
    driver: type[Driver],
    policy: str,
    *,
    real: Mode | None = None,
    with_lease: bool = True,
    limit_s: float = LIMIT_S,
    resume: bool = True,
) -> Outcome:
    """Inject one fault and return what became of it; `resume` also runs it again without one.

    `real`: into the product's own job in that mode, not into the stand-in.
    """
    # Without its controller a run has to be ended before it ends by itself: it goes on for longer than it may.
    speak_s = driver.heartbeat_limit_s + 6.0 if fault.of_controller else SPEAK_S
    asked: dict[str, Any] = {
        "real": real, "with_lease": with_lease, "watch": fault.eats_memory, "speak_s": speak_s,
    }  # fmt: skip
    name = driver.name if real is None else f"job {real}"
    with scene(world, driver, moment, policy, **asked) as made:
        made.driver.start()
        problems = [] if _reach(made, moment) else [f"the run never came to {moment!r}"]
        if not problems:
            began = Began(time.monotonic(), time.time())
            fault.inject(made)
            made.case.injected.touch()
            seconds, problems = _await_return(made, began, limit_s)
            problems += _judge(made, seconds, limit_s)
            if with_lease and not problems:
                problems += _hollow(made, fault, moment, began) + _leftovers(made, resume)
        else:
            seconds = None
            problems += _why(made)
        return Outcome(fault.name, moment, name, policy, not problems, seconds, problems)


def run_until(made: Scene, at_s: float | None) -> float:
    """Start a run and return after `at_s`, or once it has ended by itself; return how long that took."""
    began = time.monotonic()
    made.driver.start()
    wait((lambda: is_over(made)) if at_s is None else bool, at_s if at_s is not None else 120.0)
    return time.monotonic() - began


def is_over(made: Scene) -> bool:
    """Tell whether a run has begun and ended, with nothing left of it: no fault can come to it any more."""
    return _has_begun(made) and not made.bench_alive() and made.lease_free()


def _has_begun(made: Scene) -> bool:
    return (made.directory / "bench.pid").exists()


def judge_after(made: Scene, began: "Began", limit_s: float = LIMIT_S) -> tuple[float | None, list[str]]:
    """Return the seconds from a fault to the neighbour's return, whatever the run was at, and what is amiss."""
    wait(lambda: _has_begun(made), BEGINS_S)
    seconds, problems = _await_return(made, began, limit_s)
    problems += _judge(made, seconds, limit_s)
    return seconds, problems if problems or made.lease_free() else ["a lease is left"]


def judge_untouched(made: Scene, _began: "Began", limit_s: float = LIMIT_S) -> tuple[float | None, list[str]]:
    """Return what a run suffered whose host was none of the fault's: it ends after the one pause it asked for."""
    if not wait(lambda: is_over(made), 60.0 + limit_s):
        return None, ["its run did not end"]
    ends = [each for each in made.log.of(made.case.container_id) if each["Action"] == "die"]
    problems = [] if len(ends) == 1 else [f"its neighbour was stopped {len(ends)} times"]
    told = load_record(NeighbourRecord, Path(made.case.run_dir))
    if not _result(made)["done"] or told.state != "restored" or len(told.leases) != 1:
        problems.append(f"its run ended with {_result(made)}, its neighbour {told.state}")
    return None, problems + complaints(made.log, made.case.container_id, made.case.run_id)


def _reach(made: Scene, moment: Moment) -> bool:
    """Wait until the run is where the fault is to be injected."""
    if moment == "during restore" and made.case.with_lease:
        return wait(lambda: made.watcher_state() == "restoring", 60.0)
    if made.case.real:
        return wait(
            lambda: made.watcher_state() == "held" and (moment != "mid-benchmark" or made.takes() > 1), 90
        )
    if not wait(made.case.reached.exists, 60.0):
        return False
    return (
        moment != "before stop"
        or not made.case.with_lease
        or wait(lambda: made.watcher_state() == "armed", 30)
    )


@dataclass(frozen=True, slots=True)
class Began:
    """When a fault was injected, by the clock of the onlooker and by that of Docker's events."""

    monotonic: float
    wall: float


def _await_return(made: Scene, began: Began, limit_s: float) -> tuple[float | None, list[str]]:
    """Wait until all is over and the neighbour well; return the seconds it took, and what is not over."""

    def over() -> bool:
        look = made.onlooker.last
        return bool(look and look.well and not made.bench_alive() and made.lease_free())

    def settled() -> bool:
        return over() and not wait(lambda: not over(), 0.5)

    # A run that survived its fault goes on to its end first: the limit is then on the end of its pause.
    problems = []
    if not wait(settled, limit_s + 10.0):
        problems += ["the benchmarking process is still alive"] if made.bench_alive() else []
        problems += [] if made.lease_free() else ["a lease is left"]
    since = made.onlooker.back_since()
    if since is None:
        return None, problems
    counted_from = max(began.monotonic, made.onlooker.docker_since() or began.monotonic)
    seen = since - counted_from
    last = made.log.back_at(made.case.container_id, made.case.run_id, began.wall)
    by_events = 0.0 if last is None else last - began.wall - (counted_from - began.monotonic)
    return max(0.0, seen, by_events), problems


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


def _hollow(made: Scene, fault: Fault, moment: Moment, began: Began) -> list[str]:
    """Return why a case proves nothing: its fault came too late, or did nothing to the run."""
    if moment == "before stop":
        late = made.log.lent_at(made.case.container_id, began.wall)
    else:
        late = made.case.mode == "pause" and not made.log.lent_at(made.case.container_id, began.wall)
    found = [f"by Docker's events the fault did not come {moment}"] if late else []
    if fault.of_controller and moment != "during restore" and _result(made)["done"]:
        found.append("the run went on to its end: its controller was not gone")
    return found


def _result(made: Scene) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(made.case.run_dir) / "result.json").read_text())
    return found


def _leftovers(made: Scene, again: bool) -> list[str]:
    if not made.lease_free():
        return ["a lease is left"]
    return _told(made) + (resume(made) if again else [])


def _told(made: Scene) -> list[str]:
    """Check that the run directory, with the host's history, tells what happened."""
    run_dir = Path(made.case.run_dir)
    if made.case.real:
        # What a job that was killed had noted never left the host: the resumed one has to tell of it.
        return [] if Run(run_dir).preflight_passed() else ["the run directory is damaged"]
    try:
        told = load_record(NeighbourRecord, run_dir)
        _result(made)
    except (OSError, ValueError) as error:
        return [f"the run directory tells nothing: {error}"]
    if told.state == "held" and not LeaseDirectory(Path(made.case.lease_dir)).history(made.case.run_id):
        return ["neither the run directory nor the host's history tells how the lease ended"]
    return []


def resume(made: Scene) -> list[str]:
    """Check that the run can be done again, and that its record then tells of the earlier attempt."""
    run_dir = Path(made.case.run_dir)
    directory = LeaseDirectory(Path(made.case.lease_dir))
    ended = directory.history(made.case.run_id)
    sealed = made.case.real and Run(run_dir).todo("benchmark") is not None
    again = run_again(made.case, made.driver)
    if again.returncode:
        return [f"it cannot be resumed: {_tail(made)} | {again.stderr[-300:]}"]
    told = load_record(NeighbourRecord, run_dir)
    known = {each.lease_id for each in told.leases}
    forgotten = [each.lease_id for each in ended if each.lease_id not in known]
    problems = [f"the resumed run does not tell of {len(forgotten)} earlier leases"] if forgotten else []
    if told.state != "restored":
        problems.append(f"after the resume the record says that the neighbour is {told.state}")
    if sealed and len(directory.history(made.case.run_id)) != len(ended):
        problems.append("a benchmark that was done borrowed the neighbour again")
    return problems


def _why(made: Scene) -> list[str]:
    return [_tail(made), f"watcher: {made.watcher_state()}"]


def _tail(made: Scene) -> str:
    log = made.directory / "bench.log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-4:]) if log.exists() else "no log"
