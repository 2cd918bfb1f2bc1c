"""Restored means restored: the same container, ready, generating, and as fast as before."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.client.chat import MIN_SAMPLES, compare, measure_chat, needs_retry
from bench.docker_host.host import DockerSilent
from bench.errors import AuditionError, NeighbourNotBack
from bench.neighbour.container import Neighbour
from bench.neighbour.lease_files import WatcherStatus
from bench.neighbour.readiness import wait_ready
from bench.neighbour.snapshot import list_differences, prove_same, take_snapshot
from bench.neighbour.spec import READY_LIMIT_S, SETTLE_S
from bench.records.neighbour import ChatLatency, NeighbourRecord, Snapshot


class NeighbourSlower(AuditionError):
    """The neighbour is up and the same, and its p50 drifted beyond the limit: the run failed."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How the return is proved. `measure` takes p50 at an address, the same way before and after."""

    measure: Callable[[str], ChatLatency] = measure_chat
    ready_limit_s: float = READY_LIMIT_S
    settle_s: float = SETTLE_S
    min_samples: int = MIN_SAMPLES

    def prove(self, record: NeighbourRecord, neighbour: Neighbour, status: WatcherStatus | None) -> None:
        """Fill the record's half of after, its state and its verdict.

        Raises:
            NeighbourNotBack: it is not up, not ready, or not the same container.
            NeighbourSlower: it is back and drifted beyond the limit, after one settle and retry.
        """
        before = record.before.snapshot
        assert before is not None
        record.restored_by = _by(status)
        try:
            end = time.monotonic() + self.ready_limit_s
            # What Docker's health check says while it loads is not its last word.
            prove_same(before, self._snapshot(neighbour).model_copy(update={"health": None}))
            if record.url is not None:
                record.after.readiness = wait_ready(record.url, limit_s=self.ready_limit_s)
            after = self._snapshot(neighbour)
            while before.health == "healthy" and after.health != "healthy" and time.monotonic() < end:
                time.sleep(1.0)
                after = self._snapshot(neighbour)
            record.after.snapshot = after
            record.differences = list_differences(before, after) + _other_models(record)
            prove_same(before, after)
            if record.differences:
                raise NeighbourNotBack(f"{before.name} is not as it was: {'; '.join(record.differences)}.")
            self._judge_speed(record)
        except NeighbourNotBack as error:
            fail(record, "not_back", str(error))
            raise
        except NeighbourSlower as error:
            fail(record, "slower", str(error))
            raise
        record.state, record.error = "restored", None
        record.verdict = _sentence(record)

    def _snapshot(self, neighbour: Neighbour, limit_s: float = 120.0) -> Snapshot:
        """Ask Docker, waiting for it where it is just being restarted."""
        end = time.monotonic() + limit_s
        while True:
            try:
                return take_snapshot(neighbour)
            except DockerSilent as error:
                if time.monotonic() > end:
                    raise NeighbourNotBack(
                        f"Whether the neighbour is back cannot be seen: {error}"
                    ) from error
                time.sleep(1.0)
            except AuditionError as error:
                raise NeighbourNotBack(str(error)) from error

    def _judge_speed(self, record: NeighbourRecord) -> None:
        if not record.before.latency or record.url is None:
            return
        for attempt in range(2):
            if attempt:
                time.sleep(self.settle_s)
            now = self.measure(record.url)
            record.after.latency = [*record.after.latency, now]
            record.after.p50_ms = now.total_ms.p50
            found = compare(record.before.latency[-1], now, record.limit, self.min_samples)
            record.ratio = found.ratio
            record.after.p50_of_5_ms, record.ratio_of_5 = now.p50_of_5_ms, found.ratio_of_5
            if not needs_retry(found, attempt + 1):
                break
        if found.passed:
            return
        raise NeighbourSlower(
            f"{record.name} is up and the same, but slower: {found.detail}, after a settle and a retry. "
            "Every sample is in neighbour.json."
        )


def fail(record: NeighbourRecord, state: Literal["slower", "not_back"], message: str) -> None:
    """Enter a failure into the record."""
    record.state, record.verdict, record.error = state, message, message


def _by(status: WatcherStatus | None) -> Literal["watcher", "docker"] | None:
    if status is None or not status.touched:
        return None
    return "watcher" if status.started_boottime_s is not None else "docker"


def _other_models(record: NeighbourRecord) -> list[str]:
    old, new = record.before.readiness, record.after.readiness
    if old is None or new is None or old.models == new.models:
        return []
    return [f"models served: {old.models} before, {new.models} now"]


def _ratio(record: NeighbourRecord) -> str:
    return (
        "p50 after over before is unknown" if record.ratio is None else f"p50 {record.ratio:.3f} times before"
    )


def _sentence(record: NeighbourRecord) -> str:
    ready = record.after.readiness
    took = "" if ready is None else f", generating {ready.generation_s:.1f} s after it was asked"
    paused = f"paused {record.pauses} time(s)" if record.pauses else "not paused"
    if record.down_s is not None and record.pauses:
        paused += f", {record.down_s:.1f} s in all"
    after = record.after.snapshot
    renamed = "" if after is None or after.name == record.name else f", under the name {after.name}"
    return f"{record.name} is back{renamed}: the same container{took}; {paused}; {_ratio(record)}."
