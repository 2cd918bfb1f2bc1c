"""Changing the sample rate."""

from math import gcd

import numpy as np

from bench.audio.wav import Samples
from bench.errors import BadInput


def resample(samples: Samples, from_rate_hz: int, to_rate_hz: int) -> Samples:
    """Return the clip at another rate, shape (round(n * to / from),), by scipy's polyphase FIR filter.

    The filter is linear-phase (no delay, Kaiser window, beta 5.0): what lies above the new Nyquist frequency
    is attenuated before it can alias. The same rate returns the samples unchanged. At an abrupt step the
    result can overshoot full scale by a few per cent.

    Raises:
        BadInput: a rate is not positive.
    """
    if from_rate_hz <= 0 or to_rate_hz <= 0:
        raise BadInput(f"Sample rates must be positive, not {from_rate_hz} and {to_rate_hz} Hz.")
    if from_rate_hz == to_rate_hz or samples.size == 0:
        return samples
    from scipy.signal import resample_poly  # a second and a half to import, and most calls need none

    divisor = gcd(from_rate_hz, to_rate_hz)
    up, down = to_rate_hz // divisor, from_rate_hz // divisor
    length = (samples.size * up + down // 2) // down
    out = np.asarray(resample_poly(samples, up, down), dtype=np.float32)
    return out[:length] if out.size >= length else np.pad(out, (0, length - out.size))
