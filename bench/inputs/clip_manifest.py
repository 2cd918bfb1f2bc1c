"""A transcript in JSON, in the shapes in which recognisers and those who make data sets write it.

A list of pieces, each with what is said in it and from when to when: `segments` of a recogniser, `chunks` with a
`timestamp` of two numbers, a manifest of clips that were cut out of a recording (a list, a mapping by the clips' names,
or a line for each), words with times of their own. Where pieces name files, those of the recording at hand count; where
one of them is the recording itself, its words are the transcript and need no times. Files that are all others are the
clips that were cut out of it, and their times are times in it. What was left out between two pieces is found later, by
listening (`bench.inputs.spans`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import BadInput

_LISTS = ("segments", "cues", "clips", "chunks", "utterances", "entries", "items", "samples")
_TEXTS = ("text", "transcript", "transcription", "sentence")
_FILES = ("file", "path", "audio_filepath", "audio", "filename", "file_name", "wav", "clip")
_STARTS = ("start", "start_s", "start_time", "begin", "offset")
_ENDS = ("end", "end_s", "end_time", "stop")
_LENGTHS = ("duration", "duration_s", "length_s")
_SPEAKERS = ("speaker", "speaker_id")
_SAME_LENGTH_S = 0.3
"""A piece that is as long as the recording, but for this much, is the recording."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What the transcript is of: the file's name and its length."""

    name: str
    length_s: float


@dataclass(frozen=True, slots=True)
class Piece:
    """What is said from `start_s` to `end_s`, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None


def parse_json(path: Path, content: str) -> Any:
    """Return what a file of JSON holds; of one with an object a line, the list of them.

    Raises:
        BadInput: it is neither.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        lines = [line for line in content.splitlines() if line.strip()]
        try:
            found = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            found = []
        if len(found) > 1 and all(isinstance(each, dict) for each in found):
            return found
        raise BadInput(f"{path}: not JSON ({error}).") from error


def read_pieces(path: Path, tree: Any, recording: Recording | None) -> list[Piece] | str:
    """Return the pieces in order of the file, or the whole text where nothing has times.

    Args:
        path: for the messages.
        tree: the parsed file.
        recording: what it is a transcript of; null where that is not known, and file names then say nothing.

    Raises:
        BadInput: no known shape; the message says which piece is wrong.
    """
    if isinstance(tree, dict) and (listed := _listed(tree)) is None:
        if (text := _text(tree)) is not None:
            return text
        raise BadInput(f"{path}: a JSON transcript has `segments` (start, end, text) or `text`.")
    pieces = tree if not isinstance(tree, dict) else listed
    if not isinstance(pieces, list):
        raise BadInput(f"{path}: `segments` must be a list of objects with start, end and text.")
    numbered = list(enumerate(pieces))
    if recording is not None and all(isinstance(each, dict) for each in pieces):
        ours = [(number, each) for number, each in numbered if _file(each) == recording.name]
        numbered = ours or numbered
        if len(ours) == 1 and (text := _text(ours[0][1])) is not None and _is_whole(ours[0][1], recording):
            return text
    return [_piece(path, number, each) for number, each in numbered]


def _listed(tree: Mapping[str, Any]) -> list[Any] | None:
    """Return the list of pieces in an object, or None."""
    for key in _LISTS:
        if not tree.get(key):
            continue
        found = tree[key]
        if isinstance(found, dict):
            return _by_name(found)
        return found if isinstance(found, list) else [found]
    if tree and _text(tree) is None and all(isinstance(each, dict) for each in tree.values()):
        return _by_name(tree)
    return None


def _by_name(tree: Mapping[str, Any]) -> list[Any]:
    """Return the pieces of a mapping by the clips' names."""
    return [{"file": name} | each if isinstance(each, dict) else each for name, each in tree.items()]


def _piece(path: Path, number: int, piece: Any) -> Piece:
    if isinstance(piece, dict):
        span, text = _span(piece), _text(piece)
        speaker = next((piece[key] for key in _SPEAKERS if piece.get(key) is not None), None)
        if span is not None and text is not None and isinstance(speaker, str | None):
            return Piece(*span, text, speaker)
    raise BadInput(
        f"{path}: segments[{number}] must have `start` and `end` in seconds and a `text`; got "
        f"{json.dumps(piece, ensure_ascii=False)[:80]}."
    )


def _text(piece: Mapping[str, Any]) -> str | None:
    for key in _TEXTS:
        if isinstance(piece.get(key), str):
            return str(piece[key])
    words = _words(piece)
    said = [
        next((each[key] for key in ("word", *_TEXTS) if isinstance(each.get(key), str)), None)
        for each in words
    ]
    if words and all(each is not None for each in said):
        return " ".join(str(each).strip() for each in said)
    return piece["words"] if isinstance(piece.get("words"), str) else None


def _words(piece: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    words = piece.get("words")
    return words if isinstance(words, list) and all(isinstance(each, dict) for each in words) else []


def _span(piece: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return from when to when, seconds; None where that is not said in any of the known ways."""
    pair = piece.get("timestamp", piece.get("timestamps"))
    if (
        isinstance(pair, Sequence)
        and not isinstance(pair, str)
        and len(pair) == 2
        and all(map(_is_number, pair))
    ):
        return float(pair[0]), float(pair[1])
    start, end, length = (_seconds(piece, keys) for keys in (_STARTS, _ENDS, _LENGTHS))
    if start is not None and end is None and length is not None:
        end = start + length
    words = _words(piece)
    if words and start is None and end is None:
        first, last = _span({**words[0], "words": None}), _span({**words[-1], "words": None})
        return (first[0], last[1]) if first and last else None
    return (start, end) if start is not None and end is not None else None


def _seconds(piece: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    for key in keys:
        if _is_number(piece.get(key)):
            return float(piece[key])
        in_ms = f"{key.removesuffix('_s')}_ms"
        if _is_number(piece.get(in_ms)):
            return float(piece[in_ms]) / 1000
    return None


def _file(piece: Mapping[str, Any]) -> str | None:
    """Return the name of the file that a piece is in, without its folders."""
    for key in _FILES:
        if isinstance(piece.get(key), str):
            return PurePosixPath(str(piece[key]).replace("\\", "/")).name
    return None


def _is_whole(piece: Mapping[str, Any], recording: Recording) -> bool:
    """Return whether a piece is the recording itself: it has no times, or is as long."""
    span = _span(piece)
    length = span[1] - span[0] if span else _seconds(piece, _LENGTHS)
    return length is None or abs(length - recording.length_s) <= _SAME_LENGTH_S


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
