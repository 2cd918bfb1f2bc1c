"""The level of a clip over time: where it is quiet, how noisy it is, where it is clipped."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.audio.wav import Samples

FRAME_S = 0.01
_SMOOTH_FRAMES = 5
_NOISE_WINDOW_S = 2.0
_LOWEST_DBFS = -100.0
_BLOCK_S = 20
_FULL_SCALE = 32767.0 / 32768.0
_FLAT_RUN = 3
_FLAT_TOPS = 5


@dataclass(frozen=True)
class LevelTrack:
    """RMS level in dBFS of each 10 ms of a clip; `level_db` has shape (n // 10 ms,), at least -100."""

    level_db: NDArray[np.float64]

    @classmethod
    def measure(cls, samples: Samples, rate_hz: int) -> "LevelTrack":
        """Measure a clip, in blocks, so that a long one needs no second copy of itself.

        At 22050 Hz a frame is 220.5 samples, so its edges are rounded one by one: a frame's number is its time.
        """
        powers = [np.zeros(0)]
        for start in range(0, samples.size, _BLOCK_S * rate_hz):
            piece = np.square(samples[start : start + _BLOCK_S * rate_hz], dtype=np.float64)
            edges = np.arange(int(piece.size / rate_hz / FRAME_S + 1e-6) + 1) * (FRAME_S * rate_hz)
            whole = np.floor(edges + 1e-6).astype(np.int64)
            if whole.size > 1:
                powers.append(np.add.reduceat(piece[: whole[-1]], whole[:-1]) / np.diff(whole))
        power = np.concatenate(powers)
        return cls(10.0 * np.log10(np.maximum(power, 10.0 ** (_LOWEST_DBFS / 10.0))))

    @property
    def length_s(self) -> float:
        """Length of what was measured, to the whole frame below."""
        return self.level_db.size * FRAME_S

    @cached_property
    def speech_db(self) -> float:
        """The level of the speech: the 95th percentile of the frames."""
        return float(np.percentile(self.level_db, 95))

    @cached_property
    def floor_db(self) -> float:
        """The level of the pauses: the 5th percentile of the frames."""
        return float(np.percentile(self.level_db, 5))

    @cached_property
    def quiet_below_db(self) -> float:
        """Below this a frame is quiet: 35 dB under the speech, or a third of the way up from the floor."""
        return max(self.speech_db - 35.0, self.floor_db + (self.speech_db - self.floor_db) / 3.0)

    @cached_property
    def loud(self) -> NDArray[np.bool_]:
        """True for each frame that is not quiet."""
        return self.level_db > self.quiet_below_db

    def speech_s(self, start_s: float, end_s: float, above_db: float = _LOWEST_DBFS) -> float:
        """Return how many seconds of the stretch are neither quiet nor below `above_db`."""
        frames = self.level_db[self._at(start_s) : self._at(end_s)]
        return float(np.count_nonzero(frames > max(self.quiet_below_db, above_db))) * FRAME_S

    def loudest_db(self, start_s: float, end_s: float) -> float:
        """Return the level of the speech in the stretch: the 95th percentile of its frames."""
        frames = self.level_db[self._at(start_s) : self._at(end_s)]
        return float(np.percentile(frames, 95)) if frames.size else _LOWEST_DBFS

    def quiet_runs(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        """Return the whole quiet stretches (start, end in seconds) that touch the window, in order.

        What lies outside the clip counts as quiet, so the clip's own edge can bound a stretch.
        """
        first, last = self._at(start_s), self._at(end_s)
        edges = np.flatnonzero(np.diff(~self.loud, prepend=False, append=False))
        runs = [(int(a), int(b)) for a, b in zip(edges[0::2], edges[1::2], strict=True)]
        return [(a * FRAME_S, b * FRAME_S) for a, b in runs if b >= first and a <= last]

    def noise_db(self, start_s: float, end_s: float) -> float:
        """Return the level of the background where it is worst in the stretch.

        In every 2 s of speech there is a pause or the closure of a stop, so the quietest 50 ms of 2 s is
        background; the loudest of these minima is the figure. A shorter stretch is one window.
        """
        frames = self.level_db[self._at(start_s) : self._at(end_s)]
        if frames.size < _SMOOTH_FRAMES:
            return float(frames.mean()) if frames.size else _LOWEST_DBFS
        smooth = np.convolve(frames, np.full(_SMOOTH_FRAMES, 1.0 / _SMOOTH_FRAMES), mode="valid")
        width = min(smooth.size, round(_NOISE_WINDOW_S / FRAME_S))
        windows = np.lib.stride_tricks.sliding_window_view(smooth, width)[:: max(1, width // 4)]
        return float(windows.min(axis=1).max())

    def _at(self, seconds: float) -> int:
        return min(max(round(seconds / FRAME_S), 0), self.level_db.size)


def clipped_at_s(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """Return the times (s) of runs of three samples or more at one limit: full scale, or the clip's own peak.

    The peak counts when five runs or more reach it, so that a recording which was clipped and then turned
    down is found too; one that was resampled after clipping has no flat tops left and is not.
    """
    peak = float(np.max(np.abs(samples), initial=0.0))
    if peak == 0.0:
        return np.zeros(0)
    at_full = _runs(np.abs(samples) >= _FULL_SCALE)
    at_peak = _runs(np.abs(samples) >= peak * (1.0 - 1e-5))
    found = at_peak if at_peak.size >= _FLAT_TOPS else at_full
    return found / rate_hz


def _runs(limited: NDArray[np.bool_]) -> NDArray[np.int64]:
    edges = np.flatnonzero(np.diff(limited, prepend=False, append=False))
    starts, ends = edges[0::2], edges[1::2]
    return starts[ends - starts >= _FLAT_RUN]
