import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.client.faults import TakeFault
from bench.client.wav import WavStream
from tests.support.sound import RATE, pcm, tone, wav

BODY = pcm(0.01)
ODD = b"LIST" + struct.pack("<I", 5) + b"INFO!" + b"\0"


def read(data: bytes, cuts: list[int] | None = None) -> tuple[np.ndarray, WavStream]:
    stream = WavStream()
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts or []}), len(data)]
    pieces = [piece for a, b in itertools.pairwise(edges) for piece in stream.feed(data[a:b])]
    stream.finish()
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16), stream


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFFFFF - 36, 0x7FFF0024])
@given(cuts=st.lists(st.integers(0, 600), max_size=12))
def test_every_way_of_writing_the_size_and_of_cutting_the_stream(size: int | None, cuts: list[int]) -> None:
    samples, stream = read(wav(BODY, size=size, before=ODD), cuts)
    assert samples.dtype == np.int16
    assert stream.rate_hz == RATE
    np.testing.assert_array_equal(samples, tone(0.01))


@given(cuts=st.lists(st.integers(0, 1200), max_size=12))
def test_chunks_after_the_data_and_a_second_file_after_the_first(cuts: list[int]) -> None:
    samples, _ = read(wav(BODY, after=ODD) + wav(BODY), cuts)
    np.testing.assert_array_equal(samples, np.tile(tone(0.01), 2))


def test_odd_data_is_padded() -> None:
    samples, _ = read(wav(bytes([128, 255, 0]), bits=8, after=b"\0" + ODD))
    np.testing.assert_allclose(samples, [0, 127 / 128, -1])


@pytest.mark.parametrize(
    ("code", "bits", "data"),
    [
        (1, 24, struct.pack("<i", 0x40000000)[1:] * 2),
        (1, 32, struct.pack("<2i", 0x40000000, 0x40000000)),
        (3, 32, struct.pack("<2f", 0.5, 0.5)),
        (3, 64, struct.pack("<2d", 0.5, 0.5)),
    ],
)
def test_other_sample_formats(code: int, bits: int, data: bytes) -> None:
    samples, _ = read(wav(data, code=code, bits=bits))
    np.testing.assert_allclose(samples, [0.5, 0.5])


def test_extensible_is_what_its_subformat_says() -> None:
    guid = struct.pack("<H", 3) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    fmt = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, RATE * 4, 4, 32) + struct.pack("<HHI", 22, 32, 4) + guid
    data = struct.pack("<2f", 0.25, -0.25)
    file = b"RIFF" + struct.pack("<I", 999) + b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    samples, _ = read(file + b"data" + struct.pack("<I", 8) + data)
    np.testing.assert_allclose(samples, [0.25, -0.25])


def test_a_wav_after_one_of_unknown_size_is_no_sound() -> None:
    one, two = wav(BODY, size=0xFFFFFFFF), wav(BODY, size=0)
    for pieces in ([one + two], [one, two], [one, two[:44], two[44:]]):
        stream = WavStream()
        out = [piece for data in pieces for piece in stream.feed(data)]
        stream.finish()
        np.testing.assert_array_equal(np.concatenate(out), np.tile(np.frombuffer(BODY, "<i2"), 2))
    with pytest.raises(TakeFault, match="inside a sample"):
        read(wav(BODY + b"\1", size=0xFFFFFFFF) + two)


def test_samples_after_the_end_that_the_header_states_are_not_dropped_quietly() -> None:
    for more in (BODY, bytes(32) + BODY):
        with pytest.raises(TakeFault, match=r"not_audio: what follows the end"):
            read(wav(BODY, size=len(BODY)) + more)
    for padding in (b"", b"\0" * 9, ODD, ODD[:-4]):
        samples, _ = read(wav(BODY, size=len(BODY)) + padding)
        assert samples.size == len(BODY) // 2


def test_stereo_is_averaged() -> None:
    samples, _ = read(wav(struct.pack("<4h", 1000, 3000, -2000, 0), channels=2))
    np.testing.assert_allclose(samples, [2000 / 32768, -1000 / 32768])


def test_samples_are_given_as_soon_as_they_are_whole() -> None:
    stream = WavStream()
    header, body = wav(b"", size=0xFFFFFFFF), b"\1\2\3\4"
    assert stream.feed(header) == []
    assert stream.feed(body[:1]) == []
    assert [piece.size for piece in stream.feed(body[1:3])] == [1]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (wav(BODY, size=len(BODY) + 10), "truncated"),
        (wav(BODY)[:20], "truncated"),
        (wav(BODY)[:40], "truncated"),
        (wav(BODY + b"\1", size=0xFFFFFFFF), "truncated"),
        (b"RIFF\0\0\0\0AVI " + BODY, "not_audio"),
        (wav(BODY, code=2, bits=4), "not_audio"),
        (wav(BODY, channels=0), "not_audio"),
        (wav(BODY) + wav(BODY, rate=16000), "wrong_rate"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "not_audio"),
    ],
)
def test_what_cannot_be_right_is_named(data: bytes, kind: str) -> None:
    with pytest.raises(TakeFault) as caught:
        read(data)
    assert caught.value.kind == kind
