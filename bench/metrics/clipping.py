"""Samples stuck at full scale."""

from bench.audio.levels import clipped_fraction
from bench.audio.wav import Samples

MIN_RUN = 3
"""Neighbouring samples at full scale that make a clipped wave rather than a normalised peak."""
ALARM_FRACTION = 0.001
"""Over this share of a take the alarm sounds; a take saved through a broken int16 conversion is over 0.1."""


def clipped(samples: Samples) -> float | None:
    """Return the share of samples (0 to 1) in runs of three or more at full scale; None for an empty take.

    Source: counting.
    Known failure: blind to clipping below full scale (clipped, then turned down or resampled).
    """
    return clipped_fraction(samples, MIN_RUN)
