"""What a server says and sends, over a real connection, and what becomes of it."""

import asyncio
import base64
import io
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from bench.client.bodies import decode
from bench.client.dialects import find_dialect
from bench.client.session import Fetched, Spoken, fetch, judge, open_session, request_for
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.client.texts import find_text
from bench.client.timing import Exchange
from bench.records.run import Utterance
from bench.records.take import Take
from tests.support.pace import limit
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, wav
from tests.support.voiced import voiced

TEXT = "The ferry leaves at noon, and the last one comes back after dark."
SPEECH = (voiced(2.5, RATE) + np.random.default_rng(3).normal(0, 0.003, round(2.5 * RATE))).astype(np.float32)
SAMPLES = np.rint(SPEECH * 32767).astype("<i2")
PCM = SAMPLES.tobytes()
OCTETS = {"Content-Type": "application/octet-stream", "X-Sample-Rate": str(RATE)}


def take_of(
    body: bytes | list[bytes], headers: dict[str, str], container: str | None = None, rate: int | None = None
) -> Take:
    """One take of what a server sends, by way of a socket."""
    return spoken_of(body, headers, container, rate).take


def spoken_of(
    body: bytes | list[bytes], headers: dict[str, str], container: str | None = None, rate: int | None = None
) -> Spoken:
    if isinstance(body, bytes):
        reply = Reply(body, headers=headers)
    else:
        reply = Reply(
            pieces=[(0.02 if index else 0.0, piece) for index, piece in enumerate(body)], headers=headers
        )

    async def once(url: str) -> Spoken:
        target = Target(url, dialect="openai", sample_rate_hz=rate, container=container)  # type: ignore[arg-type]
        session = await open_session(target, find_dialect("openai"), None, Voice.by_name("v"), 10)
        return judge(
            session, Utterance(id="a", text=TEXT), await fetch(session, request_for(session, TEXT, None), 10)
        )

    with serving(lambda asked: reply) as server:
        return asyncio.run(once(server.url))


def error_of(body: bytes | list[bytes], headers: dict[str, str], **more: object) -> tuple[str, str]:
    take = take_of(body, headers, **more)  # type: ignore[arg-type]
    assert take.error is not None, f"{take.audio_s} s taken for good"
    return take.error.kind, take.error.message


def heard(spoken: Spoken) -> np.ndarray:
    assert spoken.take.error is None and spoken.samples is not None, spoken.take.error
    values = spoken.samples
    return values.astype(np.float64) / (32768 if values.dtype == np.int16 else 1)


# Text in place of audio

ERRORS = {
    "json": b'{"detail": "the worker ran out of memory"}',
    "html": b"<!DOCTYPE html>\n<html><head><title>503</title></head><body>Upstream is down</body></html>\n",
    "plain": b"upstream connect error or disconnect before headers\r\n",
    "traceback": b'Traceback (most recent call last):\n  File "serve.py", line 3\nRuntimeError: no kernel image\n',
    "short": b'{"error":"oom"}',
    "utf8": '{"fehler": "die Stimme läßt sich nicht laden: zu groß"}'.encode(),
}

WORD = {
    "json": "out of memory",
    "html": "Upstream",
    "plain": "disconnect",
    "traceback": "no kernel",
    "short": "oom",
    "utf8": "Stimme",
}


@pytest.mark.parametrize("kind", ["audio/pcm", "application/octet-stream", "", "audio/wav", "audio/mpeg"])
@pytest.mark.parametrize("name", ERRORS)
def test_text_in_place_of_audio_is_the_servers_own_error(name: str, kind: str) -> None:
    headers = {"X-Sample-Rate": "24000"} | ({"Content-Type": kind} if kind else {})
    text = ERRORS[name]
    found, message = error_of(text + b" " * (len(text) % 2), headers)
    assert found == "stream_error"
    assert WORD[name] in message


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "short"])
def test_text_after_audio_is_an_error_and_no_half_take(name: str) -> None:
    text = ERRORS[name]
    for body in ([PCM, text], [PCM + text], [PCM, text + b"\0"], [PCM, text, b"\0\0"]):
        assert error_of(body, OCTETS)[0] == "stream_error"
    streamed = [wav(b"", size=0xFFFFFFFF) + PCM, text]
    assert error_of(streamed, {"Content-Type": "audio/wav"})[0] == "stream_error"


