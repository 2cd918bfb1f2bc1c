"""Does the client say of a real server what a tap on the wire says of it?

Run: `python -m benchmarks.wire URL (--entry FILE.yml | --dialect NAME [--rate HZ] [--voice NAME]) [--takes N]
[--json PATH]`.

Between the client and the server stands a proxy that notes when each piece of each answer came (benchmarks/tap.py). The
takes of the standard sentences are measured by the client as in every pass; TTFA, total and stalls are then reckoned
from the tap's notes alone, by code of its own (benchmarks/heard.py), and the two are compared take by take. What the
proxy itself adds, twice some tenths of a millisecond, is in the differences. Exits with 1 where a take failed, or where
the median difference passes the self-test's tolerance.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bench.catalog.entry import HttpRun
from bench.catalog.loader import read as read_entry
from bench.client.takes import TAKES_FILE, WARMUP, run_takes
from bench.client.target import Target, Voice
from bench.errors import AuditionError, BadInput
from bench.inputs import utterances
from bench.records.run import Utterance
from bench.records.take import Take
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from benchmarks.heard import Heard, hear
from benchmarks.rows import Row, row, table
from benchmarks.tap import Tapped, tapping

AREA = "wire"
SENTENCES = Path(utterances.__file__).with_name("utterances.txt")
LIMITS = {"ttfa_ms": 5.0, "total_ms": 5.0, "stalls": 0.0, "stall_ms": 10.0}
"""Of the median difference: what the self-test allows one take at a time (docs/measuring.md)."""
UNITS = {"stalls": ""}


def measure(
    url: str, run: HttpRun, takes: int, hold_s: float = 0.0
) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows, and both sides' figures of each take.

    Args:
        url: root of the server.
        run: how it is spoken to, as a catalog entry says it.
        takes: how many; the sentences come round again.
        hold_s: how long the tap keeps back each piece that it has noted (a test's).

    Raises:
        BadInput: an address that cannot be tapped.
        AuditionError: the server cannot be used, or sends what the tap cannot read.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise BadInput(f"{url}: a tap reads plain http alone; give the server's http://host:port.")
    before = os.getloadavg()[0]
    with (
        tapping(parts.hostname, parts.port or 80, hold_s) as tap,
        tempfile.TemporaryDirectory(prefix="audition-bench-") as scratch,
    ):
        tapped_url = f"http://127.0.0.1:{tap.port}{parts.path}"
        run_takes(Target.from_run(run, tapped_url), _sentences(takes), Voice(name=run.voice), Path(scratch))
        noted = tap.stop()
        lines = (Path(scratch) / TAKES_FILE).read_text(encoding="utf-8").splitlines()
    said = [Take.model_validate_json(line) for line in lines]
    pairs = [
        (take, hear(attempts, run.sample_rate_hz))
        for take, attempts in zip(said, _by_take(noted), strict=True)
        if not take.warmup and take.error is None
    ]
    failed = [take for take in said if take.error is not None]
    rows = [
        row(AREA, "load average over 1 minute, before", before, ""),
        row(AREA, "load average over 1 minute, after", os.getloadavg()[0], ""),
        row(AREA, "takes", float(len(pairs)), "", failed=len(failed), errors=[str(t.error) for t in failed]),
        row(AREA, "takes that streamed", float(sum(take.streamed is True for take, _ in pairs)), ""),
        *(each for figure in LIMITS for each in _compare(figure, pairs)),
    ]
    return rows, [_both(take, heard) for take, heard in pairs]


def _sentences(takes: int) -> Iterator[Utterance]:
    every = list(utterances.read(SENTENCES))
    for index in range(takes):
        said = every[index % len(every)]
        yield Utterance(id=f"{said.id}-{index // len(every)}", text=said.text)


def _by_take(noted: Sequence[Tapped]) -> list[list[Tapped]]:
    """Return the connections of each take, the warm-up's first. Two takes in a row never say the same."""
    texts = [WARMUP.text, *(said.text for said in utterances.read(SENTENCES))]
    forms = [(text.encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()) for text in texts]

    def which(passed: Tapped) -> int | None:
        asked = b"".join(data for _, data in passed.asked)
        return next((index for index, form in enumerate(forms) if any(text in asked for text in form)), None)

    # What was asked before the warm-up (its text is the first) was asked to find the dialect.
    spoken = itertools.dropwhile(lambda passed: which(passed) != 0, noted)
    return [list(group) for text, group in itertools.groupby(spoken, which) if text is not None]


def _compare(figure: str, pairs: Sequence[tuple[Take, Heard]]) -> list[Row]:
    """Return what the tap has as the median and the sum, and median, p99 and maximum of the differences."""
    unit = UNITS.get(figure, "ms")
    seen = [float(getattr(heard, figure)) for _, heard in pairs]
    missed = sum(getattr(take, figure) is None for take, _ in pairs)
    off = [
        abs(getattr(take, figure) - getattr(heard, figure))
        for take, heard in pairs
        if getattr(take, figure) is not None
    ]
    median, p99, most = (float(each) for each in np.percentile(off, [50, 99, 100])) if off else (None,) * 3
    name = f"{figure}: the client's difference from the tap"
    return [
        row(
            AREA,
            f"{figure}: median of the tap",
            float(np.median(seen)) if seen else None,
            unit,
            sum=sum(seen),
        ),
        row(AREA, f"{name}, median", median, unit, LIMITS[figure], failed=missed),
        row(AREA, f"{name}, p99", p99, unit),
        row(AREA, f"{name}, largest", most, unit),
    ]


def _both(take: Take, heard: Heard) -> dict[str, Any]:
    client = {figure: getattr(take, figure) for figure in asdict(heard)}
    return {"utterance_id": take.utterance_id, "client": client, "tap": asdict(heard)}


def _how(options: argparse.Namespace) -> HttpRun:
    if options.entry is None:
        return HttpRun(kind="http", dialect=options.dialect, sample_rate_hz=options.rate, voice=options.voice)
    run = read_entry(options.entry).run
    if not isinstance(run, HttpRun):
        raise BadInput(f"{options.entry}: a tap stands before a server of kind http; this entry is another.")
    return run


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a take failed or a median is too far off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="root of the server, http://host:port")
    parser.add_argument("--entry", type=Path, help="catalog entry of kind http that says how it is spoken to")
    parser.add_argument(
        "--dialect", default="auto", help="without an entry: the dialect (default: found by asking)"
    )
    parser.add_argument("--rate", type=int, help="without an entry: rate of PCM that no header states")
    parser.add_argument("--voice", help="without an entry: the voice to ask for by name")
    parser.add_argument("--takes", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--json", type=Path, help="write the rows and each take's figures here too")
    options = parser.parse_args(arguments)
    try:
        rows, takes = measure(options.url, _how(options), options.takes)
    except AuditionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    ok = all(each["ok"] is not False for each in rows)
    if options.json is not None:
        written = {"utc": utc_now(), "url": options.url, "ok": ok, "rows": rows, "takes": takes}
        write_atomically(options.json, (json.dumps(written, indent=2) + "\n").encode())
    sys.stdout.write(table(rows) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
