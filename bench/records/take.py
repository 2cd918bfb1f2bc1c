"""A take, and the distribution of its figures."""

from typing import Literal

from bench.records.base import Record

TakeSide = Literal["candidate", "baseline"]
TimedPass = Literal["candidate", "baseline", "preset"]
"""The passes whose takes are figures; the smoke sentence's is none."""


class TakeError(Record):
    """Why a take failed. `kind` is a short stable word, `message` is for people."""

    kind: str
    message: str


class Take(Record):
    """One synthesis of one utterance: a line of `takes.jsonl`. Times are milliseconds since the request
    left; lengths are seconds of audio; a figure that could not be taken is null."""

    utterance_id: str
    text: str
    voice: str
    wav: str | None = None
    """File name beside `takes.jsonl`."""
    sha256: str | None = None
    sample_rate_hz: int | None = None
    audio_s: float | None = None
    ttfb_ms: float | None = None
    """Time to the first byte of the body, header or not."""
    ttfa_ms: float | None = None
    """The rule's TTFA. TTFA is the arrival of the first sample that is audio: a container's header is none, and neither
    are samples within 1 LSB of zero before the first other one."""
    ttfa_audible_ms: float | None = None
    """Time at which a listener first hears something: arrival of the first sample above the level, or the
    playback position of that sample if later."""
    total_ms: float | None = None
    rtf: float | None = None
    """total_ms / 1000 / audio_s."""
    rtf_after_first: float | None = None
    """The same after the first chunk: (total - ttfa) over the audio that came after the first chunk."""
    streamed: bool | None = None
    chunks: int | None = None
    stalls: int | None = None
    stall_ms: float | None = None
    start_buffer_ms: float | None = None
    """The smallest delay before playback that would have avoided every stall."""
    warmup: bool = False
    reference_cached: bool | None = None
    """True when the engine already held the encoded reference, false when this take had to encode it."""
    note: str | None = None
    """What else happened, for instance that the server asked to be asked again (Retry-After)."""
    error: TakeError | None = None


class Summary(Record):
    """The distribution of a figure over takes. `values` keeps every value, in order."""

    values: list[float]
    n: int
    """How many takes it is of: those that have a value, and failed ones where these count as infinite."""
    p50: float | None
    """Null where it could not be taken, and where it is infinite; so of the others."""
    p95: float | None
    iqr: float | None
    p50_low: float | None = None
    """Lower end of the 95% bootstrap interval of the median."""
    p50_high: float | None = None
    p95_low: float | None = None
    p95_high: float | None = None
    iqr_low: float | None = None
    """Ends of the same intervals of p95 and of the interquartile range."""
    iqr_high: float | None = None
