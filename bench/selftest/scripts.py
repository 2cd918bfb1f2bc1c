"""What the instrument plays: the bytes of each answer and when each of them leaves."""

import base64
import json
from dataclasses import dataclass
from typing import Literal

from bench.selftest import sounds
from bench.selftest.sounds import RATE_HZ, encode, header, odd_chunk, pcm, tone

Framing = Literal["chunked", "length", "close"]
Ending = Literal["complete", "reset", "close", "hang"]
PIECE_MS = 50.0
"""Audio in each piece of the streaming scripts."""
TOKEN = "selftest-token"  # noqa: S105 - the instrument's own, for the bearer case


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes that leave `at_ms` after the request had arrived. `audio` is how much of them is sound."""

    at_ms: float
    data: bytes
    audio_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """One answer. `ending` other than `complete` leaves the HTTP message unfinished."""

    name: str
    steps: tuple[Step, ...]
    content_type: str | None = f"audio/pcm;rate={RATE_HZ};channels=1"
    headers: tuple[tuple[str, str], ...] = ()
    status: str = "200 OK"
    framing: Framing = "chunked"
    ending: Ending = "complete"
    declared_length: int | None = None
    """Content-Length when it shall not be true."""
    once: "Script | None" = None
    """Answered to the first request of a take; later ones get this script itself."""
    needs_token: bool = False
    raw: bytes | None = None
    """Sent instead of any HTTP."""


def _stream(
    name: str,
    at_ms: list[float],
    *,
    lead: bytes = b"",
    lead_at_ms: float | None = None,
    silent_ms: float = 0.0,
    **more: object,
) -> Script:
    """Return pieces of `PIECE_MS`, one at each of `at_ms`, with `lead` before the first or at
    `lead_at_ms`."""
    sound = sounds.silence(silent_ms) + tone(PIECE_MS * len(at_ms) - silent_ms)
    size = round(PIECE_MS * RATE_HZ / 1000)
    steps = [Step(lead_at_ms, lead)] if lead and lead_at_ms is not None else []
    for index, at in enumerate(at_ms):
        data = pcm(sound[index * size : (index + 1) * size])
        if index == 0 and lead and lead_at_ms is None:
            data = lead + data
        steps.append(Step(at, data, PIECE_MS))
    return Script(name, tuple(steps), **more)  # type: ignore[arg-type]


def _whole(name: str, body: bytes, audio_ms: float, content_type: str | None, **more: object) -> Script:
    script_more = {"framing": "length", **more}
    steps = (Step(150.0, body, audio_ms),)
    return Script(name, steps, content_type=content_type, **script_more)  # type: ignore[arg-type]


def _delta(values: list[int]) -> bytes:
    event = {"type": "speech.audio.delta", "audio": base64.b64encode(pcm(values)).decode()}
    return f"data: {json.dumps(event)}\n\n".encode()


DONE = b'data: {"type": "speech.audio.done"}\n\n'
STEADY = [100.0, 130.0, 160.0, 190.0, 220.0]
STALLING = [60.0, 90.0, 120.0, 360.0, 390.0]
TWICE = [40.0, 140.0, 170.0, 330.0]


def _sse() -> tuple[Script, ...]:
    sound = tone(150)
    third = [sound[index * 1200 : (index + 1) * 1200] for index in range(3)]
    deltas = [_delta(values) for values in third]
    plain = [Step(at, data, PIECE_MS) for at, data in zip(STEADY, deltas, strict=False)]
    cut = [Step(60.0, deltas[0][:700])]
    cut += [Step(120.0, deltas[0][700:] + deltas[1][:900], PIECE_MS), Step(160.0, deltas[1][900:], PIECE_MS)]
    cut += [Step(200.0, deltas[2], PIECE_MS)]
    info = (
        b'data: {"type": "speech.audio.info", "sample_rate": 24000, "channels": 1, "bits_per_sample": 16}\n\n'
    )
    kind = "text/event-stream"
    rate = (("X-Sample-Rate", str(RATE_HZ)),)
    error = b'data: {"type": "error", "error": {"message": "model fell over"}}\n\n'
    return (
        Script("sse", (*plain, Step(225.0, DONE)), kind, rate),
        Script("sse_cut_across_packets", (*cut, Step(225.0, DONE)), kind, rate),
        Script("sse_info_first", (Step(10.0, info), *plain, Step(225.0, DONE)), kind),
        Script("sse_truncated", (plain[0], Step(130.0, deltas[1][:-20])), kind, rate),
        Script("sse_error", (plain[0], Step(130.0, error)), kind, rate),
    )


def _faults() -> tuple[Script, ...]:
    good = tone(200)
    busy = Script("busy", (Step(20.0, b"busy"),), "text/plain", (("Retry-After", "1"),), "503 Busy", "length")
    long_busy = (("Retry-After", "30"),)
    broken = b'{"error": {"message": "CUDA out of memory"}}'
    page = b"<html><body>It works!</body></html>"
    true_pcm = pcm(good)
    return (
        Script("zero_bytes", ()),
        _whole("no_samples", header(0), 0, "audio/wav"),
        _whole("nan", sounds.float_wav_with_nan(200), 200, "audio/wav"),
        _whole("silence", pcm(sounds.silence(200)), 200, f"audio/pcm;rate={RATE_HZ}"),
        _whole("clipping", pcm(sounds.clip_tone(200)), 200, f"audio/pcm;rate={RATE_HZ}"),
        _whole("wrong_rate", true_pcm, 200, "audio/pcm;rate=22050"),
        _whole(
            "rates_disagree", true_pcm, 200, "audio/pcm;rate=24000", headers=(("X-Sample-Rate", "16000"),)
        ),
        _whole("unknown_rate", true_pcm, 200, None),
        _whole(
            "truncated_length", true_pcm, 200, "audio/pcm;rate=24000", declared_length=90000, ending="close"
        ),
        _whole(
            "too_large", true_pcm, 200, "audio/pcm;rate=24000", declared_length=300 * 2**20, ending="close"
        ),
        _whole("truncated_riff", header(90000) + true_pcm, 200, "audio/wav", framing="close"),
        _whole("half_a_sample", true_pcm + b"\1", 200, "audio/pcm;rate=24000"),
        _stream("aborted", STEADY[:3], ending="close"),
        _stream("reset", STEADY[:3], ending="reset"),
        Script("no_answer", (), raw=b"", ending="close"),
        _stream("hang", STEADY[:2], ending="hang"),
        Script("http_500", (Step(10.0, broken),), "application/json", (), "500 Oops", "length"),
        Script(
            "http_404",
            (Step(10.0, b'{"detail": "no such voice"}'),),
            "application/json",
            (),
            "404 No",
            "length",
        ),
        Script("busy_too_long", (Step(10.0, b"busy"),), "text/plain", long_busy, "503 Busy", "length"),
        _stream("busy_then_well", STEADY, once=busy),
        _whole("not_audio", page, 0, "text/html"),
        _whole("error_as_pcm", broken, 0, f"audio/pcm;rate={RATE_HZ}"),
        Script("error_after_audio", (Step(60.0, true_pcm, 200), Step(110.0, broken))),
        _whole(
            "channels_disagree",
            true_pcm,
            200,
            "audio/pcm;rate=24000;channels=1",
            headers=(("X-Channels", "2"),),
        ),
        _whole("float_as_pcm", sounds.float_pcm(200), 200, f"audio/pcm;rate={RATE_HZ}"),
        Script("not_http", (), raw=b"220 mail.example ESMTP\r\n", ending="close"),
    )


def all_scripts() -> dict[str, Script]:
    """Return every script by name; made when asked, because the codecs take a moment."""
    sound = tone(200)
    body = pcm(sound)
    x_rate = (("X-Sample-Rate", str(RATE_HZ)),)
    wav = "audio/wav"
    scripts = (
        _stream("pcm", STEADY),
        _stream("pcm_x_sample_rate", STEADY, content_type="application/octet-stream", headers=x_rate),
        _stream("pcm_no_type", STEADY, content_type=None, framing="close"),
        _stream("pcm_leading_silence", STEADY, silent_ms=120.0),
        _stream("pcm_stall", STALLING),
        _stream("pcm_two_stalls", TWICE),
        _stream("pcm_bearer", STEADY, needs_token=True),
        Script("pcm_cut_in_samples", _odd_pieces(body)),
        _stream("wav_header_first", STEADY, lead=header(None), lead_at_ms=0.0, content_type=wav),
        _stream("wav_header_with_audio", STEADY, lead=header(None), content_type=wav),
        _stream("wav_size_0", STEADY, lead=header(0, riff_size=0), content_type=wav),
        _stream("wav_true_size", STEADY, lead=header(12000), content_type=wav),
        _stream("wav_odd_chunks", STEADY, lead=header(12000, before=odd_chunk()), content_type=wav),
        _whole("wav_whole", header(len(body)) + body + odd_chunk(), 200, wav),
        _whole("pcm_whole", body, 200, f"audio/pcm;rate={RATE_HZ}"),
        _whole("flac", encode(sound, "flac"), 200, "audio/flac"),
        _whole("mp3", encode(sound, "mp3"), 200, "audio/mpeg"),
        _whole("opus", encode(sound, "opus"), 200, "audio/ogg"),
        # For benchmarks: the stream on which client idioms disagree, and one that costs the server nothing.
        _stream("idioms", [500.0 + 50 * index for index in range(9)], lead=header(None), lead_at_ms=0.0,
                content_type=wav),
        _whole("instant", body, 200, f"audio/pcm;rate={RATE_HZ}", headers=(("X-Instant", "1"),)),
        _whole("one_voice", pcm(tone(2000)), 2000, f"audio/pcm;rate={RATE_HZ}"),
        *_sse(),
        *_faults(),
    )  # fmt: skip
    return {script.name: script for script in scripts}


def _odd_pieces(body: bytes) -> tuple[Step, ...]:
    """Cut the body at odd offsets: a sample whose second half is missing has not arrived."""
    cuts = (0, 1, 2401, 4801, len(body))
    at = (60.0, 100.0, 140.0, 180.0)
    return tuple(
        Step(when, body[start:end], (end // 2 - start // 2) / RATE_HZ * 1000)
        for when, start, end in zip(at, cuts[:-1], cuts[1:], strict=True)
    )
