from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.audio.speech import find_speech
from bench.audio.wav import Samples, read_mono
from benchmarks.listening_run import speak

Disturb = Callable[[Samples, int, np.random.Generator], Samples]
TEXTS = (
    "She had your dark suit in greasy wash water.",
    "Stop at three.",
    "Who weaves the wool?",
    "Thanks, Patrick.",
)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Samples, int]]:
    """Speech that begins with a fricative, a cluster, an aspirate and a stop, and ends with soft consonants."""
    home = tmp_path_factory.mktemp("speech")
    for number, text in enumerate(TEXTS):
        speak("flite slt", text, home / f"{number}.wav")
    return [read_mono(home / f"{number}.wav") for number in range(len(TEXTS))]


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples[np.abs(samples) > 0.01]))))


def hiss(db: float, seconds: float) -> Disturb:
    def put(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
        noise = rng.standard_normal(round(seconds * rate_hz)) * loudness(samples) * 10 ** (db / 20)
        return np.concatenate((noise, samples)).astype(np.float32)

    return put


def click(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
    out = np.pad(samples, (rate_hz, 0))
    out[rate_hz // 10] = 0.95
    return out


def crackle(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
    out = np.pad(samples, (rate_hz, 0))
    out[rate_hz // 20 : rate_hz // 2 : rate_hz // 9] = -0.9
    return out


def thump(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
    out = np.pad(samples, (rate_hz, 0))
    length = rate_hz // 100
    out[4000 : 4000 + length] += (0.8 * np.hanning(length) * rng.standard_normal(length)).astype(np.float32)
    return out


@pytest.mark.parametrize(
    "disturb",
    [hiss(-40, 1.3), hiss(-30, 0.7), hiss(-18, 0.9), click, crackle, thump],
    ids=["hiss", "more hiss", "loud hiss", "click", "crackle", "thump"],
)
def test_what_comes_before_the_speech_does_not_move_its_beginning(
    sentences: list[tuple[Samples, int]], disturb: Disturb
) -> None:
    for samples, rate_hz in sentences:
        clean = find_speech(samples, rate_hz)
        noisy = disturb(samples, rate_hz, np.random.default_rng(7))
        found = find_speech(noisy, rate_hz)
        assert clean is not None and found is not None
        moved_s = (found.start - (noisy.size - samples.size) - clean.start) / rate_hz
        # A consonant that is softer than the hiss before it cannot be told from it; never is anything put before.
        assert -0.01 <= moved_s <= 0.23 if disturb not in (click, crackle, thump) else abs(moved_s) < 0.03


def test_hiss_after_the_speech_is_not_its_end(sentences: list[tuple[Samples, int]]) -> None:
    for samples, rate_hz in sentences:
        clean = find_speech(samples, rate_hz)
        noisy = hiss(-30, 1.0)(samples[::-1], rate_hz, np.random.default_rng(8))[::-1]
        found = find_speech(noisy, rate_hz)
        assert clean is not None and found is not None
        assert -0.35 <= (found.end - clean.end) / rate_hz <= 0.03


def test_soft_consonants_at_the_edges_stay(sentences: list[tuple[Samples, int]]) -> None:
    for samples, rate_hz in sentences:
        found = find_speech(samples, rate_hz)
        assert found is not None
        loud = float(np.max(np.square(samples).reshape(-1, 1)))
        for cut in (samples[: found.start], samples[found.end :]):
            ms10 = rate_hz // 100
            energy = [np.mean(np.square(cut[at : at + ms10])) for at in range(0, cut.size - ms10, ms10)]
            assert max(energy, default=0.0) < loud * 10 ** (-40 / 10)


@pytest.mark.parametrize(
    "clip",
    [np.zeros(0), np.zeros(24000), np.concatenate((np.zeros(9000), [0.9], np.zeros(9000)))],
    ids=["empty", "silent", "a click alone"],
)
def test_where_nothing_speaks_there_is_no_speech(clip: Samples) -> None:
    assert find_speech(clip.astype(np.float32), 24000) is None


def test_a_short_word_at_any_rate_and_level(tmp_path: Path) -> None:
    speak("flite rms", "It.", tmp_path / "w.wav")
    samples, rate_hz = read_mono(tmp_path / "w.wav")
    full = find_speech(samples, rate_hz)
    soft = find_speech(samples * np.float32(0.01), rate_hz)
    assert full is not None and soft is not None and abs(full.start - soft.start) <= rate_hz // 500
    assert 0.05 < full.seconds(rate_hz) < 0.6
