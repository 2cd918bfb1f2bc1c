"""What of each side's sound is the engine's and not the voice's: its rate, and how far up it reaches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.audio.wav import read_mono
from bench.errors import BadInput
from bench.records.listening import Sound

NARROWEST_HZ = 3400
"""A telephone line's edge; clips of tones are no measure of a bandwidth."""
ABOVE = 1e-6
"""Share of a side's energy that lies above its bandwidth: -60 dB."""
STEP_HZ = 100


def measure_sound(takes: Sequence[Path]) -> Sound:
    """Return a side's rate and bandwidth, over all of its takes together.

    A file that cannot be read is left out: who prepares it says so.
    """
    from scipy.signal import welch  # too dear for those who only decide again

    rates: list[int] = []
    energy = np.zeros(0)
    for path in takes:
        try:
            samples, rate_hz = read_mono(path)
        except BadInput:
            continue
        rates.append(rate_hz)
        freqs, power = welch(samples.astype(np.float64), fs=rate_hz, nperseg=min(2048, samples.size))
        bins = np.bincount(
            (freqs // STEP_HZ).astype(np.int64), weights=power / max(float(power.sum()), 1e-30)
        )
        energy = np.pad(energy, (0, max(0, bins.size - energy.size)))
        energy[: bins.size] += bins
    if not rates:
        return Sound(rate_hz=0, bandwidth_hz=NARROWEST_HZ)
    above = np.cumsum(energy[::-1])[::-1] / max(float(energy.sum()), 1e-30)
    reach = STEP_HZ * int(np.count_nonzero(above > ABOVE))
    return Sound(rate_hz=min(rates), bandwidth_hz=max(NARROWEST_HZ, min(reach, min(rates) // 2)))
