"""Measures the listening test on this machine.

    python -m benchmarks.listening --json PATH [--raters 1000] [--kills 200]

Three measurements: many raters at once against the real server (answers a second, latency, nothing lost); the cue
attack before and after the processing, on pairs of real synthesisers; and the server killed again and again while
ratings come in, with every acknowledged one looked for afterwards. In the first and the last the server believes
raters that they have listened, since nobody can wait for a thousand of them; everything else is as people meet it.
"""

import argparse
import asyncio
import io
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import soundfile as sf

from bench.listening.book import Book
from bench.listening.mapping import DIRECTORY, RATINGS
from bench.listening.score import seal
from bench.listening.store import Log
from bench.storage.clock import utc_now
from benchmarks.listening_run import SENTENCES, WORDS, build

CONNECTIONS = 32
CUE_PAIRS = (
    ("espeak en-us", "flite slt"),
    ("espeak en-us", "espeak en-us+f4"),
    ("flite slt", "flite rms"),
    ("flite rms", "flite awb"),
    ("flite kal", "flite rms"),
)
_ZYGOTE = """
import os, signal, socket, sys
from pathlib import Path
import uvicorn
from bench.listening import heard, server
heard.SLACK_S = 1e9
server.RATER_LIMIT = server.ADDRESS_LIMIT = (1e9, 10**9)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    run_dir = Path(line.rstrip())
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    pid = os.fork()
    if pid == 0:
        app = server.create_app(run_dir)
        uvicorn.Server(server.config(app, "127.0.0.1", 0)).run(sockets=[listener])
        os._exit(0)
    print(pid, listener.getsockname()[1], flush=True)
    listener.close()
"""
"""A process that has imported everything and forks a server for each line it reads: a start takes milliseconds,
so that hundreds of kills are affordable. A connection made before the app is ready waits in the backlog."""


