"""Levels of a clip: RMS, peak, loudness, samples at full scale, and whether there is anything to hear.

dBFS here is relative to a constant full-scale sample of 1.0: a full-scale sine has a peak of 0 dBFS and an
RMS of -3.01 dBFS (AES17 would call that sine 0 dBFS RMS).
"""

import math

import numpy as np

from bench.audio.frames import frame_mean_squares
from bench.audio.wav import Samples

FULL_SCALE = 32767.0 / 32768.0
"""The largest positive 16-bit sample; a sample this far out or further is at full scale."""
GATING_BLOCK_S = 0.4
"""Length of a gating block in ITU-R BS.1770."""


def rms_dbfs(samples: Samples) -> float | None:
    """Return the RMS level in dBFS, or None for an empty or all-zero clip."""
    if samples.size == 0:
        return None
    mean_square = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10.0 * math.log10(mean_square) if mean_square > 0.0 else None


def peak_dbfs(samples: Samples) -> float | None:
    """Return the level of the largest sample in dBFS, or None for an empty or all-zero clip.

    The sample peak, not the true peak: between samples the analogue signal can be higher by a few dB.
    """
    peak = float(np.max(np.abs(samples))) if samples.size else 0.0
    return 20.0 * math.log10(peak) if peak > 0.0 else None


def integrated_lufs(samples: Samples, rate_hz: int) -> float | None:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4, by pyloudnorm), None when nothing passes.

    The standard measures in gated blocks of 0.4 s and says nothing of a shorter clip. Here a clip under 0.4 s
    is one block as long as itself: the same K-weighting and gate, so a steady sound reads the same as when it
    is longer. None: no block is above the absolute gate of -70 LUFS, or the clip is empty.
    """
    if samples.size == 0:
        return None
    # A hair under the clip: of a block whose length in samples rounds to more than the clip's, pyloudnorm wants more.
    block_s = min(GATING_BLOCK_S, math.nextafter(samples.size / rate_hz, 0.0))
    import pyloudnorm  # brings scipy.signal: too dear for those who only ask for a level

    meter = pyloudnorm.Meter(rate_hz, block_size=block_s)
    lufs = float(meter.integrated_loudness(samples.astype(np.float64)))
    return lufs if math.isfinite(lufs) else None


def clipped_fraction(samples: Samples, min_run: int = 1) -> float | None:
    """Return the share of samples at full scale (0 to 1), or None for an empty clip.

    `min_run`: count only runs of at least so many neighbouring samples at full scale. A clip normalised to
    its peak has a lone sample there; a clipped wave stays for several.
    """
    if samples.size == 0:
        return None
    at_limit = np.abs(samples) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(at_limit, prepend=False, append=False))
    lengths = edges[1::2] - edges[0::2]
    return float(lengths[lengths >= min_run].sum()) / samples.size


def is_silent(samples: Samples, rate_hz: int, below_dbfs: float = -60.0) -> bool:
    """Return True when no 10 ms of the clip reaches an RMS of `below_dbfs`; an empty clip is silent."""
    if samples.size == 0:
        return True
    return bool(frame_mean_squares(samples, rate_hz).max() < 10.0 ** (below_dbfs / 10.0))
