import numpy as np
import pytest

from bench.metrics.clipping import clipped
from bench.metrics.duration import duration_ratio
from bench.metrics.loudness import loudness_lufs
from bench.metrics.silence import silence
from bench.metrics.speaking_rate import count_words, words_per_s

RATE = 24000


def tone(seconds: float, amplitude: float = 0.3) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (amplitude * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def gap(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.zeros(round(seconds * RATE), np.float32)


def test_silence_adds_up_to_the_take() -> None:
    clip = np.concatenate([gap(0.2), tone(1.0), gap(0.5), tone(0.5), gap(0.3)])
    found = silence(clip, RATE)
    assert found.leading_s == pytest.approx(0.2, abs=0.002)
    assert found.trailing_s == pytest.approx(0.3, abs=0.002)
    assert found.pauses_s == pytest.approx(0.5, abs=0.004)
    assert found.sounding_s == pytest.approx(2.0, abs=0.004)
    parts = [part for part in (found.leading_s, found.sounding_s, found.trailing_s) if part is not None]
    assert len(parts) == 3 and sum(parts) == pytest.approx(clip.size / RATE)


def test_the_longest_pause_is_one_pause_and_not_their_sum() -> None:
    clip = np.concatenate(
        [tone(0.5), gap(0.3), tone(0.5), gap(0.7), tone(0.5), gap(0.1), tone(0.5), gap(1.0)]
    )
    found = silence(clip, RATE)
    assert found.longest_pause_s == pytest.approx(0.7, abs=0.004)
    assert found.pauses_s == pytest.approx(1.0, abs=0.008)
    assert silence(tone(1.0), RATE).longest_pause_s == 0.0


def test_a_silent_take_has_no_figures() -> None:
    found = silence(np.zeros(RATE, np.float32), RATE)
    assert (found.leading_s, found.trailing_s, found.pauses_s, found.sounding_s) == (None, None, None, None)
    assert found.longest_pause_s is None
    assert loudness_lufs(np.zeros(RATE, np.float32), RATE) is None


def test_clipping_tells_a_clipped_wave_from_a_normalised_one() -> None:
    normalised = tone(1.0, 1.0)
    assert clipped(normalised) == 0.0
    assert clipped(np.clip(normalised * 3, -1, 1)) == pytest.approx(0.78, abs=0.03)
    assert clipped(np.zeros(0, np.float32)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("One, two - three!", 3), ("a well-known  fact\n", 3), ("...", 0), ("", 0), ("It's 9 o'clock", 3)],
)
def test_words_are_what_lies_between_spaces(text: str, words: int) -> None:
    assert count_words(text) == words


def test_rate_and_ratio_are_null_without_a_duration() -> None:
    assert words_per_s("one two three", 1.5) == pytest.approx(2.0)
    assert words_per_s("one two three", None) is None
    assert words_per_s("...", 1.5) is None
    assert duration_ratio(3.0, 2.0) == pytest.approx(1.5)
    assert duration_ratio(None, 2.0) is None
    assert duration_ratio(2.0, None) is None
