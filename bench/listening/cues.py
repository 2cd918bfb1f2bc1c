"""The cue attack: what besides the voice could tell a listener which side a clip is from?

A nearest neighbour is asked to name the side of each clip from one kind of cue at a time (loudness, silence,
duration, bandwidth, spectrum, file format), before and after the processing. The pair that a clip belongs to
is left out, not the clip alone: its own partner, which says the same words, would pull the answer below
chance. Each cue is rounded to about what a listener can tell apart, and equally near neighbours share the
vote, so a cue that is the same everywhere scores exactly one half. The chance level's 95% range and p come
from swapping the sides within pairs in every way (up to 12 pairs; beyond, 4096 random ways).

Loudness and onset are measured by other means than the processing goes by: onset is when voice begins
(`bench.listening.alignment`), where the processing cuts by loudness.

What the processing promises to remove must be at chance. Duration, and with it the silence after the shorter
clip of a pair, bandwidth and spectrum belong to the voice or the engine: they are reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from bench.audio.levels import integrated_lufs
from bench.audio.speech import find_speech
from bench.audio.wav import Samples, read_mono
from bench.listening.alignment import first_voice_s
from bench.records.listening import CueResult

Array = NDArray[np.float64]
Cue = Literal["format", "loudness", "onset", "removed", "ending", "duration", "bandwidth", "spectrum"]
REMOVED: tuple[Cue, ...] = ("format", "loudness", "onset", "removed")
"""What the processing promises to remove; `removed` is the three together."""
CUES: tuple[Cue, ...] = (*REMOVED, "ending", "duration", "bandwidth", "spectrum")
LEVEL_STEP_LU = 0.5
SILENCE_STEP_S = 0.03
ONSET_STEP_S = 0.15
"""Of when voice begins: what comes before it in a word ("s", "st") lasts as long as the voice makes it last."""
DURATION_STEP_S = 0.05
BANDWIDTH_STEP_HZ = 250.0
SPECTRUM_STEP_DB = 1.0
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class ClipCues:
    """The cues of one clip, each a vector in steps a listener can just tell."""

    vectors: dict[Cue, tuple[float, ...]]


def read_cues(path: Path) -> ClipCues:
    """Return the cues of a sound file.

    Raises:
        BadInput: it cannot be read.
    """
    samples, rate_hz = read_mono(path)
    info = sf.info(path)
    bits = {
        "PCM_S8": 8,
        "PCM_U8": 8,
        "ULAW": 8,
        "ALAW": 8,
        "PCM_24": 24,
        "PCM_32": 32,
        "FLOAT": 32,
        "DOUBLE": 64,
    }
    depth = bits.get(info.subtype, 16)
    overhead = path.stat().st_size - info.frames * info.channels * depth // 8
    return measure_cues(
        samples, rate_hz, (float(info.samplerate), float(info.channels), float(depth), float(overhead))
    )


def measure_cues(samples: Samples, rate_hz: int, format_facts: tuple[float, ...]) -> ClipCues:
    """Return the cues of samples, with what the file itself says (`format_facts`)."""
    lufs = integrated_lufs(samples, rate_hz)
    span = find_speech(samples, rate_hz)
    trail = None if span is None else (samples.size - span.end) / rate_hz
    loudness = (_steps(lufs, LEVEL_STEP_LU),)
    onset = (_steps(first_voice_s(samples, rate_hz), ONSET_STEP_S),)
    bands, edge_hz = _spectrum(samples if span is None else samples[span.start : span.end], rate_hz)
    return ClipCues(
        {
            "format": format_facts,
            "loudness": loudness,
            "onset": onset,
            "removed": format_facts + loudness + onset,
            "ending": (_steps(trail, SILENCE_STEP_S),),
            "duration": (_steps(None if span is None else span.seconds(rate_hz), DURATION_STEP_S),),
            "bandwidth": (_steps(edge_hz, BANDWIDTH_STEP_HZ),),
            "spectrum": tuple(float(x) for x in bands),
        }
    )


def attack(
    before: Sequence[tuple[ClipCues, ClipCues]], after: Sequence[tuple[ClipCues, ClipCues]]
) -> list[CueResult]:
    """Return each cue's result from pairs of (candidate, baseline), before and after the processing.

    The same cue must have been taken of the same pairs in both.
    """
    signs = _sign_flips(len(after))
    out = []
    for cue in CUES:
        shuffled = _accuracies(_votes(_matrix(after, cue)), signs)
        found = float(shuffled[0])
        low, high = np.quantile(shuffled, [0.025, 0.975])
        out.append(
            CueResult(
                cue=cue,
                removed=cue in REMOVED,
                clips=2 * len(after),
                before=round(float(_accuracies(_votes(_matrix(before, cue)), signs[:1])[0]), 4),
                after=round(found, 4),
                chance_low=round(float(low), 4),
                chance_high=round(float(high), 4),
                p=round(float(np.mean(np.abs(shuffled - 0.5) >= abs(found - 0.5) - 1e-12)), 4),
            )
        )
    return out


def find_telling(results: Sequence[CueResult]) -> list[CueResult]:
    """Return the cues that should have been removed and still name the side (p below `ALPHA`)."""
    return [result for result in results if result.removed and result.p < ALPHA]


def _steps(value: float | None, step: float) -> float:
    """Return a value in steps; what could not be measured is far from everything that could."""
    return -1e6 if value is None else value / step


def _spectrum(samples: Samples, rate_hz: int) -> tuple[Array, float | None]:
    """Return third-octave levels in steps (100 Hz to 20 kHz, relative to the whole), and the frequency in Hz
    below which all but a thousandth of the energy lies."""
    centres = 1000.0 * 2.0 ** (np.arange(-10, 14) / 3.0)
    if samples.size < 16:
        return np.full(centres.size, -60.0), None
    from scipy.signal import welch  # too dear for those who only seal again

    freqs, power = welch(samples.astype(np.float64), fs=rate_hz, nperseg=min(2048, samples.size))
    total = float(power.sum())
    if total <= 0.0:
        return np.full(centres.size, -60.0), None
    edges = np.concatenate((centres * 2.0 ** (-1 / 6), [centres[-1] * 2.0 ** (1 / 6)]))
    which = np.digitize(freqs, edges) - 1
    sums = np.array([float(power[which == band].sum()) for band in range(centres.size)])
    db = 10.0 * np.log10(np.maximum(sums / total, 1e-6))
    edge_hz = float(freqs[int(np.searchsorted(np.cumsum(power), 0.999 * total))])
    return np.asarray(db / SPECTRUM_STEP_DB, dtype=np.float64), edge_hz


def _matrix(pairs: Sequence[tuple[ClipCues, ClipCues]], cue: Cue) -> Array:
    """Return the vectors as rows, in whole steps: the candidate's and the baseline's of the first pair, ...

    Rounded around the median, so that clips all but alike never fall on two sides of a step's edge.
    """
    raw = np.array([clip.vectors[cue] for pair in pairs for clip in pair], dtype=np.float64)
    return np.asarray(np.rint(raw - np.median(raw, axis=0)), dtype=np.float64)


def _votes(vectors: Array) -> Array:
    """Return the weight of clip j in naming clip i, shape (n, n): the nearest outside i's pair, ties
    shared."""
    distance = np.square(vectors[:, None, :] - vectors[None, :, :]).sum(axis=2)
    pair = np.arange(len(vectors)) // 2
    distance[pair[:, None] == pair[None, :]] = np.inf
    nearest = np.isfinite(distance) & (distance <= distance.min(axis=1, keepdims=True) + 1e-9)
    counts = nearest.sum(axis=1, keepdims=True)
    return np.asarray(nearest / np.maximum(counts, 1), dtype=np.float64)


def _accuracies(votes: Array, signs: Array) -> Array:
    """Return the accuracy for each row of pair signs, shape (k,): +1 keeps a pair's sides, -1 swaps them."""
    labels = np.repeat(signs, 2, axis=1) * np.tile([1.0, -1.0], signs.shape[1])
    return np.asarray(0.5 + 0.5 * np.mean(labels * (labels @ votes.T), axis=1), dtype=np.float64)


def _sign_flips(pairs: int) -> Array:
    """Return ways to swap the sides within pairs, shape (k, pairs); the first row swaps nothing."""
    if pairs <= 12:
        codes = np.arange(2**pairs)[:, None] >> np.arange(pairs)[None, :]
        return np.where(codes & 1, -1.0, 1.0)
    signs = np.random.default_rng(20261122).choice([-1.0, 1.0], size=(4096, pairs))
    signs[0] = 1.0
    return np.asarray(signs, dtype=np.float64)
