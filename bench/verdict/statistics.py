"""What is said beside the rule, deciding nothing: intervals, an exact test, agreement, and the rule's power.

Model. One pair of one rater gives a difference d = candidate score - baseline score, an integer in -4..4. The
figures are about the mean of d.

Fit. Nothing is fitted and next to nothing is drawn. A bootstrap of a mean of integers has an exact
distribution: the sum of n draws is the n-fold convolution of the observed frequencies, taken here as a power
of their Fourier transform (absolute error under 1e-12, and the answers lie on a lattice far coarser than
that). So the interval is the one that an endless number of resamples would give, and does not depend on a
seed. The same holds for the rule's power. The interval of a median latency is resampled: `bench.summaries.summary`.

Assumptions. One rater: the pairs are exchangeable, and the interval says nothing of other raters. Several
raters: two stages, raters then pairs within a rater, the pairs nested (that all raters hear the same
sentences is not used). The percentile interval is somewhat narrow at ten pairs, and with two or three raters
the first stage has few distinct draws. The sign-flip test takes the sentence as its unit: under "no
difference" each sentence's total is as likely to be its negative.

Sources: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; Davison & Hinkley, Bootstrap
Methods and their Application (1997), 3.8 (two stages); Fisher's randomisation test as in Good, Permutation
Tests (2000).
"""

import functools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bench.records.listening import Answer
from bench.records.verdict import (
    Anchors,
    Described,
    IdenticalPairs,
    PowerRow,
    Repeats,
    SentenceMeans,
    SideBias,
)

METHODOLOGY_VERSION = 3
"""Raised whenever the rule's arithmetic or a statistic beside it changes; stamped on every verdict."""

SCORE_SPAN = 4
"""Largest difference of two scores on the 1-5 scale."""
POWER_GAPS = (0.0, 0.25, 0.5, 0.75, 1.0)
POWER_SDS = (0.8, 1.0)
POWER_BASELINE_MEAN = 3.2
POWER_SENTENCE_SD = 0.6
_NODES = 41
_TIE = 1e-9
"""Cumulative probabilities nearer than this count as equal, so that rounding never moves a lattice point."""

Pmf = NDArray[np.float64]


def passes_margin(differences: Iterable[int], margin_tenths: int) -> bool:
    """Whether the mean of `differences` is at least `margin_tenths` / 10, in integers; false for none.

    `c/n >= b/n + 0.5` in floating point refuses exact ties with the margin at n = 12 and n = 30.
    """
    values = list(differences)
    return bool(values) and 10 * sum(values) >= margin_tenths * len(values)


def _power(pmf: Pmf, times: int) -> Pmf:
    """Distribution of the sum of `times` draws from `pmf`; index 0 is `times` * the smallest value."""
    length = (len(pmf) - 1) * times + 1
    size = 1 << (length - 1).bit_length() if length > 1 else 1
    spectrum = np.fft.rfft(pmf, size) ** times
    result: Pmf = np.clip(np.fft.irfft(spectrum, size)[:length], 0.0, None) if size > 1 else np.ones(1)
    return result


def _observed(differences: Sequence[int]) -> Pmf:
    counts = Counter(differences)
    if any(abs(value) > SCORE_SPAN for value in counts):
        raise ValueError("differences must lie in -4..4")
    return np.array([counts[value] / len(differences) for value in range(-SCORE_SPAN, SCORE_SPAN + 1)])


def bootstrap_interval(
    differences_by_rater: Sequence[Sequence[int]], level: float = 0.95
) -> tuple[float, float]:
    """Return the exact percentile bootstrap interval of the mean difference, in points of the 1-5 scale.

    One rater: pairs are resampled. Several: raters first, then pairs within each.

    Raises:
        ValueError: no answers, raters with different numbers of pairs, or a difference beyond -4..4.
    """
    sizes = {len(differences) for differences in differences_by_rater}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError("every rater must have the same number of pairs, and at least one")
    pairs, raters = sizes.pop(), len(differences_by_rater)
    one_rater = np.mean([_power(_observed(row), pairs) for row in differences_by_rater], axis=0)
    total = _power(one_rater, raters)
    cumulative = np.cumsum(total)
    cumulative /= cumulative[-1]
    n = pairs * raters

    def quantile(probability: float) -> float:
        index = int(np.searchsorted(cumulative, probability - _TIE))
        return (index - SCORE_SPAN * n) / n

    tail = (1.0 - level) / 2.0
    return quantile(tail), quantile(1.0 - tail)


