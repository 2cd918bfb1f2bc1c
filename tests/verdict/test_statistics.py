"""The statistics against brute force, simulation and the published table."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records.verdict import IdenticalPairs, Repeats, SideBias
from bench.verdict.statistics import (
    POWER_GAPS,
    bootstrap_interval,
    describe,
    identical_pairs,
    passes_margin,
    power_rows,
    repeat_agreement,
    side_bias,
    sign_flip_p,
    simulated_swap_probability,
    swap_probability,
)
from benchmarks.verdict import PUBLISHED, PUBLISHED_SIMULATIONS
from tests.support.made_evidence import answer, ratings

DIFFERENCES = st.lists(st.integers(-4, 4), min_size=1, max_size=10)


@pytest.mark.parametrize(("design", "row"), PUBLISHED.items())
def test_power_agrees_with_the_published_table(design: tuple[float, int], row: tuple[float, ...]) -> None:
    sd, pairs = design
    for gap, published in zip(POWER_GAPS, row, strict=True):
        # Three standard errors of the worst cell are 0.0061, and rounding to three digits adds 0.0005.
        tolerance = 3.5 * math.sqrt(max(published * (1 - published), 1e-4) / PUBLISHED_SIMULATIONS) + 0.0005
        assert swap_probability(gap=gap, sd=sd, pairs=pairs) == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(("gap", "sd", "pairs"), [(0.0, 0.8, 10), (0.5, 1.0, 10), (1.0, 1.0, 20)])
def test_power_by_enumeration_agrees_with_playing_the_test(gap: float, sd: float, pairs: int) -> None:
    exact = swap_probability(gap=gap, sd=sd, pairs=pairs)
    played = simulated_swap_probability(
        gap=gap, sd=sd, pairs=pairs, simulations=20_000, rng=np.random.default_rng(6)
    )
    assert played == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_more_raters_beat_more_pairs_where_tastes_differ() -> None:
    def false_swap(pairs: int, raters: int) -> float:
        return swap_probability(gap=0.0, sd=1.0, pairs=pairs, raters=raters, taste_sd=0.4)

    assert false_swap(10, 3) < false_swap(20, 1) < false_swap(10, 1)
    assert false_swap(10, 3) == pytest.approx(0.05, abs=0.01)  # continuous form: 5%


def test_power_rises_with_the_gap_and_the_row_names_its_design() -> None:
    rows = power_rows(pairs=10, raters=2, margin_tenths=5)
    assert [(row.sd, row.pairs, row.raters) for row in rows] == [(0.8, 10, 2), (1.0, 10, 2)]
    for row in rows:
        values = list(row.passes_at_gap.values())
        assert values == sorted(values)


@pytest.mark.parametrize(
    ("candidate", "baseline", "n"), [(65, 50, 30), (28, 22, 12), (35, 29, 12), (41, 35, 12)]
)
def test_exact_margin_passes_where_floats_may_not(candidate: int, baseline: int, n: int) -> None:
    difference = candidate - baseline
    row = [1] * difference + [0] * (n - difference)
    assert passes_margin(row, 5)
    assert not passes_margin([*row[:-1], -1], 5)


def test_floats_would_refuse_an_exact_margin() -> None:
    """The reason for integers: at n = 12 and 30 some exact ties fail in floats, at n = 10 none."""
    refused = {
        n: sum(not (baseline + n // 2) / n >= baseline / n + 0.5 for baseline in range(n, 5 * n - n // 2 + 1))
        for n in (10, 12, 30)
    }
    assert refused[10] == 0
    assert refused[12] > 0
    assert refused[30] > 0


@given(DIFFERENCES, st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_margin_does_not_depend_on_the_order(
    differences: list[int], margin: int, chance: random.Random
) -> None:
    shuffled = chance.sample(differences, len(differences))
    assert passes_margin(differences, margin) == passes_margin(shuffled, margin)


def test_no_answers_never_pass() -> None:
    assert not passes_margin([], 0)


def brute_interval(rows: list[list[int]]) -> tuple[float, float]:
    """Percentiles over every resample, by enumeration of all of them."""
    totals: list[int] = []
    pairs, raters = len(rows[0]), len(rows)
    for drawn in itertools.product(rows, repeat=raters):
        inside = [[sum(pick) for pick in itertools.product(row, repeat=pairs)] for row in drawn]
        totals += [sum(parts) for parts in itertools.product(*inside)]
    totals.sort()
    n = pairs * raters

    def quantile(tenths_of_percent: int) -> float:
        return totals[-(-tenths_of_percent * len(totals) // 1000) - 1] / n

    return quantile(25), quantile(975)


@settings(max_examples=40)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=5))
def test_bootstrap_equals_the_enumeration_of_all_resamples(row: list[int]) -> None:
    assert bootstrap_interval([row]) == brute_interval([row])


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=2, max_size=2))
def test_two_stage_bootstrap_equals_the_enumeration(rows: list[list[int]]) -> None:
    assert bootstrap_interval(rows) == brute_interval(rows)


def test_two_stages_are_wider_than_one_where_raters_differ() -> None:
    low, high = bootstrap_interval([[1] * 10, [-1] * 10])
    assert (low, high) == (-1.0, 1.0)
    assert bootstrap_interval([[1, -1] * 10])[1] < 1.0


@pytest.mark.parametrize("rows", [[], [[]], [[1], [1, 2]], [[5]]])
def test_bootstrap_refuses_what_it_cannot_mean(rows: list[list[int]]) -> None:
    with pytest.raises(ValueError):
        bootstrap_interval(rows)


def test_a_thousand_raters_take_no_time_to_speak_of() -> None:
    low, high = bootstrap_interval([[1, 0, 1, 0, 2, 1, 0, 0, 1, 1]] * 1000)
    assert 0.68 < low < 0.7 < high < 0.72


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
    found = describe(rows)
    assert found.mean_difference == 0.0
    assert found.interval_95 == (0.0, 0.0)
    assert found.sign_flip_p == 1.0
    assert (found.wins, found.ties, found.losses) == (0, 10, 0)


def test_describe_counts_sentences_once_in_the_sign_flip_and_names_raters() -> None:
    found = describe(ratings({"ann": [1] * 10, "bob": [2] * 10}).answers)
    assert found.by_rater == {"ann": 1.0, "bob": 2.0}
    assert found.sign_flip_p == 2 / 1024
    assert found.interval_method.startswith("two-stage")
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
