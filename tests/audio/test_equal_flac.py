"""Clips that are written together: lossless, and alike in all that is not sound."""

import io

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.audio.equal_flac import BLOCK, encode_together
from tests.support.flac_parts import beside_the_sound

Clip = NDArray[np.int16]


def noise(size: int, level: float, seed: int) -> Clip:
    found = np.random.default_rng(seed).normal(0.0, level, size)
    return np.asarray(np.clip(np.rint(found), -32768, 32767), np.int16)


def tone(size: int) -> Clip:
    return np.asarray(np.rint(9000 * np.sin(2 * np.pi * 220 * np.arange(size) / 48000)), np.int16)


def decoded(data: bytes) -> tuple[Clip, int]:
    samples, rate_hz = sf.read(io.BytesIO(data), dtype="int16")
    return np.asarray(samples, np.int16), int(rate_hz)


@pytest.mark.parametrize(
    "size", [1, 2, 5, 31, 32, 33, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 64, 3 * BLOCK + 777]
)
def test_every_sample_comes_back_from_libflac(size: int) -> None:
    clips = [tone(size), noise(size, 2.0, 1), noise(size, 30000.0, 2), np.zeros(size, np.int16)]
    files = encode_together(clips, 48000)
    assert len({len(data) for data in files}) == 1
    for clip, data in zip(clips, files, strict=True):
        samples, rate_hz = decoded(data)
        assert rate_hz == 48000
        np.testing.assert_array_equal(samples, clip)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=300), st.integers(0, 2**31))
def test_any_two_clips_come_back_and_share_all_that_is_not_sound(values: list[int], seed: int) -> None:
    clips = [np.array(values, np.int16), noise(len(values), 500.0, seed)]
    one, other = encode_together(clips, 16000)
    assert [decoded(data)[0].tolist() for data in (one, other)] == [clip.tolist() for clip in clips]
    assert beside_the_sound(one) == beside_the_sound(other)


def test_what_compresses_well_and_what_does_not_have_the_same_bytes_beside_the_sound() -> None:
    size = 2 * BLOCK + 1234
    files = encode_together([tone(size), noise(size, 8000.0, 3)], 48000)
    assert len(files[0]) == len(files[1]) < 1.1 * 2 * size
    assert files[0] != files[1]
    assert beside_the_sound(files[0]) == beside_the_sound(files[1])
    alone = encode_together([tone(size)], 48000) + encode_together([noise(size, 8000.0, 3)], 48000)
    assert len({beside_the_sound(data) for data in alone}) == 2, "apart, they would tell"


def test_what_follows_the_sound_is_found() -> None:
    (data,) = encode_together([tone(100)], 48000)
    assert beside_the_sound(data + b"id3").endswith(b"id3")


@pytest.mark.parametrize("clips", [[], [tone(0)], [tone(5), tone(6)]])
def test_what_cannot_be_written_together_is_refused(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match="cannot be written together"):
        encode_together(clips, 48000)