@pytest.mark.slow
def test_looking_for_text_costs_a_step_a_byte_whatever_is_sent() -> None:
    begun = time.perf_counter()
    bodies = (
        b"A" * 3_000_000 + b"\x00\xff",
        (b"ab " * 30 + b"\xff") * 30_000,
        bytes(3_000_000),
        b"{" * 3_000_000,
    )
    for body in bodies:
        find_text(body)
    assert time.perf_counter() - begun < limit(5)


def test_text_in_the_middle_is_found_too() -> None:
    assert error_of([PCM, ERRORS["traceback"], PCM[:4800]], OCTETS)[0] == "stream_error"


@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.floats(0.001, 1.0),
    coding=st.sampled_from(["int16", "float32", "mulaw"]),
    offset=st.floats(-0.4, 0.4),
)
def test_samples_are_not_taken_for_text(seed: int, level: float, coding: str, offset: float) -> None:
    chance = np.random.default_rng(seed)
    n = 6000
    low = np.cumsum(chance.normal(0, 0.02, n))
    values = np.clip(level * np.sin(low * 20) + offset + chance.normal(0, 0.01, n), -1, 1)
    kind = {
        "Content-Type": "audio/pcm",
        "X-Sample-Rate": "8000",
        "X-Sample-Format": {"int16": "s16le"}.get(coding, coding),
    }
    if coding == "mulaw":
        file = io.BytesIO()
        soundfile.write(file, values, 8000, format="RAW", subtype="ULAW")
        body = file.getvalue()
    else:
        body = (
            np.rint(values * 32767).astype("<i2") if coding == "int16" else values.astype("<f4")
        ).tobytes()
    got = decode({name.lower(): value for name, value in kind.items()}, [(1, body)], None)
    assert got.samples().size == n


# Files under the type of samples


def file_of(container: str, subtype: str, rate: int = RATE, endian: str = "FILE") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SPEECH, rate, format=container, subtype=subtype, endian=endian)
    return file.getvalue()


@pytest.mark.parametrize("headers", [OCTETS, {"Content-Type": "audio/pcm"}, {"X-Sample-Rate": str(RATE)}])
@pytest.mark.parametrize(
    ("container", "subtype", "endian"),
    [
        ("MP3", "MPEG_LAYER_III", "FILE"), ("FLAC", "PCM_16", "FILE"), ("OGG", "VORBIS", "FILE"),
        ("OGG", "OPUS", "FILE"),
        ("AIFF", "PCM_16", "FILE"), ("AIFF", "FLOAT", "FILE"), ("AU", "PCM_16", "FILE"), ("AU", "ULAW", "FILE"),
        ("AU", "PCM_16", "LITTLE"), ("CAF", "PCM_16", "FILE"), ("W64", "PCM_16", "FILE"), ("WAV", "PCM_16", "BIG"),
        ("RF64", "PCM_16", "FILE"), ("WAV", "ULAW", "FILE"), ("WAV", "ALAW", "FILE"), ("WAV", "FLOAT", "FILE"),
        ("NIST", "PCM_16", "FILE"), ("VOC", "PCM_16", "FILE"), ("WAVEX", "PCM_24", "FILE"),
    ],
)  # fmt: skip
def test_a_file_is_known_by_its_first_bytes(
    container: str, subtype: str, endian: str, headers: dict[str, str]
) -> None:
    body = file_of(container, subtype, endian=endian)
    if subtype == "MPEG_LAYER_III" and not body.startswith(b"ID3"):
        assert body[0] == 0xFF  # nothing but a sync word to know it by
    got = heard(spoken_of(body, headers))
    assert got.size / RATE == pytest.approx(SPEECH.size / RATE, abs=0.1)
    if subtype not in ("MPEG_LAYER_III", "VORBIS", "OPUS"):
        np.testing.assert_allclose(got[:40000], SPEECH[:40000], atol=0.02)


