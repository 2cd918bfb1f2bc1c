"""The ratio of two models by several runs: right when they differ, and rarely wrong when they do not."""

import numpy as np
import pytest

from bench.summaries.between import compare_runs


def test_fewer_than_two_runs_of_a_model_say_nothing() -> None:
    assert compare_runs([100.0], [50.0, 51.0]) is None
    assert compare_runs([100.0, 99.0], [50.0]) is None


def test_the_ratio_is_of_geometric_means_and_turns_round() -> None:
    found, turned = compare_runs([100.0, 400.0], [100.0, 100.0]), compare_runs([100.0, 100.0], [100.0, 400.0])
    assert found is not None and turned is not None
    assert found.value == pytest.approx(2.0) and turned.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((1 / turned.high, 1 / turned.low))
    assert not found.differs and not turned.differs


def test_by_hand() -> None:
    # Logs 0.1 apart on one side and alike on the other: pooled variance 0.0025, t of two degrees of freedom 4.303.
    found = compare_runs([np.exp(1.0), np.exp(1.1)], [1.0, 1.0])
    assert found is not None
    reach = 4.302653 * np.sqrt(0.0025)
    assert np.log([found.low, found.value, found.high]) == pytest.approx(
        [1.05 - reach, 1.05, 1.05 + reach], abs=1e-5
    )
    assert found.differs


@pytest.mark.parametrize("runs", [2, 3, 6])
def test_the_same_model_is_called_faster_than_itself_once_in_twenty_times(runs: int) -> None:
    draw = np.random.default_rng(7)
    claims = [
        found.differs
        for _ in range(2000)
        if (found := compare_runs(*np.exp(draw.normal(0.0, 0.7, size=(2, runs))).tolist())) is not None
    ]
    assert len(claims) == 2000 and 0.035 < np.mean(claims) < 0.065
