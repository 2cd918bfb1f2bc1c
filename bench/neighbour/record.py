"""`neighbour.json`: what was done to the neighbour, and the proof that it is as it was."""

from typing import Any, ClassVar, Literal

from bench.client.chat import ChatLatency
from bench.neighbour.readiness import Readiness
from bench.neighbour.snapshot import Snapshot
from bench.records.base import FileRecord, NeighbourMode, Record
from bench.records.settings import P50_RATIO_LIMIT


class Side(Record):
    """The neighbour before, or after."""

    p50_ms: float | None = None
    """Of the last measurement, all its samples."""
    p50_of_5_ms: float | None = None
    """The same of its first five samples, as the owner's contract counts."""
    snapshot: Snapshot | None = None
    readiness: Readiness | None = None
    latency: list[ChatLatency] = []
    """Every measurement with every sample; after, the second is the retry."""


class LeaseAccount(Record):
    """One lease of this run: an interrupted attempt's as well."""

    lease_id: str
    stopped: bool
    """Whether the neighbour was stopped for it: a pause."""
    reason: str | None
    """Why the lease ended."""
    seconds: float | None
    """From stopped to started by the watcher; None where it was not stopped, or Docker started it."""
    start_attempts: int
    engines_ended: list[str]
    """Containers of the run that the watcher had to end itself."""
    engines_left: list[str] = []
    """Containers of the run that could not be ended: the neighbour was started all the same."""
    watcher_starts: int
    floor_reached: bool | None
    """Whether the memory that the neighbour needs was free when it was started."""
    events: list[dict[str, Any]]


class Felt(Record):
    """What the neighbour's clients felt while the engine spoke. Milliseconds; raw values kept."""

    values_ms: list[float]
    errors: int
    p50_ms: float | None
    p95_ms: float | None


class NeighbourRecord(FileRecord):
    """`neighbour.json`."""

    file_name: ClassVar[str] = "neighbour.json"

    mode: NeighbourMode
    name: str | None
    """Of the container."""
    url: str | None
    run_id: str
    before: Side = Side()
    after: Side = Side()
    ratio: float | None = None
    """p50 after over p50 before."""
    ratio_of_5: float | None = None
    """The same by the first five samples."""
    limit: float = P50_RATIO_LIMIT
    felt: Felt | None = None
    """Parallel mode: while the engine spoke."""
    differences: list[str] = []
    """In what it is not the container it was; empty when it is the same, or not yet known."""
    restarters: list[str] = []
    """What else might have started it."""
    pauses: int = 0
    """How often it was stopped for this run."""
    down_s: float | None = None
    """All pauses together, from stopped to started; None when one of them has no figure."""
    leases: list[LeaseAccount] = []
    caches_dropped: bool | None = None
    """Whether the page cache was dropped before it was given back, where that is asked for; False: it could
    not be. None: not asked for, or the run did not come to it."""
    restored_by: Literal["watcher", "docker"] | None = None
    """`docker`: it came up by its restart policy after Docker or the host restarted."""
    state: Literal["untouched", "held", "restored", "slower", "not_back"] = "untouched"
    verdict: str = ""
    """The same in a sentence."""
    error: str | None = None
    """Set when the neighbour is slower or not back."""

    def account(self, leases: list[LeaseAccount]) -> None:
        """Enter the run's leases, and count its pauses from them."""
        self.leases = leases
        lengths = [each.seconds for each in leases if each.stopped]
        self.pauses = len(lengths)
        self.down_s = None if None in lengths else round(sum(each for each in lengths if each is not None), 3)
