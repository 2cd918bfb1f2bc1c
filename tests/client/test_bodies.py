import base64
import contextlib
import gzip
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from bench.client import bodies
from bench.client.bodies import Pcm, decode
from bench.client.chained import split_files
from bench.client.faults import TakeFault
from bench.client.replies import error_text
from bench.client.timing import build_request
from tests.support.sound import RATE, pcm, tone, wav

PCM_TYPE = {"content-type": f"audio/pcm;rate={RATE};channels=1"}


def at(*pieces: bytes) -> list[tuple[int, bytes]]:
    return [(1000 * (index + 1), piece) for index, piece in enumerate(pieces)]


def kind_of(headers: dict[str, str], *pieces: bytes, rate: int | None = None) -> str:
    with pytest.raises(TakeFault) as caught:
        decode(headers, at(*pieces), rate)
    return caught.value.kind


def delta(data: bytes, key: str = "audio") -> bytes:
    value = {"type": "speech.audio.delta", key: base64.b64encode(data).decode()}
    return f"data: {json.dumps(value)}\n\n".encode()


def test_raw_samples_carry_the_time_of_their_last_byte() -> None:
    body = pcm(0.01)
    got = decode(PCM_TYPE, at(body[:1], body[1:5], body[5:]), None)
    assert [(when, piece.size) for when, piece in got.events] == [(2000, 2), (3000, len(body) // 2 - 2)]
    np.testing.assert_array_equal(got.samples(), tone(0.01))


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "audio/pcm; rate=24000"},
        {"content-type": "application/octet-stream", "x-sample-rate": "24000"},
        {"x-custom-header-samplerate": "24000"},
    ],
)
def test_the_rate_is_found_wherever_a_server_states_it(headers: dict[str, str]) -> None:
    assert decode(headers, at(pcm()), None).rate_hz == RATE


def test_rates_that_disagree_fail_whoever_states_them() -> None:
    assert kind_of(PCM_TYPE, pcm(), rate=22050) == "wrong_rate"
    assert kind_of(PCM_TYPE | {"x-sample-rate": "16000"}, pcm()) == "wrong_rate"
    assert kind_of({"content-type": "audio/wav"}, wav(pcm()), rate=16000) == "wrong_rate"
    assert kind_of({}, pcm()) == "unknown_rate"
    assert decode({}, at(pcm()), 22050).rate_hz == 22050


@pytest.mark.parametrize(
    "media", ["audio/x-pcm", "audio/s16le", "audio/l16", "binary/octet-stream", "text/plain", "audio/mpeg"]
)
def test_an_entry_may_say_that_a_body_is_raw(media: str) -> None:
    body = b"\xff\xfb" + pcm(0.01)
    got = decode({"content-type": media}, at(body[:5], body[5:]), RATE, "raw")
    np.testing.assert_array_equal(got.samples(), np.frombuffer(body, "<i2"))
    swapped = np.frombuffer(body, "<i2").byteswap().tobytes()
    other = decode(
        {"content-type": f"{media};rate=24000"}, at(swapped[:5], swapped[5:]), None, "raw_big_endian"
    )
    np.testing.assert_array_equal(other.samples(), got.samples())
    with pytest.raises(TakeFault, match="not_audio"):
        decode({"content-type": media}, at(body), RATE)
    assert decode({"content-type": media}, at(wav(pcm())), None, "raw").container == "wav"


def test_wav_is_recognised_whatever_was_asked_for() -> None:
    got = decode({"content-type": "audio/pcm"}, at(wav(pcm())[:44], wav(pcm())[44:]), None)
    assert (got.container, got.rate_hz, [when for when, _ in got.events]) == ("wav", RATE, [2000])


def test_sse_deltas_arrive_with_the_end_of_their_event() -> None:
    event = delta(pcm(0.01))
    headers = {"content-type": "text/event-stream; charset=utf-8", "x-sample-rate": str(RATE)}
    got = decode(headers, at(event[:50], event[50:-1], event[-1:] + delta(pcm(0.02), "delta")), None)
    assert [(when, piece.size) for when, piece in got.events] == [(3000, 240), (3000, 480)]


def test_sse_with_crlf_comments_info_and_done() -> None:
    info = b'event: x\r\ndata: {"type":"speech.audio.info","sample_rate":16000}\r\n\r\n: keep\r\n\r\n'
    end = b"data: [DONE]\r\n\r\n"
    got = decode({"content-type": "text/event-stream"}, at(info, delta(pcm(0.01)), end), None)
    assert got.rate_hz == 16000
    assert got.samples().size == 240


def test_sse_whose_first_or_every_delta_holds_a_wav_header() -> None:
    kind = {"content-type": "text/event-stream"}
    first = decode(kind, at(delta(wav(pcm(0.01), size=0xFFFFFFFF)), delta(pcm(0.01))), None)
    every = decode(kind, at(delta(wav(pcm(0.01))), delta(wav(pcm(0.01)))), None)
    for got in (first, every):
        np.testing.assert_array_equal(got.samples(), np.tile(tone(0.01), 2))


