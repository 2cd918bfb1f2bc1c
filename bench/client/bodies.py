"""From stamped bytes to stamped samples: what the body is, and when each sample of it was there.

The form is told by the body's first bytes and by all that the server says of it, not by what was asked for: servers
answer `pcm` with WAV or MP3, and `stream: true` with server-sent events (vllm-omni's `is_sse_stream`). A body
without a header is samples only where it is nothing else: no file that is known, and no text. Decoding happens after
the exchange, so it costs the timing nothing.
"""

import io
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import soundfile

from bench.catalog.entry import RawContainer
from bench.client.chained import split_files
from bench.client.ends import is_cut, says_end
from bench.client.faults import TakeFault
from bench.client.magic import HEAD_BYTES, WAV, begins_as_mpeg, recognise
from bench.client.samples import Samples
from bench.client.sse import unpack
from bench.client.stated import CODED_TYPES, Stated, content_type, read_stated
from bench.client.texts import find_text
from bench.client.timing import Arrival
from bench.client.wav import WavStream

RAW_TYPES = frozenset(
    {"audio/pcm", "audio/raw", "audio/x-raw", "audio/basic-pcm", "application/octet-stream", *CODED_TYPES}
)
_ANY_AUDIO = frozenset({"", "audio/*"})
_WAV_TYPES = frozenset({"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"})
_EVENTS = "text/event-stream"
_BEGINS_AS_EVENTS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:data|event|id|retry): ?[ -~]|:(?: ?[a-z]{2}|\s*$))"
)
FFMPEG_LIMIT_S = 60.0
_BLOCK_FRAMES = 65536


@dataclass(slots=True)
class Pcm:
    """A decoded body. `events` are (perf_counter_ns, samples) in order of arrival."""

    container: str
    """`raw`, `wav`, `sse`, or the name of a file's kind (`bench.client.magic`)."""
    rate_hz: int | None = None
    events: list[tuple[int, Samples]] = field(default_factory=list)
    whole_file: bool = False
    """True for a compressed file, of which nothing is decoded before its last byte."""
    end_said: bool | None = None
    """Whether the body itself said that it was over; None where it has no way to (`bench.client.ends`)."""

    must_end: bool = False
    """Whether a body of this form has to say so."""

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
        container: what the catalog entry says of a body that has no header, whatever its content type; a file that is
            known by its first bytes or server-sent events are read as what they are all the same.

    Raises:
        TakeFault: `zero_bytes`, `no_samples`, `not_audio`, `truncated`, `unknown_rate`, `wrong_rate`, `wrong_form`,
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
    kind = content_type(headers)
    begins_as_events = _BEGINS_AS_EVENTS.match(_head(arrivals, 64)) is not None
    if kind == _EVENTS and not begins_as_events:
        text = find_text(b"".join(data for _, data in arrivals))
        if text is not None:
            raise _text_fault(text)
    if kind == _EVENTS or (begins_as_events and kind in RAW_TYPES | _ANY_AUDIO):
        payload = unpack(arrivals)
        stated = read_stated(headers, payload.fields, entry_rate_hz=stated_rate_hz, container=container)
        pcm = _decode_body(payload.arrivals, "", stated, container) if payload.arrivals else Pcm("sse")
        pcm.container, pcm.end_said, pcm.must_end = "sse", payload.over, payload.must_end
    else:
        stated = read_stated(headers, entry_rate_hz=stated_rate_hz, container=container)
        pcm = _decode_body(arrivals, kind, stated, container)
    if not pcm.events:
        raise TakeFault("no_samples", f"a {pcm.container} body without one sample")
    if pcm.rate_hz is not None:
        stated.add("rate_hz", "the body itself", pcm.rate_hz)
    pcm.rate_hz = stated.rate_hz()
    return pcm


def _head(arrivals: Sequence[Arrival], size: int) -> bytes:
    head = b""
    for _, data in arrivals:
        head += data[:size]
        if len(head) >= size:
            break
    return head[:size]


