"""The engines without weights to fetch: espeak-ng, which follows a pitch, flite and hibari, which follow nothing."""

import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.audio.wav import read_mono, write_wav_16bit
from bench.catalog.loader import load
from bench.metrics.f0 import median_f0_hz
from bench.serving.adapter import Adapter, BadReference, Samples, SpeechRequest, SynthesisError, UnknownVoice
from bench.serving.command import spoken
from bench.serving.espeak import Espeak, pitch_for
from bench.serving.flite import Flite
from bench.serving.hibari import Hibari

TEXT = "Good morning. Where would you like to go on Thursday, the twenty-sixth of November?"


def _loaded(adapter: Adapter) -> Adapter:
    adapter.load(load(type(adapter).__name__.lower()).profiles["upstream"], {})
    return adapter


def _said(adapter: Adapter, text: str = TEXT, voice: str = "", speed: float = 1.0, seed: int = 1) -> Samples:
    request = SpeechRequest(text, voice or adapter.voices()[0], speed, seed)
    return np.concatenate(list(adapter.synthesise(request)))


@pytest.fixture(params=[pytest.param(Espeak, marks=pytest.mark.needs("espeak-ng")), Flite, Hibari])
def robot(request: pytest.FixtureRequest) -> Adapter:
    return _loaded(request.param())


def test_it_speaks_at_the_rate_it_states(robot: Adapter) -> None:
    samples = _said(robot)
    assert 3 < samples.size / robot.sample_rate_hz < 9
    assert 0.1 < np.abs(samples).max() <= 1.0


@pytest.mark.parametrize(
    "text", ['He said: "stop" & <go>!', "-o /etc/passwd", "$HOME; `id`", "Zoë paid €5.", "\n(x)\t1,000"]
)
def test_text_is_spoken_and_never_taken_for_an_option_or_a_command(robot: Adapter, text: str) -> None:
    assert np.abs(_said(robot, text)).max() > 0.05


def test_it_speaks_faster_when_told(robot: Adapter) -> None:
    assert _said(robot, speed=1.5).size < 0.8 * _said(robot).size


def test_it_gives_the_same_samples_twice_in_whatever_pieces(robot: Adapter) -> None:
    assert np.array_equal(_said(robot), _said(robot))


def test_a_voice_it_does_not_have_is_refused_before_anything_is_yielded(robot: Adapter) -> None:
    with pytest.raises(UnknownVoice, match=robot.voices()[0]):
        robot.synthesise(SpeechRequest(TEXT, "nobody"))


def test_what_it_runs_with_is_what_the_profile_says(robot: Adapter) -> None:
    assert robot.read_back() == load(type(robot).__name__.lower()).profiles["upstream"]


@pytest.mark.needs("espeak-ng")
@pytest.mark.parametrize("voice", ["rms", "slt"])
def test_espeak_follows_the_median_f0_of_the_reference(voice: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    subprocess.run(["flite", "-voice", voice, "-t", TEXT, "-o", str(clip)], check=True)
    espeak = _loaded(Espeak())
    espeak.register("owner", clip, TEXT)
    wanted = median_f0_hz(*read_mono(clip))
    alone = median_f0_hz(_said(espeak), espeak.sample_rate_hz)
    found = median_f0_hz(_said(espeak, voice="owner"), espeak.sample_rate_hz)
    assert wanted and found and alone
    assert abs(np.log2(found / wanted)) < 1 / 6, f"{found:.0f} Hz for {wanted:.0f} Hz"
    assert abs(np.log2(found / wanted)) < abs(np.log2(alone / wanted)), "nearer than without a reference"


def test_pitch_rises_with_f0_and_stays_within_the_setting() -> None:
    steps = [pitch_for(f0) for f0 in (30.0, 75.0, 100.0, 130.0, 165.0, 400.0)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 99)


@pytest.mark.needs("espeak-ng")
def test_espeak_refuses_a_reference_without_a_voice(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 48000).astype(np.float32)
    write_wav_16bit(tmp_path / "noise.wav", noise, 16000)
    (tmp_path / "text.wav").write_text("no sound at all")
    espeak = _loaded(Espeak())
    for name in ("noise.wav", "text.wav"):
        with pytest.raises(BadReference):
            espeak.register("x", tmp_path / name, "")
    assert espeak.voices() == ["en-us"]


@pytest.mark.parametrize("kind", [Flite, Hibari])
def test_flite_and_hibari_take_any_reference_and_keep_their_own_voice(
    kind: type[Adapter], tmp_path: Path
) -> None:
    robot = _loaded(kind())
    robot.register("owner", tmp_path / "never-read.wav", "")
    assert np.array_equal(_said(robot, voice="owner"), _said(robot))


def test_hibari_yields_each_sentence_as_it_is_spoken() -> None:
    pieces = list(_loaded(Hibari()).synthesise(SpeechRequest(TEXT, "heart", seed=1)))
    assert len(pieces) == 2 and all(piece.size > 12_000 for piece in pieces)


def test_hibari_repeats_its_noise_for_a_seed_alone() -> None:
    hibari = _loaded(Hibari())
    assert not np.array_equal(_said(hibari, seed=1), _said(hibari, seed=2))
    said = "".join("x" for _ in hibari.synthesise(SpeechRequest(TEXT, "heart")))
    assert said == "xx", "unseeded it speaks too"


def test_hibari_refuses_a_voice_that_it_would_download() -> None:
    with pytest.raises(ValueError, match="heart, the one in its package"):
        Hibari().load({"voice": "emma", "threads": 1}, {})


def test_hibari_says_so_when_there_is_nothing_to_pronounce() -> None:
    with pytest.raises(SynthesisError, match="nothing to pronounce"):
        _said(_loaded(Hibari()), " \n ")


def test_hibari_runs_on_as_many_threads_as_the_profile_says() -> None:
    hibari = Hibari()
    hibari.load({"voice": "heart", "threads": 2}, {})
    assert hibari.read_back() == {"voice": "heart", "threads": 2}


def test_flite_refuses_a_voice_of_another_rate() -> None:
    with pytest.raises(ValueError, match="slt"):
        Flite().load({"voice": "kal", "duration_stretch": 1.0}, {})


def test_a_program_that_fails_is_a_failed_take_with_its_own_words() -> None:
    with pytest.raises(SynthesisError, match=r"ended with 3: no voice today"):
        list(spoken(["sh", "-c", "echo no voice today >&2; exit 3"], 16000))
    with pytest.raises(SynthesisError, match="speaks at 16000 Hz, not at 22050 Hz"):
        list(spoken(["flite", "-voice", "slt", "-t", "Hello.", "-o", "/dev/stdout"], 22050))


def test_a_listener_who_leaves_ends_the_program() -> None:
    pieces = spoken(["sh", "-c", "flite -t Hello. -o /dev/stdout; exec sleep 60"], 8000)
    before = set(psutil.Process().children(recursive=True))
    next(pieces)
    started = set(psutil.Process().children(recursive=True)) - before
    pieces.close()  # type: ignore[attr-defined]
    # flite, a child of that shell, ends when it next writes; until then nobody has waited for it.
    _, alive = psutil.wait_procs(started, timeout=10)
    assert started and not alive