@pytest.mark.parametrize(
    "end",
    [
        b"data: [DONE]",
        b"data: [DONE]\n",
        b'data: {"type":"speech.audio.done"}\n',
        b": keep",
        b": ping 7\r\n",
        b":\n",
    ],
)
def test_an_end_of_sse_without_its_blank_line_is_an_end(end: bytes) -> None:
    kind = {"content-type": "text/event-stream", "x-sample-rate": "24000"}
    assert decode(kind, at(delta(pcm(0.01)), end), None).samples().size == 240


@pytest.mark.parametrize("end", [b"data: [DO", b"dat", delta(pcm(0.01)).rstrip()])
def test_any_other_unfinished_event_is_truncated(end: bytes) -> None:
    kind = {"content-type": "text/event-stream", "x-sample-rate": "24000"}
    assert kind_of(kind, delta(pcm(0.01)), end) == "truncated"


def test_an_error_field_that_is_null_is_no_error() -> None:
    event = {"type": "speech.audio.delta", "audio": base64.b64encode(pcm(0.01)).decode(), "error": None}
    kind = {"content-type": "text/event-stream", "x-sample-rate": "24000"}
    got = decode(
        kind, at(b"event: terror.not\n: no error\n" + f"data: {json.dumps(event)}\n\n".encode()), None
    )
    assert got.samples().size == 240


def test_a_compressed_body_is_not_taken_for_samples() -> None:
    body = gzip.compress(pcm())
    assert kind_of(PCM_TYPE | {"content-encoding": "gzip"}, body + b"\0" * (len(body) % 2)) == "not_audio"
    assert decode(PCM_TYPE | {"content-encoding": "Identity"}, at(pcm()), None).samples().size
    assert ("accept-encoding", "identity") in build_request("POST", "http://h/", json={}).headers


def test_sse_faults() -> None:
    kind = {"content-type": "text/event-stream", "x-sample-rate": "24000"}
    assert kind_of(kind, b'data: {"type":"error","error":{"message":"boom"}}\n\n') == "stream_error"
    assert kind_of(kind, delta(pcm(0.01)), b'event: error\ndata: {"detail":"boom"}\n\n') == "stream_error"
    assert kind_of(kind, delta(pcm(0.01)), b"event: speech.audio.error\ndata: boom\n\n") == "stream_error"
    assert kind_of(kind, delta(pcm(0.01)), delta(pcm(0.01))[:30]) == "truncated"
    assert kind_of(kind, delta(pcm(0.01) + b"\1")) == "truncated"
    assert kind_of(kind, b"data: hello\n\n") == "not_audio"
    for audio in (b"%%%", b"\xc2\x80"):
        event = b'data: {"type":"speech.audio.delta","audio":"' + audio + b'"}\n\n'
        assert kind_of(kind, event) == "not_audio"


@pytest.mark.parametrize(
    ("container", "subtype", "media"),
    [("MP3", "MPEG_LAYER_III", "audio/mpeg"), ("OGG", "OPUS", "audio/ogg"), ("FLAC", "PCM_16", "audio/flac")],
)
def test_compressed_files_are_decoded_whole(container: str, subtype: str, media: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(0.5), RATE, format=container, subtype=subtype)
    body = file.getvalue()
    got = decode({"content-type": media}, at(body[:100], body[100:]), None)
    assert got.whole_file
    assert got.rate_hz == RATE
    assert [when for when, _ in got.events] == [2000]
    assert got.samples().size / RATE == pytest.approx(0.5, abs=0.1)
    middle = got.samples()[4000:8000].astype(np.float64)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def compressed(container: str, subtype: str, seconds: float, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(seconds), rate, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "subtype", "media"),
    [("MP3", "MPEG_LAYER_III", "audio/mpeg"), ("OGG", "OPUS", "audio/ogg"), ("FLAC", "PCM_16", "audio/flac")],
)
def test_files_one_after_another_are_read_to_the_end_of_the_last(
    container: str, subtype: str, media: str
) -> None:
    """As fastkokoro streams them: a file for each piece of the sentence. A decoder stops after the first."""
    kind = {"content-type": media}
    files = [compressed(container, subtype, seconds) for seconds in (0.5, 1.0, 0.7)]
    alone = np.concatenate([decode(kind, at(file), None).samples() for file in files])
    got = decode(kind, at(b"".join(files)), None)
    assert np.array_equal(got.samples(), alone)
    assert got.samples().size / RATE == pytest.approx(2.2, abs=0.3)
    assert kind_of(kind, files[0] + compressed(container, subtype, 0.5, 16000)) == "wrong_rate"


