import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.audio.wav import read_mono
from bench.metrics import similarity
from bench.metrics.paired import paired_difference
from bench.metrics.take import measure_take
from tests.metrics.conftest import SENTENCES


@pytest.fixture
def no_resemblyzer(monkeypatch: pytest.MonkeyPatch) -> None:
    similarity._encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "resemblyzer", None)


@pytest.mark.usefixtures("no_resemblyzer")
def test_without_resemblyzer_there_is_a_reason_and_no_number(speak: Callable[[str, str], Path]) -> None:
    wav = speak("flite:slt", "u01")
    with pytest.raises(similarity.NoEmbedding, match="Resemblyzer is not installed"):
        similarity.embed_speaker(*read_mono(wav))
    metrics = measure_take(wav, SENTENCES["u01"], None, reference=wav)
    assert metrics.reference_cosine is None
    assert "not installed" in metrics.reasons["reference_cosine"]
    assert metrics.loudness_lufs is not None


def test_cosine() -> None:
    x, y = np.array([3.0, 0.0], np.float32), np.array([1.0, 1.0], np.float32)
    assert similarity.cosine(x, x) == pytest.approx(1.0)
    assert similarity.cosine(x, -x) == pytest.approx(-1.0)
    assert similarity.cosine(x, y) == pytest.approx(2**-0.5)


def test_differences_pair_by_utterance_and_say_what_was_left_out() -> None:
    found = paired_difference(
        {"a": 0.9, "b": None, "c": 0.5, "d": 0.7}, {"c": 0.75, "a": 0.8, "b": 0.1, "e": 0.2}
    )
    assert found.by_utterance == pytest.approx({"a": 0.1, "c": -0.25})
    assert found.left_out == ["b", "d", "e"]
    assert found.n == 2
    assert found.mean == pytest.approx(-0.075)
    assert found.lowest == pytest.approx(-0.25)
    assert found.highest == pytest.approx(0.1)


def test_nothing_in_common_is_null() -> None:
    found = paired_difference({"a": None}, {})
    assert (found.n, found.mean, found.median, found.lowest, found.highest) == (0, None, None, None, None)
