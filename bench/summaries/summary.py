"""Median, spread and 95% intervals of a figure: one way, whoever asks, so that the same values are judged alike.

The p50 of an even number of values is the mean of the two in the middle. p95 and the interquartile range interpolate
linearly between order statistics (Hyndman and Fan 1996, type 7); with fewer than 20 values p95 says little more than
the maximum.

An interval is a percentile bootstrap (Efron 1979): 10,000 resamples at a fixed seed, drawn from the sorted values, so
that it depends on the values and not on their order, and is the same on every host. For a handful of values it is too
narrow: of a median it covers 75% with n = 3, and between 92 and 95% with n from 5 to 20 (simulated). Above 200 values
the interval of the median is that of the order statistics n/2 -+ 1.96 sqrt(n)/2, which the bootstrap tends to; those of
p95 and of the interquartile range are resampled less often, two million draws in all.

Intervals that overlap do not make two medians equal; the medians are not shown to differ.

What never came counts as infinite in every order statistic, and a statistic that becomes infinite is null. The sums are
of a number that no figure reaches, for infinity less infinity is no number.
"""

import functools
import math
import statistics
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bench.records.take import Summary

RESAMPLES = 10_000
SEED = 20261122
RESAMPLED_UP_TO = 200
"""Values; of more the median's interval is by order statistics."""

_NEVER = 1e300
"""Stands for infinity."""
_FIGURES_END = 1e100
"""Whatever an average has of infinity is above this, and every figure below."""

Interval = tuple[float, float]


def summarise(values: Iterable[float | None], *, spreads: bool = False, never: int = 0) -> Summary:
    """Return the distribution of a figure; nulls are left out, and a figure of no values is null.

    `never`: how many values there were besides that never came; they count as infinite (not with `spreads`).
    `spreads`: with the intervals of p95 and of the interquartile range. That of p95 cannot reach beyond the largest
    value seen, so it is too low. Under two values every interval is null.
    """
    assert not (spreads and never)
    came = [float(value) for value in values if value is not None]
    given = came + [_NEVER] * never
    if not given:
        return Summary(values=[], n=0, p50=None, p95=None, iqr=None)
    p25, p75, p95 = (float(q) for q in np.percentile(given, [25, 75, 95]))
    found = Summary(
        values=came,
        n=len(given),
        p50=_finite(statistics.median(given)),
        p95=_finite(p95),
        iqr=None if _finite(p75) is None else p75 - p25,
    )
    if len(given) > 1:
        ordered = tuple(sorted(given))
        low, high = _median_interval(ordered)
        found.p50_low, found.p50_high = _finite(low), _finite(high)
        if spreads:
            (found.p95_low, found.p95_high), (found.iqr_low, found.iqr_high) = _spread_intervals(ordered)
    return found


def _finite(value: float) -> float | None:
    return float(value) if value < _FIGURES_END else None


def intervals_differ(one: Summary, other: Summary) -> bool | None:
    """Return whether the 95% intervals of two medians lie apart; None where either has no interval."""
    if one.p50_low is None or one.p50_high is None or other.p50_low is None or other.p50_high is None:
        return None
    return one.p50_high < other.p50_low or other.p50_high < one.p50_low


@functools.lru_cache(maxsize=256)
def _median_interval(ordered: tuple[float, ...]) -> Interval:
    n = len(ordered)
    if n > RESAMPLED_UP_TO:
        reach = 1.96 * math.sqrt(n) / 2.0
        return ordered[max(0, math.floor(n / 2 - reach))], ordered[min(n - 1, math.ceil(n / 2 + reach) - 1)]
    return _middle(np.median(_resampled(ordered, RESAMPLES), axis=1))


def _spread_intervals(ordered: tuple[float, ...]) -> tuple[Interval, Interval]:
    """Return the intervals of p95 and of the interquartile range."""
    times = min(RESAMPLES, RESAMPLES * RESAMPLED_UP_TO // len(ordered))
    q25, q75, q95 = np.percentile(_resampled(ordered, times), [25, 75, 95], axis=1)
    return _middle(q95), _middle(q75 - q25)


def _resampled(ordered: tuple[float, ...], times: int) -> NDArray[np.float64]:
    """Return so many resamples; shape (times, n)."""
    return np.random.default_rng(SEED).choice(np.array(ordered), size=(times, len(ordered)))


def _middle(statistic: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(statistic, [2.5, 97.5])
    return float(low), float(high)