def sign_flip_p(differences: Sequence[int]) -> float:
    """Return the exact two-sided sign-flip (randomisation) p of "no difference", over all 2^n patterns.

    A difference of 0 stays in: flipping it changes nothing.
    """
    observed = abs(sum(differences))
    ways: dict[int, int] = {0: 1}
    for value in differences:
        after: dict[int, int] = defaultdict(int)
        for total, count in ways.items():
            after[total + value] += count
            after[total - value] += count
        ways = dict(after)
    extreme = sum(count for total, count in ways.items() if abs(total) >= observed)
    return float(Fraction(extreme, 2 ** len(differences)))


def repeat_agreement(answers: Sequence[Answer]) -> Repeats:
    """Compare each hidden repeat with the same rater's first answer to that pair, whatever the sides were."""
    first = {(a.rater, a.utterance_id, a.channel): a for a in answers if a.kind == "pair"}
    gaps: list[int] = []
    for again in answers:
        before = first.get((again.rater, again.utterance_id, again.channel))
        if again.kind == "repeat" and before is not None:
            gaps += [abs(again.candidate - before.candidate), abs(again.baseline - before.baseline)]
    return Repeats(
        scores=len(gaps),
        exact=gaps.count(0) / len(gaps) if gaps else None,
        mean_absolute_difference=sum(gaps) / len(gaps) if gaps else None,
    )


def identical_pairs(answers: Sequence[Answer]) -> IdenticalPairs:
    """What was answered where both clips were the same: a trap that flags and never deletes (ITU-T P.808)."""
    rows = [a for a in answers if a.kind == "identical"]
    return IdenticalPairs(
        trials=len(rows),
        scored_equal=sum(a.candidate == a.baseline for a in rows),
        differences=sorted(abs(a.candidate - a.baseline) for a in rows),
    )


def anchors(answers: Sequence[Answer]) -> Anchors:
    """What was answered where the reference itself stood, hidden, beside a take of either side: is the speaker
    known?"""
    rows = [a for a in answers if a.kind == "anchor"]
    return Anchors(
        trials=len(rows),
        reference_higher=sum(a.candidate > a.baseline for a in rows),
        reference_mean=_mean([a.candidate for a in rows]) if rows else None,
        take_mean=_mean([a.baseline for a in rows]) if rows else None,
    )


def side_bias(answers: Sequence[Answer]) -> SideBias:
    """Mean score of side A minus side B over `answers`, and how often the candidate was A."""
    on_a = [a.candidate_side == "A" for a in answers]
    gaps = [(a.candidate - a.baseline) * (1 if was_a else -1) for a, was_a in zip(answers, on_a, strict=True)]
    return SideBias(candidate_on_a=sum(on_a), a_minus_b=sum(gaps) / len(gaps) if gaps else None)


def _mean(values: Sequence[int]) -> float:
    return float(Fraction(sum(values), len(values)))


def describe(answers: Sequence[Answer]) -> Described:
    """Describe the `pair` answers of one channel: means, interval, exact p, wins, per rater and per sentence.

    Every rater must have answered the same number of pairs. The result does not depend on the order given.
    """
    rows = sorted(answers, key=lambda a: (a.rater, a.utterance_id))
    differences = [a.candidate - a.baseline for a in rows]
    by_rater: dict[str, list[int]] = defaultdict(list)
    by_sentence: dict[str, list[Answer]] = defaultdict(list)
    for answer in rows:
        by_rater[answer.rater].append(answer.candidate - answer.baseline)
        by_sentence[answer.utterance_id].append(answer)
    low, high = bootstrap_interval(list(by_rater.values()))
    comparisons = [a.comparison for a in rows if a.comparison is not None]
    totals = [sum(a.candidate - a.baseline for a in group) for group in by_sentence.values()]
    signs = Counter((value > 0) - (value < 0) for value in differences)
    return Described(
        n=len(rows),
        sum_of_differences=sum(differences),
        mean_difference=_mean(differences),
        candidate_mean=_mean([a.candidate for a in rows]),
        baseline_mean=_mean([a.baseline for a in rows]),
        sd_of_differences=statistics.stdev(differences) if len(differences) > 1 else None,
        interval_95=(low, high),
        interval_method="bootstrap of pairs"
        if len(by_rater) == 1
        else "two-stage bootstrap, raters then pairs",
        sign_flip_p=sign_flip_p(totals),
        wins=signs[1],
        ties=signs[0],
        losses=signs[-1],
        comparison_mean=_mean(comparisons) if comparisons else None,
        comparisons=len(comparisons),
        by_rater={name: _mean(values) for name, values in sorted(by_rater.items())},
        by_sentence={
            name: SentenceMeans(
                candidate=_mean([a.candidate for a in group]), baseline=_mean([a.baseline for a in group])
            )
            for name, group in sorted(by_sentence.items())
        },
        side_bias=side_bias(rows),
    )


