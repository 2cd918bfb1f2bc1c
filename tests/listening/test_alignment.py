from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from bench.audio.resample import resample
from bench.audio.wav import Samples, read_mono, write_wav_16bit
from bench.controller.conclude import score_run
from bench.controller.run import Run
from bench.listening import mapping, processing
from bench.listening.alignment import NotAligned, check_beginning, check_lost, check_together, first_voice_s
from bench.listening.score import seal
from bench.storage.digests import sha256_file
from bench.verdict.collect import read_takes, read_unusable
from benchmarks.listening_run import speak

RATE = processing.RATE_HZ


def change_takes(run_dir: Path, side: str, change: object, only: str | None = None) -> None:
    """Put other sound into a side's takes, properly recorded."""
    takes = read_takes(run_dir / side) or []
    lines = []
    for take in takes:
        wav = run_dir / side / str(take.wav)
        if only in (None, take.utterance_id):
            samples, rate_hz = read_mono(wav)
            write_wav_16bit(wav, change(samples, rate_hz), rate_hz)  # type: ignore[operator]
        lines.append(take.model_copy(update={"sha256": sha256_file(wav)}).model_dump_json())
    (run_dir / side / "takes.jsonl").write_text("\n".join(lines) + "\n")


def place_of(clip: Samples, take: Samples) -> float:
    """Return where in a clip a take's own samples lie, in seconds, by correlation."""
    size = 1 << (clip.size + take.size).bit_length()
    found = np.fft.irfft(np.fft.rfft(clip, size) * np.conj(np.fft.rfft(take, size)), size)
    at = int(np.argmax(np.abs(found)))
    return (at - size if at > size // 2 else at) / RATE


def hissing(samples: Samples, rate_hz: int) -> Samples:
    rng = np.random.default_rng(5)
    return np.concatenate((rng.normal(0, 10 ** (-36 / 20), round(1.1 * rate_hz)), samples)).astype(np.float32)


def clicking(samples: Samples, rate_hz: int) -> Samples:
    out = np.pad(samples, (rate_hz, 0))
    out[rate_hz // 4 : rate_hz // 4 + 2] = (0.8, -0.7)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("disturb", [hissing, clicking])
def test_what_one_side_puts_before_its_speech_does_not_make_it_speak_later(
    spoken: Path, tmp_path: Path, disturb: object
) -> None:
    takes = {
        take.utterance_id: read_mono(spoken / "baseline" / str(take.wav))
        for take in read_takes(spoken / "baseline") or []
    }
    change_takes(spoken, "baseline", disturb)
    seal(spoken, channels=())
    sealed = mapping.load_intact(spoken)
    for utterance, (samples, rate_hz) in takes.items():
        clip, _ = read_mono(
            spoken
            / "listening"
            / "clips"
            / mapping.clip_of(sealed, "pair", "baseline", utterance, "full").file
        )
        clean = tmp_path / "clean.wav"
        write_wav_16bit(clean, samples, rate_hz)
        expected = place_of(processing.prepare(clean, "full"), resample(samples, rate_hz, RATE))
        assert place_of(clip, resample(samples, rate_hz, RATE)) == pytest.approx(expected, abs=0.1), utterance


def loud_noise_in_the_band_of_the_voice(samples: Samples, rate_hz: int) -> Samples:
    rng = np.random.default_rng(6)
    band = butter(4, (150, 900), btype="bandpass", fs=rate_hz, output="sos")
    return np.concatenate((0.9 * sosfilt(band, rng.standard_normal(round(0.9 * rate_hz))), samples)).astype(
        np.float32
    )


@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_a_pair_that_cannot_be_aligned_is_not_sealed_and_is_nobodys_failure(spoken: Path, side: str) -> None:
    change_takes(spoken, side, loud_noise_in_the_band_of_the_voice, only="u04")
    with pytest.raises(NotAligned, match=f"the {side}'s take u04") as caught:
        score_run(Run(spoken))
    assert caught.value.exit_code == 2 and "says nothing of the model" in str(caught.value)
    assert mapping.read_published(spoken) is None and read_unusable(spoken) == []
    assert Run(spoken).phases()["score"].fault == "host"


def test_speech_that_the_trimming_would_cut_off_is_noticed(tmp_path: Path) -> None:
    speak("flite slt", "I am all alone, and nobody knows.", tmp_path / "a.wav")
    samples, rate_hz = read_mono(tmp_path / "a.wav")
    pause = np.zeros(rate_hz, np.float32)
    write_wav_16bit(tmp_path / "b.wav", np.concatenate((samples * np.float32(0.06), pause, samples)), rate_hz)
    with pytest.raises(NotAligned, match="before that"):
        processing.prepare(tmp_path / "b.wav", "full")
    write_wav_16bit(tmp_path / "c.wav", np.concatenate((samples, pause, samples * np.float32(0.06))), rate_hz)
    alone = processing.prepare(tmp_path / "a.wav", "full")
    with_murmur = processing.prepare(tmp_path / "c.wav", "full")
    assert with_murmur.size > 1.9 * alone.size, "what an engine murmurs after its sentence is heard"


def buzz(seconds: float, at_s: float, length_s: float) -> Samples:
    t = np.arange(round(length_s * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 9)) * (
        (t >= at_s) & (t < at_s + seconds)
    )
    return (0.2 * wave).astype(np.float32)


def test_voice_is_found_where_it_begins_and_hiss_has_none() -> None:
    for at_s in (0.2, 0.61, 1.0):
        assert first_voice_s(buzz(0.5, at_s, 2.0), RATE) == pytest.approx(at_s, abs=0.03)
    noise = np.random.default_rng(1).normal(0, 0.2, RATE).astype(np.float32)
    assert first_voice_s(noise, RATE) is None
    with pytest.raises(NotAligned, match="holds no voice"):
        check_beginning(noise, RATE, 0.2)


@pytest.mark.parametrize("at_s", [0.05, 0.8])
def test_a_clip_whose_voice_begins_elsewhere_than_its_speech_is_refused(at_s: float) -> None:
    assert check_beginning(buzz(0.5, 0.2, 2.0), RATE, 0.2) == pytest.approx(0.2, abs=0.03)
    with pytest.raises(NotAligned, match="begins at"):
        check_beginning(buzz(0.5, at_s, 2.0), RATE, 0.2)


def test_sides_apart_by_more_than_consonants_are_refused() -> None:
    check_together(0.21, 0.44)
    with pytest.raises(NotAligned, match="same words"):
        check_together(0.21, 0.56)
    check_lost(buzz(0.5, 0.2, 2.0), RATE, 0.2)
    with pytest.raises(NotAligned, match="voice before that"):
        check_lost(buzz(0.5, 0.2, 2.0), RATE, 0.5)


def test_a_click_far_louder_than_the_speech_does_not_hide_its_voice() -> None:
    clip = buzz(0.5, 0.2, 2.0) * np.float32(0.02)
    clip[RATE] = 0.9
    assert first_voice_s(clip, RATE) == pytest.approx(0.2, abs=0.03)
