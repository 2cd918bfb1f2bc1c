from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from bench.audio.levels import integrated_lufs, peak_dbfs
from bench.audio.resample import resample
from bench.audio.silence import sound_span
from bench.audio.speech import find_speech
from bench.audio.wav import Samples
from bench.listening import processing
from bench.listening.processing import (
    RATE_HZ,
    UnusableTake,
    cut_opening,
    equalise_lengths,
    equalise_loudness,
    prepare,
)
from bench.listening.sound import measure_sound
from bench.records.base import Channel
from benchmarks.listening_run import SENTENCES, speak


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("voices")
    out = {}
    for voice in ("espeak en-us", "flite slt", "flite kal"):
        out[voice] = home / f"{voice.replace(' ', '-')}.wav"
        speak(voice, SENTENCES[0], out[voice])
    return out


@pytest.mark.needs("espeak-ng")
@pytest.mark.parametrize("channel", ["full", "narrowband", "wideband", "matched"])
def test_every_voice_comes_out_alike_in_all_but_the_voice(spoken: dict[str, Path], channel: Channel) -> None:
    clips = equalise_lengths({voice: prepare(path, channel, 4000) for voice, path in spoken.items()})
    levelled, target = equalise_loudness(clips)
    assert len({clip.size for clip in levelled.values()}) == 1
    for clip in levelled.values():
        data = processing.encode(clip, target)
        lufs, peak, span = integrated_lufs(clip, RATE_HZ), peak_dbfs(clip), find_speech(clip, RATE_HZ)
        assert lufs is not None and abs(lufs - target) < 0.05
        assert span is not None and abs(span.start / RATE_HZ - processing.LEAD_S) <= 0.012
        assert peak is not None and peak <= processing.PEAK_LIMIT_DBTP
        assert data[:4] == b"RIFF" and data[36:40] == b"data", "no chunk but fmt and data"
        assert len(data) == 44 + 2 * clip.size


def write(path: Path, samples: Samples, rate_hz: int = 24000, subtype: str = "FLOAT") -> Path:
    sf.write(path, samples, rate_hz, subtype=subtype)
    return path


def tone(seconds: float = 1.0, rate_hz: int = 24000, amplitude: float = 0.3) -> Samples:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(24000, np.float32),
        np.full(24000, np.nan, np.float32),
        np.array([0.1, np.inf] * 12000, np.float32),
        np.full(24000, 1e-6, np.float32),
        np.concatenate((np.zeros(5000), [0.9], np.zeros(5000))).astype(np.float32),
    ],
    ids=["empty", "silent", "nan", "infinite", "below the gate", "one click"],
)
def test_what_cannot_be_rated_is_refused_by_name(tmp_path: Path, samples: Samples) -> None:
    with pytest.raises(UnusableTake, match=r"take\.wav"):
        prepare(write(tmp_path / "take.wav", samples), "full")


def test_a_file_that_is_no_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "take.wav"
    path.write_bytes(b"RIFF\x00\x00")
    with pytest.raises(UnusableTake, match="cannot be read"):
        prepare(path, "full")


def test_half_a_second_of_sound_between_long_silences_is_found(tmp_path: Path) -> None:
    quiet = np.zeros(48000, np.float32)
    path = write(tmp_path / "t.wav", np.concatenate((quiet, tone(0.5), quiet)))
    clip = prepare(path, "full")
    span = sound_span(clip, RATE_HZ)
    assert span is not None and abs(span.seconds(RATE_HZ) - 0.5) < 0.03
    assert clip.size / RATE_HZ == pytest.approx(0.5 + processing.LEAD_S + processing.TAIL_S, abs=0.03)


