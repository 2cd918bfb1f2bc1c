"""95% intervals of the mean difference. The one in use is by Student's t for one rater, Howe's for several.

Model. The difference of rater i and sentence j is d_ij = m + r_i + s_j + e_ij: a taste of the rater's own, what is
peculiar to that sentence's two takes and heard by all, and the rest. Everybody rates the same sentences, so raters and
sentences are crossed and the mean squares of raters, sentences and rest, R, S and E, say all there is to know
(R estimates var e + pairs * var r, and so on). The variance of the mean is (R + S - E) / n.

One rater. The pairs are exchangeable: mean -+ t * sd / sqrt(n) with n - 1 degrees of freedom, of that rater alone.

Several. Half of the width is sqrt((t_R^2 R + t_S^2 S - t_E^2 E) / n), each t with its own degrees of freedom
(raters - 1, pairs - 1 and their product). That is Howe's way of giving each part of a sum its own quantile (JASA 69
(1974) 789-794), with the sign of E as in Burdick & Graybill, Confidence Intervals on Variance Components (1992).
Satterthwaite's one t for the whole sum was tried and covers as little as 87% with two raters, where the degrees of
freedom that it estimates are mostly chance. Where the sum comes out below E / 4, that is taken: an interval is never
nothing while the ratings disagree.

Coverage is by simulation: `python -m benchmarks.coverage` prints it, docs/verdict.md has it.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from bench.verdict.lattice import Pmf, sum_of_draws

SCORE_SPAN = 4
"""Largest difference of two scores on the 1-5 scale."""
LEVEL = 0.95
DIGITS = 9
"""The ends are rounded to so many places, so that no machine's last bit is in a verdict's bytes."""
_TIE = 1e-9
"""Cumulative probabilities nearer than this count as equal, so that rounding never moves a lattice point."""

Interval = tuple[float, float]


def mean_interval(differences_by_rater: Sequence[Sequence[int]]) -> tuple[Interval, str]:
    """Return the 95% interval of the mean difference in points, and what it is called.

    `differences_by_rater` has a row a rater, the sentences in the same order in each. A single pair has no spread to
    go by: its interval is the whole scale.

    Raises:
        ValueError: no answers, or raters with different numbers of pairs.
    """
    values = np.array(_checked(differences_by_rater), dtype=np.float64)
    raters, pairs = values.shape
    mean = float(values.mean())
    if pairs == 1:
        return (float(-SCORE_SPAN), float(SCORE_SPAN)), "the whole scale: one pair says nothing of its spread"
    if raters == 1:
        half = _t(pairs - 1) * float(values.std(ddof=1)) / math.sqrt(pairs)
        return _ends(mean, half), "Student's t over pairs, of this rater alone"
    by_rater, by_sentence = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_rater[:, None] - by_sentence[None, :] + mean
    of_raters = pairs * float(by_rater.var(ddof=1))
    of_sentences = raters * float(by_sentence.var(ddof=1))
    of_rest = float((rest**2).sum()) / ((raters - 1) * (pairs - 1))
    square = (
        _t(raters - 1) ** 2 * of_raters
        + _t(pairs - 1) ** 2 * of_sentences
        - _t((raters - 1) * (pairs - 1)) ** 2 * of_rest
    )
    half = math.sqrt(max(square, of_rest / 4.0) / values.size)
    return _ends(mean, half), "raters and sentences crossed, Howe"


def _t(degrees: int) -> float:
    return float(stdtrit(degrees, 0.5 + LEVEL / 2.0))


def _ends(mean: float, half: float) -> Interval:
    return round(mean - half, DIGITS), round(mean + half, DIGITS)


def _checked(rows: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    sizes = {len(row) for row in rows}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError("every rater must have the same number of pairs, and at least one")
    if any(abs(value) > SCORE_SPAN for row in rows for value in row):
        raise ValueError("differences must lie in -4..4")
    return rows


def bootstrap_interval(differences_by_rater: Sequence[Sequence[int]]) -> tuple[Interval, str]:
    """Return method 3's interval: the exact percentile bootstrap, raters resampled first where there are several.

    Runs that began with it are judged by it. It is too narrow: at ten pairs it covers about 90% (one rater) and 85%.

    Raises:
        ValueError: no answers, raters with different numbers of pairs, or a difference beyond -4..4.
    """
    rows = _checked(differences_by_rater)
    pairs, raters = len(rows[0]), len(rows)
    one_rater = np.mean([sum_of_draws(_observed(row), pairs) for row in rows], axis=0)
    cumulative = np.cumsum(sum_of_draws(one_rater, raters))
    cumulative /= cumulative[-1]
    n = pairs * raters

    def quantile(probability: float) -> float:
        index = int(np.searchsorted(cumulative, probability - _TIE))
        return (index - SCORE_SPAN * n) / n

    name = "bootstrap of pairs" if raters == 1 else "two-stage bootstrap, raters then pairs"
    return (quantile((1.0 - LEVEL) / 2.0), quantile(1.0 - (1.0 - LEVEL) / 2.0)), name


def _observed(differences: Sequence[int]) -> Pmf:
    counts = Counter(differences)
    return np.array([counts[value] / len(differences) for value in range(-SCORE_SPAN, SCORE_SPAN + 1)])
