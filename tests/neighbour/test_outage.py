"""Where the seconds of a pause went: each second once, and under the reason that it had."""

from typing import Any

import pytest

from bench.neighbour.lease_files import WatcherStatus
from bench.neighbour.outage import (
    BASELINE,
    CUT_OFF,
    ENDING,
    FREEING,
    LOADING,
    ROOM,
    SPEAKING,
    STARTING,
    STOPPING,
    split_outage,
)

EVENTS = [
    (100.0, "armed"), (101.0, "stopping the neighbour"), (104.0, "the neighbour is stopped"),
    (200.0, "restoring: released: the block ended"), (203.0, "started the neighbour"),
    (205.0, "the policy is put back"), (263.0, "the neighbour is given back"),
]  # fmt: skip
MARKS = [(105.5, BASELINE), (110.0, LOADING), (150.0, SPEAKING), (170.0, SPEAKING), (199.0, ENDING)]


def _ended(events: list[tuple[float, str]] = EVENTS, **changes: Any) -> WatcherStatus:
    given: dict[str, Any] = {
        "lease_id": "l", "run_id": "r", "state": "restored", "reason": "released", "touched": True,
        "watcher_starts": 1, "stopped_boottime_s": 104.0, "started_boottime_s": 203.0, "paused_s": 99.0,
        "start_attempts": 1, "engines_ended": [], "floor_reached": True, "available_bytes_at_start": 1,
        "ready_s": 60.0, "policy_restored": True, "ready": True, "ended_utc": "now",
        "events": [{"boottime_s": at, "what": what, "utc": ""} for at, what in events],
    }  # fmt: skip
    return WatcherStatus.model_validate(given | changes)


def test_each_second_has_one_reason() -> None:
    parts = split_outage(_ended(), MARKS)
    assert parts is not None
    assert {part.reason: part.seconds for part in parts} == {
        STOPPING: 3.0, FREEING: 1.5, BASELINE: 4.5, LOADING: 40.0, SPEAKING: 49.0, ENDING: 1.0,
        ROOM: 3.0, STARTING: 60.0,
    }  # fmt: skip
    assert sum(part.seconds for part in parts) == 263.0 - 101.0


def test_of_a_job_that_was_killed_the_watcher_tells() -> None:
    parts = split_outage(_ended(), [])
    assert parts is not None
    assert [(part.reason, part.seconds) for part in parts] == [
        (STOPPING, 3.0), (CUT_OFF, 96.0), (ROOM, 3.0), (STARTING, 60.0),
    ]  # fmt: skip


def test_what_the_job_does_after_the_watcher_took_over_is_no_reason() -> None:
    events = [(at if at < 200 else at - 20.0, what) for at, what in EVENTS]
    parts = split_outage(_ended(events, started_boottime_s=183.0), MARKS)
    assert parts is not None and ENDING not in {part.reason for part in parts}
    assert sum(part.seconds for part in parts) == 243.0 - 101.0


@pytest.mark.parametrize(
    "ended",
    [
        _ended([(100.0, "armed"), (200.0, "restoring: x")], started_boottime_s=None),
        _ended([*EVENTS[:4], (12.0, "started the neighbour")], started_boottime_s=12.0),
    ],
    ids=["not stopped", "another boot"],
)
def test_where_nobody_can_tell_nothing_is_said(ended: WatcherStatus) -> None:
    assert split_outage(ended, MARKS) is None
