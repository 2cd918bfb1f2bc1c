import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.listening.heard import SLACK_S, UNHEARD_S, Listening, check_ranges, covered_s, in_full, join_ranges

ranges = st.lists(
    st.tuples(st.floats(0, 50), st.floats(0, 50)).map(lambda pair: (min(pair), max(pair))), max_size=20
)


@given(ranges)
def test_union_covers_each_second_once(given_ranges: list[tuple[float, float]]) -> None:
    merged = join_ranges(given_ranges)
    assert merged == sorted(merged)
    assert all(left[1] < right[0] for left, right in pairwise(merged))
    assert covered_s(merged) <= sum(end - start for start, end in given_ranges) + 0.01 * len(given_ranges)
    assert join_ranges(merged) == merged


@given(ranges, ranges)
def test_union_does_not_depend_on_the_order_of_reports(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    together = covered_s(join_ranges(first + second))
    assert math.isclose(together, covered_s(join_ranges(second + first)), abs_tol=1e-6)


def test_a_clip_is_heard_in_full_but_for_the_grain_of_the_audio_clock() -> None:
    assert in_full([(0.0, 3.0)], 3.0)
    assert in_full([(0.05, 3.0)], 3.0)
    assert not in_full([(0.0, 3.0 - UNHEARD_S - 0.01)], 3.0)
    assert not in_full([(0.0, 1.4), (1.7, 3.0)], 3.0)
    assert not in_full([], 0.1)


def test_the_end_alone_is_not_the_whole() -> None:
    assert not in_full([(2.5, 3.0)], 3.0)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {"0": 1},
        [[0]],
        [[0, 1, 2]],
        [["0", "1"]],
        [[True, 1]],
        [[0, float("nan")]],
        [[0, float("inf")]],
        [[-0.1, 1]],
        [[2, 1]],
        [[0, 3.2]],
        [[0, 10**400]],
        [[0, 1]] * 65,
    ],
)
def test_reports_that_cannot_be_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="range"):
        check_ranges(bad, 3.0)


def test_a_report_is_cut_to_the_clip() -> None:
    assert check_ranges([[0, 3.05], [1, 1]], 3.0) == [(0.0, 3.0)]


def test_nobody_hears_faster_than_time_passes() -> None:
    account = Listening()
    assert account.claim(2.0, opened_s=100.0, now_s=102.0)
    assert not account.claim(2.0, opened_s=100.0, now_s=102.0)
    assert account.claim(2.0, opened_s=100.0, now_s=104.0)


def test_listening_to_two_clips_at_once_does_not_count_twice() -> None:
    account = Listening()
    assert account.claim(3.0, opened_s=10.0, now_s=13.0)  # one tab
    assert not account.claim(3.0, opened_s=10.0, now_s=13.0)  # the other


def test_the_slack_is_given_once_not_each_time() -> None:
    account = Listening()
    claims = sum(account.claim(SLACK_S, opened_s=0.0, now_s=0.0) for _ in range(10))
    assert claims == 1


def test_waiting_beforehand_does_not_count_as_listening() -> None:
    account = Listening(spent_until_s=5.0)
    assert not account.claim(10.0, opened_s=100.0, now_s=101.0)
