"""The listening test, played: raters with tastes of their own rate the same takes. It computes nothing."""

import math

import numpy as np
from numpy.typing import NDArray

from bench.verdict.power import POWER_BASELINE_MEAN, POWER_SENTENCE_SD, POWER_TAKE_SHARE, POWER_TASTE_SD


def play(
    rng: np.random.Generator,
    tests: int,
    *,
    gap: float,
    sd: float,
    pairs: int,
    raters: int = 1,
    taste_sd: float = POWER_TASTE_SD,
    take_share: float = POWER_TAKE_SHARE,
    baseline_mean: float = POWER_BASELINE_MEAN,
) -> NDArray[np.int64]:
    """Return the whole differences, candidate minus baseline, of shape (tests, raters, pairs).

    The model is that of `bench.verdict.power`; `take_share` is the SD of the takes' own difference over `sd`.
    """
    of_takes, alone = (tests, 1, pairs), (tests, raters, pairs)
    sentence = rng.normal(baseline_mean, POWER_SENTENCE_SD, of_takes)
    take_sd, rest_sd = (share * sd / math.sqrt(2.0) for share in (take_share, math.sqrt(1.0 - take_share**2)))
    baseline = sentence + rng.normal(0.0, take_sd, of_takes) + rng.normal(0.0, rest_sd, alone)
    candidate = sentence + rng.normal(0.0, take_sd, of_takes) + rng.normal(0.0, rest_sd, alone)
    candidate = candidate + gap + rng.normal(0.0, taste_sd, (tests, raters, 1))
    scores = [np.clip(np.rint(side), 1, 5).astype(np.int64) for side in (candidate, baseline)]
    return scores[0] - scores[1]


def share_passed(differences: NDArray[np.int64], margin_tenths: int = 5) -> float:
    """Return how many of the played tests pass the margin, as a share."""
    n = differences[0].size
    return float(np.mean(10 * differences.sum(axis=(1, 2)) >= margin_tenths * n))