def test_the_sync_word_of_mp3_alone_makes_no_file_of_samples() -> None:
    frames = file_of("MP3", "MPEG_LAYER_III")
    got = heard(spoken_of(frames[:4] + PCM, OCTETS))
    np.testing.assert_allclose(got[2:], SAMPLES / 32768)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"\x1f\x8b\x08\x00" + PCM, "gzip"), (b"PK\x03\x04" + PCM, "zip"), (b"\x93NUMPY\x01\x00" + PCM, "numpy array"),
        (b"%PDF-1.7\n" + PCM, "pdf"), (b"\x89PNG\r\n\x1a\n" + PCM, "png"),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_refused_by_its_name(body: bytes, name: str) -> None:
    kind, message = error_of(body, OCTETS)
    assert kind == "not_audio" and name in message


@pytest.mark.needs("ffmpeg")
def test_aac_without_a_type_is_aac() -> None:
    import subprocess

    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-f", "adts", "pipe:1"]
    body = subprocess.run(command, input=wav(PCM), capture_output=True, check=True).stdout
    got = heard(spoken_of(body + b"\0" * (len(body) % 2), OCTETS))
    assert got.size / RATE == pytest.approx(SPEECH.size / RATE, abs=0.1)


# Samples of another form

FORMS: dict[str, Callable[[np.ndarray], bytes]] = {
    "f32le": lambda x: x.astype("<f4").tobytes(),
    "f64le": lambda x: x.astype("<f8").tobytes(),
    "f32be": lambda x: x.astype(">f4").tobytes(),
    "s16be": lambda x: np.rint(x * 32767).astype(">i2").tobytes(),
    "s32le": lambda x: np.rint(x * 2147480000).astype("<i4").tobytes(),
    "s24le": lambda x: np.rint(x * 8388607).astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes(),
    "u8": lambda x: (np.rint(x * 127) + 128).astype("u1").tobytes(),
    "mulaw": lambda x: _law(x, "ULAW"),
    "alaw": lambda x: _law(x, "ALAW"),
}


def _law(values: np.ndarray, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, RATE, format="RAW", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ("f32le", {"X-Sample-Format": "f32le"}),
        ("f32le", {"X-Audio-Encoding": "PCM_F32LE", "X-Bit-Depth": "32"}),
        ("f32le", {"Content-Type": f"audio/pcm;rate={RATE};encoding=float;bits=32"}),
        ("f32le", {"Content-Type": f"audio/x-raw, format=(string)F32LE, rate=(int){RATE}, channels=(int)1"}),
        ("f32le", {"X-Dtype": "float32", "X-Sample-Width": "4"}),
        ("f32be", {"X-Dtype": "float32", "X-Byte-Order": "big-endian"}),
        ("f64le", {"X-Sample-Type": "double"}),
        ("s16be", {"X-Encoding": "signed 16-bit big-endian"}),
        ("s32le", {"X-Bits-Per-Sample": "32"}),
        ("s24le", {"X-Audio-Format": "pcm_s24le"}),
        ("u8", {"X-Sample-Format": "u8"}),
        ("mulaw", {"X-Audio-Codec": "G.711 mu-law"}),
        ("mulaw", {"Content-Type": f"audio/PCMU;rate={RATE}"}),
        ("mulaw", {"Content-Type": f"audio/basic;rate={RATE}"}),
        ("alaw", {"X-Output-Format": f"alaw_{RATE}"}),
    ],
)
def test_samples_are_read_as_the_server_says_they_are(form: str, headers: dict[str, str]) -> None:
    headers = {"Content-Type": "audio/pcm", "X-Sample-Rate": str(RATE)} | headers
    got = heard(spoken_of(FORMS[form](SPEECH), headers))
    np.testing.assert_allclose(got, SPEECH, atol=0.03)


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("s32le",)])
def test_samples_of_a_form_that_nobody_states_are_noise_and_no_take(form: str) -> None:
    body = FORMS[form](SPEECH)
    kind, message = error_of(body + b"\0" * (len(body) % 2), OCTETS)
    assert kind == "noise" and "full scale" in message
    entry = {"f32le": "raw_float32", "s16be": "raw_big_endian", "mulaw": "raw_mulaw", "alaw": "raw_alaw"}.get(
        form
    )
    if entry is not None:
        np.testing.assert_allclose(heard(spoken_of(body, OCTETS, entry)), SPEECH, atol=0.03)


