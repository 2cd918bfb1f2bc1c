"""Where a clip's sound begins, ends and pauses.

Silence is what lies more than 40 dB below the clip's own loudest 10 ms, so the answer does not depend on how
loud the engine speaks. Boundaries are found to 1 ms. Soft sounds at an edge (the h of "hello", a final f) can
be below that level: keep some of the original around what is found (`keep_s`).
"""

from dataclasses import dataclass

import numpy as np

from bench.audio.frames import frame_length, frame_mean_squares
from bench.audio.wav import Samples

THRESHOLD_DB = -40.0
"""Relative to the RMS of the clip's loudest 10 ms."""
FLOOR_DBFS = -80.0
"""A clip whose loudest 10 ms is below this is silent throughout: 16-bit dither must not count as speech."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a clip: samples `start` up to, not including, `end`."""

    start: int
    end: int

    def seconds(self, rate_hz: int) -> float:
        """Return its length in seconds."""
        return (self.end - self.start) / rate_hz


def speech_segments(
    samples: Samples, rate_hz: int, *, threshold_db: float = THRESHOLD_DB, min_pause_s: float = 0.2
) -> list[Span]:
    """Return the stretches of sound, in order; what lies between two of them is a pause.

    A gap shorter than `min_pause_s` is not a pause: the closure of a stop consonant lasts up to about 0.15 s.
    A silent or empty clip has no segment.
    """
    if samples.size == 0:
        return []
    length, hop = frame_length(rate_hz)
    # With a frame less a hop of zeros on either side, the first loud frame reaches just one hop into the
    # sound, and the last one leaves it one hop before its end: edges are found to a hop, not to a frame.
    margin = length - hop
    energy = frame_mean_squares(np.pad(samples, margin), rate_hz)
    loudest = float(energy.max())
    if loudest < 10.0 ** (FLOOR_DBFS / 10.0):
        return []
    loud = energy > loudest * 10.0 ** (threshold_db / 10.0)
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    segments: list[Span] = []
    for first, past in zip(edges[0::2], edges[1::2], strict=True):
        # Frame i covers samples i*hop - margin to i*hop + hop, so a loud run begins in its first frame's last
        # hop and ends in its last frame's first.
        start = min(max(0, int(first) * hop), samples.size - 1)
        end = samples.size if past == loud.size else int(past) * hop - margin
        end = min(samples.size, max(end, start + 1))  # a click shorter than a hop is still a sound
        if segments and start - segments[-1].end < min_pause_s * rate_hz:
            segments[-1] = Span(segments[-1].start, max(end, segments[-1].end))
        else:
            segments.append(Span(start, end))
    return segments


def sound_span(samples: Samples, rate_hz: int, *, threshold_db: float = THRESHOLD_DB) -> Span | None:
    """Return the span from the first sound to the last, or None for a silent clip."""
    segments = speech_segments(samples, rate_hz, threshold_db=threshold_db)
    return Span(segments[0].start, segments[-1].end) if segments else None


def leading_silence_s(samples: Samples, rate_hz: int, *, threshold_db: float = THRESHOLD_DB) -> float | None:
    """Return the seconds before the first sound, or None for a silent clip."""
    span = sound_span(samples, rate_hz, threshold_db=threshold_db)
    return None if span is None else span.start / rate_hz


def trailing_silence_s(samples: Samples, rate_hz: int, *, threshold_db: float = THRESHOLD_DB) -> float | None:
    """Return the seconds after the last sound, or None for a silent clip."""
    span = sound_span(samples, rate_hz, threshold_db=threshold_db)
    return None if span is None else (samples.size - span.end) / rate_hz


def trim(
    samples: Samples,
    rate_hz: int,
    *,
    threshold_db: float = THRESHOLD_DB,
    keep_s: float = 0.0,
    pad_s: float = 0.0,
) -> Samples:
    """Return the clip from first to last sound, shape (m,), with digital silence around it.

    `keep_s` of the original stays on either side (as much as there is), then `pad_s` of zeros is added on
    either side. A silent clip gives an empty array, without padding.
    """
    span = sound_span(samples, rate_hz, threshold_db=threshold_db)
    if span is None:
        return np.zeros(0, np.float32)
    keep, pad = round(keep_s * rate_hz), round(pad_s * rate_hz)
    cut = samples[max(0, span.start - keep) : min(samples.size, span.end + keep)]
    return np.pad(cut, pad).astype(np.float32)
