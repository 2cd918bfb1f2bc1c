"""Where speech begins and ends in a clip that may hold more than speech: hiss, a click, a breath, a hum.

`bench.audio.silence` says where there is sound at all. Here speech is what is loud in the band of the voice for as
long as a vowel lasts; from the first vowel the beginning is followed back, above the clip's own noise, over the
consonants before it. The end is that of all sound which stands out from the noise at the clip's end: what an engine
says after its sentence has to be heard.
"""

import numpy as np
from numpy.typing import NDArray

from bench.audio.frames import HOP_S, frame_mean_squares
from bench.audio.silence import FLOOR_DBFS, Span
from bench.audio.telephone import band_pass
from bench.audio.wav import Samples

VOICE_BAND_HZ = (100.0, 1000.0)
"""Where vowels are strong, and hiss and clicks are not."""
VOWEL_DB = -20.0
"""A vowel is less than this below the level that the clip reaches for `LOUD_S` in all."""
LOUD_S = 0.1
SOFT_DB = -36.0
"""The softest consonants are less than this below that level."""
VOWEL_S = 0.04
"""What is shorter is no vowel: a click rings for less in the band of the voice."""
ABOVE_NOISE_DB = 3.0
"""More than the loudest tenth of the noise before the speech varies by."""
CONSONANTS_S = 0.25
"""Longest sound before the first vowel ("str", a long "sh") that still counts as speech."""
CLOSURE_S = 0.15
"""So long may a stop consonant be silent within what leads to the first vowel ("stop")."""
NOISE_S = 0.2
"""At the clip's end, so long is looked at for noise; it is noise where it varies by less than `STEADY_DB`."""
STEADY_DB = 6.0

Levels = NDArray[np.float64]


def find_speech(samples: Samples, rate_hz: int) -> Span | None:
    """Return the span from the beginning of the first word to the end of the last sound, to a millisecond; None where
    nothing in the clip is as long and as loud as a vowel.

    Known failure: noise before the speech that is within 20 dB of it in the band of the voice is taken for speech, and
    so is a hum. Whoever relies on the span checks it by another method (`bench.listening.alignment`).
    """
    if samples.size == 0:
        return None
    heard = _levels_db(samples, rate_hz)
    if float(heard.max()) < FLOOR_DBFS:
        return None
    voice = _middle_of(_levels_db(band_pass(samples, rate_hz, VOICE_BAND_HZ), rate_hz), VOWEL_S)
    vowels = voice > max(_nth_largest(voice, LOUD_S) + VOWEL_DB, FLOOR_DBFS)
    edges = np.flatnonzero(np.diff(vowels, prepend=False, append=False))
    long_enough = [
        (first, past)
        for first, past in zip(edges[0::2], edges[1::2], strict=True)
        if past - first >= VOWEL_S / HOP_S
    ]
    if not long_enough:
        return None
    first, last = int(long_enough[0][0]), int(long_enough[-1][1]) - 1
    floor_db = _nth_largest(heard, LOUD_S) + SOFT_DB
    begin = _follow_back(heard, first, floor_db)
    end = max(last, _last_sound(heard, floor_db, float(voice[vowels].min())))
    hop = max(1, round(HOP_S * rate_hz))
    return Span(min(begin * hop, samples.size - 1), max(min((end + 1) * hop, samples.size), begin * hop + 1))


def _follow_back(heard: Levels, vowel: int, floor_db: float) -> int:
    """Return the frame at which the sound that leads to `vowel` begins."""
    longest, closure = round(CONSONANTS_S / HOP_S), round(CLOSURE_S / HOP_S)
    before = heard[: max(0, vowel - longest)]
    loudest, softest = 0.9, 0.02
    enough = before.size >= longest // 2
    noise_db = float(np.quantile(before, loudest) if enough else np.quantile(heard, softest))
    loud = heard > max(floor_db, noise_db + ABOVE_NOISE_DB)
    begin = vowel
    for frame in range(vowel, max(-1, vowel - longest - 1), -1):
        if loud[frame]:
            begin = frame
        elif begin - frame > closure:
            break
    return begin


def _last_sound(heard: Levels, floor_db: float, vowel_db: float) -> int:
    """Return the last frame that is above the floor and the noise with which the clip ends."""
    low, high = np.quantile(heard[-round(NOISE_S / HOP_S) :], [0.1, 0.9])
    noise_db = float(high) if high - low < STEADY_DB and high < vowel_db else -np.inf
    loud = np.flatnonzero(heard > max(floor_db, noise_db + ABOVE_NOISE_DB))
    return int(loud[-1]) if loud.size else 0


def _levels_db(samples: Samples, rate_hz: int) -> Levels:
    """Return the level of the 10 ms around each millisecond, shape (n,)."""
    length, hop = max(1, round(0.010 * rate_hz)), max(1, round(HOP_S * rate_hz))
    half = length // 2
    around = np.pad(samples, (half, length - half + hop))
    squares = frame_mean_squares(around, rate_hz)[: -(-samples.size // hop)]
    return np.asarray(10.0 * np.log10(np.maximum(squares, 1e-12)), dtype=np.float64)


def _middle_of(levels: Levels, seconds: float) -> Levels:
    """Return the running median: what is shorter than half of `seconds` is gone."""
    from scipy.ndimage import median_filter  # scipy is dear to import

    return np.asarray(
        median_filter(levels, size=round(seconds / HOP_S) | 1, mode="nearest"), dtype=np.float64
    )


def _nth_largest(levels: Levels, seconds: float) -> float:
    """Return the level that is reached for so long in all; in a very short clip, for a quarter of it."""
    count = max(1, min(round(seconds / HOP_S), levels.size // 4))
    return float(np.partition(levels, levels.size - count)[levels.size - count])
