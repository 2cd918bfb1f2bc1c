import numpy as np
import pytest

from bench.client.summary import bootstrap_median, summarise


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
    one = summarise([7.0])
    assert (one.p50, one.iqr, one.p50_low) == (7, None, None)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_median(rng.lognormal(0, 0.5, 20), resamples=500)
        hits += low <= 1.0 <= high
    assert 0.88 <= hits / 300 <= 0.99


def test_the_interval_is_the_same_every_time() -> None:
    values = [1.0, 5.0, 2.0, 8.0, 3.0]
    assert bootstrap_median(values) == bootstrap_median(values)
    with pytest.raises(ValueError, match="two"):
        bootstrap_median([1.0])


def test_p95_and_the_interquartile_range_have_intervals_that_hold_them_and_cover_the_truth() -> None:
    rng = np.random.default_rng(6)
    p95, iqr = (float(q) for q in (1.6449, 2 * 0.67449))
    hits = {"p95": 0, "iqr": 0}
    for _ in range(60):
        got = summarise(rng.normal(0, 1, 100))
        assert got.p95 is not None and got.p95_low is not None and got.p95_high is not None
        assert got.iqr is not None and got.iqr_low is not None and got.iqr_high is not None
        assert got.p95_low <= got.p95 <= got.p95_high and got.iqr_low < got.iqr < got.iqr_high
        hits["p95"] += got.p95_low <= p95 <= got.p95_high
        hits["iqr"] += got.iqr_low <= iqr <= got.iqr_high
    assert all(count / 60 >= 0.8 for count in hits.values()), hits
    assert summarise([1.0, 2.0, 3.0]).p50_low == bootstrap_median([1.0, 2.0, 3.0])[0]
