"""Transcripts of a line a cue: a recogniser's console, its tables, an audio editor's labels.

Whisper prints `[00:00.400 --> 00:03.868]  words`; its `.tsv` has `start`, `end` (whole milliseconds) and `text` under a
header, whisper.cpp's `.csv` the same with commas; Audacity's labels are start and end in seconds and the words.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadInput

_CLOCK = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_CONSOLE = re.compile(rf"\s*\[({_CLOCK})\s*-->\s*({_CLOCK})\]\s*(.*)")
_LABEL = re.compile(r"\s*(\d+[.,]\d+)\t\s*(\d+[.,]\d+)\t(.*)")
_HEADER = re.compile(r"\s*\"?(start|begin)[\w ]*\"?\s*([,;\t])\s*\"?end", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One cue: its line, when it is said (seconds), what, and by whom where that is stated."""

    line: int
    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


def read_rows(path: Path, content: str) -> tuple[str, list[Row]] | None:
    """Return the form's name and its cues, or None where the content is no such table.

    Raises:
        BadInput: a line without what the others have; the message names it.
    """
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if _HEADER.match(lines[0][1]):
        return "table", _table(path, lines)
    for name, shape in (("console", _CONSOLE), ("labels", _LABEL)):
        if any(shape.fullmatch(line) for _, line in lines):
            return name, [_line(path, shape, *line) for line in lines]
    return None


def seconds_of(clock: str) -> float:
    """Return a time as subtitles write it (`01:02:03.400`, `02:03,400`) in seconds."""
    *rest, seconds = clock.replace(",", ".").split(":")
    return float(seconds) + 60 * int(rest[-1] if rest else 0) + (3600 * int(rest[0]) if len(rest) == 2 else 0)


def _line(path: Path, shape: re.Pattern[str], number: int, line: str) -> Row:
    match = shape.fullmatch(line)
    if match is None:
        raise BadInput(
            f"{path}:{number}: the other lines have times before their words and this one has none."
        )
    return Row(number, seconds_of(match[1]), seconds_of(match[2]), match[3])


def _table(path: Path, lines: list[tuple[int, str]]) -> list[Row]:
    (_, head), *rest = lines
    header = _HEADER.match(head)
    assert header is not None
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=header[2]))]
    columns = {
        key: next((index for index, name in enumerate(names) if name.startswith(key)), None)
        for key in ("start", "begin", "end", "text", "speaker")
    }
    start = columns["start"] if columns["start"] is not None else columns["begin"]
    end, text, who = columns["end"], columns["text"], columns["speaker"]
    if start is None or end is None or text is None:
        raise BadInput(
            f"{path}:{lines[0][0]}: a table of cues has the columns start, end and text; this one has not."
        )
    cells = []
    for number, line in rest:
        row = next(csv.reader([line], delimiter=header[2]))
        if len(row) != len(names):
            raise BadInput(f"{path}:{number}: {len(row)} columns where the header has {len(names)}.")
        cells.append((number, row))
    whole = all(row[index].strip().isdecimal() for _, row in cells for index in (start, end))
    return [
        Row(
            number,
            _time(path, number, row[start], whole),
            _time(path, number, row[end], whole),
            row[text],
            None if who is None else row[who].strip() or None,
        )
        for number, row in cells
    ]


def _time(path: Path, number: int, cell: str, milliseconds: bool) -> float:
    """Return seconds: whole numbers throughout are milliseconds, as Whisper writes them."""
    try:
        return seconds_of(cell.strip()) / (1000 if milliseconds else 1)
    except ValueError as error:
        raise BadInput(f"{path}:{number}: `{cell.strip()[:40]}` is no time.") from error
