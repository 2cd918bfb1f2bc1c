"""The append-only log of a listening test, on disk before anybody is told so.

SQLite in WAL mode with synchronous=FULL: a commit returns after the log's bytes were synced, and an answer is
acknowledged after its commit. Rows are never changed or deleted (triggers refuse it) and each carries a
digest of itself. A damaged file is moved aside, never deleted; every row that is still whole goes into a new
one, and what is missing is written down there and told.

Whoever has the log open holds a shared lock on its directory, and the damaged file is moved only under an
exclusive one: a server that went on writing into a file that is no longer the log would acknowledge what nobody
finds again.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.errors import AuditionError
from bench.listening.salvage import PAGE_SIZE, Row, rows_in_database, rows_in_wal
from bench.storage.clock import utc_now
from bench.storage.digests import canonical_json

SYNCHRONOUS = "FULL"
SALVAGE_WAIT_S = 5.0
"""How long a salvage waits for others to close the log: a command does within that time, a server does not."""
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


class _InUse(Exception):
    """Another process has the damaged log open."""


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
        self._directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_SH)
            self._db = self._open_whole()
            self._file = _identity(path)
        except BaseException as error:
            os.close(self._directory)
            if isinstance(error, _InUse):
                raise NotSaved(
                    f"{path} is damaged and another process has it open; end that first (`audition rate` with "
                    "Ctrl-C). Whoever opens it next takes over every row that is whole."
                ) from error
            if isinstance(error, sqlite3.Error | OSError):
                raise NotSaved(
                    f"{path} cannot be opened ({error}); free disk space or check who owns it."
                ) from error
            raise

    def close(self) -> None:
        """Close the log; what was acknowledged is on disk already. Closing twice is one close."""
        with self._lock:
            self._db.close()
            if self._directory >= 0:
                os.close(self._directory)
                self._directory = -1

    def after(self, seq: int) -> list[Row]:
        """Return the rows after row number `seq`, those of other processes among them."""
        with self._lock:
            return self._after(seq)

    def write(self, seq: int, decide: Callable[[list[Row]], Iterable[Event]]) -> list[Row]:
        """Append what `decide` answers to the rows after `seq`, while nobody else can write; return all of
        them.

        What `decide` raises passes through and nothing is written. When this returns the rows are on disk.

        Raises:
            NotSaved: the disk did not take it, or the file is no longer the one that was opened.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    if _identity(self.path) != self._file:
                        raise NotSaved(
                            f"Not saved: {self.path} was replaced or moved away meanwhile. Start `audition rate` "
                            "again; what was saved before is in the file that was there."
                        )
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
        """Open the file, after its damage was found and repaired if there is any.

        Raises:
            _InUse: it is damaged, and others have it open and did not close it within `SALVAGE_WAIT_S`.
        """
        until = time.monotonic() + SALVAGE_WAIT_S
        while isinstance(found := self._whole_or_problem(), str):
            if self._alone():
                found = self._whole_or_problem()  # another process may have been the first to repair it
                if isinstance(found, str):
                    found = self._salvaged(found)
                fcntl.flock(self._directory, fcntl.LOCK_SH)
                break
            if time.monotonic() > until:
                raise _InUse
            time.sleep(0.05)
            fcntl.flock(self._directory, fcntl.LOCK_SH)  # waits while another repairs it
        self._adopt_cut_rows(found)
        return found

    def _whole_or_problem(self) -> sqlite3.Connection | str:
        """Return the open database, or what is wrong with it."""
        if not self.path.exists() and self._set_aside():
            return "its salvage was cut off"
        try:
            db = self._connect(self.path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            return str(error)
        try:
            problem = _damage(db)
        except sqlite3.DatabaseError as error:
            problem = str(error)
        if problem is None:
            return db
        db.close()
        return problem

    def _alone(self) -> bool:
        """Try to turn the shared lock into an exclusive one; where others hold theirs, ours is lost as well.

        So of several that want it, one gets through.
        """
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _connect(self, path: Path) -> sqlite3.Connection:
        if not path.exists():
            # From its first byte on the file is its owner's alone: it holds the raters' tokens.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA page_size={PAGE_SIZE}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
            db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        _sync_directory(path.parent)
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
        """Move the damaged files aside and return a new log with every row that is still whole.

        The new log gets its name when it is complete. A salvage that was cut off before left none, and what it
        had moved aside is read again.
        """
        found: dict[int, Row] = {}
        if not self.path.exists():
            for folder in self._set_aside():
                found.update(_rows_in_files(folder / self.path.name))
        found.update(_rows_in_files(self.path))
        aside = self.path.with_name(f"damaged-{utc_now().replace(':', '')}-{os.getpid()}")
        aside.mkdir(mode=0o700, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + suffix)
            if file.exists():
                file.replace(aside / file.name)
        for folder in (aside, self.path.parent):
            _sync_directory(folder)
        scratch = aside / "new.sqlite3"
        db = self._connect(scratch)
        db.execute("BEGIN IMMEDIATE")
        rows = [found[seq] for seq in sorted(found)]
        db.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?)", [(r.seq, r.kind, r.body, r.digest()) for r in rows]
        )
        lost = _gaps(sorted(found))
        self._note(
            db,
            f"The ratings' database was damaged ({problem}). {len(rows)} rows were whole and are kept. Missing "
            f"between them: {lost}; how many came after the last of them cannot be known, so the newest answers "
            f"may be lost. The damaged files are in {aside.name}.",
        )
        db.execute("COMMIT")
        db.close()  # the last to close it moves all from the write-ahead log into the file
        scratch.replace(self.path)
        return self._connect(self.path)

    def _set_aside(self) -> list[Path]:
        """Return where damaged files were moved to, oldest first."""
        return sorted(self.path.parent.glob("damaged-*"))

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


def _rows_in_files(path: Path) -> dict[int, Row]:
    """Return the whole rows, by number, of a database file and its write-ahead log."""
    found: dict[int, Row] = {}
    for file, reader in ((path, rows_in_database), (path.with_name(f"{path.name}-wal"), rows_in_wal)):
        if file.exists():
            found.update({row.seq: row for row in reader(file.read_bytes())})
    return found


def _gaps(seqs: Sequence[int]) -> int:
    """Return how many numbers are missing from 1 to the last."""
    return (seqs[-1] - len(seqs)) if seqs else 0


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from another of its name, None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _sync_directory(path: Path) -> None:
    """Make the files' names durable too, not their bytes alone."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
