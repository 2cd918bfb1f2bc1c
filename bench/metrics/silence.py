"""Silence before, after and within a take."""

from dataclasses import dataclass
from itertools import pairwise

from bench.audio.silence import speech_segments
from bench.audio.wav import Samples


@dataclass(frozen=True, slots=True)
class Silence:
    """Seconds of silence in a take; None throughout for a take that is silent."""

    leading_s: float | None
    trailing_s: float | None
    pauses_s: float | None
    """Sum of the pauses of 0.2 s and more between first and last sound."""
    longest_pause_s: float | None
    """The longest of them; 0 where there is none."""
    sounding_s: float | None
    """From first to last sound, pauses included: the duration that speaking rate divides by."""


def silence(samples: Samples, rate_hz: int) -> Silence:
    """Return where the take is silent: more than 40 dB below its own loudest 10 ms, to 1 ms.

    Source: short-time energy (`bench.audio.silence`).
    Known failure: a soft final consonant below the level counts as silence; a breath, a click or hum above it
    counts as sound, and cuts a pause in two.
    """
    segments = speech_segments(samples, rate_hz)
    if not segments:
        return Silence(None, None, None, None, None)
    pauses = [after.start - before.end for before, after in pairwise(segments)]
    return Silence(
        leading_s=segments[0].start / rate_hz,
        trailing_s=(samples.size - segments[-1].end) / rate_hz,
        pauses_s=sum(pauses) / rate_hz,
        longest_pause_s=max(pauses, default=0) / rate_hz,
        sounding_s=(segments[-1].end - segments[0].start) / rate_hz,
    )
