"""Suspect a second speaker in a reference.

How: the median F0 of each cue (Praat's autocorrelation method through parselmouth). Where the cues fall into
two groups of pitch, their means 6 semitones or more apart with an empty band of 4 between them and a second
of voiced speech or more in each, two people are likely.

What it misses: two voices of similar pitch, and a second voice within one cue. What it wrongly suspects: one
person who acts two parts; the owner can then attest `single_speaker: true` in the rights statement.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from bench.audio.pitch import STEP_S, track_f0
from bench.audio.wav import Samples

MEANS_APART_ST = 6.0
EMPTY_BAND_ST = 4.0
MIN_VOICED_S = 1.0

_MIN_CUE_VOICED_S = 0.2


def median_f0_hz(samples: Samples, rate_hz: int) -> tuple[float | None, float]:
    """Return the median F0 of the voiced frames (None without any) and the seconds that are voiced."""
    if samples.size < rate_hz // 10:
        return None, 0.0
    f0 = track_f0(samples, rate_hz)
    voiced = f0[f0 > 0.0]
    return (float(np.median(voiced)) if voiced.size else None), float(voiced.size * STEP_S)


def suspect(samples: Samples, rate_hz: int, pieces: Sequence[tuple[float, float]]) -> str | None:
    """Return why a second speaker is suspected, or None.

    Args:
        samples: the clip, shape (n,).
        rate_hz: its rate.
        pieces: start and end (s) of stretches that one person each is thought to speak: the cues, or the
            stretches between pauses.
    """
    found: list[tuple[float, float, int]] = []
    for index, (start_s, end_s) in enumerate(pieces):
        f0_hz, voiced_s = median_f0_hz(samples[round(start_s * rate_hz) : round(end_s * rate_hz)], rate_hz)
        if f0_hz is not None and voiced_s >= _MIN_CUE_VOICED_S:
            found.append((12.0 * float(np.log2(f0_hz)), voiced_s, index))
    found.sort()
    if len(found) < 2:
        return None
    bands = [high[0] - low[0] for low, high in itertools.pairwise(found)]
    split = int(np.argmax(bands)) + 1
    low, high = found[:split], found[split:]
    means = [
        float(np.average([st for st, _, _ in part], weights=[s for _, s, _ in part])) for part in (low, high)
    ]
    if (
        bands[split - 1] < EMPTY_BAND_ST
        or means[1] - means[0] < MEANS_APART_ST
        or min(sum(s for _, s, _ in part) for part in (low, high)) < MIN_VOICED_S
    ):
        return None
    fewer = min(low, high, key=len)
    at = ", ".join(
        f"{pieces[index][0]:.1f}-{pieces[index][1]:.1f} s" for _, _, index in sorted(fewer, key=_place)[:4]
    )
    return (
        f"pitch falls into two groups, about {2 ** (means[0] / 12):.0f} Hz and {2 ** (means[1] / 12):.0f} "
        f"Hz, {means[1] - means[0]:.1f} semitones apart, with nothing between them (the smaller group: {at})"
    )


def _place(item: tuple[float, float, int]) -> int:
    return item[2]
