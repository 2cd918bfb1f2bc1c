import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.audio.wav import encode_wav_16bit, read_mono, to_int16, write_wav_16bit
from bench.errors import BadInput


def test_every_16_bit_value_survives_a_round_trip(tmp_path: Path) -> None:
    values = np.arange(-32768, 32768, dtype=np.int32)
    samples = (values / 32768).astype(np.float32)
    write_wav_16bit(tmp_path / "a.wav", samples, 24000)
    back, rate_hz = read_mono(tmp_path / "a.wav")
    assert rate_hz == 24000
    assert back.dtype == np.float32 and np.array_equal(back, samples)
    write_wav_16bit(tmp_path / "b.wav", back, rate_hz)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_file_holds_format_and_samples_alone() -> None:
    data = encode_wav_16bit(np.zeros(100, np.float32), 8000)
    assert len(data) == 44 + 200
    assert data[12:16] == b"fmt " and data[36:40] == b"data"
    audio_format, channels, rate, byte_rate, align, bits = struct.unpack("<HHIIHH", data[20:36])
    assert (audio_format, channels, rate, byte_rate, align, bits) == (1, 1, 8000, 16000, 2, 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_refused_and_nothing_is_written(tmp_path: Path, bad: float) -> None:
    samples = np.zeros(10, np.float32)
    samples[3] = bad
    with pytest.raises(BadInput, match="1 of 10"):
        write_wav_16bit(tmp_path / "a.wav", samples, 24000)
    assert list(tmp_path.iterdir()) == []


def test_two_channels_are_refused_on_writing_and_averaged_on_reading(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="mono"):
        to_int16(np.zeros((4, 2), np.float32))
    sf.write(tmp_path / "s.flac", np.array([[0.5, -0.25], [0.25, 0.25]]), 16000)
    samples, rate_hz = read_mono(tmp_path / "s.flac")
    assert rate_hz == 16000
    assert samples.shape == (2,) and samples == pytest.approx([0.125, 0.25], abs=1e-4)


def test_what_is_beyond_full_scale_is_held_there() -> None:
    assert to_int16(np.array([2.0, -2.0, 1.0, -1.0], np.float32)).tolist() == [32767, -32768, 32767, -32768]


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.wav"):
        read_mono(tmp_path / "gone.wav")
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(BadInput, match=r"text\.wav cannot be read"):
        read_mono(tmp_path / "text.wav")
    sf.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(BadInput, match="no samples"):
        read_mono(tmp_path / "empty.wav")
    sf.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(BadInput, match="not numbers"):
        read_mono(tmp_path / "nan.wav")


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1, width=32), max_size=64))
def test_quantising_errs_by_half_a_step_at_most(values: list[float]) -> None:
    samples = np.array(values, np.float32)
    error = to_int16(samples) / 32768 - np.minimum(samples, 32767 / 32768)
    assert np.all(np.abs(error) <= 0.5 / 32768 + 1e-12)