@pytest.mark.parametrize(
    "said",
    [
        {"X-Channels": "2"},
        {"X-Audio-Channels": "stereo"},
        {"X-Channel-Count": "2"},
        {"X-Audio-Format": "raw-24khz-16bit-stereo-pcm"},
    ],
)
def test_two_channels_are_two_wherever_that_is_said(said: dict[str, str]) -> None:
    both = np.repeat(SAMPLES, 2).tobytes()
    take = take_of(both, {"Content-Type": "audio/pcm", "X-Sample-Rate": str(RATE)} | said)
    assert take.error is None and take.audio_s == pytest.approx(SPEECH.size / RATE)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"X-Channels": "two"}, "wrong_form"),
        ({"X-Channels": "2", "X-Audio-Channels": "1"}, "wrong_form"),
        ({"X-Channels": "9"}, "wrong_form"),
        ({"X-Sample-Format": "f32le", "X-Bits-Per-Sample": "16"}, "wrong_form"),
        ({"X-Sample-Format": "quantum"}, "wrong_form"),
        ({"X-Byte-Order": "middle"}, "wrong_form"),
        ({"X-Bit-Depth": "8"}, "wrong_form"),
        ({"X-Bit-Depth": "20"}, "wrong_form"),
        ({"X-Audio-Format": "mp3"}, "wrong_form"),
        ({"X-Sample-Rate": "fast"}, "wrong_rate"),
        ({"X-Audio-Sample-Rate": "16000"}, "wrong_rate"),
        ({"X-Audio-Format": "pcm_16000"}, "wrong_rate"),
    ],
)
def test_what_cannot_be_read_and_what_differs_is_a_failure(headers: dict[str, str], kind: str) -> None:
    found, message = error_of(PCM, {"Content-Type": "audio/pcm; rate=24000"} | headers)
    assert found == kind
    assert any(name.lower() in message for name in headers)


def test_a_header_that_comes_twice_and_differs_is_a_failure() -> None:
    twice = "24000\r\nX-Sample-Rate: {}"
    assert error_of(PCM, {"X-Sample-Rate": twice.format(16000)})[0] == "wrong_rate"
    assert take_of(PCM, {"X-Sample-Rate": twice.format(24000)}).error is None


def test_a_file_that_says_itself_what_it_is_needs_no_codec_that_we_know() -> None:
    kind = {"Content-Type": 'audio/flac; codecs="mp4a.40.2"', "X-Audio-Codec": "wobble"}
    assert take_of(file_of("FLAC", "PCM_16"), kind).error is None
    assert take_of(wav(PCM), kind).error is None
    assert error_of(PCM, kind | {"Content-Type": "audio/pcm;rate=24000"})[0] == "wrong_form"


def test_a_wav_header_and_the_http_headers_must_agree() -> None:
    two = wav(np.repeat(SAMPLES, 2).tobytes(), channels=2)
    assert take_of(two, {"X-Channels": "2"}).audio_s == pytest.approx(SPEECH.size / RATE)
    assert error_of(two, {"X-Channels": "1"})[0] == "wrong_form"
    assert error_of(wav(PCM), {"X-Sample-Format": "f32le"})[0] == "wrong_form"
    assert take_of(wav(PCM), {"X-Audio-Format": "wav", "X-Bits-Per-Sample": "16"}).error is None


# Sizes and ends


