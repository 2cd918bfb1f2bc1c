"""Read the utterances file: what is to be spoken, one utterance a line.

A line is `id<TAB>text`, or the text alone, which then gets the id `u01`, `u02`, ... by its place among the
utterances. Lines that are blank or begin with `#` are passed over. The file is UTF-8.

The file is streamed. What is kept of each utterance to find duplicates is two 16-byte digests, not its text.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadInput
from bench.records.run import Utterance
from bench.storage.digests import sha256_file

MAX_CHARACTERS = 1000
"""Longest text, about a minute of speech: a take must fit the engines and a listener's patience."""

_MAX_LINE_BYTES = 4 * MAX_CHARACTERS + 256
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class UtteranceFacts:
    """What a valid file holds. `sha256` is of the file's bytes, as `sha256sum` prints it."""

    count: int
    sha256: str


def validate(path: Path) -> UtteranceFacts:
    """Read the whole file once and return what it holds.

    Raises:
        BadInput: as `read`.
    """
    return UtteranceFacts(count=sum(1 for _ in read(path)), sha256=sha256_file(path))


def read(path: Path) -> Iterator[Utterance]:
    """Yield the utterances in the file's order, each as soon as its line is read.

    Raises:
        BadInput: the file is missing, not a regular file, or empty; or a line is over-long, not UTF-8, holds
            a control character, lacks an id or a text, or repeats an earlier id or text. The message names
            the file and the line. Nothing is yielded from a faulty line on.
    """
    if not path.exists():
        raise BadInput(
            f"{path}: there is no such utterances file; give a text file with one utterance a line."
        )
    if not path.is_file():
        raise BadInput(f"{path}: not a regular file; give a text file with one utterance a line.")
    seen_ids: dict[bytes, int] = {}
    seen_texts: dict[bytes, int] = {}
    count = 0
    for line, content in _lines(path):
        count += 1
        utterance = _parse(path, line, content, f"u{count:02d}")
        # Ids become file names, and some file systems ignore case.
        _refuse_repeat(seen_ids, utterance.id.casefold(), f"id '{utterance.id}'", path, line)
        _refuse_repeat(seen_texts, utterance.text.casefold(), "text", path, line)
        yield utterance
    if count == 0:
        raise BadInput(f"{path}: no utterance in it; write one utterance a line (`#` begins a comment).")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and content of each line that holds an utterance."""
    with path.open("rb") as stream:
        number = 0
        while raw := stream.readline(_MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) > _MAX_LINE_BYTES:
                raise BadInput(_too_long(path, number))
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise BadInput(
                    f"{path}:{number}: byte {error.start + 1} is not UTF-8; save the file as UTF-8."
                ) from error
            text = text.strip(" \r\n")
            if text.strip() and not text.lstrip().startswith("#"):
                yield number, text


def _parse(path: Path, line: int, content: str, generated_id: str) -> Utterance:
    head, tab, tail = content.partition("\t")
    utterance_id, text = (head.strip(), tail) if tab else (generated_id, head)
    if not _ID.fullmatch(utterance_id):
        raise BadInput(
            f"{path}:{line}: '{utterance_id[:70]}' before the tab is not an id; an id has 1 to 64 letters, "
            "digits, `-` or `_`. Without a tab the whole line is the text."
        )
    if found := _CONTROL.search(text):
        raise BadInput(
            f"{path}:{line}: holds the control character U+{ord(found[0]):04X}; remove it. "
            "A line is an id, one tab and the text."
        )
    text = " ".join(text.split())
    if not any(character.isalnum() for character in text):
        raise BadInput(f"{path}:{line}: there is nothing to speak in it; write a text or remove the line.")
    if len(text) > MAX_CHARACTERS:
        raise BadInput(_too_long(path, line))
    return Utterance(id=utterance_id, text=text)


def _too_long(path: Path, line: int) -> str:
    return f"{path}:{line}: longer than {MAX_CHARACTERS} characters; split it into several utterances."


def _refuse_repeat(seen: dict[bytes, int], value: str, what: str, path: Path, line: int) -> None:
    digest = hashlib.blake2b(value.encode(), digest_size=16).digest()
    first = seen.setdefault(digest, line)
    if first != line:
        raise BadInput(f"{path}:{line}: the same {what} as line {first}; each utterance is spoken once.")
