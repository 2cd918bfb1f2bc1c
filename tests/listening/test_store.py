import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.listening.salvage import PAGE_SIZE, rows_in_database
from bench.listening.store import Event, Log, NotSaved
from tests.support.disks import mounted


def add(log: Log, *names: str) -> None:
    log.write(0, lambda _: [("note", {"name": name}) for name in names])


def names(log: Log) -> list[str]:
    return [row.body for row in log.after(0) if row.kind == "note"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ratings.sqlite3"


def test_rows_come_back_in_order_after_reopening(path: Path) -> None:
    log = Log(path)
    add(log, "a", "b")
    add(log, "c")
    log.close()
    assert names(Log(path)) == ['{"name":"a"}', '{"name":"b"}', '{"name":"c"}']


def test_file_is_its_owners_alone(path: Path) -> None:
    Log(path)
    for file in path.parent.glob("ratings.sqlite3*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_mode_and_the_sync_are_what_durability_needs(path: Path) -> None:
    log = Log(path)
    assert log._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_rows_cannot_be_changed_or_deleted(path: Path) -> None:
    add(Log(path), "a")
    db = sqlite3.connect(path)
    for statement in ("UPDATE log SET body = 'x'", "DELETE FROM log"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)


def test_what_is_refused_while_deciding_writes_nothing(path: Path) -> None:
    log = Log(path)

    def decide(_: object) -> list[Event]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        log.write(0, decide)
    add(log, "a")
    assert len(log.after(0)) == 1


def test_two_processes_see_each_others_rows_and_number_them_apart(path: Path) -> None:
    first, second = Log(path), Log(path)
    threads = [threading.Thread(target=add, args=(log, f"{n}")) for n in range(20) for log in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.seq for row in first.after(0)] == list(range(1, 41))
    assert first.after(0) == second.after(0)


def test_a_row_too_long_for_a_page_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="too long"):
        add(Log(path), "x" * PAGE_SIZE)


def many(path: Path, rows: int = 400) -> None:
    """Fill several pages and move them from the write-ahead log into the file."""
    log = Log(path)
    add(log, *(f"{n:04d}" + "." * 200 for n in range(rows)))
    log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log.close()


def damage(path: Path, start: int, size: int) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + size] = os.urandom(len(data[start : start + size]))
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 100), (0, PAGE_SIZE), (3 * PAGE_SIZE, PAGE_SIZE), (4 * PAGE_SIZE + 9000, 60)],
    ids=["file header", "first page", "a page of rows", "some bytes of rows"],
)
def test_what_is_whole_is_kept_and_said(path: Path, start: int, size: int) -> None:
    many(path)
    damage(path, start, size)
    log = Log(path)
    kept = names(log)
    assert len(kept) >= 330, "a page holds some sixty rows"
    assert all(body.startswith('{"name":"0') for body in kept) and kept == sorted(kept)
    assert len(log.notices) == 1 and f"{len(kept)} rows were whole" in log.notices[0]
    assert log.after(0)[-1].kind == "damage", "it is written down too"
    aside = [entry for entry in path.parent.iterdir() if entry.name.startswith("damaged-")]
    assert len(aside) == 1 and (aside[0] / path.name).exists(), "the damaged file is kept"
    add(log, "after")
    log.close()
    again = Log(path)
    assert not again.notices and names(again)[-1] == '{"name":"after"}'


def test_a_row_that_was_edited_is_not_taken_for_true(path: Path) -> None:
    many(path, 20)
    data = path.read_bytes()
    at = data.index(b'{"name":"0007')
    path.write_bytes(data[: at + 12] + b"8" + data[at + 13 :])
    log = Log(path)
    assert len(names(log)) == 19 and "does not have its digest" in log.notices[0]


def test_a_file_that_is_no_database_is_put_aside(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)
    log = Log(path)
    assert names(log) == [] and len(log.notices) == 1
    add(log, "a")
    assert names(log) == ['{"name":"a"}']


