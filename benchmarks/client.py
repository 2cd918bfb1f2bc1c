"""How right the stopwatch is, and what holding it costs.

Run: `python -m benchmarks.client [--json PATH] [--quick] [--realtime]`.

- Error of TTFA against the instrument's own stamps, at concurrency 1 and 64, for a WAV header that comes
  first and one that comes with the audio. `arrival` is our stamp of the first sample minus the instrument's
  stamp of sending it, both CLOCK_MONOTONIC of this host. `whole` also holds the way of the request, the
  waking of the instrument's thread, and its lateness. At 64 the takes begin spread over half a second, and
  once all together.
- The same stream read by common client idioms, beside ours.
- CPU seconds a take, and peak memory for 10, 1,000 and 10,000 utterances, each in a process of its own.

Each figure is of this host at this load; the load average stands beside them.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np

from bench.client.bodies import decode
from bench.client.dialects import find_dialect
from bench.client.session import Fetched, fetch, open_session, request_for
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.client.timing import quiet_gc
from bench.errors import AuditionError
from bench.records.run import Utterance
from bench.selftest.process import Running, running
from benchmarks.rows import Row, row, table

UTTERANCES = (10, 1000, 10000)
AREA = "client"


async def _take_all(
    instrument: Running, script: str, concurrency: int, n: int, spread_s: float
) -> list[tuple[str, Fetched]]:
    target = Target(instrument.url(script), dialect="openai_wav")
    session = await open_session(target, find_dialect("openai_wav"), None, Voice.by_name("x"), 10)
    numbers = iter(range(n))
    got: list[tuple[str, Fetched]] = []
    chance = random.Random(1)  # noqa: S311 - spreads arrivals, guards nothing

    async def asker() -> None:
        await asyncio.sleep(chance.uniform(0, spread_s))
        for index in numbers:
            key = f"take-{script.replace('_', '-')}-{concurrency}-{spread_s:g}-{index}".replace(".", "-")
            got.append((key, await fetch(session, request_for(session, key, None), 30)))

    with quiet_gc():
        await asyncio.gather(*(asker() for _ in range(concurrency)))
    return got


def stamp_errors(instrument: Running, script: str, concurrency: int, n: int, spread_s: float) -> list[Row]:
    """Return median and p99 of both errors of TTFA, milliseconds."""
    instrument.log()
    got = asyncio.run(_take_all(instrument, script, concurrency, n, spread_s))
    notes = {note["take"]: note for note in instrument.log()}
    arrival, whole, failed = [], [], 0
    for key, fetched in got:
        exchange = fetched.exchange
        if fetched.fault is not None or exchange is None:
            failed += 1
            continue
        first = decode(exchange.headers, exchange.body, None).events[0][0]
        sent = next(at for at, audio_ms in notes[key]["sent"] if audio_ms > 0)
        arrival.append((first - sent) / 1e6)
        whole.append((first - exchange.sent_ns - (sent - notes[key]["arrived_ns"])) / 1e6)
    limit = 2.0 if concurrency == 1 else 5.0
    together = "" if concurrency == 1 else (" spread" if spread_s > 0 else " in step")
    name = f"TTFA error, {script.replace('_', ' ')}, {concurrency} at once{together}"
    return error_rows(name, limit, {"arrival": arrival, "whole": whole}, failed)


def error_rows(name: str, limit: float, errors: dict[str, list[float]], failed: int) -> list[Row]:
    """Return median and p99 of each kind of error, ms; null where no take succeeded. `arrival` has the target."""
    rows = []
    for kind, values in errors.items():
        size = np.abs(values)
        p50, p99 = (float(q) for q in np.percentile(size, [50, 99])) if values else (None, None)
        held = limit if kind == "arrival" else None
        more = {"n": len(values), "failed": failed}
        rows.append(row(AREA, f"{name}: {kind} median", p50, "ms", **more))
        rows.append(row(AREA, f"{name}: {kind} p99", p99, "ms", held, **more))
    return rows


def idioms(instrument: Running) -> list[Row]:
    """Return the "TTFA" that each idiom reports on one stream: header at 0 ms, audio from 500 ms, 50 ms a
    chunk."""
    url = instrument.url("idioms") + "/v1/audio/speech"
    sized = {f"httpx.iter_bytes({size})": _httpx(url, size) for size in (None, 1024, 10240)}
    clients: dict[str, Callable[[], float]] = {
        "requests.iter_content(1)": lambda: _requests(url, True),
        "requests without stream": lambda: _requests(url, False),
        **sized,
        "http.client, whole body": lambda: _whole_body(url),
    }
    rows = [row(AREA, "one stream, true first sample", 500.0, "ms")]
    for name, read in clients.items():
        rows.append(row(AREA, f"one stream, {name}", float(np.median([read() for _ in range(3)])), "ms"))
    ours = []
    for _, fetched in asyncio.run(_take_all(instrument, "idioms", 1, 3, 0)):
        assert fetched.exchange is not None
        events = decode(fetched.exchange.headers, fetched.exchange.body, None).events
        ours.append((events[0][0] - fetched.exchange.sent_ns) / 1e6)
    return [*rows, row(AREA, "one stream, ours", float(np.median(ours)), "ms")]


def _requests(url: str, stream: bool) -> float:
    # In a process of its own: requests is not a dependency of bench, and only this comparison wants it.
    code = (
        "import requests, sys, time\n"
        "requests.get(sys.argv[1].rsplit('/s/', 1)[0] + '/log')\n"
        "begun = time.perf_counter()\n"
        "answer = requests.post(sys.argv[1], json={}, stream=sys.argv[2] == 'True')\n"
        "next(answer.iter_content())\n"
        "print((time.perf_counter() - begun) * 1e3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url, str(stream)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "no_proxy": "*"},  # it would go through the environment's proxy, and ours does not
    )
    return float(done.stdout)


def _httpx(url: str, size: int | None) -> Callable[[], float]:
    def read() -> float:
        with httpx.Client(trust_env=False, timeout=30) as client:
            begun = time.perf_counter()
            with client.stream("POST", url, json={}) as answer:
                next(answer.iter_bytes(size))
                return (time.perf_counter() - begun) * 1e3

    return read


def _whole_body(url: str) -> float:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    begun = time.perf_counter()
    connection.request("POST", parts.path, body=b"{}")
    connection.getresponse().read()
    return (time.perf_counter() - begun) * 1e3


def one_pass(url: str, n: int) -> dict[str, float]:
    """Run a pass of `n` utterances; return CPU seconds, wall seconds, peak MiB of this process, failures."""

    def said() -> Iterator[Utterance]:
        for index in range(n):
            yield Utterance(id=f"u{index:05d}", text=f"take-memory-{index}")

    with tempfile.TemporaryDirectory(prefix="audition-bench-") as scratch:
        begun, cpu = time.perf_counter(), time.process_time()
        result = run_takes(Target(url, dialect="openai"), said(), Voice.by_name("x"), Path(scratch))
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - begun
    # VmHWM, not ru_maxrss: the latter survives exec, and would show the peak of the parent.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_mib = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_mib": peak_mib, "failed": result.takes - result.ok}


def overhead(instrument: Running, counts: tuple[int, ...]) -> list[Row]:
    """Return CPU seconds a take and peak memory, by number of utterances."""
    rows, peaks = [], []
    for n in counts:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.client", "--pass", instrument.url("instant"), str(n)],
            capture_output=True,
            text=True,
            check=True,
        )
        instrument.log()
        found = json.loads(done.stdout)
        peaks.append(found["peak_mib"])
        rows.append(
            row(AREA, f"{n} utterances: peak memory", found["peak_mib"], "MiB", failed=found["failed"])
        )
        rows.append(
            row(
                AREA,
                f"{n} utterances: CPU a take",
                found["cpu_s"] / (n + 1) * 1e3,
                "ms",
                wall_s=found["wall_s"],
            )
        )
    growth = (peaks[-1] - peaks[0]) / peaks[0] * 100
    rows.append(row(AREA, f"memory growth from {counts[0]} to {counts[-1]} utterances", growth, "%", 10.0))
    return rows


def measure(*, quick: bool = False, realtime: bool = False) -> list[Row]:
    """Take every figure; `quick` takes fewer samples of each, for a look."""
    rows = [
        row(AREA, "load average over 1 minute, before", os.getloadavg()[0], ""),
        row(AREA, "real-time scheduling (1: asked for and had)", float(realtime), ""),
    ]
    with scheduled(realtime), running() as instrument:
        asyncio.run(_take_all(instrument, "wav_header_first", 4, 8, 0))
        for script in ("wav_header_first", "wav_header_with_audio"):
            rows += stamp_errors(instrument, script, 1, 20 if quick else 100, 0)
            for spread_s in (0.5, 0.0):
                rows += stamp_errors(instrument, script, 64, 128 if quick else 640, spread_s)
        rows += idioms(instrument)
        rows += overhead(instrument, UTTERANCES[:2] if quick else UTTERANCES)
    return [*rows, row(AREA, "load average over 1 minute, after", os.getloadavg()[0], "")]


@contextlib.contextmanager
def scheduled(realtime: bool) -> Iterator[None]:
    """Run the block, and what it starts, under SCHED_RR where that is asked for.

    Raises:
        AuditionError: CAP_SYS_NICE is missing.
    """
    if not realtime:
        yield
        return
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError as error:
        raise AuditionError(
            "--realtime needs CAP_SYS_NICE (run as root); leave it out on a quiet host"
        ) from error
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and write it as JSON; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--quick", action="store_true", help="fewer samples of each figure")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run client and instrument under SCHED_RR, so that other work on a shared host is not measured too",
    )
    parser.add_argument("--pass", nargs=2, metavar=("URL", "N"), dest="one_pass", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one_pass:
        sys.stdout.write(json.dumps(one_pass(options.one_pass[0], int(options.one_pass[1]))) + "\n")
        return 0
    rows = measure(quick=options.quick, realtime=options.realtime)
    sys.stdout.write(table(rows) + "\n")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(each["ok"] is not False for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
