"""`neighbour.json`: what was done to the neighbour, and the proof that it is as it was."""

from typing import Any, ClassVar, Literal

from bench.records.base import FileRecord, NeighbourMode, Record
from bench.records.settings import P50_RATIO_LIMIT
from bench.records.take import Summary

CHAT_PROTOCOL_VERSION = 1
PolicyName = Literal["no", "on-failure", "unless-stopped", "always"]


class RestartPolicy(Record):
    """A container's restart policy, as Docker has it."""

    name: PolicyName
    maximum_retry_count: int = 0


class Snapshot(Record):
    """The neighbour at one moment, as Docker says."""

    taken_utc: str
    name: str
    container_id: str
    created: str
    image_id: str
    image: str
    command: list[str]
    """Entry point and arguments, as they run."""
    config_sha256: str
    """Of its environment, mounts, ports, devices and limits."""
    policy: RestartPolicy
    running: bool
    status: str
    """Docker's word: running, exited, paused, restarting, created, dead."""
    health: str | None
    """Docker's health check: healthy, unhealthy, starting; None where the image has none."""
    exit_code: int | None
    started_at: str
    finished_at: str
    restart_count: int
    auto_remove: bool
    labels: dict[str, str]


class Readiness(Record):
    """How long each step took to succeed, in seconds since waiting began."""

    health_s: float
    models_s: float
    generation_s: float
    model: str
    models: list[str]
    polls: int


class ChatLatency(Record):
    """Milliseconds from the request's first byte to the last byte of the whole answer."""

    protocol_version: int = CHAT_PROTOCOL_VERSION
    url: str
    model: str | None
    measured_from: str
    taken_utc: str
    n: int
    discarded_ms: list[float]
    """The warm-ups, kept for the record and left out of every figure."""
    total_ms: Summary
    p50_of_5_ms: float | None
    """Median of the first five samples after the warm-ups."""
    max_tokens: int
    completion_tokens: list[int | None]
    """As the server counted them; it must be `max_tokens` each time for the samples to be the same work."""
    fixed_length: bool | None
    """Whether every answer had exactly `max_tokens`; null where the server does not count."""
    ignore_eos: bool
    """False: the server refused the field, and answers may end early."""
    reconnects: int
    """Times the server closed the kept-alive connection; 0 is the protocol. Connecting is in no sample, so a server
    that does so before and after is compared all the same; one that does so on one side only has changed."""
    error: str | None = None
    """Why there are fewer samples than asked for."""


class Moment(Record):
    """The neighbour before, or after."""

    p50_ms: float | None = None
    """Of the last measurement, all its samples."""
    p50_of_5_ms: float | None = None
    """The same of its first five samples, as the owner's contract counts."""
    snapshot: Snapshot | None = None
    readiness: Readiness | None = None
    latency: list[ChatLatency] = []
    """Every measurement with every sample; after, the second is the retry."""


class OutagePart(Record):
    """Seconds in which the neighbour did not serve, for one reason."""

    reason: str
    seconds: float


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
    outage: list[OutagePart] | None = None
    """From the word to stop until it was ready again, by reason; None where it was not stopped, or nobody can tell."""
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
    before: Moment = Moment()
    after: Moment = Moment()
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
