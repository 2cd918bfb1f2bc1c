"""The figures of one take, from stamped samples. Pure; docs/measuring.md defines each one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.client.bodies import Pcm
from bench.client.faults import TakeFault
from bench.client.playback import play
from bench.client.samples import Samples

AUDIBLE_DBFS = -45.0
"""RMS of a 10 ms frame, relative to full scale 1.0. (Coval's metrics/ttfa.py takes RMS 0.01, -40 dBFS.)"""
FRAME_S = 0.010
BURST_GAP_MS = 5.0
"""Audio that arrives within this of the arrival before it belongs to the same chunk: the network cuts one
write of a server into several arrivals."""
STREAMED_SHARE = 0.10
STREAMED_MIN_MS = 20.0
"""A take streamed when the last of its audio came at least a tenth of the total time and at least 20 ms after the
first, in whichever pieces: a listener could have begun while it was still being made or sent."""
CLIPPED_SHARE = 0.01
CLIPPED_RUN = 3
FULL_SCALE_INT16 = 32767
LSB = 1.0 / 32768.0
"""Samples within this of zero before the first other one are not audio, as a header is not."""
NOISE = ((-10.0, 0.25), (-7.0, 0.015))
"""Noise at full scale: at least as loud (dBFS where it sounds) with a spectrum at least as flat (geometric over
arithmetic mean of its power; white noise has 1, a tone 0). Samples of another form, or a compressed file, read as
16-bit have -9 to 0 dBFS and 0.4 to 1. Speech has 0.1, and at -8 dBFS would be clipped beyond recognition; files of it
have -18."""
_NOISE_FRAME = 512
_SOUNDING_DBFS, _LOUD_DBFS, _LOUD_SHARE = -20.0, -12.0, 0.75
"""From end to end: of the frames that sound at all nearly every one is loud. Of speech it is one in six at most."""


@dataclass(frozen=True, slots=True)
class Figures:
    """See `bench.records.take.Take` for the meaning of each."""

    audio_s: float
    ttfb_ms: float
    ttfa_ms: float | None
    ttfa_audible_ms: float | None
    total_ms: float
    rtf: float
    rtf_after_first: float | None
    streamed: bool | None
    chunks: int
    stalls: int | None
    stall_ms: float | None
    start_buffer_ms: float | None


def as_float(samples: Samples) -> NDArray[np.float32]:
    """Return samples with full scale at +-1.0."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768.0)
    return samples.astype(np.float32, copy=False)


def find_audible(samples: Samples, rate_hz: int) -> int | None:
    """Return the index of the first audible sample, or None for silence.

    The first 10 ms frame (counted from sample 0, the last one may be shorter) whose RMS reaches `AUDIBLE_DBFS`;
    in it, the first sample whose magnitude does.
    """
    values = as_float(samples)
    level = 10.0 ** (AUDIBLE_DBFS / 20.0)
    size = max(1, round(rate_hz * FRAME_S))
    power = np.add.reduceat(np.square(values, dtype=np.float64), np.arange(0, values.size, size))
    lengths = np.diff(np.append(np.arange(0, values.size, size), values.size))
    loud = np.flatnonzero(power >= lengths * level * level)
    if not loud.size:
        return None
    start = int(loud[0]) * size
    above = np.flatnonzero(np.abs(values[start : start + size]) >= level * (1 - 1e-6))
    return start + int(above[0]) if above.size else start


def is_noise(samples: Samples) -> bool:
    """Return whether a take is noise at full scale, wherever it is not silent."""
    values = as_float(samples)
    if values.size < _NOISE_FRAME:
        return False
    frames = values[: values.size // _NOISE_FRAME * _NOISE_FRAME].reshape(-1, _NOISE_FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    sounding = power >= 10.0 ** (_SOUNDING_DBFS / 10.0)
    loud = power >= 10.0 ** (_LOUD_DBFS / 10.0)
    if sounding.mean() < 0.25 or loud.sum() < _LOUD_SHARE * sounding.sum():
        return False
    dbfs = 10.0 * np.log10(power[sounding].mean())
    needed = min((flatness for above, flatness in NOISE if dbfs >= above), default=None)
    if needed is None:
        return False
    spectrum = np.zeros(_NOISE_FRAME // 2 + 1)
    for block in np.array_split(
        frames[sounding], max(1, int(sounding.sum()) // 1000)
    ):  # memory of a long take
        spectrum += np.square(np.abs(np.fft.rfft(block * np.hanning(_NOISE_FRAME), axis=1))).sum(axis=0)
    inner = spectrum[2:-2] + 1e-12
    return bool(np.exp(np.mean(np.log(inner))) >= needed * inner.mean())


def find_first_audio(samples: Samples) -> int | None:
    """Return the index of the first sample that is audio: further from zero than `LSB`; None where there is none."""
    audio = np.flatnonzero(np.abs(as_float(samples)) > LSB)
    return int(audio[0]) if audio.size else None


def clipped_share(samples: Samples) -> float:
    """Return the share of samples in runs of three or more at full scale."""
    limit = FULL_SCALE_INT16 / 32768.0
    flat = np.abs(as_float(samples)) >= limit
    if not flat.any():
        return 0.0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.view(np.int8), [0]))))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum()) / samples.size


def check_audio(samples: Samples, rate_hz: int) -> None:
    """Fail audio that no listener should be given.

    Raises:
        TakeFault: `nan`, `silence`, `noise` or `clipping`.
    """
    if samples.dtype != np.int16:
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        if bad:
            raise TakeFault("nan", f"{bad} of {samples.size} samples are not finite numbers")
    if find_audible(samples, rate_hz) is None:
        raise TakeFault(
            "silence", f"no 10 ms frame of {samples.size / rate_hz:.2f} s reaches {AUDIBLE_DBFS:g} dBFS"
        )
    share = clipped_share(samples)
    if share >= CLIPPED_SHARE:
        raise TakeFault("clipping", f"{share:.1%} of the samples stand at full scale in runs")
    if is_noise(samples):
        raise TakeFault(
            "noise",
            "noise at full scale from end to end, which is what samples of another form sound like (32-bit float, "
            "mu-law, a compressed file): state the form in the headers, or as `container` in the catalog entry",
        )


def find_bursts(arrivals_ms: Sequence[float]) -> list[int]:
    """Return the index at which each chunk begins."""
    return [
        index
        for index, at in enumerate(arrivals_ms)
        if index == 0 or at - arrivals_ms[index - 1] >= BURST_GAP_MS
    ]


def measure(sent_ns: int, body_ns: Sequence[int], end_ns: int, pcm: Pcm) -> Figures:
    """Return the figures of one complete take.

    Args:
        sent_ns: when the request left.
        body_ns: when each piece of the body arrived, header or not, in order.
        end_ns: when the answer was complete.
        pcm: the decoded body, with at least one sample and its rate.
    """
    rate = pcm.rate_hz
    assert rate is not None and pcm.events and body_ns
    audio_s = sum(piece.size for _, piece in pcm.events) / rate
    total_ms = (end_ns - sent_ns) / 1e6
    ttfb_ms = (body_ns[0] - sent_ns) / 1e6
    if pcm.whole_file:
        return _whole_file(sent_ns, body_ns, total_ms, ttfb_ms, pcm, rate)

    arrivals = [(at - sent_ns) / 1e6 for at, _ in pcm.events]
    durations = [piece.size / rate * 1e3 for _, piece in pcm.events]
    audible_ms = _audible(pcm, rate, play(arrivals, durations).starts_ms)
    # Pieces before the first audio are none of it, as a header is none; a player who waits for it misses nothing.
    silent = next((i for i, (_, piece) in enumerate(pcm.events) if find_first_audio(piece) is not None), 0)
    arrivals, durations = arrivals[silent:], durations[silent:]
    player = play(arrivals, durations)
    starts = find_bursts(arrivals)
    streamed = _spread(arrivals, total_ms)
    # Pieces so dense that they make one chunk are a stream all the same; then the first piece stands for it.
    first_count = starts[1] if len(starts) > 1 else 1 if streamed else len(durations)
    ttfa_ms, rest_s = arrivals[0], sum(durations[first_count:]) / 1e3
    return Figures(
        audio_s=audio_s,
        ttfb_ms=ttfb_ms,
        ttfa_ms=ttfa_ms,
        ttfa_audible_ms=audible_ms,
        total_ms=total_ms,
        rtf=total_ms / 1e3 / audio_s,
        rtf_after_first=(total_ms - ttfa_ms) / 1e3 / rest_s if rest_s > 0 else None,
        streamed=streamed,
        chunks=len(starts),
        stalls=player.stalls,
        stall_ms=player.stall_ms,
        start_buffer_ms=player.start_buffer_ms,
    )


def begin_earlier(figures: Figures, ms: float) -> Figures:
    """Return the figures of a take whose first request left that much before the one that was answered."""

    def later(value: float | None) -> float | None:
        return None if value is None else value + ms

    total_ms = figures.total_ms + ms
    return replace(
        figures,
        ttfb_ms=figures.ttfb_ms + ms,
        ttfa_ms=later(figures.ttfa_ms),
        ttfa_audible_ms=later(figures.ttfa_audible_ms),
        total_ms=total_ms,
        rtf=total_ms / 1e3 / figures.audio_s,
    )


def _spread(arrivals_ms: Sequence[float], total_ms: float) -> bool:
    return arrivals_ms[-1] - arrivals_ms[0] >= max(STREAMED_MIN_MS, STREAMED_SHARE * total_ms)


def _audible(pcm: Pcm, rate_hz: int, starts_ms: Sequence[float]) -> float | None:
    index = find_audible(pcm.samples(), rate_hz)
    if index is None:
        return None
    for start, (_, piece) in zip(starts_ms, pcm.events, strict=True):
        if index < piece.size:
            return start + index / rate_hz * 1e3
        index -= piece.size
    raise AssertionError("the audible sample lies past the end")


def _whole_file(
    sent_ns: int, body_ns: Sequence[int], total_ms: float, ttfb_ms: float, pcm: Pcm, rate_hz: int
) -> Figures:
    """A compressed file is decoded whole, so its first sample exists when its last byte does.

    Where the file trickled in, a progressive decoder would have had audio earlier; we cannot say when, so the
    figures that depend on it are null instead of too large.
    """
    arrivals = [(at - sent_ns) / 1e6 for at in body_ns]
    trickled = _spread(arrivals, total_ms)
    at_end = None if trickled else arrivals[-1]
    audio_s = sum(piece.size for _, piece in pcm.events) / rate_hz
    return Figures(
        audio_s=audio_s,
        ttfb_ms=ttfb_ms,
        ttfa_ms=at_end,
        ttfa_audible_ms=None if at_end is None else _audible(pcm, rate_hz, [at_end]),
        total_ms=total_ms,
        rtf=total_ms / 1e3 / audio_s,
        rtf_after_first=None,
        streamed=None if trickled else False,
        chunks=len(find_bursts(arrivals)),
        stalls=None if trickled else 0,
        stall_ms=None if trickled else 0.0,
        start_buffer_ms=None if trickled else 0.0,
    )