def test_the_streams_of_one_ogg_file_begin_together_and_are_no_two_files() -> None:
    first, later, last = b"OggS\x00\x02.", b"OggS\x00\x00.", b"OggS\x00\x04."
    one = first + first + later + last
    assert split_files("ogg", one) == [one]
    assert split_files("ogg", one + first + last) == [one, first + last]
    assert split_files("au", one) == [one]


@pytest.mark.needs("ffmpeg")
def test_aac_goes_through_ffmpeg() -> None:
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-f", "adts", "pipe:1"]
    body = subprocess.run(command, input=wav(pcm(0.5)), capture_output=True, check=True).stdout
    got = decode({"content-type": "audio/aac"}, at(body), None)
    assert got.rate_hz == RATE
    assert got.samples().size / RATE == pytest.approx(0.5, abs=0.1)


def test_what_is_no_audio() -> None:
    assert kind_of(PCM_TYPE) == "zero_bytes"
    assert kind_of(PCM_TYPE, b"", b"") == "zero_bytes"
    assert kind_of({"content-type": "audio/wav"}, wav(b"")) == "no_samples"
    assert kind_of({"content-type": "text/html"}, b"<html>") == "not_audio"
    assert kind_of({"content-type": "audio/wav"}, pcm()) == "not_audio"
    assert kind_of({"content-type": "audio/mpeg"}, b"\xff\xfb" + bytes(50)) == "not_audio"
    assert kind_of(PCM_TYPE, pcm() + b"\1") == "truncated"


def test_raw_pcm_that_begins_like_mpeg_stays_pcm() -> None:
    assert decode(PCM_TYPE, at(b"\xff\xfb" + pcm()), None).container == "raw"


@pytest.mark.parametrize("rate", [1, 3999, 384001, 2_000_000_000])
def test_a_rate_at_which_nobody_speaks_is_wrong_whoever_states_it(rate: int) -> None:
    assert kind_of({"content-type": "audio/wav"}, wav(pcm(), rate=rate)) == "wrong_rate"
    assert kind_of({"content-type": f"audio/pcm;rate={rate}"}, pcm()) == "wrong_rate"
    assert kind_of({}, pcm(), rate=rate) == "wrong_rate"


@pytest.mark.parametrize("stated", ["9" * 5000, "\u00b24000", "24 000", "-1", "0", "24000.5"])
def test_a_rate_that_cannot_be_read_is_wrong(stated: str) -> None:
    assert kind_of({"x-sample-rate": stated}, pcm()) == "wrong_rate"


def test_json_that_is_nested_beyond_reason_is_no_crash() -> None:
    deep = b"[" * 200_000
    assert kind_of({"content-type": "text/event-stream"}, b"data: " + deep + b"\n\n") == "not_audio"
    assert error_text(deep).startswith("[[[")


def test_an_mp3_that_claims_terabytes_holds_what_it_holds() -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(0.5), RATE, format="MP3", subtype="MPEG_LAYER_III")
    body = bytearray(file.getvalue())
    count = next(body.find(mark) for mark in (b"Xing", b"Info") if mark in body) + 8
    body[count : count + 4] = b"\x7f\xff\xff\xff"
    got = decode({"content-type": "audio/mpeg"}, at(bytes(body)), None)
    assert got.samples().size / RATE == pytest.approx(0.5, abs=0.1)


def test_an_ffmpeg_that_does_not_end_is_a_named_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(bodies, "FFMPEG_LIMIT_S", 0.2)
    assert kind_of({"content-type": "audio/aac"}, b"\xff\xf1" + bytes(50)) == "not_audio"


BODIES = (
    pcm(0.01),
    wav(pcm(0.01)),
    wav(pcm(0.01), size=0xFFFFFFFF),
    delta(pcm(0.01)) + delta(wav(pcm(0.01))),
)


@given(
    body=st.sampled_from(BODIES),
    kind=st.sampled_from(["audio/pcm;rate=24000", "audio/wav", "text/event-stream", ""]),
    damage=st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=4), st.integers(0, 9)), max_size=4),
    cut=st.integers(0, 700),
)
def test_whatever_is_sent_is_samples_or_a_named_failure(
    body: bytes, kind: str, damage: list[tuple[int, bytes, int]], cut: int
) -> None:
    for place, put, dropped in damage:
        body = body[:place] + put + body[place + dropped :]
    with contextlib.suppress(TakeFault):
        got = decode({"content-type": kind}, at(body[:cut], body[cut:]), None)
        assert got.samples().size and got.rate_hz is not None


def test_error_bodies() -> None:
    assert error_text(b'{"error": {"kind": "unknown_voice", "message": "no voice x"}}') == "no voice x"
    assert error_text(b'{"detail": {"error": {"message": "too long"}}}') != ""
    assert error_text(b'{"detail": "nope"}') == "nope"
    assert error_text(b"<title>502</title>\n<h1>Bad   gateway</h1>") == "502 Bad gateway"


def test_no_samples_is_an_empty_array() -> None:
    assert Pcm("raw").samples().size == 0
