"""The second question: what raters said beside the one that the rule reads."""

from collections.abc import Sequence
from fractions import Fraction

from bench.records.listening import Answer
from bench.records.verdict import SecondQuestion


def describe_second(question: str | None, counted: Sequence[Answer]) -> SecondQuestion | None:
    """Describe the answers to the second question over the pairs that the rule counts; null where none was asked."""
    pairs = [
        (answer.candidate_second, answer.baseline_second)
        for answer in counted
        if answer.candidate_second is not None and answer.baseline_second is not None
    ]
    if question is None or not pairs:
        return None
    n = len(pairs)
    candidate, baseline = (sum(pair[side] for pair in pairs) for side in (0, 1))
    return SecondQuestion(
        question=question,
        n=n,
        candidate_mean=float(Fraction(candidate, n)),
        baseline_mean=float(Fraction(baseline, n)),
        mean_difference=float(Fraction(candidate - baseline, n)),
        wins=sum(a > b for a, b in pairs),
        ties=sum(a == b for a, b in pairs),
        losses=sum(a < b for a, b in pairs),
    )