def test_one_spiky_clip_softens_all_by_as_much(tmp_path: Path) -> None:
    spiky = tone(2.0, amplitude=0.02)
    spiky[::2400] = 0.9
    paths = {"plain": write(tmp_path / "a.wav", tone(2.0)), "spiky": write(tmp_path / "b.wav", spiky)}
    clips, target = equalise_loudness(
        equalise_lengths({name: prepare(path, "full") for name, path in paths.items()})
    )
    assert target < processing.TARGET_LUFS
    for clip in clips.values():
        peak = processing.true_peak_dbtp(clip)
        assert peak is not None and peak <= processing.PEAK_LIMIT_DBTP + 0.05
        lufs = integrated_lufs(clip, RATE_HZ)
        assert lufs is not None and abs(lufs - target) < 0.05


def test_a_clip_all_spikes_ends_the_sealing_instead_of_whispering() -> None:
    click = np.zeros(4 * RATE_HZ, np.float32)
    click[RATE_HZ // 5 :: RATE_HZ // 4] = 0.9
    with pytest.raises(UnusableTake, match="click") as caught:
        equalise_loudness({"good": np.pad(tone(1.0, RATE_HZ), (9600, 9600)), "x": click})
    assert caught.value.clip == "x"


def test_a_processed_clip_off_its_level_is_not_written() -> None:
    clips, target = equalise_loudness({"x": np.pad(tone(1.0, RATE_HZ), (9600, 9600))})
    good = clips["x"]
    processing.encode(good, target)
    with pytest.raises(UnusableTake, match="LUFS"):
        processing.encode(good * np.float32(1.1), target)


def test_stereo_and_other_rates_come_out_as_one_form(tmp_path: Path) -> None:
    stereo = np.stack((tone(1.0, 44100), tone(1.0, 44100)), axis=1)
    clip = prepare(write(tmp_path / "s.wav", stereo, 44100, "PCM_24"), "full")
    assert clip.ndim == 1 and clip.dtype == np.float32


def test_a_long_reference_is_cut_at_the_pause_nearest_to_the_pairs_length() -> None:
    gap = np.zeros(RATE_HZ // 2, np.float32)
    word = tone(1.0, RATE_HZ)
    clip = np.concatenate((gap, word, gap, word, gap, word, gap))
    assert cut_opening(clip, 2.9).size / RATE_HZ == pytest.approx(3.0 + processing.TAIL_S, abs=0.05)
    assert cut_opening(clip, 60.0).size / RATE_HZ == pytest.approx(4.5 + processing.TAIL_S, abs=0.05)


def test_through_the_matched_channel_no_side_reaches_higher_than_the_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    for name, rate_hz in (("wide", 24000), ("narrow", 16000)):
        write(
            tmp_path / f"{name}.wav",
            tone(2.0, rate_hz) + rng.normal(0, 0.03, 2 * rate_hz).astype(np.float32),
            rate_hz,
        )
    sound = {name: measure_sound([tmp_path / f"{name}.wav"]) for name in ("wide", "narrow")}
    assert {name: (found.rate_hz, found.bandwidth_hz) for name, found in sound.items()} == {
        "wide": (24000, 12000), "narrow": (16000, 8000)
    }  # fmt: skip

    def above_8_khz(channel: Channel) -> list[float]:
        out = []
        for name in ("wide", "narrow"):
            power = np.abs(np.fft.rfft(prepare(tmp_path / f"{name}.wav", channel, 8000))) ** 2
            out.append(10 * np.log10(power[round(power.size / 3) + 200 :].sum() / power.sum()))
        return out

    wide, narrow = above_8_khz("full")
    assert wide > -30 and narrow < -60
    assert max(above_8_khz("matched")) < -60


def test_a_bandwidth_is_what_a_side_uses_of_its_rate(tmp_path: Path) -> None:
    slow = np.random.default_rng(2).normal(0, 0.1, 16000).astype(np.float32)
    write(tmp_path / "up.wav", resample(slow, 8000, 24000), 24000)
    found = measure_sound([tmp_path / "up.wav"])
    assert found.rate_hz == 24000 and 3800 <= found.bandwidth_hz <= 4200
