"""Server-sent events taken apart: the audio in them, when it was there, and whether the stream says that it is over.

The format is the HTML standard's ("Parsing an event stream"): lines end with CR LF, LF or CR, a line that begins with a
colon is a comment, an event ends with a blank line. An event counts as there when its blank line is. What servers put
in: `speech.audio.delta` with `audio` or `delta` (OpenAI, travisvn), `audio: {data, format, sample_rate}`,
`choices[0].delta.audio.data` (OpenAI's chat), and the like; always base64.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.client.faults import TakeFault
from bench.client.replies import parse_json
from bench.client.timing import Arrival

_LINE_END = re.compile(rb"\r\n|\n|\r")
_AUDIO_KEYS = (
    "audio", "delta", "data", "chunk", "audio_data", "audio_chunk", "audio_base64", "audioContent", "choices",
)  # fmt: skip
_OVER = re.compile(r"(done|complete|completed|end|ended|finish|finished|final)$")
_FLAGS = ("done", "final", "is_final", "isFinal", "is_last", "last", "finished", "finish_reason")
_OF_AUDIO = re.compile(r"^$|audio|speech|chunk|delta")
_OF_WORDS = re.compile(r"transcript|text")
_DEPTH = 4


@dataclass(slots=True)
class Payload:
    """What the events carried."""

    arrivals: list[Arrival] = field(default_factory=list)
    """The audio's bytes, each piece with the time at which its event was whole."""
    fields: list[tuple[str, object]] = field(default_factory=list)
    """What stands beside the audio: rates, formats, and whatever else there is."""
    over: bool = False
    """Whether the last word was that the stream is over."""
    must_end: bool = False
    """Whether its events are of a kind that ends with such a word: OpenAI's `speech.audio.delta`, then `.done`."""


def unpack(arrivals: Sequence[Arrival]) -> Payload:
    """Return the audio in a body of server-sent events.

    Raises:
        TakeFault: `stream_error`, `not_audio`, or `truncated`: the body ends inside an event.
    """
    found = Payload()
    held: list[bytes] = []
    lines: list[bytes] = []
    cr = False
    for index, (at, data) in enumerate(arrivals):
        if index == 0:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if cr and data.startswith(b"\n"):
            data = data[1:]
        cr = data.endswith(b"\r") if data else cr
        first, *more = _LINE_END.split(data)
        held.append(
            first
        )  # joined once, when its line is whole: an event may be megabytes in a thousand pieces
        if not more:
            continue
        whole, held = [b"".join(held), *more[:-1]], [more[-1]]
        for line in whole:
            if line:
                lines.append(line)
            elif lines:
                _take(found, at, lines)
                lines = []
    lines = [line for line in [*lines, b"".join(held)] if line and not line.startswith(b":")]
    if lines and not _is_an_end(lines):
        raise TakeFault("truncated", "the body ends inside a server-sent event")
    found.over |= bool(lines)
    return found


def _is_an_end(lines: Sequence[bytes]) -> bool:
    """Return whether the last event is an end without audio, for want of its blank line alone."""
    last = Payload()
    try:
        _take(last, 0, lines)
    except TakeFault as fault:
        if fault.kind == "stream_error":
            raise
        return False
    return any(line.startswith(b"data:") for line in lines) and not last.arrivals


def _take(found: Payload, at: int, lines: Sequence[bytes]) -> None:
    """Add what one event carries."""
    text = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    name = b"".join(line[6:].strip() for line in lines if line.startswith(b"event:")).decode("latin-1")
    if not text.strip():
        return
    if text.strip() == b"[DONE]":
        found.over = True
        return
    try:
        value = parse_json(text)
    except ValueError as error:
        if name.endswith("error"):
            raise TakeFault("stream_error", "{said}", said=text) from error
        raise TakeFault("not_audio", "a server-sent event is not JSON: {said}", said=text) from error
    if not isinstance(value, dict):
        return
    kind = str(value.get("type", ""))
    # Of an event whose name or type says so, or that carries one; many servers write `"error": null` into each.
    if value.get("error") or kind.endswith("error") or name.endswith("error"):
        raise TakeFault("stream_error", "{said}", said=text)
    found.must_end |= kind.startswith("speech.audio.")
    ends = bool(_OVER.search(kind) or _OVER.search(name))
    audio = b""
    if "audio" in value or (_OF_AUDIO.search(kind) and not _OF_WORDS.search(kind)):
        audio = b"".join(_audio(found, value, _DEPTH))
    else:
        found.fields += _beside(value)
    if audio and ends and audio.endswith(b"".join(piece for _, piece in found.arrivals)) and found.arrivals:
        audio = b""  # all of it once more, for those who did not listen before
    if audio:
        found.arrivals.append((at, audio))
        found.over = False
    found.over |= ends or any(_says(value, flag) for flag in _FLAGS)


def _says(value: dict[str, Any], flag: str) -> bool:
    """Whether a flag is set in an event, or in the first of its `choices`."""
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    return bool(value.get(flag) or first.get(flag))


def _audio(found: Payload, value: dict[str, Any], depth: int) -> Iterator[bytes]:
    """Yield the audio in an object, and note what stands beside it."""
    found.fields += _beside(value)
    for key in _AUDIO_KEYS:
        inside = value.get(key)
        if isinstance(inside, list) and inside:
            inside = inside[0]
        if isinstance(inside, dict) and depth:
            yield from _audio(found, inside, depth - 1)
        elif isinstance(inside, str) and inside:
            yield _decode(inside)
            return


def _beside(value: dict[str, Any]) -> list[tuple[str, object]]:
    return [(key, each) for key, each in value.items() if key not in _AUDIO_KEYS]


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:  # binascii.Error, or a letter beyond ASCII
        raise TakeFault("not_audio", f"a delta is not base64: {text[:40]}") from error
