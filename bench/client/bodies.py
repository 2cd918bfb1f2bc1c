"""From stamped bytes to stamped samples: what the body is, and when each sample of it was there.

The form is told by the body's first bytes and its content type, not by what was asked for: servers answer
`pcm` with WAV, and `stream: true` with server-sent events (vllm-omni's `is_sse_stream`). Decoding happens
after the exchange, so it costs the timing nothing.
"""

import base64
import io
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import soundfile

from bench.client.faults import TakeFault
from bench.client.timing import Arrival
from bench.client.wav import Samples, WavStream, to_mono

RAW_TYPES = frozenset(
    {"audio/pcm", "audio/raw", "audio/x-raw", "audio/basic-pcm", "application/octet-stream"}
)
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4000, 384000
"""Beyond these a length in seconds, and with it every RTF, would be nonsense."""
FFMPEG_LIMIT_S = 60.0
_BLOCK_FRAMES = 65536
_EXCERPT = 200
RawContainer = Literal["raw", "raw_big_endian"]
"""Headerless 16-bit PCM. `audio/l16` is big-endian by RFC 2586 and little-endian from some servers: the entry says."""
_ERROR_EVENT = re.compile(rb"^event:[^\n]*error\s*$", re.MULTILINE)
_NUMBER = re.compile(r"\s*[0-9]{1,12}\s*")
_RATE_HEADER = re.compile(r"sample-?_?rate$")


@dataclass(slots=True)
class Pcm:
    """A decoded body. `events` are (perf_counter_ns, samples) in order of arrival."""

    container: str
    """`raw`, `wav`, `sse`, `mp3`, `ogg`, `flac` or `other`."""
    rate_hz: int | None = None
    events: list[tuple[int, Samples]] = field(default_factory=list)
    whole_file: bool = False
    """True for a compressed file, of which nothing is decoded before its last byte."""

    def samples(self) -> Samples:
        """Return all samples; int16 when every piece was."""
        if not self.events:
            return np.zeros(0, np.int16)
        return np.concatenate([piece for _, piece in self.events])


def decode(
    headers: Mapping[str, str],
    arrivals: Sequence[Arrival],
    stated_rate_hz: int | None,
    container: RawContainer | None = None,
) -> Pcm:
    """Turn the body's arrivals into samples.

    Args:
        headers: of the answer, names in lower case.
        arrivals: the body, in order.
        stated_rate_hz: the rate the catalog entry states, or None.
        container: what the catalog entry says of a body that has no header, whatever its content type; a RIFF
            header or server-sent events are read as what they are all the same.

    Raises:
        TakeFault: `zero_bytes`, `no_samples`, `not_audio`, `truncated`, `unknown_rate`, `wrong_rate`,
            `stream_error`.
    """
    if not any(data for _, data in arrivals):
        raise TakeFault("zero_bytes", "the server said success and sent no bytes")
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", ""}:
        raise TakeFault(
            "not_audio",
            f"the body is compressed ({coding}) though `Accept-Encoding: identity` was asked for: a proxy's doing?",
        )
    head = b"".join(data for _, data in arrivals[:16])[:16]
    kind = content_type(headers)
    if kind == "text/event-stream":
        pcm = _decode_sse(arrivals, headers)
    elif head.startswith(b"RIFF"):
        pcm = _decode_wav(arrivals)
    elif container is not None:
        pcm = _decode_raw(arrivals, headers, big_endian=container == "raw_big_endian")
    elif _is_compressed(head, kind):
        pcm = _decode_whole_file(arrivals, kind)
    elif kind in RAW_TYPES or kind in {"", "audio/*"}:
        pcm = _decode_raw(arrivals, headers)
    elif kind in {"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"}:
        raise TakeFault("not_audio", f"the content type is {kind} and the body does not start with RIFF")
    else:
        raise TakeFault(
            "not_audio",
            f"the body is {kind}: {excerpt(b''.join(d for _, d in arrivals[:4]))} (if that is headerless 16-bit PCM, "
            "state container: raw or raw_big_endian in the catalog entry)",
        )
    if not pcm.events:
        raise TakeFault("no_samples", f"a {pcm.container} body without one sample")
    pcm.rate_hz = _agree(pcm.rate_hz, headers, stated_rate_hz)
    return pcm


