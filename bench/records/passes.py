"""`pass.json`: how a pass was made, from which host, over which network, in whose voice."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from bench.records.base import FileRecord, Record, optional_key
from bench.records.machine import MachineState
from bench.records.take import Summary

VoiceVerdict = Literal["honoured", "one_voice", "substituted", "changed", "unclear", "not_checked"]


class Detection(Record):
    """How the dialect was settled."""

    dialect: str
    chosen_by: str
    """`entry` or `probe`."""
    model: str | None = None
    """Sent as `model`: the entry's, else the first that `/v1/models` lists."""
    container: str | None = None
    """What the probe's answer was: raw, wav, sse, or a file's kind (mp3, ogg, flac, ...); null when none was sent."""
    sample_rate_hz: int | None = None
    evidence: list[str] = []


class PassAlarm(Record):
    """What a pass as a whole says of the server or of the client: to be looked into before anybody listens."""

    kind: Literal["noise", "length", "twice", "unproved"]
    value: float
    """`length`: median seconds of a syllable. Else the number of takes."""
    message: str


class PassResult(Record):
    """What a pass came to. The takes themselves are in `takes.jsonl`, so this stays small."""

    voice: str
    detection: Detection
    measured_from: str
    """Name of the host that held the stopwatch."""
    reference_cached: bool | None
    registration_ms: float | None
    sample_rate_hz: int | None
    takes: int = 0
    """Timed takes, failed ones included; warm-ups are not among them."""
    ok: int = 0
    failed: dict[str, int] = {}
    """Failed timed takes by kind."""
    warmups: int = 0
    warmups_failed: int = 0
    noted: int = 0
    """Takes with a `note`, for instance asked for twice."""
    stopped: str | None = None
    """Why the pass ended early, as the caller's `stop` said."""
    started_utc: str
    ended_utc: str | None = None
    wall_s: float | None = None
    alarms: list[PassAlarm] = Field(default=[], exclude_if=lambda alarms: not alarms)
    """Left out where there is none, as in the files of earlier runs."""


class NetworkCost(Record):
    """Connecting and a round trip, milliseconds, from one host to one server.

    A figure that could not be taken is null and `error` says why.
    """

    measured_from: str
    local_address: str | None = None
    remote_address: str | None = None
    loopback: bool | None = None
    path: str
    status: int | None = None
    connect_ms: Summary | None = None
    """TCP, and TLS where the URL is https; a fresh connection each time."""
    round_trip_ms: Summary | None = None
    """From the request's first byte to the answer's head, on one keep-alive connection where the server keeps
    it: the network, and the server's handling of a request that does nothing."""
    error: str | None = None


class VoiceCheck(Record):
    """What was found. Only `honoured` lets a clone A/B begin, `one_voice` of a server that has no other, or `unclear`
    that a person has `accepted`."""

    verdict: VoiceVerdict
    voice: str
    unknown_voice: str | None
    """The name that surely does not exist; null where the reference travels with each request."""
    unknown_refused: bool | None
    """Null: it could not be asked."""
    other_reference: str | None = None
    """What the second voice was made by; null for a voice that the server has by name."""
    distance_db: float | None = None
    """Between the voice asked for and the other, over takes of one text."""
    within_db: float | None = None
    """The largest distance among takes of the same voice."""
    accepted: str | None = None
    """Who let an `unclear` voice pass, and on what grounds, in their words (`*_voice_accepted`)."""
    evidence: list[str]


class PassFile(FileRecord):
    """`pass.json`, beside the takes of one pass: how it was made."""

    file_name: ClassVar[str] = "pass.json"

    result: PassResult | None = Field(alias="pass")
    health: dict[str, Any]
    """What the engine's `/health` said after the pass; where that was cut off, when it was ready. Empty for a
    server that we did not start."""
    fp32_retries: dict[str, int] | None
    """Chunks that the engine solved again in float32, by the utterance of a timed take; null for an engine that
    does not count them."""
    engine_start_s: float | None
    """From the start of the engine until it was ready; null for a server that we did not start."""
    reference_f0_hz: float | None
    """Median pitch of the reference that raters hear, the same for both sides; null where none of it is voiced."""
    network: NetworkCost | None
    """What connecting and one round trip to the server cost, from where it was measured."""
    voice_check: VoiceCheck | None
    """Whether a server that we did not start speaks in the voice asked for; null for an engine of ours."""
    machine: MachineState | None = optional_key()
    """What else the stopwatch's machine did during the timed takes."""
    lent_by: str | None = optional_key()
    """The run that made these takes, where it was another one of the survey."""
