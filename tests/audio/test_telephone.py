import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from bench.audio.telephone import mulaw_decode, mulaw_encode, narrowband, wideband
from bench.audio.wav import Samples


@pytest.mark.needs("ffmpeg")
def test_every_code_word_decodes_to_the_value_that_ffmpeg_gives() -> None:
    words = np.arange(256, dtype=np.uint8)
    theirs = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "mulaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"],
        input=words.tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    ours = np.rint(mulaw_decode(words) * 32768).astype(np.int16)
    assert np.array_equal(ours, np.frombuffer(theirs, np.int16))


def test_encoding_changes_segment_where_the_standard_says() -> None:
    # G.711, table 2a: end points of the segments, in 14-bit units, and the values that decode on either side
    for end, below, above in (
        (31, 30, 33),
        (95, 93, 99),
        (223, 219, 231),
        (479, 471, 495),
        (4063, 3999, 4191),
    ):
        pair = np.array([end - 1, end], np.float32) / np.float32(8192)
        assert np.rint(mulaw_decode(mulaw_encode(pair)) * 8192).tolist() == [below, above]


def test_encoding_is_off_by_half_a_step_at_most() -> None:
    x = np.linspace(-0.99, 0.99, 20001)
    error = np.abs(mulaw_decode(mulaw_encode(x.astype(np.float32))) - x) * 8192
    half_step = 2.0 ** np.floor(np.log2(np.minimum(np.rint(np.abs(x) * 8192), 8158) + 33) - 5)
    inside = np.abs(x) * 8192 <= 8158
    assert np.all(error[inside] <= half_step[inside] + 0.51)


def test_silence_stays_silence_and_overload_is_held() -> None:
    assert np.all(mulaw_decode(mulaw_encode(np.zeros(8, np.float32))) == 0)
    held = mulaw_decode(mulaw_encode(np.array([2.0, -2.0], np.float32)))
    assert held[0] == -held[1] == pytest.approx(0.98, abs=0.01)


def tones(hz: list[float], rate_hz: int = 48000) -> Samples:
    t = np.arange(rate_hz) / rate_hz
    return sum((0.1 * np.sin(2 * np.pi * f * t) for f in hz), np.zeros(rate_hz)).astype(np.float32)


def level_db(samples: Samples, hz: float, rate_hz: int = 48000) -> float:
    t = np.arange(samples.size) / rate_hz
    size = abs(np.mean(samples * np.exp(-2j * np.pi * hz * t))) * 2
    return float(20 * np.log10(size + 1e-12))


def test_narrow_band_passes_a_call_and_nothing_else() -> None:
    out = narrowband(tones([100, 1000, 3000, 5000, 9000]), 48000)
    assert out.size == 48000
    assert level_db(out, 1000) == pytest.approx(-20, abs=0.5)
    assert level_db(out, 3000) == pytest.approx(-20, abs=1.5)
    for hz in (100, 5000, 9000):
        assert level_db(out, hz) < -50, hz


def test_wide_band_passes_to_seven_kilohertz() -> None:
    out = wideband(tones([20, 1000, 6500, 9000]), 48000)
    assert level_db(out, 1000) == pytest.approx(-20, abs=0.3)
    assert level_db(out, 6500) == pytest.approx(-20, abs=3)
    for hz in (20, 9000):
        assert level_db(out, hz) < -45, hz


def test_the_rate_and_length_that_came_in_come_out(tmp_path: Path) -> None:
    for rate in (22050, 24000, 44100, 48000):
        clip = np.random.default_rng(1).normal(0, 0.05, 12345).astype(np.float32)
        assert narrowband(clip, rate).size == wideband(clip, rate).size == 12345
    sf.write(tmp_path / "x.wav", narrowband(clip, 48000), 48000)


def test_a_click_of_a_few_samples_does_not_break_the_filters() -> None:
    assert narrowband(np.array([0.5, -0.5], np.float32), 48000).size == 2
    assert wideband(np.array([0.5], np.float32), 48000).size == 1
