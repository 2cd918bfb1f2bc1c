"""How often the rating gate passes by the true difference: what the design can tell, whoever is rated.

Model. A latent rating is the baseline's mean (3.2), the sentence's own effect (SD 0.6, both sides share it), what that
take has in everybody's ears, and the rest; the candidate's is higher by the true difference and by what the rater's own
taste adds to it (SD 0.4 from rater to rater). Takes and rest of both sides together give the true difference of a pair
the SD `sd`: 0.6 of it are the takes', 0.8 the rest, as item SD 0.6 and noise SD 0.8 make 1.0 in the simulation that the
published table stands beside. Ratings are latent ones rounded to 1..5.

One rater. By enumeration: taste is integrated by Gauss and Hermite, and given it the pairs are independent.

Several. Tastes and takes are crossed, which no product of distributions has. The moments of the sum are exact, its
shape is taken as normal with half a point of continuity: within 0.01 of the played test (`python -m
benchmarks.verdict`).

Method 3 knew neither tastes nor takes that are shared.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.records.verdict import PowerAssumptions, PowerRow
from bench.verdict.intervals import SCORE_SPAN
from bench.verdict.lattice import sum_of_draws

POWER_GAPS = (0.0, 0.25, 0.5, 0.75, 1.0)
POWER_SDS = (0.8, 1.0)
POWER_BASELINE_MEAN = 3.2
POWER_SENTENCE_SD = 0.6
POWER_TASTE_SD = 0.4
POWER_TAKE_SHARE = 0.6
"""SD of the takes' own difference over the SD of a pair's: 0.36 of its variance."""
_NODES = 41
_CROSSED_NODES = 9

Array = NDArray[np.float64]


def power_rows(*, pairs: int, raters: int, margin_tenths: int, method: int) -> list[PowerRow]:
    """Return how often this design's rating gate passes at each true gap, a row for each SD of the true difference.

    Left of the margin the figure is a false pass; right of it, one minus the figure is a missed pass.
    """
    passes = enumerated_pass_probability if method < 4 else pass_probability

    def row(sd: float) -> PowerRow:
        found = {
            f"{gap:g}": round(
                passes(gap=gap, sd=sd, pairs=pairs, raters=raters, margin_tenths=margin_tenths), 4
            )
            for gap in POWER_GAPS
        }
        return PowerRow(
            sd=sd,
            pairs=pairs,
            raters=raters,
            passes_at_gap=found,
            assumptions=None if method < 4 else _assume(sd),
        )

    return [row(sd) for sd in POWER_SDS]


def _assume(sd: float) -> PowerAssumptions:
    return PowerAssumptions(
        baseline_mean=POWER_BASELINE_MEAN,
        sentence_sd=POWER_SENTENCE_SD,
        taste_sd=POWER_TASTE_SD,
        take_sd=round(POWER_TAKE_SHARE * sd, 4),
        rest_sd=round(_rest_sd(sd), 4),
    )


def _rest_sd(sd: float) -> float:
    return math.sqrt(1.0 - POWER_TAKE_SHARE**2) * sd


@functools.lru_cache(maxsize=256)
def pass_probability(*, gap: float, sd: float, pairs: int, raters: int, margin_tenths: int) -> float:
    """Return the probability that the rating gate passes, under the assumptions above.

    `gap` is the true difference and `sd` the SD of the true (latent) difference of a pair about it, in points.
    """
    if raters == 1:
        return enumerated_pass_probability(
            gap=gap, sd=sd, pairs=pairs, margin_tenths=margin_tenths, taste_sd=POWER_TASTE_SD
        )
    taste, of_taste = _normal_nodes(POWER_TASTE_SD, _CROSSED_NODES)
    take, of_take = _normal_nodes(POWER_TAKE_SHARE * sd / math.sqrt(2.0), _CROSSED_NODES)
    sentence, of_sentence = _normal_nodes(POWER_SENTENCE_SD, _CROSSED_NODES)
    # Axes: the rater's taste, the candidate's take, the baseline's, the sentence.
    pmf = _difference_pmf(
        POWER_BASELINE_MEAN + gap + taste[:, None, None, None] + take[:, None, None] + sentence,
        POWER_BASELINE_MEAN + take[:, None] + sentence,
        _rest_sd(sd) / math.sqrt(2.0),
    )
    of_pair = of_take[:, None, None] * of_take[:, None] * of_sentence
    points = np.arange(-SCORE_SPAN, SCORE_SPAN + 1)
    means = pmf @ points
    within = pmf @ points**2 - means**2
    mean = float(np.einsum("t,tcbs,cbs", of_taste, means, of_pair))
    by_rater, by_pair = np.einsum("tcbs,cbs->t", means, of_pair), np.tensordot(of_taste, means, 1)
    of_raters = float(of_taste @ (by_rater - mean) ** 2)
    of_pairs = float((of_pair * (by_pair - mean) ** 2).sum())
    whole = float(np.einsum("t,tcbs,cbs", of_taste, within + (means - mean) ** 2, of_pair))
    n = pairs * raters
    variance = pairs * n * of_raters + raters * n * of_pairs + n * (whole - of_raters - of_pairs)
    return float(ndtr((n * mean - _smallest(n, margin_tenths) + 0.5) / math.sqrt(variance)))


@functools.lru_cache(maxsize=256)
def enumerated_pass_probability(
    *,
    gap: float,
    sd: float,
    pairs: int,
    margin_tenths: int,
    raters: int = 1,
    taste_sd: float = 0.0,
) -> float:
    """Return the same by enumeration, the pairs independent but for each rater's taste: exact for one rater.

    For several it is method 3's figure, in which every rater hears takes of their own.
    """
    shift, weight = _normal_nodes(taste_sd, _NODES)
    sentence, of_sentence = _normal_nodes(POWER_SENTENCE_SD, _NODES)
    pmf = _difference_pmf(
        POWER_BASELINE_MEAN + sentence + (gap + shift[:, None]),
        POWER_BASELINE_MEAN + sentence,
        sd / math.sqrt(2.0),
    )
    given_taste = np.einsum("tsk,s->tk", pmf, of_sentence)
    one_rater = sum(float(w) * sum_of_draws(row, pairs) for w, row in zip(weight, given_taste, strict=True))
    total = sum_of_draws(np.asarray(one_rater), raters)
    n = pairs * raters
    return float(min(1.0, total[_smallest(n, margin_tenths) + SCORE_SPAN * n :].sum()))


def _smallest(n: int, margin_tenths: int) -> int:
    """Return the smallest sum of `n` differences that passes."""
    return -((-margin_tenths * n) // 10)


def _normal_nodes(sd: float, nodes: int) -> tuple[Array, Array]:
    """Return Gauss-Hermite nodes and weights of a normal of mean 0; one node where `sd` is 0."""
    if sd == 0.0:
        return np.zeros(1), np.ones(1)
    places, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return sd * places, weights / weights.sum()


def _difference_pmf(candidate_mean: Array, baseline_mean: Array, side_sd: float) -> Array:
    """Return the distribution of one pair's whole difference over -4..4, in a last axis after those of the means.

    Each side's rating is normal about its mean and rounded to whole points, the tails on 1 and 5.
    """
    cuts = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    candidate, baseline = (
        np.diff(ndtr((cuts - mean[..., None]) / side_sd), axis=-1) for mean in (candidate_mean, baseline_mean)
    )
    both = candidate[..., :, None] * baseline[..., None, :]
    return np.stack(
        [np.trace(both, -gap, -2, -1) for gap in range(-SCORE_SPAN, SCORE_SPAN + 1)],
        axis=-1,
    )
