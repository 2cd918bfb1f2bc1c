"""Read the transcript of a reference: WebVTT, SubRip (SRT), a recogniser's table or console, JSON, or plain text.

Sources: WebVTT https://www.w3.org/TR/webvtt1/ (cue timings, cue text tags); SubRip as its users write it
(`HH:MM:SS,mmm --> HH:MM:SS,mmm`); JSON as `bench.inputs.clip_manifest` reads it.
"""

import html
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BadInput
from bench.inputs.clip_manifest import Recording, parse_json, read_pieces
from bench.inputs.rows import read_rows, seconds_of
from bench.inputs.spoken import (
    ANNOTATION,
    Line,
    read_plain,
    refuse_codes,
    split_speakers,
    strip_markup,
    strip_stars,
)

_MAX_BYTES = 4 * 1024 * 1024
_OVERLAP_S = 0.05
"""Cues may overlap by this much before it means anything: subtitle editors round to frames."""

_TIMING = re.compile(
    r"^\s*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})\s*-->\s*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})(?:\s.*)?$"
)
_NO_CUE = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")
_VOICE_TAG = re.compile(r"<v(?:\.[^ \t>]*)?[ \t]+([^>]+)>")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_DIALOGUE = re.compile(r"^\s*[-\u2010-\u2015]\s*\S", re.MULTILINE)
_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is said from `start_s` to `end_s` (seconds from the start of the audio).

    `annotated` is true where the cue also describes what is not speech (`[laughs]`), so that its text is not
    all that is heard.
    """

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None
    annotated: bool = False
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """`cues` is empty for a transcript without times, whose `text` is then all there is."""

    path: Path
    text: str
    cues: tuple[Cue, ...]
    format: str


def read(path: Path, recording: Recording | None = None) -> Transcript:
    """Read a transcript; the format is found from the content, and the file's name only settles doubt.

    Args:
        path: the transcript.
        recording: what it is of, for a manifest that names files; null where that is not known.

    Raises:
        BadInput: missing, empty, not UTF-8, malformed, cues out of order or overlapping. The message names
            file and line.
    """
    if not path.is_file():
        raise BadInput(
            f"{path}: there is no such transcript; a reference needs one (WebVTT, SRT, JSON or plain text)."
        )
    if path.stat().st_size > _MAX_BYTES:
        raise BadInput(f"{path}: larger than 4 MiB, which no transcript of a reference is.")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: byte {error.start + 1} is not UTF-8; save the transcript as UTF-8."
        ) from error
    if "\x00" in content:
        raise BadInput(
            f"{path}: holds a NUL, so it is no text; give the transcript as WebVTT, SRT, JSON or text."
        )
    content = content.replace("\r\n", "\n").replace("\r", "\n")
    if not content.strip():
        raise BadInput(f"{path}: the transcript is empty; write what is said in the clip.")
    kind, cues, text = _parse(path, content, recording)
    _in_order(path, cues)
    cues = _name_speakers(path, cues)
    text = join(cue.text for cue in cues) if cues else _tidy(read_plain(path, text, numbered=kind == "text"))
    if not any(character.isalnum() for character in text):
        raise BadInput(f"{path}: the transcript has no words; write what is said in the clip.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadInput(f"{path}: the transcript holds half a character (\\ud800 to \\udfff); write it anew.")
    return Transcript(path=path, text=text, cues=tuple(cues), format=kind)


def join(texts: Iterable[str]) -> str:
    """Join the texts of successive cues: by a space, or by nothing between two CJK characters."""
    joined = ""
    for text in texts:
        bare = not joined or not text or (_CJK.match(joined[-1]) and _CJK.match(text[0]))
        joined += text if bare else f" {text}"
    return joined


def _parse(path: Path, content: str, recording: Recording | None) -> tuple[str, list[Cue], str]:
    if content.startswith("WEBVTT"):
        return "webvtt", _timed(path, content, "WebVTT"), ""
    if path.suffix.lower() == ".vtt":
        raise BadInput(f"{path}:1: a WebVTT file begins with the line WEBVTT.")
    rows = read_rows(path, content)
    if rows is not None:
        form, found = rows
        cues = [
            cue
            for row in found
            for cue in _cue(path, row.line, row.start_s, row.end_s, strip_markup(row.text), row.speaker)
        ]
        return form, cues, ""
    if content.lstrip()[0] in "[{" and path.suffix.lower() not in {".txt", ".srt"}:
        return _json(path, content, recording)
    if path.suffix.lower() == ".srt" or any(_TIMING.match(line) for line in content.splitlines()):
        return "srt", _timed(path, content, "SRT"), ""
    return "text", [], content


def _timed(path: Path, content: str, name: str) -> list[Cue]:
    """Parse WebVTT or SRT: blocks of lines, each with at most one timing line and its text below it."""
    cues: list[Cue] = []
    lines = content.split("\n")
    if name == "WebVTT" and len(lines) > 1 and "-->" in lines[1]:
        raise BadInput(f"{path}:2: WebVTT wants a blank line between its header and the first cue.")
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        end = next((n for n in range(at, len(lines)) if not lines[n].strip()), len(lines))
        block = lines[at:end]
        if name == "SRT" or not _NO_CUE.match(block[0]):
            cues += _block(path, at + 1, block, name)
        at = end
    if not cues:
        raise BadInput(f"{path}: a {name} file without a single cue; write what is said and when.")
    return cues


def _block(path: Path, first_line: int, block: list[str], name: str) -> list[Cue]:
    timing = next((n for n, line in enumerate(block) if "-->" in line), None)
    if timing is None or timing > 1:
        raise BadInput(
            f"{path}:{first_line}: a {name} cue has its times (`00:01.000 --> 00:02.500`) on its first or "
            "second line; this block has none there."
        )
    number = first_line + timing
    match = _TIMING.match(block[timing])
    if match is None:
        raise BadInput(f"{path}:{number}: cannot read the times `{block[timing].strip()[:60]}`.")
    if any("-->" in line for line in block[timing + 1 :]):
        raise BadInput(f"{path}:{number}: two cues without a blank line between them.")
    raw = "\n".join(block[timing + 1 :])
    voices = sorted({html.unescape(voice).strip() for voice in _VOICE_TAG.findall(raw)})
    if len(voices) > 1:
        raise BadInput(
            f"{path}:{number}: one cue has the voices {', '.join(voices)}; a reference has one speaker. "
            "Give a clip in which only the voice to clone speaks."
        )
    words = strip_markup(_BREAK.sub("\n", raw))
    if len(_DIALOGUE.findall(words)) > 1:
        raise BadInput(
            f"{path}:{number}: one cue has lines of a dialogue, each after a dash; a reference has one speaker. Give "
            "a clip in which only the voice to clone speaks."
        )
    voice = voices[0] if voices else None
    return _cue(path, number, seconds_of(match[1]), seconds_of(match[2]), words, voice)


def _cue(
    path: Path, line: int | None, start_s: float, end_s: float, raw: str, speaker: str | None
) -> list[Cue]:
    """Return the cue in a list, or none when nothing is said in it (an empty cue or a mere annotation)."""
    where = f"{path}:{line}" if line else f"{path}"
    if start_s < 0 or end_s <= start_s:
        raise BadInput(
            f"{where}: the cue runs from {start_s:g} s to {end_s:g} s; its end must follow its start."
        )
    raw, starred = strip_stars(raw)
    text = _tidy(ANNOTATION.sub(" ", raw))
    # A cue that only describes a noise stays, without words: no span may run across it.
    annotated = starred or bool(ANNOTATION.search(raw))
    if not text and not annotated:
        return []
    return [Cue(start_s, end_s, text, speaker, annotated, line)]


def _json(path: Path, content: str, recording: Recording | None) -> tuple[str, list[Cue], str]:
    found = read_pieces(path, parse_json(path, content), recording)
    if isinstance(found, str):
        return "json", [], found
    cues = [
        _cue(path, None, each.start_s, each.end_s, strip_markup(each.text), each.speaker) for each in found
    ]
    return "json", list(itertools.chain.from_iterable(cues)), ""


def _name_speakers(path: Path, cues: list[Cue]) -> list[Cue]:
    """Return the cues without names before their words, and see that no code is left in them."""
    lines = split_speakers(path, [Line(cue.line, cue.text, cue.speaker) for cue in cues])
    for line in lines:
        refuse_codes(path, line)
    return [replace(cue, text=line.text, speaker=line.speaker) for cue, line in zip(cues, lines, strict=True)]


def _in_order(path: Path, cues: list[Cue]) -> None:
    for before, after in itertools.pairwise(cues):
        where = f"{path}:{after.line}" if after.line else f"{path}"
        if after.start_s < before.start_s:
            raise BadInput(
                f"{where}: this cue begins before the one above it; put the cues in order of time."
            )
        if after.start_s < before.end_s - _OVERLAP_S:
            raise BadInput(
                f"{where}: this cue begins at {after.start_s:g} s while the one above it runs to "
                f"{before.end_s:g} s. Overlapping cues mean two speakers or a rolling caption; give a "
                "transcript in which each word stands once, in a cue of its own time."
            )


def _tidy(text: str) -> str:
    return " ".join(text.split())
