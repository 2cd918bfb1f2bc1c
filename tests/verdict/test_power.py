"""How often the gate passes: against the published table, and against the test as it is played."""

import math
import time
from typing import Any

import numpy as np
import pytest

from bench.verdict.power import (
    POWER_GAPS,
    POWER_TASTE_SD,
    enumerated_pass_probability,
    pass_probability,
    power_rows,
)
from benchmarks.ratings_model import play, share_passed
from benchmarks.verdict import PUBLISHED, PUBLISHED_SIMULATIONS
from tests.support.pace import limit


@pytest.mark.parametrize(("design", "row"), PUBLISHED.items())
def test_power_agrees_with_the_published_table(design: tuple[float, int], row: tuple[float, ...]) -> None:
    sd, pairs = design
    for gap, published in zip(POWER_GAPS, row, strict=True):
        # Three standard errors of the worst cell are 0.0061, and rounding to three digits adds 0.0005.
        tolerance = 3.5 * math.sqrt(max(published * (1 - published), 1e-4) / PUBLISHED_SIMULATIONS) + 0.0005
        assert enumerated_pass_probability(gap=gap, sd=sd, pairs=pairs, margin_tenths=5) == pytest.approx(
            published, abs=tolerance
        )


def played(tests: int, **design: Any) -> float:
    return share_passed(play(np.random.default_rng(6), tests, **design))


@pytest.mark.parametrize(("gap", "sd", "pairs"), [(0.0, 0.8, 10), (0.5, 1.0, 10), (1.0, 1.0, 20)])
@pytest.mark.parametrize("taste_sd", [0.0, POWER_TASTE_SD])
def test_one_raters_power_is_that_of_the_played_test(
    gap: float, sd: float, pairs: int, taste_sd: float
) -> None:
    exact = enumerated_pass_probability(gap=gap, sd=sd, pairs=pairs, margin_tenths=5, taste_sd=taste_sd)
    found = played(20_000, gap=gap, sd=sd, pairs=pairs, taste_sd=taste_sd)
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))
    if taste_sd:
        assert pass_probability(gap=gap, sd=sd, pairs=pairs, raters=1, margin_tenths=5) == exact


@pytest.mark.parametrize(
    ("raters", "pairs", "gap", "sd"),
    [
        (2, 10, 0.0, 1.0),
        (2, 10, 0.5, 0.8),
        (3, 10, 0.0, 0.8),
        (3, 10, 1.0, 1.0),
        (3, 20, 0.75, 0.8),
        (8, 10, 0.25, 1.0),
    ],
)
def test_several_raters_power_is_near_that_of_the_played_test(
    raters: int, pairs: int, gap: float, sd: float
) -> None:
    computed = pass_probability(gap=gap, sd=sd, pairs=pairs, raters=raters, margin_tenths=5)
    found = played(20_000, gap=gap, sd=sd, pairs=pairs, raters=raters)
    assert found == pytest.approx(computed, abs=0.01 + 3 * math.sqrt(0.25 / 20_000))
    alike = enumerated_pass_probability(gap=gap, sd=sd, pairs=pairs, raters=raters, margin_tenths=5)
    if gap in (0.0, 1.0):
        assert abs(found - alike) > 0.03, "what one taste and takes of their own would say is another figure"


def test_three_raters_are_not_as_sure_as_was_said() -> None:
    """0.6% by method 3; raters with tastes, who hear the same takes, pass a candidate that is no better in 5%."""
    said = enumerated_pass_probability(gap=0.0, sd=1.0, pairs=10, raters=3, margin_tenths=5)
    true = pass_probability(gap=0.0, sd=1.0, pairs=10, raters=3, margin_tenths=5)
    assert said == pytest.approx(0.006, abs=0.003)
    assert true == pytest.approx(0.07, abs=0.01)


def test_more_raters_beat_more_pairs() -> None:
    def false_swap(pairs: int, raters: int) -> float:
        return pass_probability(gap=0.0, sd=1.0, pairs=pairs, raters=raters, margin_tenths=5)

    assert false_swap(10, 3) < false_swap(20, 1) < false_swap(10, 1)


@pytest.mark.parametrize("method", [3, 4])
def test_power_rises_with_the_gap_and_the_row_names_its_design(method: int) -> None:
    rows = power_rows(pairs=10, raters=2, margin_tenths=5, method=method)
    assert [(row.sd, row.pairs, row.raters) for row in rows] == [(0.8, 10, 2), (1.0, 10, 2)]
    for row in rows:
        values = list(row.passes_at_gap.values())
        assert values == sorted(values)


def test_a_row_states_what_it_takes_for_granted_and_one_of_method_3_is_written_as_it_was() -> None:
    (row, _), (old, _) = (power_rows(pairs=10, raters=3, margin_tenths=5, method=method) for method in (4, 3))
    assert row.assumptions is not None
    assert (row.assumptions.taste_sd, row.assumptions.sentence_sd) == (0.4, 0.6)
    assert math.hypot(row.assumptions.take_sd, row.assumptions.rest_sd) == pytest.approx(row.sd)
    assert "assumptions" not in old.model_dump()


def test_a_thousand_raters_take_no_time_to_speak_of() -> None:
    began = time.monotonic()
    assert power_rows(pairs=10, raters=1000, margin_tenths=5, method=4)[0].passes_at_gap["0"] < 0.01
    assert time.monotonic() - began < limit(10.0)
