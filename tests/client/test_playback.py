import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.client.playback import play

gaps = st.lists(st.tuples(st.floats(0, 500), st.floats(0.1, 300)), min_size=1, max_size=30)


def schedule(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    arrivals, now = [], 100.0
    for gap, _ in pairs:
        now += gap
        arrivals.append(now)
    return arrivals, [duration for _, duration in pairs]


def test_audio_that_keeps_ahead_never_stalls() -> None:
    heard = play([100, 140, 180], [50, 50, 50])
    assert (heard.stalls, heard.stall_ms, heard.start_buffer_ms, heard.end_ms) == (0, 0, 0, 250)


def test_an_early_stall_is_not_counted_again_at_every_later_chunk() -> None:
    # 100..150 plays, pause until 300, and everything after that is in time for a player that paused.
    heard = play([100, 300, 340, 390, 440], [50] * 5)
    assert (heard.stalls, heard.stall_ms, heard.start_buffer_ms) == (1, 150, 150)


def test_two_stalls_add_up() -> None:
    heard = play([0, 100, 130, 300], [50, 50, 50, 50])
    assert heard.stalls == 2
    assert heard.stall_ms == heard.start_buffer_ms == 150


def test_jitter_below_the_threshold_is_no_stall_but_needs_a_buffer() -> None:
    heard = play([0, 53], [50, 50])
    assert (heard.stalls, heard.stall_ms) == (0, 0)
    assert heard.start_buffer_ms == pytest.approx(3)


@given(gaps)
def test_the_start_buffer_avoids_every_stall_and_nothing_less_does(pairs: list[tuple[float, float]]) -> None:
    arrivals, durations = schedule(pairs)
    needed = play(arrivals, durations).start_buffer_ms
    assert play(arrivals, durations, delay_ms=needed + 1e-6, stall_min_ms=1e-3).stalls == 0
    if needed > 1:
        assert play(arrivals, durations, delay_ms=needed - 0.5, stall_min_ms=1e-3).stalls > 0


@given(gaps)
def test_all_pauses_together_equal_the_start_buffer(pairs: list[tuple[float, float]]) -> None:
    arrivals, durations = schedule(pairs)
    heard = play(arrivals, durations, stall_min_ms=0)
    assert heard.stall_ms == pytest.approx(heard.start_buffer_ms, abs=1e-6)
    assert heard.end_ms - arrivals[0] == pytest.approx(sum(durations) + heard.stall_ms, abs=1e-6)


def test_nothing_to_play_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        play([], [])
