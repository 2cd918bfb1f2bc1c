"""What is said beside the rule of the answers themselves, deciding nothing: counts, means, an exact test, agreement.

One pair of one rater gives a difference d = candidate score - baseline score, an integer in -4..4. Intervals of the
mean of d are in `bench.verdict.intervals`, what the design could tell in `bench.verdict.power`; the interval of a
median latency is resampled: `bench.summaries.summary`.

The sign-flip test takes the sentence as its unit: under "no difference" each sentence's total is as likely to be its
negative (Fisher's randomisation test as in Good, Permutation Tests, 2000).
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction

from bench.records.listening import Answer
from bench.records.verdict import Anchors, Described, IdenticalPairs, Repeats, SentenceMeans, SideBias
from bench.verdict.intervals import bootstrap_interval, mean_interval


def passes_margin(differences: Iterable[int], margin_tenths: int) -> bool:
    """Whether the mean of `differences` is at least `margin_tenths` / 10, in integers; false for none.

    `c/n >= b/n + 0.5` in floating point refuses some exact ties with the margin at n = 12, 14, 18, 22, 24, 26, 28
    and 30, to go no further than thirty.
    """
    values = list(differences)
    return bool(values) and 10 * sum(values) >= margin_tenths * len(values)


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


def describe(answers: Sequence[Answer], *, method: int) -> Described:
    """Describe the `pair` answers of one channel: means, interval, exact p, wins, per rater and per sentence.

    Every rater must have answered the same pairs. The result does not depend on the order given.
    """
    rows = sorted(answers, key=lambda a: (a.rater, a.utterance_id))
    differences = [a.candidate - a.baseline for a in rows]
    by_rater: dict[str, list[int]] = defaultdict(list)
    by_sentence: dict[str, list[Answer]] = defaultdict(list)
    for answer in rows:
        by_rater[answer.rater].append(answer.candidate - answer.baseline)
        by_sentence[answer.utterance_id].append(answer)
    find_interval = bootstrap_interval if method < 4 else mean_interval
    interval, interval_method = find_interval(list(by_rater.values()))
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
        interval_95=interval,
        interval_method=interval_method,
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
