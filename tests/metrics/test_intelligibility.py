import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.audio.wav import read_mono
from bench.errors import BadInput
from bench.metrics.intelligibility import (
    spoken_words,
    transcribe_faster_whisper,
    transcribe_pocketsphinx,
    word_error_rate,
    word_errors,
)
from tests.metrics.conftest import SENTENCES

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


def test_words_are_compared_as_spoken() -> None:
    assert spoken_words("It’s EASY - “really”, isn't it?") == ["it's", "easy", "really", "isn't", "it"]
    assert word_error_rate("its easy", "It's easy.") == 0.5
    assert word_error_rate("", "four little words here") == 1.0
    assert word_error_rate("one two three", "one") == 2.0
    assert word_error_rate("anything", "...") is None


@given(WORDS, WORDS, WORDS)
def test_word_errors_are_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert (word_errors(a, b) == 0) == (a == b)
    assert word_errors(a, b) == word_errors(b, a)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)
    assert abs(len(a) - len(b)) <= word_errors(a, b) <= max(len(a), len(b))


@pytest.mark.slow
def test_reversed_speech_is_grossly_worse_and_order_does_not_matter(
    speak: Callable[[str, str], Path],
) -> None:
    texts = {}
    for utterance_id in SENTENCES:
        samples, rate_hz = read_mono(speak("flite:rms", utterance_id))
        texts[utterance_id] = transcribe_pocketsphinx(samples, rate_hz)
        backwards = word_error_rate(transcribe_pocketsphinx(samples[::-1], rate_hz), SENTENCES[utterance_id])
        forwards = word_error_rate(texts[utterance_id], SENTENCES[utterance_id])
        assert forwards is not None and backwards is not None and backwards - forwards >= 0.3
    for utterance_id in reversed(SENTENCES):
        samples, rate_hz = read_mono(speak("flite:rms", utterance_id))
        assert transcribe_pocketsphinx(samples, rate_hz) == texts[utterance_id]


def test_silence_has_hardly_a_word() -> None:
    assert len(spoken_words(transcribe_pocketsphinx(np.zeros(24000, np.float32), 24000))) <= 1


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
