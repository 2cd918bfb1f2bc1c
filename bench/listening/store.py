"""The append-only log of a listening test, on disk before anybody is told so.

SQLite in WAL mode with synchronous=FULL: a commit returns after the log's bytes were synced, and an answer is
acknowledged after its commit. Rows are never changed or deleted (triggers refuse it) and each carries a
digest of itself. A damaged file is moved aside, never deleted; every row that is still whole goes into a new
one, and what is missing is written down there and told.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.errors import AuditionError
from bench.listening.salvage import PAGE_SIZE, Row, rows_in_database, rows_in_wal
from bench.records import canonical_json, utc_now

SYNCHRONOUS = "FULL"
MAX_BODY_BYTES = 12_000
"""Well within a page, so that a row never overflows and can be salvaged by itself."""
Event = tuple[str, dict[str, object]]
"""What happened: its kind and its JSON body."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL, digest TEXT NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS log_is_never_changed BEFORE UPDATE ON log
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS log_is_never_cut BEFORE DELETE ON log
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""


class NotSaved(AuditionError):
    """The disk did not take it (full, read-only): nothing was acknowledged and nothing changed."""


class Log:
    """The log. Safe between threads and between processes."""

    def __init__(self, path: Path) -> None:
        """Open or create the log at `path`; a damaged one is salvaged first, and `notices` says so.

        Raises:
            NotSaved: it cannot be opened or written.
        """
        self.path = path
        self.notices: list[str] = []
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open_whole()
        except (sqlite3.Error, OSError) as error:
            raise NotSaved(
                f"{path} cannot be opened ({error}); free disk space or check who owns it."
            ) from error

    def close(self) -> None:
        """Close the log; what was acknowledged is on disk already."""
        with self._lock:
            self._db.close()

    def after(self, seq: int) -> list[Row]:
        """Return the rows after row number `seq`, those of other processes among them."""
        with self._lock:
            return self._after(seq)

    def write(self, seq: int, decide: Callable[[list[Row]], Iterable[Event]]) -> list[Row]:
        """Append what `decide` answers to the rows after `seq`, while nobody else can write; return all of
        them.

        What `decide` raises passes through and nothing is written. When this returns the rows are on disk.

        Raises:
            NotSaved: the disk did not take it.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    rows = self._after(seq)
                    last = rows[-1].seq if rows else seq
                    new = [_row(last + n, kind, body) for n, (kind, body) in enumerate(decide(rows), 1)]
                    self._insert(new)
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise NotSaved(
                    f"Not saved: {error}. Free disk space; what was saved before is safe."
                ) from error
            return rows + new

    def _after(self, seq: int) -> list[Row]:
        found = self._db.execute("SELECT seq, kind, body FROM log WHERE seq > ? ORDER BY seq", (seq,))
        return [Row(*values) for values in found]

    def _insert(self, rows: Iterable[Row]) -> None:
        self._db.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?)", [(r.seq, r.kind, r.body, r.digest()) for r in rows]
        )

    def _open_whole(self) -> sqlite3.Connection:
        """Open the file, after its damage was found and repaired if there is any."""
        try:
            db = self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            return self._salvaged(str(error))
        try:
            problem = _damage(db)
        except sqlite3.DatabaseError as error:
            problem = str(error)
        if problem is None:
            self._adopt_cut_rows(db)
            return db
        db.close()
        return self._salvaged(problem)

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            # From its first byte on the file is its owner's alone: it holds the raters' tokens.
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA page_size={PAGE_SIZE}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
            db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        _sync_directory(self.path.parent)
        return db

    def _adopt_cut_rows(self, db: sqlite3.Connection) -> None:
        """Take back rows that a damaged write-ahead log holds beyond the point where SQLite stops reading it.

        SQLite takes a frame with a wrong checksum for the log's end, and says nothing.
        """
        wal = self.path.with_name(f"{self.path.name}-wal")
        if not wal.exists():
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            last = db.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
            cut = {row.seq: row for row in rows_in_wal(wal.read_bytes(), last)}
            rows = [cut[seq] for seq in sorted(cut)]
            db.executemany(
                "INSERT INTO log VALUES (?, ?, ?, ?)", [(r.seq, r.kind, r.body, r.digest()) for r in rows]
            )
            if rows:
                self._note(db, f"The write-ahead log was damaged; {len(rows)} rows were taken back from it.")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _salvaged(self, problem: str) -> sqlite3.Connection:
        """Move the damaged files aside and return a new log with every row that is still whole."""
        found: dict[int, Row] = {}
        aside = self.path.with_name(f"damaged-{utc_now().replace(':', '')}-{os.getpid()}")
        aside.mkdir(mode=0o700)
        for suffix, reader in (("", rows_in_database), ("-wal", rows_in_wal), ("-shm", None)):
            file = self.path.with_name(self.path.name + suffix)
            if not file.exists():
                continue
            if reader is not None:
                found.update({row.seq: row for row in reader(file.read_bytes())})
            file.replace(aside / file.name)
        db = self._connect()
        db.execute("BEGIN IMMEDIATE")
        rows = [found[seq] for seq in sorted(found)]
        db.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?)", [(r.seq, r.kind, r.body, r.digest()) for r in rows]
        )
        lost = _gaps(sorted(found))
        self._note(
            db,
            f"The ratings' database was damaged ({problem}). {len(rows)} rows were whole and are kept; "
            f"{lost or 'none that can be counted'} between them are lost. The damaged files are in "
            f"{aside.name}.",
        )
        db.execute("COMMIT")
        return db

    def _note(self, db: sqlite3.Connection, text: str) -> None:
        last = db.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
        row = _row(last + 1, "damage", {"utc": utc_now(), "text": text})
        db.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (row.seq, row.kind, row.body, row.digest()))
        self.notices.append(text)


def _row(seq: int, kind: str, body: dict[str, object]) -> Row:
    text = canonical_json(body)
    if len(text) > MAX_BODY_BYTES:
        raise ValueError(f"a row of {len(text)} bytes is too long")
    return Row(seq, kind, text.decode())


def _damage(db: sqlite3.Connection) -> str | None:
    """Return what is wrong with the database, None when pages, rows and digests are whole."""
    answer = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        return str(answer)
    for seq, kind, body, digest in db.execute("SELECT seq, kind, body, digest FROM log"):
        if Row(seq, kind, body).digest() != digest:
            return f"row {seq} does not have its digest"
    return None


def _gaps(seqs: Sequence[int]) -> int:
    """Return how many numbers are missing from 1 to the last."""
    return (seqs[-1] - len(seqs)) if seqs else 0


def _sync_directory(path: Path) -> None:
    """Make the files' names durable too, not their bytes alone."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
