"""The voice's pitch: median F0, its distance from the reference, and the voice-drift alarm.

F0 is tracked by Praat's autocorrelation method (`bench.audio.pitch`). Harvest is avoided: it calls 72-95% of
frames voiced where Praat and DIO call 51-79%.
"""

import math

from bench.audio.pitch import median_f0_hz

__all__ = ["drift_semitones", "median_f0_hz", "voice_drifts"]

TAKE_ALARM_SEMITONES = 4.0
"""A take whose median F0 is further than this from the reference's raises the voice-drift alarm."""
PASS_ALARM_SEMITONES = 3.0
"""So does a pass whose takes' median drift is further than this.

Seven synthetic voices, ten sentences each: no sentence was over 1.3 semitones from its voice's own median; a
two-word question was 4.3 away. A male voice in place of a female one is about 10.
"""


def drift_semitones(f0_hz: float | None, reference_f0_hz: float | None) -> float | None:
    """Return 12 * log2(f0 / reference): positive is higher than the reference; None where either is None.

    Source: the definition of the equal-tempered semitone, a twelfth of an octave.
    Known failure: a short question or an exclamation is rightly several semitones higher than a read
    statement, and says nothing of the voice; two different voices can share a median F0.
    """
    if f0_hz is None or reference_f0_hz is None or f0_hz <= 0.0 or reference_f0_hz <= 0.0:
        return None
    return 12.0 * math.log2(f0_hz / reference_f0_hz)


def voice_drifts(drift: float | None, limit_semitones: float = TAKE_ALARM_SEMITONES) -> bool | None:
    """Return whether the pitch is further than `limit_semitones` from the reference's; None when unknown.

    An alarm for a voice that is plainly another one (the wrong preset, a clone that fell back to a default).
    Source: our own measurement of seven synthetic voices (docs/metrics.md, "Where the limits come from").
    Known failure: finds no wrong voice of the same pitch; not calibrated on real speakers.
    """
    return None if drift is None else abs(drift) > limit_semitones