def test_a_wav_that_goes_on_after_its_stated_end_is_not_cut_there() -> None:
    first, rest = PCM[:48000], PCM[48000:]
    for more in (rest, bytes(1200) + rest, bytes(9000) + rest, bytes(9000), rest[:5], b"next" + rest):
        assert error_of([wav(first), more], {"Content-Type": "audio/wav"})[0] == "not_audio"
    rest = b"LIST" + struct.pack("<I", 6) + b"INFO!!" + b"abcd" + struct.pack("<I", 2) + b"xy"
    assert take_of([wav(PCM), rest], {}).error is None
    assert take_of([wav(PCM), bytes(300)], {}).error is None


@pytest.mark.parametrize("size", [2_000_000_000, 1_000_000_000, 100_000_000, 0x7FFFFFFF, 0, 0xFFFFFFFF])
def test_a_size_that_no_take_can_have_is_a_place_holder(size: int) -> None:
    take = take_of([wav(b"", size=size), PCM[:60000], PCM[60000:]], {"Content-Type": "audio/wav"})
    assert take.error is None and take.audio_s == pytest.approx(SPEECH.size / RATE)


def test_a_size_that_a_take_can_have_is_a_promise() -> None:
    assert error_of([wav(b"", size=10_000_000) + PCM], {})[0] == "truncated"


def test_an_answer_that_ends_with_its_connection_proves_nothing() -> None:
    def close(body: bytes) -> Spoken:
        import socket
        import threading

        listener = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Sample-Rate: 24000\r\n\r\n" + body)

        threading.Thread(target=answer, daemon=True).start()

        async def once() -> Spoken:
            target = Target(f"http://127.0.0.1:{listener.getsockname()[1]}", dialect="openai")
            session = await open_session(target, find_dialect("openai"), None, Voice.by_name("v"), 10)
            fetched = await fetch(session, request_for(session, TEXT, None), 10)
            return judge(session, Utterance(id="a", text=TEXT), fetched)

        with listener:
            return asyncio.run(once())

    plain, whole = close(PCM), close(wav(PCM))
    assert (plain.take.error, whole.take.error) == (None, None)
    assert (plain.proved, whole.proved) == (False, True)
    assert spoken_of([PCM], OCTETS).proved and spoken_of(PCM, OCTETS).proved