def test_rows_beyond_a_damaged_frame_of_the_write_ahead_log_are_taken_back(
    path: Path, tmp_path: Path
) -> None:
    log = Log(path)
    for n in range(12):
        add(log, f"{n:04d}")
    # A copy while it is open: as after a power cut, everything is in the write-ahead log.
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), crashed / (path.name + suffix))
    wal = crashed / f"{path.name}-wal"
    frames = (wal.stat().st_size - 32) // (PAGE_SIZE + 24)
    damage(wal, 32 + (frames - 3) * (PAGE_SIZE + 24) + 8, 16)  # the checksum of one of the last frames
    plain = tmp_path / "plain"
    shutil.copytree(crashed, plain)
    assert sqlite3.connect(plain / path.name).execute("SELECT count(*) FROM log").fetchone()[0] < 12
    again = Log(crashed / path.name)
    assert len(names(again)) == 12
    assert "write-ahead log was damaged" in again.notices[0]


def test_rows_are_found_in_the_bytes_by_themselves(path: Path) -> None:
    many(path, 50)
    assert len({row.seq for row in rows_in_database(path.read_bytes())}) == 50
    assert list(rows_in_database(os.urandom(4 * PAGE_SIZE))) == []


@pytest.fixture
def small_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    with mounted(tmp_path / "disk", "400k") as disk:
        yield disk


def test_a_full_disk_refuses_the_row_and_keeps_the_others(small_disk: Path) -> None:
    log = Log(small_disk / "ratings.sqlite3")
    add(log, "first")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    saved = 1
    with pytest.raises(NotSaved, match="Not saved"):
        for n in range(500):
            add(log, f"more {n}" + "." * 5000)
            saved += 1
    assert len(names(log)) == saved
    ballast.unlink()
    add(log, "again")
    log.close()
    assert len(names(Log(small_disk / "ratings.sqlite3"))) == saved + 1


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((NotSaved, OSError)):
        Log(tmp_path / "file" / "ratings.sqlite3")


def test_nothing_is_moved_away_under_whoever_still_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.listening.store.SALVAGE_WAIT_S", 0.1)
    many(path)
    live = Log(path)
    damage(path, 3 * PAGE_SIZE, PAGE_SIZE)
    with pytest.raises(NotSaved, match="another process has it open"):
        Log(path)
    add(live, "acknowledged")
    live.close()
    again = Log(path)
    assert names(again)[-1] == '{"name":"acknowledged"}' and len(again.notices) == 1


def test_of_two_who_find_the_damage_one_repairs_it(path: Path) -> None:
    many(path)
    damage(path, 0, 100)
    opened: list[Log] = []
    threads = [threading.Thread(target=lambda: opened.append(Log(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4 and sum(len(log.notices) for log in opened) == 1
    assert len(list(path.parent.glob("damaged-*"))) == 1
    for log in opened:
        add(log, "after")
    assert names(opened[0])[-4:] == ['{"name":"after"}'] * 4


@pytest.mark.parametrize("how", ["replaced", "moved away"])
def test_a_row_is_not_written_into_a_file_that_is_no_longer_the_log(path: Path, how: str) -> None:
    log = Log(path)
    add(log, "a")
    path.rename(path.with_name("elsewhere"))
    if how == "replaced":
        shutil.copy(path.with_name("elsewhere"), path)
    with pytest.raises(NotSaved, match="replaced or moved away"):
        add(log, "b")


def test_a_salvage_that_was_cut_off_is_done_again_from_what_it_had_moved(path: Path) -> None:
    many(path, 50)
    log = Log(path)
    add(log, "newest")
    # The moment between the two moves: the file is aside, its write-ahead log is not.
    killed = path.parent / "killed"
    aside = killed / "damaged-2026-11-22T101500Z-1"
    aside.mkdir(parents=True)
    shutil.copy(path, aside / path.name)
    shutil.copy(f"{path}-wal", killed / f"{path.name}-wal")
    path = killed / path.name
    again = Log(path)
    assert len(names(again)) == 51 and names(again)[-1] == '{"name":"newest"}'
    assert "cut off" in again.notices[0]


def test_what_may_be_lost_at_the_end_is_said(path: Path) -> None:
    many(path, 20)
    data = path.read_bytes()
    at = data.index(b'{"name":"0019')
    path.write_bytes(data[: at + 12] + b"8" + data[at + 13 :])
    log = Log(path)
    assert len(names(log)) == 19
    assert "between them: 0;" in log.notices[0] and "newest answers may be lost" in log.notices[0]
