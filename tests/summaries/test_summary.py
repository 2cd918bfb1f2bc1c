import json
import math

import numpy as np
import pytest

from bench.records.take import Summary
from bench.summaries.summary import intervals_differ, summarise


def test_nulls_are_left_out_and_values_kept_in_order() -> None:
    got = summarise([3.0, None, 1.0, 2.0])
    assert (got.values, got.n, got.p50) == ([3.0, 1.0, 2.0], 3, 2.0)


def test_quantiles() -> None:
    got = summarise(float(value) for value in range(1, 102))
    assert (got.p50, got.p95, got.iqr) == (51, 96, 50)


def test_nothing_is_null_and_one_value_has_no_spread() -> None:
    assert summarise([None]).model_dump(exclude={"values"}) == {
        "n": 0, "p50": None, "p95": None, "iqr": None, "p50_low": None, "p50_high": None,
        "p95_low": None, "p95_high": None, "iqr_low": None, "iqr_high": None,
    }  # fmt: skip
    one = summarise([7.0], spreads=True)
    assert (one.p50, one.iqr, one.p50_low, one.p95_low, one.iqr_low) == (7, 0, None, None, None)


@pytest.mark.slow
def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        found = summarise(rng.lognormal(0, 0.5, 20))
        assert found.p50_low is not None and found.p50_high is not None
        hits += found.p50_low <= 1.0 <= found.p50_high
    assert 0.88 <= hits / 300 <= 0.99


def test_the_figures_of_verdicts_that_were_made_before_stay() -> None:
    """The figures that `verdict.json` has had since methodology 3."""
    for values, ends in (
        ([402.3, 286.0, 291.5, 301.1, 310.9, 322.4, 340.8, 371.0], (316.65, 291.5, 371.0)),
        (
            [
                402.9,
                497.3,
                467.9,
                466.3,
                557.7,
                317.0,
                355.9,
                309.8,
                394.8,
                492.6,
                401.7,
                445.5,
                275.3,
                415.5,
                336.5,
            ],
            (402.9, 355.9, 467.9),
        ),
    ):
        found = summarise(values)
        assert (found.p50, found.p50_low, found.p50_high) == ends
    assert found.p95_low is found.iqr_low is None


@pytest.mark.slow
def test_p95_and_the_interquartile_range_have_intervals_that_hold_them_and_cover_the_truth() -> None:
    rng = np.random.default_rng(6)
    p95, iqr = (float(q) for q in (1.6449, 2 * 0.67449))
    hits = {"p95": 0, "iqr": 0}
    for _ in range(60):
        got = summarise(rng.normal(0, 1, 60), spreads=True)
        assert got.p95 is not None and got.p95_low is not None and got.p95_high is not None
        assert got.iqr is not None and got.iqr_low is not None and got.iqr_high is not None
        assert got.p95_low <= got.p95 <= got.p95_high and got.iqr_low < got.iqr < got.iqr_high
        hits["p95"] += got.p95_low <= p95 <= got.p95_high
        hits["iqr"] += got.iqr_low <= iqr <= got.iqr_high
    assert all(count / 60 >= 0.8 for count in hits.values()), hits
    assert summarise([1.0, 2.0, 3.0], spreads=True).p50_low == summarise([1.0, 2.0, 3.0]).p50_low


def test_summary_keeps_values_in_order_and_its_interval_does_not_depend_on_it() -> None:
    rows = [9.0, 1.0, 5.0, 3.0]
    one, other = summarise(rows), summarise(rows[::-1])
    assert one.values == rows
    assert one.p50 == 4.0
    assert (one.p50_low, one.p50_high) == (other.p50_low, other.p50_high)
    assert summarise([]).p50 is None
    assert summarise([2.0]).p50_low is None


def test_summary_of_many_values_is_close_to_the_resampled_interval() -> None:
    values = [float(x) for x in np.random.default_rng(1).normal(100, 10, 5000)]
    found = summarise(values)
    assert found.p50_low is not None and found.p50_high is not None
    assert 99.2 < found.p50_low < 100.0 < found.p50_high < 100.8


def test_spreads_of_very_many_values_have_intervals_too() -> None:
    found = summarise(np.random.default_rng(1).normal(0, 1, 2000), spreads=True)
    assert found.p95_low is not None and found.p95_high is not None
    assert 1.5 < found.p95_low < 1.6449 < found.p95_high < 1.8


def test_intervals_that_touch_do_not_differ() -> None:
    def of(low: float | None, high: float | None) -> Summary:
        return Summary(values=[], n=0, p50=None, p95=None, iqr=None, p50_low=low, p50_high=high)

    assert intervals_differ(of(1, 2), of(2, 3)) is False
    assert intervals_differ(of(1, 2), of(3, 4)) is intervals_differ(of(3, 4), of(1, 2)) is True
    assert intervals_differ(of(1, 2), of(None, None)) is None


@pytest.mark.parametrize(
    ("values", "never", "p50"),
    [
        ([1.0, 2.0, 3.0], 2, 3.0),
        ([1.0, 2.0, 3.0], 3, None),
        ([1.0, 2.0, 3.0, 4.0], 3, 4.0),
        ([1.0], 1, None),
        ([], 3, None),
    ],
)
def test_what_never_came_is_infinite_and_an_infinite_statistic_null(
    values: list[float], never: int, p50: float | None
) -> None:
    found = summarise(values, never=never)
    assert (found.values, found.n, found.p50) == (values, len(values) + never, p50)
    assert found.p95 is None
    ordered = sorted(values) + [math.inf] * never
    quarters = [ordered[math.ceil((len(ordered) - 1) * q)] for q in (0.25, 0.75)]
    assert (found.iqr is None) == (max(quarters) == math.inf)
    assert (found.p50_high is None) or found.p50_high < 1e6
    assert json.loads(found.model_dump_json()) == json.loads(
        json.dumps(found.model_dump(mode="json"), allow_nan=False)
    )


def test_one_of_forty_that_never_came_leaves_the_median_and_takes_the_end() -> None:
    came = [float(n) for n in range(1, 40)]
    found = summarise(came, never=1)
    assert (found.p50, found.p95, found.iqr) == (20.5, 38.05, 19.5)
    assert found.p50_low is not None and found.p50_high is not None
    assert summarise(came, never=3).p95 is None
