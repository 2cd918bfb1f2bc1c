"""Short-time energy: the one framing that levels and silence share."""

import numpy as np
from numpy.typing import NDArray

from bench.audio.wav import Samples

FRAME_S = 0.010
"""Length of a frame: long enough for a period of a 100 Hz voice, short enough to place an onset."""
HOP_S = 0.001
"""Step between frames: the resolution of every boundary found with them."""


def frame_length(rate_hz: int) -> tuple[int, int]:
    """Return the length of a frame and the hop, in samples; both at least 1."""
    return max(1, round(FRAME_S * rate_hz)), max(1, round(HOP_S * rate_hz))


def frame_mean_squares(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """Return the mean square of each frame, shape (m,); frame i starts at sample i * hop.

    A clip shorter than a frame is one frame, with zeros after it. Linear time and memory in the clip.
    """
    length, hop = frame_length(rate_hz)
    squares = np.square(samples, dtype=np.float64)
    if squares.size < length:
        squares = np.pad(squares, (0, length - squares.size))
    summed = np.concatenate(([0.0], np.cumsum(squares)))
    sums = (summed[length:] - summed[:-length])[::hop]
    means: NDArray[np.float64] = np.maximum(sums, 0.0) / length
    return means
