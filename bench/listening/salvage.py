"""Reading whole rows out of a damaged SQLite file and its write-ahead log.

The log of a listening test is append-only and each row carries a digest of itself, so a row that is found
whole anywhere in the file's bytes is true, whatever became of the rest. Only leaf pages of tables are read
(https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1); the log's pages are large enough that no row
overflows into another page.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

PAGE_SIZE = 16384
_LEAF = 0x0D
_WAL_HEADER = 32
_FRAME_HEADER = 24
_FILE_HEADER = 100


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One row of the log: its place, what happened, and the JSON that says so."""

    seq: int
    kind: str
    body: str

    def digest(self) -> str:
        """Return what the row's own checksum must be."""
        return hashlib.sha256(f"{self.seq}\n{self.kind}\n{self.body}".encode()).hexdigest()[:32]


def rows_in_database(data: bytes, beyond: int = 0) -> Iterator[Row]:
    """Yield the whole rows after number `beyond` in a database file's bytes, in no order, some perhaps
    twice."""
    for start in range(0, len(data), PAGE_SIZE):
        yield from _rows_in_page(data[start : start + PAGE_SIZE], _FILE_HEADER if start == 0 else 0, beyond)


def rows_in_wal(data: bytes, beyond: int = 0) -> Iterator[Row]:
    """Yield the whole rows after number `beyond` in a write-ahead log's bytes, in no order, some perhaps
    twice."""
    step = _FRAME_HEADER + PAGE_SIZE
    for start in range(_WAL_HEADER, len(data), step):
        page = data[start + _FRAME_HEADER : start + step]
        number = int.from_bytes(data[start : start + 4], "big")
        yield from _rows_in_page(page, _FILE_HEADER if number == 1 else 0, beyond)


def _rows_in_page(page: bytes, header: int, beyond: int) -> Iterator[Row]:
    if len(page) < header + 8 or page[header] != _LEAF:
        return
    cells = int.from_bytes(page[header + 3 : header + 5], "big")
    for index in range(cells):
        at = header + 8 + 2 * index
        pointer = int.from_bytes(page[at : at + 2], "big")
        row = _row_at(page, pointer, beyond)
        if row is not None:
            yield row


def _row_at(page: bytes, at: int, beyond: int) -> Row | None:
    """Return the row whose cell begins at `at`; None unless it is whole, wanted and its digest agrees."""
    try:
        size, at = _varint(page, at)
        seq, at = _varint(page, at)
        if seq <= beyond:
            return None
        end = at + size
        head, cursor = _varint(page, at)
        types = []
        while cursor < at + head:
            kind, cursor = _varint(page, cursor)
            types.append(kind)
        # The primary key is the row's number, so its own column is NULL; the three others are text.
        if (
            end > len(page)
            or len(types) != 4
            or types[0] != 0
            or any(t < 13 or t % 2 == 0 for t in types[1:])
        ):
            return None
        texts = []
        for kind in types[1:]:
            length = (kind - 13) // 2
            texts.append(page[cursor : cursor + length].decode())
            cursor += length
    except (IndexError, UnicodeDecodeError):
        return None
    row = Row(seq, texts[0], texts[1])
    return row if row.digest() == texts[2] else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9