@pytest.mark.parametrize(
    ("container", "subtype", "endian"),
    [
        ("FLAC", "PCM_16", "FILE"),
        ("AIFF", "PCM_16", "FILE"),
        ("AU", "PCM_16", "FILE"),
        ("AU", "PCM_16", "LITTLE"),
    ],
)
def test_a_file_that_holds_less_than_it_says_is_truncated(container: str, subtype: str, endian: str) -> None:
    body = file_of(container, subtype, endian=endian)
    assert take_of(body, OCTETS).error is None
    assert error_of(body[: len(body) * 7 // 10], OCTETS)[0] in ("truncated", "not_audio")


def test_ogg_without_its_last_page_is_known_by_how_this_server_ends_others(tmp_path: Path) -> None:
    whole = file_of("OGG", "OPUS")
    cut = whole[: whole.rindex(b"OggS")]
    assert len(cut) > len(whole) / 2

    def handler(asked: Asked) -> Reply:
        body = cut if asked.method == "POST" and asked.json()["input"] == "Half." else whole
        return Reply(body, headers=OCTETS) if asked.method == "POST" else Reply.of({}, "404 Not Found")

    said = [Utterance(id="a", text=TEXT), Utterance(id="b", text="Half.")]
    with serving(handler) as server:
        result = run_takes(Target(server.url, dialect="openai"), said, Voice.by_name("v"), tmp_path)
    assert (result.ok, result.failed) == (1, {"truncated": 1})


# Server-sent events


def delta(data: bytes, **more: object) -> bytes:
    return f"data: {json.dumps({'audio': base64.b64encode(data).decode(), **more})}\n\n".encode()


EVENTS = {"Content-Type": "text/event-stream"}


@pytest.mark.parametrize(
    "shape",
    [
        lambda b64: {"audio": {"data": b64, "format": "pcm", "sample_rate": RATE}},
        lambda b64: {
            "choices": [{"delta": {"audio": {"data": b64}}, "finish_reason": None}],
            "sample_rate": RATE,
        },
        lambda b64: {"type": "audio", "data": b64, "sampleRate": RATE},
        lambda b64: {"type": "response.audio.delta", "delta": b64, "sample_rate_hz": str(RATE)},
        lambda b64: {
            "audio": b64,
            "audio_format": "pcm_s16le",
            "sample_rate": RATE,
            "channels": 1,
            "text": "hello",
        },
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_audio_is_found_in_events_wherever_it_lies(shape: Callable[[str], object], end: str) -> None:
    cuts = [PCM[:30001], PCM[30001:70000], PCM[70000:]]
    events = [
        f"event: x{end}data: {json.dumps(shape(base64.b64encode(each).decode()))}{end}{end}".encode()
        for each in cuts
    ]
    got = spoken_of([b"".join(events)[:50000], b"".join(events)[50000:], f": ping{end}".encode()], EVENTS)
    np.testing.assert_array_equal(got.samples, SAMPLES)
    assert got.pcm is not None and got.pcm.container == "sse"


def test_events_under_another_type_and_other_things_under_theirs() -> None:
    events = [b"\xef\xbb\xbf" + delta(PCM[:60000], sample_rate=RATE), delta(PCM[60000:]), b"data: [DONE]\n\n"]
    for kind in ("text/event-stream", "application/octet-stream", "audio/pcm"):
        got = spoken_of(events, {"Content-Type": kind})
        np.testing.assert_array_equal(got.samples, SAMPLES)
    assert take_of([b": ping\n\n", *events[1:]], OCTETS).error is None
    for name, text in ERRORS.items():
        kind, message = error_of(text, EVENTS)
        assert kind == "stream_error" and WORD[name] in message
    assert error_of(PCM, EVENTS)[0] in ("truncated", "not_audio", "no_samples")


def test_events_may_carry_files_and_other_forms() -> None:
    rate = {"sample_rate": RATE}
    mp3 = file_of("MP3", "MPEG_LAYER_III")
    assert take_of([delta(mp3[:4000], format="mp3"), delta(mp3[4000:])], EVENTS).audio_s == pytest.approx(
        2.5, abs=0.1
    )
    half = FORMS["f32le"](SPEECH)
    got = spoken_of([delta(half[:40002], encoding="float32", **rate), delta(half[40002:], **rate)], EVENTS)
    np.testing.assert_allclose(heard(got), SPEECH, atol=1e-6)
    assert error_of([delta(PCM, sample_rate=24000), delta(PCM, sample_rate=16000)], EVENTS)[0] == "wrong_rate"
    whole = delta(PCM, type="speech.audio.done", **rate)
    again = spoken_of([delta(PCM[:60000]), delta(PCM[60000:]), whole], EVENTS)
    assert again.take.audio_s == pytest.approx(SPEECH.size / RATE), (
        "what comes once more at the end is not said twice"
    )


def test_a_stream_that_breaks_off_is_known_by_how_this_server_ends_others(tmp_path: Path) -> None:
    rate, done = {"sample_rate": RATE}, b'data: {"type":"speech.audio.done"}\n\n'
    good = Reply(
        pieces=[(0.0, delta(PCM[:60000], **rate)), (0.0, delta(PCM[60000:], **rate)), (0.0, done)],
        headers=EVENTS,
    )
    half = Reply(pieces=[(0.0, delta(PCM[:90000], **rate))], headers=EVENTS)

    def handler(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        return half if asked.json()["input"].startswith("Half") else good

    said = [Utterance(id="a", text=TEXT), Utterance(id="b", text="Half of it."), Utterance(id="c", text=TEXT)]
    with serving(handler) as server:
        result = run_takes(Target(server.url, dialect="openai_sse"), said, Voice.by_name("v"), tmp_path)
    assert (result.ok, result.failed) == (2, {"truncated": 1})
    assert take_of([delta(PCM, **rate)], EVENTS).error is None, (
        "of a server that never says so nothing is asked"
    )
    typed = delta(PCM, type="speech.audio.delta", **rate)
    assert error_of([typed], EVENTS)[0] == "truncated", "but OpenAI's events end with one of their own"
    assert take_of([typed, done], EVENTS).error is None


# Length


def test_a_take_too_short_for_its_words_is_a_failure() -> None:
    kind, message = error_of(PCM[: 2 * round(0.6 * RATE)], OCTETS)
    assert kind == "too_short" and "syllables" in message
    assert take_of(PCM[: 2 * round(0.9 * RATE)], OCTETS).error is None


# Nothing raises


@given(
    names=st.dictionaries(
        st.sampled_from([
            "content-type", "x-sample-rate", "x-channels", "x-bits-per-sample", "x-sample-format", "x-byte-order",
            "x-sample-width", "content-encoding", "content-length", "transfer-encoding", "x-reference-cached",
        ]),
        st.one_of(
            st.text(max_size=30),
            st.sampled_from([
                "text/event-stream", "audio/pcm;rate=24000", "audio/wav", "audio/basic", "24000", "2", "f32le", "16",
                "mulaw_8000", "application/octet-stream", "audio/x-raw, format=(string)F64BE, rate=(int)8000",
            ]),
        ),
        max_size=5,
    ),
    body=st.one_of(
        st.binary(max_size=400),
        st.sampled_from([
            wav(PCM[:400]), delta(PCM[:400]), PCM[:401], file_of("MP3", "MPEG_LAYER_III")[:3000],
            file_of("FLAC", "PCM_16")[:600], file_of("AIFF", "PCM_16")[:700], file_of("OGG", "OPUS")[:900],
            file_of("RF64", "PCM_16")[:500],
        ]),
    ),
    damage=st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=4), st.integers(0, 6)), max_size=3),
    cut=st.integers(0, 500),
)  # fmt: skip
def test_nothing_that_a_server_sends_raises(
    names: dict[str, str], body: bytes, damage: list[tuple[int, bytes, int]], cut: int
) -> None:
    for place, put, dropped in damage:
        body = body[:place] + put + body[place + dropped :]
    session = asyncio.run(
        open_session(Target("http://h"), find_dialect("openai"), None, Voice.by_name("v"), 1)
    )
    exchange = Exchange(
        sent_ns=0, status=200, headers=names, body=[(1000, body[:cut]), (2000, body[cut:])], end_ns=3000
    )
    take = judge(session, Utterance(id="a", text="a"), Fetched(exchange)).take
    assert (take.error is None) == (take.audio_s is not None)
    assert take.error is None or "could not be read here" not in take.error.message, take.error


def test_a_bug_of_ours_costs_one_take_and_not_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is known that a server could send for it, so the reading itself is broken here.
    def broken(headers: object, arrivals: list[tuple[int, bytes]], *more: object) -> object:
        if sum(len(piece) for _, piece in arrivals) % 3 == 0:  # a body may come in any pieces
            raise ZeroDivisionError("as asked")
        return decode(headers, arrivals, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.client.session.decode", broken)

    def handler(asked: Asked) -> Reply:
        body = PCM if asked.method == "POST" and asked.json()["input"] == "No." else PCM[:-2]
        return Reply(body, headers=OCTETS) if asked.method == "POST" else Reply.of({}, "404 Not Found")

    said = [Utterance(id="a", text="No."), Utterance(id="b", text="Yes.")]
    assert (len(PCM) % 3, len(PCM[:-2]) % 3) == (0, 1)
    with serving(handler) as server:
        result = run_takes(Target(server.url, dialect="openai"), said, Voice.by_name("v"), tmp_path)
    assert (result.ok, result.failed) == (1, {"not_audio": 1})
    first = [Take.model_validate_json(line) for line in (tmp_path / "takes.jsonl").read_text().splitlines()][
        1
    ]
    assert first.error is not None and "ZeroDivisionError: as asked" in first.error.message
