from collections import Counter

import pytest

from bench.listening.draws import Draws


def test_same_secret_and_purpose_give_the_same_stream_and_others_do_not() -> None:
    first, again, other = (Draws(b"s" * 32, p) for p in ("x", "x", "y"))
    stream = [first.draw_below(1000) for _ in range(20)]
    assert [again.draw_below(1000) for _ in range(20)] == stream
    assert [other.draw_below(1000) for _ in range(20)] != stream


def test_known_stream_so_that_an_old_seal_can_be_checked_for_ever() -> None:
    draws = Draws(bytes(32), "plan/1/abc/full")
    assert [draws.draw_below(10) for _ in range(8)] == [0, 7, 9, 3, 4, 5, 4, 2]


def test_draws_are_uniform() -> None:
    draws = Draws(b"u" * 32, "uniform")
    counts = Counter(draws.draw_below(6) for _ in range(12_000))
    # 2000 each, standard deviation 41; fixed secret, so this cannot flicker
    assert all(1850 < counts[k] < 2150 for k in range(6))


def test_every_order_of_three_is_equally_likely() -> None:
    draws = Draws(b"o" * 32, "orders")
    counts = Counter("".join(draws.shuffle("abc")) for _ in range(6000))
    assert len(counts) == 6
    assert all(890 < n < 1110 for n in counts.values())


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Draws(b"", "x").draw_below(0)
