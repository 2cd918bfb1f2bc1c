"""How loud a take is."""

from bench.audio.levels import integrated_lufs
from bench.audio.wav import Samples


def loudness_lufs(samples: Samples, rate_hz: int) -> float | None:
    """Return the integrated loudness in LUFS; None for silence.

    Source: ITU-R BS.1770-4, by pyloudnorm.
    Known failure: undefined by the standard under 0.4 s (there the clip is one block as long as itself); of
    speech at 8 kHz it misses what the channel cut off, so compare like rates; louder is often heard as
    better, which is why the listening test equalises it and this figure alone says nothing of quality.
    """
    return integrated_lufs(samples, rate_hz)
