"""F0 over time by the autocorrelation method of Praat, in numpy.

Source: P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio
of a sampled sound", Proceedings of the Institute of Phonetic Sciences 17, Amsterdam 1993, with the constants
that Praat's "To Pitch (ac)" has by default. Written out here because Praat's Python package is GPL and has no
wheel for Linux on aarch64, where the engines run; tests/metrics/test_f0.py holds it against Praat itself.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from bench.audio.resample import resample
from bench.audio.wav import Samples

WORKING_RATE_HZ = 16000
FLOOR_HZ = 60.0
CEILING_HZ = 500.0
STEP_S = 0.01
SILENCE_THRESHOLD = 0.03
VOICING_THRESHOLD = 0.45
OCTAVE_COST = 0.01
OCTAVE_JUMP_COST = 0.35
VOICED_UNVOICED_COST = 0.14
CANDIDATES = 14
MIN_VOICED_FRAMES = 10
"""Fewer than this many voiced frames (0.1 s of voice) give no median."""
_WINDOW_PERIODS = 3
_OVERSAMPLING = 4
_FRAMES_AT_ONCE = 256
"""Frames analysed together: bounds the memory, whatever the clip's length."""

Floats = NDArray[np.float64]


def median_f0_hz(samples: Samples, rate_hz: int) -> float | None:
    """Return the median F0 in Hz over voiced frames of 10 ms, or None with under 0.1 s of voice.

    Source: Praat's autocorrelation method, 60-500 Hz, its other constants as Praat has them; within 0.2
    semitones of Praat itself on synthetic sentences.
    Known failure: octave errors on creaky or very breathy voices (harmless to the median while they are
    under half of the voiced frames); background music or hum is tracked as if it were voice; trackers differ
    by 0.13 to 0.18 semitones on the same sentence, 0.7 at most.
    """
    frequencies = track_f0(samples, rate_hz)
    voiced = frequencies[frequencies > 0.0]
    return float(np.median(voiced)) if voiced.size >= MIN_VOICED_FRAMES else None


def track_f0(samples: Samples, rate_hz: int) -> Floats:
    """Return F0 in Hz for each 10 ms, shape (frames,), 0.0 where unvoiced; empty for a clip under 51 ms."""
    if rate_hz > WORKING_RATE_HZ:
        samples, rate_hz = resample(samples, rate_hz, WORKING_RATE_HZ), WORKING_RATE_HZ
    window_n = round(_WINDOW_PERIODS / FLOOR_HZ * rate_hz)
    step_n = STEP_S * rate_hz
    if samples.size <= window_n:
        return np.zeros(0)
    signal = samples.astype(np.float64)
    global_peak = float(np.max(np.abs(signal - signal.mean())))
    count = 1 + int((signal.size - window_n) / step_n)
    if global_peak == 0.0:
        return np.zeros(count)
    first = (signal.size - window_n - (count - 1) * step_n) / 2
    starts = np.rint(first + step_n * np.arange(count)).astype(np.int64)
    blocks = [
        _candidates(signal, starts[at : at + _FRAMES_AT_ONCE], window_n, rate_hz, global_peak)
        for at in range(0, count, _FRAMES_AT_ONCE)
    ]
    frequencies = np.concatenate([block[0] for block in blocks])
    strengths = np.concatenate([block[1] for block in blocks])
    return _best_path(frequencies, strengths)


def _candidates(
    signal: Floats, starts: NDArray[np.int64], window_n: int, rate_hz: int, global_peak: float
) -> tuple[Floats, Floats]:
    """Return frequencies in Hz and strengths, shape (frames, 1 + CANDIDATES); column 0 is "unvoiced", 0 Hz."""
    frames = signal[starts[:, None] + np.arange(window_n)]
    period_n = round(rate_hz / FLOOR_HZ)
    middle = slice(window_n // 2 - period_n, window_n // 2 + period_n)
    frames = frames - frames[:, middle].mean(axis=1, keepdims=True)
    half = slice(window_n // 2 - period_n // 2, window_n // 2 + period_n // 2)
    local_peak = np.abs(frames[:, half]).max(axis=1)
    window = np.hanning(window_n + 2)[1:-1]
    n_fft = next_fast_len(int(window_n * 1.5), real=True)
    autocorrelation = _autocorrelation(frames * window, n_fft)
    of_window = _autocorrelation(window[None, :], n_fft)[0]
    # The window's own decay would make long periods look weak: divide it out.
    power = autocorrelation[:, :1]
    shortest = int(rate_hz / CEILING_HZ * _OVERSAMPLING)
    longest = int(np.ceil(rate_hz / FLOOR_HZ * _OVERSAMPLING))
    lags = np.arange(shortest - 1, longest + 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = autocorrelation[:, lags] / power * (of_window[0] / of_window[lags])
    r = np.nan_to_num(r)
    left, centre, right = r[:, :-2], r[:, 1:-1], r[:, 2:]
    peaks = (centre > left) & (centre >= right) & (centre > 0.5 * VOICING_THRESHOLD)
    curvature = left - 2 * centre + right
    shift = np.where(peaks, 0.5 * (left - right) / np.where(curvature == 0, -1.0, curvature), 0.0)
    height = np.minimum(centre - 0.25 * (left - right) * shift, 1.0)
    lag_s = (lags[1:-1] + shift) / (rate_hz * _OVERSAMPLING)
    strength = np.where(peaks, height - OCTAVE_COST * np.log2(FLOOR_HZ * lag_s), -np.inf)
    best = np.argsort(-strength, axis=1)[:, :CANDIDATES]
    strength = np.take_along_axis(strength, best, axis=1)
    frequency = 1.0 / np.take_along_axis(lag_s, best, axis=1)
    loudness = local_peak / global_peak
    unvoiced = VOICING_THRESHOLD + np.maximum(
        0.0, 2.0 - loudness / (SILENCE_THRESHOLD / (1.0 + VOICING_THRESHOLD))
    )
    return (
        np.hstack([np.zeros((starts.size, 1)), frequency]),
        np.hstack([unvoiced[:, None], strength]),
    )


def _autocorrelation(frames: Floats, n_fft: int) -> Floats:
    """Return the autocorrelation at a fourfold rate, interpolated by padding the power spectrum with zeros."""
    spectrum = np.abs(np.fft.rfft(frames, n_fft, axis=1)) ** 2
    return np.fft.irfft(spectrum, n_fft * _OVERSAMPLING, axis=1)


def _best_path(frequencies: Floats, strengths: Floats) -> Floats:
    """Return each frame's frequency on the path of greatest strength less the cost of jumps (Viterbi)."""
    scale = 0.01 / STEP_S
    voiced = frequencies > 0.0
    octaves = np.log2(np.where(voiced, frequencies, 1.0))
    count, width = frequencies.shape
    came_from = np.zeros((count, width), np.int64)
    score = strengths[0].copy()
    for frame in range(1, count):
        jump = OCTAVE_JUMP_COST * np.abs(octaves[frame - 1][:, None] - octaves[frame][None, :])
        both = voiced[frame - 1][:, None] & voiced[frame][None, :]
        turn = voiced[frame - 1][:, None] != voiced[frame][None, :]
        cost = np.where(both, jump, np.where(turn, VOICED_UNVOICED_COST, 0.0)) * scale
        totals = score[:, None] - cost
        came_from[frame] = totals.argmax(axis=0)
        score = totals[came_from[frame], np.arange(width)] + strengths[frame]
    path = np.zeros(count, np.int64)
    path[-1] = int(score.argmax())
    for frame in range(count - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return frequencies[np.arange(count), path]
