"""What a telephone does to a voice: the narrow band of G.711 and the wide band of Bluetooth and HD voice.

Narrow band: 300-3400 Hz at 8 kHz, through a real mu-law code word per sample (ITU-T G.711, section 3 and
table 2a). Wide band: 50-7000 Hz at 16 kHz (ITU-T P.341's band, the one of G.722 and of Bluetooth's mSBC); the
band and rate are reproduced, no wide-band codec's own artefacts. Both return at the rate they were given, so
that the file's format does not tell what it went through.
"""

import numpy as np
from numpy.typing import NDArray

from bench.audio.resample import resample
from bench.audio.wav import Samples

NARROW_RATE_HZ = 8000
NARROW_BAND_HZ = (300.0, 3400.0)
WIDE_RATE_HZ = 16000
WIDE_BAND_HZ = (50.0, 7000.0)

_BIAS = 33
"""Added to a 14-bit magnitude so that every segment of the mu-law begins at a power of two."""
_CLIP = 8158
"""Largest 14-bit magnitude that has a code word of its own (8158 + 33 < 8192)."""


def mulaw_encode(samples: Samples) -> NDArray[np.uint8]:
    """Return one G.711 mu-law code word per sample, shape (n,); what is beyond full scale is held there."""
    linear = np.clip(np.rint(samples.astype(np.float64) * 8192.0), -_CLIP, _CLIP).astype(np.int64)
    magnitude = np.abs(linear) + _BIAS
    # A segment is the position of the leading one above bit 5; frexp's exponent is that position plus one.
    segment = np.frexp(magnitude.astype(np.float64))[1].astype(np.int64) - 6
    step = (magnitude >> (segment + 1)) & 0x0F
    sign = np.where(linear < 0, 0x80, 0x00)
    # On the line all bits are inverted, so that silence is not a row of zeros.
    return np.asarray(~(sign | (segment << 4) | step) & 0xFF, dtype=np.uint8)


def mulaw_decode(words: NDArray[np.uint8]) -> Samples:
    """Return the samples that the code words stand for, shape (n,), full scale at +-1.0."""
    bits = ~words.astype(np.int64) & 0xFF
    segment, step = (bits >> 4) & 0x07, bits & 0x0F
    magnitude = (((step << 1) + _BIAS) << segment) - _BIAS
    linear = np.where(bits & 0x80, -magnitude, magnitude)
    return np.asarray(linear / 8192.0, dtype=np.float32)


def band_pass(samples: Samples, rate_hz: int, band_hz: tuple[float, float]) -> Samples:
    """Return the clip between two frequencies, shape (n,), with no delay (Butterworth, order 8 in all)."""
    from scipy.signal import butter, sosfiltfilt  # too dear for those who only seal or decide again

    if samples.size < 64:
        samples = np.pad(samples, (0, 64 - samples.size))
    sos = butter(4, band_hz, btype="bandpass", fs=rate_hz, output="sos")
    pad = min(samples.size - 1, round(0.05 * rate_hz))
    return np.asarray(sosfiltfilt(sos, samples.astype(np.float64), padlen=pad), dtype=np.float32)


def narrowband(samples: Samples, rate_hz: int) -> Samples:
    """Return the clip as a G.711 call carries it, shape (n,), at the rate it came with."""
    line = band_pass(resample(samples, rate_hz, NARROW_RATE_HZ), NARROW_RATE_HZ, NARROW_BAND_HZ)
    return _fit(resample(mulaw_decode(mulaw_encode(line)), NARROW_RATE_HZ, rate_hz), samples.size)


def wideband(samples: Samples, rate_hz: int) -> Samples:
    """Return the clip as a wide-band call's band carries it, shape (n,), at the rate it came with."""
    line = band_pass(resample(samples, rate_hz, WIDE_RATE_HZ), WIDE_RATE_HZ, WIDE_BAND_HZ)
    sixteen_bit = np.clip(np.rint(line * 32768.0), -32768, 32767).astype(np.float32) / np.float32(32768.0)
    return _fit(resample(sixteen_bit, WIDE_RATE_HZ, rate_hz), samples.size)


def low_pass(samples: Samples, rate_hz: int, edge_hz: int) -> Samples:
    """Return the clip as an engine of that bandwidth would make it, shape (n,): nothing above `edge_hz` is left."""
    if 2 * edge_hz >= rate_hz:
        return samples
    return _fit(resample(resample(samples, rate_hz, 2 * edge_hz), 2 * edge_hz, rate_hz), samples.size)


def _fit(samples: Samples, length: int) -> Samples:
    """Two roundings of a length can differ by a sample or two; give back exactly what came in."""
    if samples.size >= length:
        return samples[:length]
    return np.pad(samples, (0, length - samples.size))