def _decode_body(
    arrivals: Sequence[Arrival], kind: str, stated: Stated, container: RawContainer | None
) -> Pcm:
    """Turn a body into samples: a file if it begins as one, else text, else samples without a header."""
    head = _head(arrivals, HEAD_BYTES)
    raw = container is not None or kind in RAW_TYPES or kind in _ANY_AUDIO
    known = recognise(head)
    if known is WAV:
        return _decode_wav(arrivals, stated)
    if known is not None and known.way == "refuse":
        raise TakeFault("not_audio", f"the body is no sound but a file of kind {known.name}")
    if known is not None:
        return _decode_whole_file(arrivals, known.name)
    if begins_as_mpeg(head) and not raw:
        return _decode_whole_file(arrivals, "mp3" if "mp" in kind else "other")
    text = find_text(b"".join(data for _, data in arrivals))
    if text is not None and (raw or kind.startswith("audio/")):
        raise _text_fault(text)
    if raw:
        return _decode_raw(arrivals, stated)
    if kind in _WAV_TYPES:
        raise TakeFault("not_audio", f"the content type is {kind} and the body does not start with RIFF")
    raise TakeFault(
        "not_audio",
        f"the body is {kind}: {{said}} (if that is headerless 16-bit PCM, "
        "state container: raw or raw_big_endian in the catalog entry)",
        said=text or head,
    )


def _decode_raw(arrivals: Sequence[Arrival], stated: Stated) -> Pcm:
    form = stated.form()
    frame, held, pcm = form.frame_bytes, b"", Pcm("raw")
    for at, data in arrivals:
        held += data
        whole = len(held) - len(held) % frame
        if whole:
            pcm.events.append((at, form.read(held[:whole])))
            held = held[whole:]
    if held:
        raise TakeFault("truncated", "the body ends inside a sample")
    return pcm


def _decode_wav(arrivals: Sequence[Arrival], stated: Stated) -> Pcm:
    stream, pcm = WavStream(), Pcm("wav")
    for at, data in arrivals:
        pcm.events.extend((at, piece) for piece in stream.feed(data))
    if stream.end_said is None:  # all to the end is taken for samples, so nothing else has looked at it
        _, _, data = b"".join(data for _, data in arrivals).partition(b"data")
        if (text := find_text(data)) is not None:
            raise _text_fault(text)
    stream.finish()
    pcm.rate_hz, pcm.end_said = stream.rate_hz, stream.end_said
    if stream.form is not None:
        stated.check_header(stream.form, "the WAV header")
    return pcm


def _text_fault(text: bytes) -> TakeFault:
    return TakeFault("stream_error", "text came where audio should be: {said}", said=text)


def _decode_whole_file(arrivals: Sequence[Arrival], name: str) -> Pcm:
    body = b"".join(data for _, data in arrivals)
    pieces, rates = [], set()
    for file in split_files(name, body):
        piece, rate = decode_file(file, name)
        if is_cut(name, file, piece.size):
            raise TakeFault("truncated", f"the {name} file holds less than it says itself")
        pieces.append(piece)
        rates.add(rate)
    if len(rates) > 1:
        raise TakeFault(
            "wrong_rate", f"{name} files of {' and '.join(map(str, sorted(rates)))} Hz in one answer"
        )
    samples: Samples = np.concatenate(pieces)
    pcm = Pcm(name, rates.pop(), whole_file=True, end_said=says_end(name, body))
    if samples.size:
        pcm.events.append((arrivals[-1][0], samples))
    return pcm


def decode_file(body: bytes, name: str) -> tuple[Samples, int]:
    """Decode a whole compressed file to mono: with libsndfile, or with ffmpeg what that cannot (AAC).

    Raises:
        TakeFault: `not_audio`.
    """
    try:
        return _decode_by_libsndfile(body)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        if shutil.which("ffmpeg") is None:
            raise TakeFault(
                "not_audio", f"libsndfile cannot read the {name} file ({error}); install ffmpeg"
            ) from error
    command = [
        "ffmpeg", "-v", "error", "-i", "pipe:0", "-ac", "1", "-f", "wav", "-c:a", "pcm_f32le", "pipe:1",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, input=body, capture_output=True, check=False, timeout=FFMPEG_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise TakeFault(
            "not_audio", f"ffmpeg did not decode the {name} file in {FFMPEG_LIMIT_S:g} s"
        ) from error
    if done.returncode != 0:
        raise TakeFault("not_audio", f"ffmpeg cannot read the {name} file: {{said}}", said=done.stderr)
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
        samples = np.concatenate(pieces)
        return samples, int(file.samplerate)
