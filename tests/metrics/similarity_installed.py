"""Speaker similarity with the real Resemblyzer; run where it is installed, by name:

    python -m pytest tests/metrics/similarity_installed.py

Not collected with the other tests: torch and a source build stay outside the lock (docs/metrics.md says how to
install them). It fails, and does not skip, where Resemblyzer is missing.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.audio.wav import read_mono
from bench.metrics.compare import compare_sides
from bench.metrics.measure import measure_pass
from bench.metrics.similarity import NoEmbedding, cosine, embed_speaker
from tests.metrics.conftest import SENTENCES

Speak = Callable[[str, str], Path]


def test_an_embedding_is_a_unit_vector_and_repeats(speak: Speak) -> None:
    clip = read_mono(speak("flite:slt", "u01"))
    first, second = embed_speaker(*clip), embed_speaker(*clip)
    assert first.shape == (256,) and np.linalg.norm(first) == pytest.approx(1.0, abs=1e-4)
    assert np.array_equal(first, second)


def test_the_same_voice_is_nearer_than_another(speak: Speak) -> None:
    reference = embed_speaker(*read_mono(speak("flite:slt", "u01")))
    for utterance_id in ("u02", "u03"):
        same = cosine(embed_speaker(*read_mono(speak("flite:slt", utterance_id))), reference)
        for voice in ("flite:rms", "espeak:en-us"):
            other = cosine(embed_speaker(*read_mono(speak(voice, utterance_id))), reference)
            assert same > other + 0.1


def test_too_little_sound_gives_a_reason() -> None:
    with pytest.raises(NoEmbedding, match="sound"):
        embed_speaker(np.zeros(24000, np.float32), 24000)


def test_a_worse_clone_has_a_negative_paired_difference(speak: Speak) -> None:
    reference = speak("flite:slt", "u01")
    ids = ["u02", "u03"]

    def side(voice: str) -> list[tuple[str, Path, str]]:
        return [(u, speak(voice, u), SENTENCES[u]) for u in ids]

    candidate = list(measure_pass(side("espeak:en-us"), reference))
    baseline = list(measure_pass(side("flite:slt"), reference))
    found = compare_sides(candidate, baseline)
    assert found.similarity_reason is None
    assert found.similarity.n == 2
    assert found.similarity.highest is not None and found.similarity.highest < -0.1