class Servers:
    """Starts servers that can be killed."""

    def __init__(self) -> None:
        """Start the process that forks them."""
        self._zygote = subprocess.Popen(
            [sys.executable, "-c", _ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, run_dir: Path) -> tuple[int, int]:
        """Return the pid and the port of a new server for `run_dir`."""
        assert self._zygote.stdin and self._zygote.stdout
        self._zygote.stdin.write(f"{run_dir}\n")
        self._zygote.stdin.flush()
        pid, port = self._zygote.stdout.readline().split()
        return int(pid), int(port)

    def close(self) -> None:
        """End the forking process."""
        assert self._zygote.stdin
        self._zygote.stdin.close()
        self._zygote.wait(10)


@contextmanager
def servers() -> Iterator[Servers]:
    """Yield a starter of servers and end it afterwards."""
    found = Servers()
    try:
        yield found
    finally:
        found.close()


def kill(pid: int) -> None:
    """Kill a server as hard as it goes and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.001)


# ---------------------------------------------------------------- killed again and again


@dataclass
class Kills:
    """What was acknowledged while the server was killed, and what of it was found afterwards."""

    kills: int
    acknowledged: int
    lost: list[str] = field(default_factory=list)
    unacknowledged_kept: int = 0
    """Answers on disk whose acknowledgement the kill cut off: kept is allowed, lost would be too."""


def kill_often(run_dir: Path, kills: int, seed: int = 1) -> Kills:
    """Kill the server `kills` times at random moments of a stream of answers, then look for every one that was
    acknowledged. `run_dir` is sealed; its ratings are this measurement's afterwards."""
    rng = random.Random(seed)  # noqa: S311 -- moments of kills, not secrets
    acknowledged: list[str] = []
    with servers() as starter:
        token, name = "", ""
        for number in range(kills):
            if number % 10 == 0:
                name = f"rater {number}"
                token = _invite_who_hears(run_dir, name)
            pid, port = starter.start(run_dir)
            begun, stop = threading.Event(), threading.Event()
            sender = threading.Thread(
                target=_answer_on, args=(port, token, number, acknowledged, begun, stop)
            )
            sender.start()
            if not begun.wait(60):
                raise RuntimeError("the server did not acknowledge anything within 60 s")
            time.sleep(rng.uniform(0.0, 0.05))
            kill(pid)
            stop.set()
            sender.join(30)
    log = Log(run_dir / DIRECTORY / RATINGS)
    found = {json.loads(row.body)["note"] for row in log.after(0) if row.kind == "answer"}
    log.close()
    lost = sorted(set(acknowledged) - found)
    return Kills(kills, len(acknowledged), lost, len(found - set(acknowledged)))


def _invite_who_hears(run_dir: Path, name: str) -> str:
    """Invite a rater who has passed the sound check, which takes ears; return the token."""
    book = Book(run_dir)
    try:
        rater = book.invite(name)
        book.note_sound(rater)
        return rater.token
    finally:
        book.close()


def _answer_on(
    port: int, token: str, cycle: int, acknowledged: list[str], begun: threading.Event, stop: threading.Event
) -> None:
    """Rate trial after trial until the server is gone; a note names each answer."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as http:
            trials = http.get("/api/session").json()["trials"]
            count = 0
            while not stop.is_set():
                trial = trials[count % len(trials)]
                clips = [http.get(f"/api/clips/{trial[side]}").content for side in ("a", "b")]
                whole = [[0, _seconds(clips[0])]]
                http.post(f"/api/trials/{trial['id']}/heard", json={"a": whole, "b": whole})
                for score in (1, 2, 3):
                    note = f"{cycle}/{count}/{score}"
                    body = {"a": score, "b": 5, "note": note, "revision": trial["revision"]}
                    answer = http.post(f"/api/trials/{trial['id']}/answer", json=body)
                    if answer.status_code == 200:
                        acknowledged.append(note)
                        trial["revision"] = answer.json()["revision"]
                        begun.set()
                count += 1
    except (httpx.HTTPError, ValueError):
        return  # the kill


def _seconds(clip: bytes) -> float:
    return float(sf.info(io.BytesIO(clip)).duration)


# ---------------------------------------------------------------- many raters at once


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    """Send a request on a kept connection; a plain reader costs less than an HTTP library, so that the machine
    measures the server."""
    writer.write(request)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


def _request(method: str, path: str, token: str, body: Any = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + (b"Content-Type: application/json\r\n" if data else b"") + b"\r\n" + data


async def _rate_all(
    port: int, tokens: asyncio.Queue[str], times: list[float], acknowledged: list[str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    while not tokens.empty():
        token = tokens.get_nowait()
        _, data = await _ask(reader, writer, _request("GET", "/api/session", token))
        for trial in json.loads(data)["trials"]:
            _, clip = await _ask(reader, writer, _request("GET", f"/api/clips/{trial['a']}", token))
            await _ask(reader, writer, _request("GET", f"/api/clips/{trial['b']}", token))
            whole = [[0, _seconds(clip)]]
            path = f"/api/trials/{trial['id']}"
            await _ask(reader, writer, _request("POST", f"{path}/heard", token, {"a": whole, "b": whole}))
            body = {"a": 3, "b": 4, "note": trial["id"], "revision": 0}
            began = time.perf_counter()
            status, _ = await _ask(reader, writer, _request("POST", f"{path}/answer", token, body))
            times.append(time.perf_counter() - began)
            if status == 200:
                acknowledged.append(trial["id"])
        status, _ = await _ask(reader, writer, _request("POST", "/api/finish", token))
        if status != 200:
            raise RuntimeError(f"finishing was refused with {status}")
    writer.close()


async def _all_rate(port: int, tokens: Sequence[str]) -> tuple[float, list[float], list[str]]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    for token in tokens:
        queue.put_nowait(token)
    times: list[float] = []
    acknowledged: list[str] = []
    began = time.perf_counter()
    await asyncio.gather(*(_rate_all(port, queue, times, acknowledged) for _ in range(CONNECTIONS)))
    return time.perf_counter() - began, times, acknowledged


def many_raters(run_dir: Path, raters: int) -> dict[str, Any]:
    """Have `raters` raters fetch, hear and rate every pair over `CONNECTIONS` connections, and finish."""
    book = Book(run_dir)
    invited = [book.invite(f"rater {number}") for number in range(raters)]
    for rater in invited:
        book.note_sound(rater)
    tokens = [rater.token for rater in invited]
    book.close()
    with servers() as starter:
        pid, port = starter.start(run_dir)
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        seconds, times, acknowledged = asyncio.run(_all_rate(port, tokens))
        kill(pid)
    book = Book(run_dir)
    kept = {
        ticket
        for rater in book.raters.values()
        for ticket, trial in rater.by_ticket.items()
        if trial.trial_id in rater.answers
    }
    finished = sum(rater.status == "finished" for rater in book.raters.values())
    pairs = len(book.sealed.utterances)
    book.close()
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "raters": raters,
        "pairs_each": pairs,
        "answers": len(times),
        "acknowledged": len(acknowledged),
        "lost": len(set(acknowledged) - kept),
        "raters_finished": finished,
        "connections": CONNECTIONS,
        "seconds": round(seconds, 2),
        "answers_per_s": round(len(times) / seconds, 1),
        "requests_per_s": round((4 * len(times) + 2 * raters) / seconds, 1),
        "answer_ms_p50": round(1000 * cuts[49], 2),
        "answer_ms_p99": round(1000 * cuts[98], 2),
        "answer_ms_max": round(1000 * max(times), 2),
    }


# ---------------------------------------------------------------- cues


def cue_attacks(scratch: Path) -> list[dict[str, Any]]:
    """Run the cue attack on pairs of voices and return, for each, every cue before and after."""
    out = []
    for number, (candidate, baseline) in enumerate(CUE_PAIRS):
        run_dir = scratch / f"cues{number}"
        build(run_dir, texts=SENTENCES, candidate=candidate, baseline=baseline)
        report = seal(run_dir, channels=())
        out.append({"voices": [candidate, baseline], "cues": [cue.model_dump() for cue in report.cues]})
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurements and print them as a table; 1 when an answer was lost or a rater could not finish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--raters", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="audition-listening-") as name:
        scratch = Path(name)
        sealed = scratch / "run"
        build(sealed, texts=WORDS)
        seal(sealed, channels=())
        killed = kill_often(Path(shutil.copytree(sealed, scratch / "killed")), options.kills)
        figures = {
            "utc": utc_now(),
            "machine": {
                "cpus": os.cpu_count(),
                "processor": platform.machine(),
                "python": platform.python_version(),
            },
            "many_raters": many_raters(Path(shutil.copytree(sealed, scratch / "many")), options.raters),
            "kills": {
                "kills": killed.kills,
                "acknowledged": killed.acknowledged,
                "lost": len(killed.lost),
                "kept_without_acknowledgement": killed.unacknowledged_kept,
            },
            "cue_attack": cue_attacks(scratch),
        }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    sys.stdout.write(table(figures))
    return 0 if nothing_lost(figures) else 1


def nothing_lost(figures: dict[str, Any]) -> bool:
    """Say whether every acknowledged answer was found again, and every rater could rate all and finish."""
    many = figures["many_raters"]
    whole = many["raters_finished"] == many["raters"] and many["acknowledged"] == many["answers"]
    lost: int = many["lost"] + figures["kills"]["lost"]
    return whole and lost == 0


def table(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    many, kills = figures["many_raters"], figures["kills"]
    rows = [
        (f"{many['raters']} raters, {many['connections']} connections", f"{many['answers']} answers"),
        ("answers a second; requests a second", f"{many['answers_per_s']}; {many['requests_per_s']}"),
        (
            "an answer's way to the disk and back, p50, p99, longest",
            f"{many['answer_ms_p50']}, {many['answer_ms_p99']}, {many['answer_ms_max']} ms",
        ),
        ("raters who finished; acknowledged answers lost", f"{many['raters_finished']}; {many['lost']}"),
        (
            f"{kills['kills']} kills while answers came in: acknowledged; lost",
            f"{kills['acknowledged']}; {kills['lost']}",
        ),
    ]
    lines = ["| measured | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows), ""]
    lines += ["| voices | cue | before | after |", "|---|---|---|---|"]
    for attack in figures["cue_attack"]:
        lines += [
            f"| {', '.join(attack['voices'])} | {cue['cue']} | {cue['before']:.0%} | {cue['after']:.0%} |"
            for cue in attack["cues"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
