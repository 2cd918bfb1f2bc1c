"""Changing the sample rate."""

import numpy as np

from bench.audio.wav import Samples
from bench.errors import BadInput


def resample(samples: Samples, from_rate_hz: int, to_rate_hz: int) -> Samples:
    """Return the clip at another rate, shape (round(n * to / from),), by soxr at its best quality.

    Linear-phase, no delay. What lies above the lower rate's Nyquist frequency is more than 90 dB down, whichever way
    the rate goes: no aliases, and no images above the old Nyquist frequency that would name the rate a clip came
    from. The same rate returns the samples unchanged. At an abrupt step the result can overshoot full scale by a few
    per cent.

    Raises:
        BadInput: a rate is not positive.
    """
    if from_rate_hz <= 0 or to_rate_hz <= 0:
        raise BadInput(f"Sample rates must be positive, not {from_rate_hz} and {to_rate_hz} Hz.")
    if from_rate_hz == to_rate_hz or samples.size == 0:
        return samples
    import soxr  # most calls need none

    length = (samples.size * to_rate_hz + from_rate_hz // 2) // from_rate_hz
    out = np.asarray(soxr.resample(samples, from_rate_hz, to_rate_hz, quality="VHQ"), dtype=np.float32)
    return out[:length] if out.size >= length else np.pad(out, (0, length - out.size))
