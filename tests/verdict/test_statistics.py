"""What is counted of the answers, against brute force."""

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records.verdict import IdenticalPairs, Repeats, SideBias
from bench.verdict.statistics import (
    describe,
    identical_pairs,
    passes_margin,
    repeat_agreement,
    side_bias,
    sign_flip_p,
)
from tests.support.made_evidence import answer, ratings

DIFFERENCES = st.lists(st.integers(-4, 4), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("candidate", "baseline", "n"), [(65, 50, 30), (28, 22, 12), (35, 29, 12), (41, 35, 12)]
)
def test_exact_margin_passes_where_floats_may_not(candidate: int, baseline: int, n: int) -> None:
    difference = candidate - baseline
    row = [1] * difference + [0] * (n - difference)
    assert passes_margin(row, 5)
    assert not passes_margin([*row[:-1], -1], 5)


def test_floats_would_refuse_an_exact_margin() -> None:
    """The reason for integers: where some exact ties of the means with the margin fail in floats, to n = 30."""
    refused = [
        n
        for n in range(10, 31, 2)
        if not all((baseline + n // 2) / n >= baseline / n + 0.5 for baseline in range(n, 5 * n - n // 2 + 1))
    ]
    assert refused == [12, 14, 18, 22, 24, 26, 28, 30]


@pytest.mark.parametrize("n", range(1, 61))
def test_the_margin_is_that_of_rational_numbers_whatever_the_number_of_ratings(n: int) -> None:
    """Every pair of sums that is a tie with the margin of 0.5 or of 0.3, and the sums beside it."""
    for tenths in (5, 3):
        edge = -((-tenths * n) // 10)
        for difference in (edge - 1, edge, edge + 1):
            row = [difference // n + (index < difference % n) for index in range(n)]
            assert sum(row) == difference
            wanted = all(
                Fraction(low + difference, n) >= Fraction(low, n) + Fraction(tenths, 10)
                for low in range(n, 5 * n - max(difference, 0) + 1)
            )
            assert passes_margin(row, tenths) is wanted is (Fraction(difference, n) >= Fraction(tenths, 10))


@given(DIFFERENCES, st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_margin_does_not_depend_on_the_order(
    differences: list[int], margin: int, chance: random.Random
) -> None:
    shuffled = chance.sample(differences, len(differences))
    assert passes_margin(differences, margin) == passes_margin(shuffled, margin)


def test_no_answers_never_pass() -> None:
    assert not passes_margin([], 0)


@settings(max_examples=60)
@given(st.lists(st.integers(-4, 4), min_size=0, max_size=9))
def test_sign_flip_equals_all_patterns(row: list[int]) -> None:
    observed = abs(sum(row))
    patterns = list(itertools.product((1, -1), repeat=len(row)))
    extreme = sum(abs(sum(s * d for s, d in zip(p, row, strict=True))) >= observed for p in patterns)
    assert sign_flip_p(row) == extreme / len(patterns)


def test_sign_flip_at_its_ends() -> None:
    assert sign_flip_p([1] * 10) == 2 / 1024
    assert sign_flip_p([0] * 10) == 1.0


def test_all_ties() -> None:
    rows = ratings([0] * 10).answers
    found = describe(rows, method=4)
    assert found.mean_difference == 0.0
    assert found.interval_95 == (0.0, 0.0)
    assert found.sign_flip_p == 1.0
    assert (found.wins, found.ties, found.losses) == (0, 10, 0)


def test_describe_counts_sentences_once_in_the_sign_flip_and_names_raters() -> None:
    found = describe(ratings({"ann": [1] * 10, "bob": [2] * 10}).answers, method=4)
    assert found.by_rater == {"ann": 1.0, "bob": 2.0}
    assert found.sign_flip_p == 2 / 1024
    assert found.interval_method == "raters and sentences crossed, Howe"
    assert (found.wins, found.ties, found.losses) == (20, 0, 0)
    assert len(found.by_sentence) == 10


def test_repeats_are_compared_with_the_same_raters_first_answer() -> None:
    rows = [
        answer(1, 4, 2),
        answer(1, 4, 3, kind="repeat"),
        answer(1, 5, 5, kind="repeat", rater="ann"),
        answer(2, 1, 1, kind="repeat"),
    ]
    assert repeat_agreement(rows) == Repeats(scores=2, exact=0.5, mean_absolute_difference=0.5)
    assert repeat_agreement([]).exact is None


def test_identical_pairs_are_counted() -> None:
    rows = [answer(1, 4, 4, kind="identical"), answer(2, 4, 2, kind="identical")]
    assert identical_pairs(rows) == IdenticalPairs(trials=2, scored_equal=1, differences=[0, 2])


def test_side_bias_is_the_favour_of_a_whoever_was_there() -> None:
    rows = [answer(1, 4, 3, side="A"), answer(2, 3, 4, side="B")]
    assert side_bias(rows) == SideBias(candidate_on_a=1, a_minus_b=1.0)