def content_type(headers: Mapping[str, str]) -> str:
    """Return the content type without its parameters, in lower case; empty when there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def excerpt(body: bytes) -> str:
    """Return the beginning of a body that should have been audio, for people."""
    text = body[: 4 * _EXCERPT].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        text = re.sub(r"<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", text).strip()[:_EXCERPT]


def parse_json(text: bytes) -> Any:
    """Return what a server sent as JSON.

    Raises:
        ValueError: it is none, or nested deeper than anything a speech server says.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def error_text(body: bytes) -> str:
    """Return the message of an error body: `{"error": {"message"}}`, `{"detail"}`, or its beginning."""
    try:
        value = parse_json(body)
    except ValueError:
        return excerpt(body)
    for key in ("error", "detail", "message"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return value if isinstance(value, str) else json.dumps(value)[:300]


def _parameters(headers: Mapping[str, str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in headers.get("content-type", "").split(";")[1:])
    return {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}


def stated_rates(headers: Mapping[str, str]) -> dict[str, int]:
    """Return every sample rate the headers state, by where it is stated."""
    found = {name: value for name, value in headers.items() if _RATE_HEADER.search(name)}
    if "rate" in (parameters := _parameters(headers)):
        found["content-type"] = parameters["rate"]
    return {name: int(value) for name, value in found.items() if _NUMBER.fullmatch(value) and int(value) > 0}


def _agree(body_hz: int | None, headers: Mapping[str, str], entry_hz: int | None) -> int:
    stated = stated_rates(headers)
    if body_hz is not None:
        stated["the body itself"] = body_hz
    if entry_hz is not None:
        stated["the catalog entry"] = entry_hz
    if not stated:
        raise TakeFault(
            "unknown_rate",
            "raw PCM and no sample rate in any header; state sample_rate_hz in the catalog entry",
        )
    if len(set(stated.values())) > 1:
        said = ", ".join(f"{where} says {rate} Hz" for where, rate in stated.items())
        raise TakeFault("wrong_rate", said)
    rate_hz = next(iter(stated.values()))
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise TakeFault("wrong_rate", f"{next(iter(stated))} says {rate_hz} Hz, which is no rate of speech")
    return rate_hz


def _decode_raw(arrivals: Sequence[Arrival], headers: Mapping[str, str], big_endian: bool = False) -> Pcm:
    channels = _parameters(headers).get("channels", "1")
    count = int(channels) if channels in set("12345678") else 1
    frame, held, pcm = 2 * count, b"", Pcm("raw")
    for at, data in arrivals:
        held += data
        whole = len(held) - len(held) % frame
        if whole:
            frames = np.frombuffer(held[:whole], "<i2").byteswap().tobytes() if big_endian else held[:whole]
            pcm.events.append((at, to_mono(frames, 1, 16, count)))
            held = held[whole:]
    if held:
        raise TakeFault("truncated", "the body ends inside a sample")
    return pcm


def _decode_wav(arrivals: Sequence[Arrival]) -> Pcm:
    stream, pcm = WavStream(), Pcm("wav")
    for at, data in arrivals:
        pcm.events.extend((at, piece) for piece in stream.feed(data))
    stream.finish()
    pcm.rate_hz = stream.rate_hz
    return pcm


def _is_compressed(head: bytes, kind: str) -> bool:
    if head.startswith((b"fLaC", b"OggS", b"ID3")) or head[4:8] == b"ftyp":
        return True
    # An MPEG sync word is only two bytes: it may begin raw PCM by chance, so the content type must agree.
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return mpeg and kind not in RAW_TYPES and kind != ""


def _decode_whole_file(arrivals: Sequence[Arrival], kind: str) -> Pcm:
    body = b"".join(data for _, data in arrivals)
    name = {b"fLaC": "flac", b"OggS": "ogg"}.get(body[:4], "mp3" if "mp" in kind else "other")
    samples, rate = decode_file(body)
    pcm = Pcm(name, rate, whole_file=True)
    if samples.size:
        pcm.events.append((arrivals[-1][0], samples))
    return pcm


def decode_file(body: bytes) -> tuple[Samples, int]:
    """Decode a whole compressed file to mono: with libsndfile, or with ffmpeg what that cannot (AAC).

    Raises:
        TakeFault: `not_audio`.
    """
    try:
        return _decode_by_libsndfile(body)
    except soundfile.LibsndfileError as error:
        if shutil.which("ffmpeg") is None:
            raise TakeFault(
                "not_audio", f"libsndfile cannot read the file ({error}); install ffmpeg"
            ) from error
    command = [
        "ffmpeg", "-v", "error", "-i", "pipe:0", "-ac", "1", "-f", "wav", "-c:a", "pcm_f32le", "pipe:1",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, input=body, capture_output=True, check=False, timeout=FFMPEG_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise TakeFault("not_audio", f"ffmpeg did not decode the file in {FFMPEG_LIMIT_S:g} s") from error
    if done.returncode != 0:
        raise TakeFault("not_audio", f"ffmpeg cannot read the file: {excerpt(done.stderr)}")
    stream = WavStream()
    pieces = stream.feed(done.stdout)
    if not pieces or stream.rate_hz is None:
        raise TakeFault("no_samples", "a compressed file without one sample")
    joined: Samples = np.concatenate(pieces)
    return joined, stream.rate_hz


def _decode_by_libsndfile(body: bytes) -> tuple[Samples, int]:
    # Block by block until there is no more: a damaged MP3 may claim to hold terabytes.
    with soundfile.SoundFile(io.BytesIO(body)) as file:
        pieces = [np.zeros(0, np.float32)]
        while (block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)).size:
            pieces.append(block.mean(axis=1, dtype=np.float32))
        return np.concatenate(pieces), int(file.samplerate)


def _decode_sse(arrivals: Sequence[Arrival], headers: Mapping[str, str]) -> Pcm:
    """Base64 deltas (`speech.audio.delta`). A delta counts as there when the blank line that ends it is."""
    pcm, wav, held, carry = Pcm("sse"), None, b"", b""
    for at, data in arrivals:
        held = (held + data).replace(b"\r\n", b"\n")
        *events, held = held.split(b"\n\n")
        for event in events:
            audio, rate = _sse_event(event)
            pcm.rate_hz = rate or pcm.rate_hz
            if audio.startswith(b"RIFF"):
                wav = WavStream()
            if wav is not None:
                pcm.events.extend((at, piece) for piece in wav.feed(audio))
                pcm.rate_hz = wav.rate_hz or pcm.rate_hz
                continue
            carry += audio
            whole = len(carry) - len(carry) % 2
            if whole:
                pcm.events.append((at, to_mono(carry[:whole], 1, 16, 1)))
                carry = carry[whole:]
    if held.strip() and not _ends_well(held):
        raise TakeFault("truncated", "the body ends inside a server-sent event")
    if carry:
        raise TakeFault("truncated", "the last delta ends inside a sample")
    if wav is not None:
        wav.finish()
    return pcm


def _ends_well(event: bytes) -> bool:
    """Return whether the last event is an end without audio, for want of its blank line alone."""
    try:
        audio, _ = _sse_event(event.strip())
    except TakeFault as fault:
        if fault.kind == "stream_error":
            raise
        return False
    return b"data:" in event and not audio


def _sse_event(event: bytes) -> tuple[bytes, int | None]:
    """Return the audio bytes and the sample rate of one server-sent event."""
    text = b"\n".join(line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:"))
    if not text or text.strip() == b"[DONE]":
        return b"", None
    try:
        value = parse_json(text)
    except ValueError as error:
        if _ERROR_EVENT.search(event):
            raise TakeFault("stream_error", excerpt(text)) from error
        raise TakeFault("not_audio", f"a server-sent event is not JSON: {excerpt(text)}") from error
    if not isinstance(value, dict):
        return b"", None
    kind = str(value.get("type", ""))
    # Of an event whose name or type says so, or that carries one; many servers write `"error": null` into each.
    if value.get("error") or kind.endswith("error") or _ERROR_EVENT.search(event):
        raise TakeFault("stream_error", error_text(text))
    rate = value.get("sample_rate")
    audio = value.get("audio", value.get("delta", ""))
    if not isinstance(audio, str):
        audio = ""
    try:
        decoded = base64.b64decode(audio, validate=True)
    except ValueError as error:  # binascii.Error, or a letter beyond ASCII
        raise TakeFault("not_audio", f"a delta is not base64: {audio[:40]}") from error
    return decoded, rate if isinstance(rate, int) and rate > 0 else None