def _rating_pmf(mean: float, sd: float) -> Pmf:
    """Distribution over 1..5 of a normal rating rounded to whole points, the tails on the end points."""
    cuts = [-math.inf, 1.5, 2.5, 3.5, 4.5, math.inf]
    cdf = [0.5 * (1.0 + math.erf((cut - mean) / (sd * math.sqrt(2.0)))) for cut in cuts]
    return np.diff(cdf)


def _difference_pmf(gap: float, sd: float, baseline_mean: float, sentence_sd: float) -> Pmf:
    """Distribution of one pair's integer difference over -4..4; see `swap_probability`."""
    side_sd = sd / math.sqrt(2.0)
    return np.asarray(
        sum(
            weight
            * np.convolve(
                _rating_pmf(baseline_mean + gap + shift, side_sd),
                _rating_pmf(baseline_mean + shift, side_sd)[::-1],
            )
            for shift, weight in _normal_nodes(sentence_sd)
        )
    )


def _normal_nodes(sd: float) -> list[tuple[float, float]]:
    """Gauss-Hermite nodes and weights of a normal of mean 0; one node where `sd` is 0."""
    if sd == 0.0:
        return [(0.0, 1.0)]
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return [(float(sd * x), float(w)) for x, w in zip(nodes, weights / weights.sum(), strict=True)]


@functools.lru_cache(maxsize=256)
def swap_probability(
    *,
    gap: float,
    sd: float,
    pairs: int,
    raters: int = 1,
    margin_tenths: int = 5,
    baseline_mean: float = POWER_BASELINE_MEAN,
    sentence_sd: float = POWER_SENTENCE_SD,
    taste_sd: float = 0.0,
) -> float:
    """Return the probability that the rating gate passes, by enumeration.

    `gap` is the true mean difference in points and `sd` the SD of a pair's latent difference; each side's
    latent rating is normal with SD `sd` / sqrt(2) about its mean plus the sentence's own effect (normal,
    `sentence_sd`, the same for both sides), and is rounded to 1..5. `taste_sd` is the SD over raters of their
    own gap.
    """
    one_rater = sum(
        weight * _power(_difference_pmf(gap + shift, sd, baseline_mean, sentence_sd), pairs)
        for shift, weight in _normal_nodes(taste_sd)
    )
    total = _power(np.asarray(one_rater), raters)
    n = pairs * raters
    smallest = -((-margin_tenths * n) // 10)
    return float(min(1.0, total[smallest + SCORE_SPAN * n :].sum()))


def simulated_swap_probability(
    *, gap: float, sd: float, pairs: int, simulations: int, rng: np.random.Generator, margin_tenths: int = 5
) -> float:
    """Estimate the same for one rater by playing the test; shares no arithmetic with the enumeration."""
    shape = (simulations, pairs)
    sentence = rng.normal(POWER_BASELINE_MEAN, POWER_SENTENCE_SD, shape)
    side_sd = sd / math.sqrt(2.0)
    baseline = np.clip(np.rint(sentence + rng.normal(0.0, side_sd, shape)), 1, 5).astype(int)
    candidate = np.clip(np.rint(sentence + gap + rng.normal(0.0, side_sd, shape)), 1, 5).astype(int)
    return float(np.mean(10 * (candidate - baseline).sum(axis=1) >= margin_tenths * pairs))


def power_rows(*, pairs: int, raters: int, margin_tenths: int) -> list[PowerRow]:
    """How often this design's rating gate passes at each true gap: a row for each SD of a pair's difference.

    Left of the margin the figure is a false pass; right of it, one minus the figure is a missed pass.
    """
    return [
        PowerRow(
            sd=sd,
            pairs=pairs,
            raters=raters,
            passes_at_gap={
                f"{gap:g}": round(
                    swap_probability(gap=gap, sd=sd, pairs=pairs, raters=raters, margin_tenths=margin_tenths),
                    4,
                )
                for gap in POWER_GAPS
            },
        )
        for sd in POWER_SDS
    ]
