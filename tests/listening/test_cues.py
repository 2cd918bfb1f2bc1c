from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.audio.wav import Samples, read_mono, write_wav_16bit
from bench.listening import cues
from bench.listening.cues import CUES, REMOVED, ClipCues, attack, find_telling, measure_cues
from bench.records.listening import CueResult
from benchmarks.listening_run import SENTENCES, speak

Pairs = list[tuple[ClipCues, ClipCues]]


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cues")
    for number, text in enumerate(SENTENCES):
        speak("flite slt", text, home / f"a{number}.wav")
    return home


def same_voice(voices: Path, change: Callable[[Samples, int], Samples], rng: np.random.Generator) -> Pairs:
    """Both sides are one voice; `change` is done to one of them."""
    out = []
    for number in range(len(SENTENCES)):
        samples, rate_hz = read_mono(voices / f"a{number}.wav")
        noisy = samples + rng.normal(0, 1e-5, samples.size).astype(np.float32)
        facts = (float(rate_hz), 1.0, 16.0, 44.0)
        out.append(
            (measure_cues(change(noisy, rate_hz), rate_hz, facts), measure_cues(samples, rate_hz, facts))
        )
    return out


def result(pairs: Pairs, cue: str) -> CueResult:
    return next(found for found in attack(pairs, pairs) if found.cue == cue)


@pytest.mark.slow
def test_one_voice_against_itself_is_at_chance_by_every_cue(voices: Path) -> None:
    pairs = same_voice(voices, lambda samples, _: samples, np.random.default_rng(1))
    for found in attack(pairs, pairs):
        assert found.p > cues.ALPHA, found
        assert found.chance_low <= found.after <= found.chance_high, found
    assert not find_telling(attack(pairs, pairs))


def test_a_cue_that_is_the_same_everywhere_scores_exactly_half(voices: Path) -> None:
    pairs = same_voice(voices, lambda samples, _: samples, np.random.default_rng(1))
    assert result(pairs, "format").after == 0.5


@pytest.mark.parametrize(
    ("cue", "change"),
    [
        ("loudness", lambda samples, _: samples * np.float32(0.5)),
        ("onset", lambda samples, rate: np.pad(samples, (rate // 5, 0))),
        ("ending", lambda samples, rate: np.pad(samples, (0, rate // 5))),
        ("duration", lambda samples, _: np.repeat(samples, 3)),
        ("bandwidth", lambda samples, _: np.convolve(samples, np.ones(8, np.float32) / 8, "same")),
    ],
)
def test_a_difference_put_in_on_purpose_is_found(
    voices: Path, cue: str, change: Callable[[Samples, int], Samples]
) -> None:
    pairs = same_voice(voices, change, np.random.default_rng(2))
    found = result(pairs, cue)
    assert found.after >= 0.9 and found.p < cues.ALPHA
    told = {remaining.cue for remaining in find_telling(attack(pairs, pairs))}
    assert (cue in told) == (cue in REMOVED)


def test_the_spectrum_of_two_voices_differs(voices: Path) -> None:
    pairs = []
    for number, text in enumerate(SENTENCES[:6]):
        speak("flite rms", text, voices / "b.wav")
        pairs.append((cues.read_cues(voices / f"a{number}.wav"), cues.read_cues(voices / "b.wav")))
    assert result(pairs, "spectrum").after == 1.0


def test_another_rate_or_depth_is_a_cue_of_the_format(tmp_path: Path) -> None:
    tone = (0.2 * np.sin(np.arange(24000) * 0.1)).astype(np.float32)
    pairs = []
    for number in range(8):
        write_wav_16bit(tmp_path / f"a{number}.wav", tone, 24000)
        write_wav_16bit(tmp_path / f"b{number}.wav", tone, 22050)
        pairs.append(
            (cues.read_cues(tmp_path / f"a{number}.wav"), cues.read_cues(tmp_path / f"b{number}.wav"))
        )
    assert result(pairs, "format").after == 1.0


def fake(values: list[tuple[float, float]]) -> Pairs:
    return [tuple(ClipCues(dict.fromkeys(CUES, (value,))) for value in pair) for pair in values]  # type: ignore[misc]


def test_the_partner_is_left_out_so_that_equal_words_do_not_pull_below_chance() -> None:
    # Each utterance has its own length, the same on both sides: a neighbour that may be the partner is always wrong
    rng = np.random.default_rng(3)
    pairs = fake([(length, length + 1e-3) for length in rng.uniform(1, 100, 12)])
    assert 0.25 <= result(pairs, "duration").after <= 0.75


def test_false_alarms_are_as_rare_as_stated() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        pairs = fake([(rng.normal(), rng.normal()) for _ in range(10)])
        alarms += result(pairs, "loudness").p < 0.05
    assert alarms <= 20  # 10 expected at most; 20 is beyond three standard deviations; fixed seed


def test_more_pairs_than_can_be_swapped_in_every_way() -> None:
    rng = np.random.default_rng(5)
    pairs = fake([(rng.normal(), rng.normal()) for _ in range(30)])
    assert 0.0 < result(pairs, "loudness").p <= 1.0
