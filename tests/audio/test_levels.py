import math

import numpy as np
import pytest

from bench.audio.levels import clipped_fraction, integrated_lufs, is_silent, peak_dbfs, rms_dbfs
from bench.audio.wav import Samples


def sine(hz: float, seconds: float, rate_hz: int = 48000, amplitude: float = 1.0) -> Samples:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def test_full_scale_sine() -> None:
    tone = sine(1000, 1.0)
    assert rms_dbfs(tone) == pytest.approx(-3.01, abs=0.01)
    assert peak_dbfs(tone) == pytest.approx(0.0, abs=0.01)


def test_a_tenth_of_the_amplitude_is_20_db_less() -> None:
    assert rms_dbfs(sine(1000, 1.0, amplitude=0.1)) == pytest.approx(-23.01, abs=0.01)
    assert peak_dbfs(sine(1000, 1.0, amplitude=0.1)) == pytest.approx(-20.0, abs=0.01)


def test_nothing_has_no_level() -> None:
    for clip in (np.zeros(0, np.float32), np.zeros(48000, np.float32)):
        assert rms_dbfs(clip) is None
        assert peak_dbfs(clip) is None
        assert integrated_lufs(clip, 48000) is None


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 44100, 48000])
def test_loudness_of_the_calibration_tone_at_every_rate(rate_hz: int) -> None:
    """EBU Tech 3341, case 1: a stereo 1 kHz sine of -23 dBFS peak reads -23 LUFS; one channel, 3.01 less."""
    tone = sine(1000, 5.0, rate_hz, amplitude=10 ** (-23 / 20))
    assert integrated_lufs(tone, rate_hz) == pytest.approx(-26.01, abs=0.25)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.39, 0.4, 0.41, 0.55])
def test_a_short_steady_tone_reads_as_loud_as_a_long_one(seconds: float) -> None:
    whole = integrated_lufs(sine(1000, 3.0), 48000)
    short = integrated_lufs(sine(1000, seconds), 48000)
    assert whole is not None and short == pytest.approx(whole, abs=0.5)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 24000])
def test_a_short_clip_has_a_loudness_whatever_its_length(rate_hz: int) -> None:
    whole = integrated_lufs(sine(1000, 3.0, rate_hz), rate_hz)
    assert whole is not None
    # 1002 samples at 24 kHz, for one: 1002 / 24000 * 24000 is more than 1002.
    rounded_up = [n for n in range(1000, round(0.4 * rate_hz)) if n / rate_hz * rate_hz > n]
    assert rounded_up
    for n in rounded_up[:: max(1, len(rounded_up) // 20)]:
        assert integrated_lufs(sine(1000, n / rate_hz, rate_hz), rate_hz) == pytest.approx(whole, abs=0.5)


def test_loudness_ignores_silence_around_speech() -> None:
    tone = sine(500, 2.0, amplitude=0.1)
    padded = np.pad(tone, 96000)
    assert integrated_lufs(padded, 48000) == pytest.approx(
        integrated_lufs(tone, 48000), abs=1.0
    )  # averaging them in would cost 4.8


def test_clipping_counts_full_scale_samples_and_runs() -> None:
    clip = np.array([0.5, 1.0, 0.2, -1.0, -1.0, -1.0, 0.1, 32767 / 32768, 0.9, 0.999], np.float32)
    assert clipped_fraction(clip) == pytest.approx(0.5)
    assert clipped_fraction(clip, min_run=3) == pytest.approx(0.3)
    assert clipped_fraction(np.ones(4, np.float32), min_run=3) == 1.0
    assert clipped_fraction(np.zeros(0, np.float32)) is None


def test_silence() -> None:
    assert is_silent(np.zeros(0, np.float32), 24000)
    assert is_silent(np.zeros(24000, np.float32), 24000)
    assert is_silent(sine(300, 0.5, 24000, amplitude=0.0005), 24000)
    assert not is_silent(sine(300, 0.5, 24000, amplitude=0.01), 24000)
    mostly = np.zeros(24000 * 10, np.float32)
    mostly[-2400:] = sine(300, 0.1, 24000, amplitude=0.5)
    assert not is_silent(mostly, 24000)
    assert not math.isclose(rms_dbfs(mostly) or 0.0, 0.0)
