"""Intervals of the mean difference: against formulas, against brute force, and by how often they are right."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.verdict.intervals import bootstrap_interval, mean_interval
from benchmarks.coverage import satterthwaite_interval
from benchmarks.ratings_model import play

WHOLE_SCALE = (-4.0, 4.0)


@settings(max_examples=40)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=20))
def test_one_raters_interval_is_students(row: list[int]) -> None:
    (low, high), name = mean_interval([row])
    assert name.startswith("Student's t")
    if len(set(row)) == 1:
        assert low == high == row[0]
    else:
        found = stats.ttest_1samp(row, 0.0).confidence_interval(0.95)
        assert (low, high) == pytest.approx((found.low, found.high), abs=1e-8)


def test_raters_and_sentences_are_crossed_in_the_interval() -> None:
    """By hand: raters' means 1 and 0, sentences' 1.5, 0.5 and -0.5, and what is left over."""
    rows = [[2, 1, 0], [1, 0, -1]]
    (low, high), name = mean_interval(rows)
    assert name == "raters and sentences crossed, Howe"
    of_raters, of_sentences = 3 * 0.5, 2 * 1.0
    half = math.sqrt((stats.t.ppf(0.975, 1) ** 2 * of_raters + stats.t.ppf(0.975, 2) ** 2 * of_sentences) / 6)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


def test_what_all_raters_hear_alike_widens_it_as_no_single_rating_does() -> None:
    """The same twelve differences, a sentence's all alike in one and mixed in the other."""
    shared = [[2, -1, 2, -1, 0, 1]] * 3
    mixed = [[2, -1, 2, -1, 0, 1], [-1, 2, -1, 2, 1, 0], [1, 0, 1, 0, 1, 0]]
    widths = [high - low for (low, high), _ in (mean_interval(shared), mean_interval(mixed))]
    assert widths[0] > 1.5 * widths[1]


def test_it_is_never_nothing_while_ratings_disagree() -> None:
    rows = [[1, -1, 1, -1], [-1, 1, -1, 1]]
    low, high = mean_interval(rows)[0]
    rest = 8 / 3
    assert (low, high) == pytest.approx((-math.sqrt(rest / 4 / 8), math.sqrt(rest / 4 / 8)))


@pytest.mark.parametrize("rows", [[[2]], [[1], [3]]])
def test_one_pair_says_nothing_of_its_spread(rows: list[list[int]]) -> None:
    assert mean_interval(rows)[0] == WHOLE_SCALE


def test_the_order_of_raters_and_sentences_is_nothing_to_it() -> None:
    rows = [[2, 1, 0, -1], [1, 0, 0, 1], [0, 3, 1, -2]]
    turned = [[row[index] for index in (2, 0, 3, 1)] for row in reversed(rows)]
    assert mean_interval(turned) == mean_interval(rows)


@pytest.mark.parametrize(("raters", "pairs"), [(1, 10), (2, 10), (2, 20), (3, 10), (5, 10)])
def test_it_holds_the_true_difference_as_often_as_it_says(raters: int, pairs: int) -> None:
    """The whole table, at more length: `python -m benchmarks.coverage`. Four standard errors of 2,000 tests are 2%."""
    design: dict[str, Any] = {"gap": 0.5, "sd": 1.0, "taste_sd": 0.0 if raters == 1 else 0.4}
    rng = np.random.default_rng(3)
    true = float(play(rng, 500_000, pairs=1, **design).mean())
    made = play(rng, 2000, pairs=pairs, raters=raters, **design).tolist()
    intervals = [mean_interval(test)[0] for test in made]
    assert 0.93 <= sum(low <= true <= high for low, high in intervals) / 2000 <= 0.985
    old = [bootstrap_interval(test)[0] for test in made[:500]]
    assert sum(low <= true <= high for low, high in old) / 500 < 0.93
    if (raters, pairs) == (2, 20):
        one_t = [satterthwaite_interval(test)[0] for test in made]
        assert sum(low <= true <= high for low, high in one_t) / 2000 < 0.93


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
    assert bootstrap_interval([row])[0] == brute_interval([row])


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=2, max_size=2))
def test_two_stage_bootstrap_equals_the_enumeration(rows: list[list[int]]) -> None:
    assert bootstrap_interval(rows)[0] == brute_interval(rows)


def test_two_stages_are_wider_than_one_where_raters_differ() -> None:
    (low, high), _ = bootstrap_interval([[1] * 10, [-1] * 10])
    assert (low, high) == (-1.0, 1.0)
    assert bootstrap_interval([[1, -1] * 10])[0][1] < 1.0


@pytest.mark.parametrize("rows", [[], [[]], [[1], [1, 2]], [[5]]])
def test_no_interval_of_what_it_cannot_mean(rows: list[list[int]]) -> None:
    for find in (bootstrap_interval, mean_interval):
        with pytest.raises(ValueError):
            find(rows)


def test_a_thousand_raters_take_no_time_to_speak_of() -> None:
    (low, high), _ = bootstrap_interval([[1, 0, 1, 0, 2, 1, 0, 0, 1, 1]] * 1000)
    assert 0.68 < low < 0.7 < high < 0.72
