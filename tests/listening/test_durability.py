"""An acknowledged answer is on disk: the server killed at any moment, and the power cut at any moment."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from bench.listening.book import Book
from bench.listening.mapping import DIRECTORY, RATINGS
from bench.listening.raters import status
from bench.listening.store import Log, NotSaved
from benchmarks.listening import kill_often
from tests.listening.synced import BYTES, Disk, calls, decoded
from tests.support.listening_fixtures import seconds_of, start
from tests.support.rated import invite_who_hears

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_twenty_kills_lose_nothing_that_was_acknowledged(run_dir: Path) -> None:
    """`make bench-listening` does two hundred."""
    found = kill_often(run_dir, 20)
    assert found.lost == [] and found.acknowledged >= 20


def test_what_a_server_acknowledges_while_a_command_finds_damage_is_kept(
    patient: None, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.listening.store.SALVAGE_WAIT_S", 0.1)
    live, stop = start(run_dir)
    ann = live.client()
    trials = ann.session()["trials"]
    for trial in trials[:5]:
        ann.rate(trial)
    live.book._log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database = run_dir / DIRECTORY / RATINGS
    data = bytearray(database.read_bytes())
    at = data.index(b"spent_until_s")  # of one row of what was heard
    data[at] ^= 1
    database.write_bytes(data)
    with pytest.raises(NotSaved, match="another process has it open"):
        status(run_dir)
    ann.rate(trials[5])
    stop()
    book = Book(run_dir)
    (rater,) = book.raters.values()
    book.close()
    assert len(rater.answers) == 6


SERVER = """
import sys
from pathlib import Path
import uvicorn
from bench.listening import heard, server, store
heard.SLACK_S = 1e9
server.RATER_LIMIT = (1e9, 10**9)
store.SYNCHRONOUS = sys.argv[2]
app = server.create_app(Path(sys.argv[1]))
found = uvicorn.Server(server.config(app, "127.0.0.1", int(sys.argv[3])))
found.run()
"""
ANSWERS = 6


def power_cuts(run_dir: Path, scratch: Path, synchronous: str, port: int) -> list[int]:
    """Rate under strace; return how many answers each power cut keeps, one cut as each acknowledgement leaves."""
    token = invite_who_hears(run_dir, "ann")[2:]
    home = run_dir / DIRECTORY
    before = Disk.of(home)
    trace = scratch / "trace"
    traced = "trace=pwrite64,ftruncate,fsync,fdatasync,sendto,write"
    command = [
        "strace",
        "-f",
        "-y",
        "-xx",
        "-s",
        "400000",
        "-e",
        traced,
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    server = subprocess.Popen([*command, sys.executable, "-c", SERVER, str(run_dir), synchronous, str(port)])
    try:
        rate(port, token)
    finally:
        # The traced process is strace's child: end it, and strace ends with it.
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        server.wait(20)
    kept: list[int] = []
    for moment, name, target, args in calls(trace):
        if moment == "end":
            before.call(name, target, args)
        elif name in ("sendto", "write"):
            sent = BYTES.search(args)
            if sent and b'"saved":true' in decoded(sent.group(1)):
                there = scratch / f"cut{len(kept)}"
                before.restore(there)
                log = Log(there / RATINGS)
                kept.append(sum(row.kind == "answer" for row in log.after(0)))
                log.close()
    return kept


def rate(port: int, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as http:
        for _ in range(600):
            try:
                trials = http.get("/api/session").json()["trials"]
                break
            except httpx.TransportError:
                time.sleep(0.1)
        for trial in trials[:ANSWERS]:
            http.get(f"/api/clips/{trial['a']}").raise_for_status()
            clip = http.get(f"/api/clips/{trial['b']}").content
            whole = [[0, seconds_of(clip)]]
            http.post(f"/api/trials/{trial['id']}/heard", json={"a": whole, "b": whole}).raise_for_status()
            body = {"a": 1, "b": 5, "revision": 0, "note": "kept?"}
            http.post(f"/api/trials/{trial['id']}/answer", json=body).raise_for_status()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.needs("strace")
def test_every_acknowledgement_leaves_after_its_answer_is_synced(run_dir: Path, tmp_path: Path) -> None:
    kept = power_cuts(run_dir, tmp_path, "FULL", free_port())
    assert len(kept) == ANSWERS
    assert all(found >= number for number, found in enumerate(kept, 1)), kept


@pytest.mark.needs("strace")
def test_the_proof_finds_answers_that_were_not_synced(run_dir: Path, tmp_path: Path) -> None:
    kept = power_cuts(run_dir, tmp_path, "OFF", free_port())
    assert len(kept) == ANSWERS
    assert kept[-1] < ANSWERS, (
        "without the sync a power cut loses acknowledged answers, and this test would see it"
    )
