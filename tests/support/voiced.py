"""A reference that is nobody's voice, made by arithmetic."""

from typing import Any

import numpy as np


def voiced(seconds: float, rate: int = 24000, pitch_hz: float = 140.0) -> Any:
    """Return harmonics that rise and fall as syllables do, float32 (n,) at `rate`."""
    t = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 20))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4.0 * t)
    return (0.15 * tone * syllables).astype(np.float32)
