"""Distributions of sums of whole numbers, exactly: method 3's bootstrap and the power of one rater rest on it."""

import numpy as np
from numpy.typing import NDArray

Pmf = NDArray[np.float64]
"""Probabilities of consecutive whole numbers."""


def sum_of_draws(pmf: Pmf, times: int) -> Pmf:
    """Return the distribution of the sum of `times` draws from `pmf`; index 0 is `times` * the smallest value.

    By a power of its Fourier transform: the absolute error is under 1e-12.
    """
    length = (len(pmf) - 1) * times + 1
    size = 1 << (length - 1).bit_length() if length > 1 else 1
    spectrum = np.fft.rfft(pmf, size) ** times
    result: Pmf = np.clip(np.fft.irfft(spectrum, size)[:length], 0.0, None) if size > 1 else np.ones(1)
    return result
