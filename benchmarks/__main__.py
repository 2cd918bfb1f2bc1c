"""Every figure of the measuring instrument, as one table and as one JSON file.

Run: `python -m benchmarks [--json PATH] [--quick] [--realtime] [--only AREA ...]` (`make bench`). A target
that is missed, or an area that breaks, stops nothing: the rest is measured, and the exit code is 1 at the end. A figure
that this machine cannot give is null with its reason.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from benchmarks import client, coverage, engines, metrics, nvml, verdict
from benchmarks.rows import Row, row, table

JSON = Path(".cache/bench.json")


def areas(quick: bool, realtime: bool) -> dict[str, Callable[[], list[Row]]]:
    """Return what measures each area, by name."""
    return {
        "client": lambda: client.measure(quick=quick, realtime=realtime),
        "coverage": lambda: coverage.measure(1_000 if quick else coverage.SIMULATIONS),
        "engines": lambda: engines.measure(quick=quick),
        "metrics": lambda: metrics.measure(repeats=1 if quick else 3),
        "nvml": lambda: nvml.rows(),
        "verdict": lambda: verdict.measure(6_000 if quick else verdict.PUBLISHED_SIMULATIONS),
    }


def measure(wanted: dict[str, Callable[[], list[Row]]]) -> list[Row]:
    """Return the rows of every area; one that raises is a row that says so."""
    rows: list[Row] = []
    for area, take in wanted.items():
        sys.stderr.write(f"measuring: {area}\n")
        try:
            rows += take()
        except Exception as error:  # noqa: BLE001 - whatever broke one area, the others are wanted still
            broken = {"ok": False, "reason": f"{type(error).__name__}: {error}"}
            rows.append({**row(area, "measured", None, ""), **broken})
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=JSON, help=f"where the rows go too (default: {JSON})")
    parser.add_argument("--quick", action="store_true", help="fewer samples of each figure")
    parser.add_argument(
        "--realtime", action="store_true", help="the client's area under SCHED_RR (needs root)"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="AREA", choices=areas(False, False), help="these areas alone"
    )
    options = parser.parse_args(arguments)
    every = areas(options.quick, options.realtime)
    rows = measure({name: take for name, take in every.items() if name in (options.only or every)})
    host = {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    written = {
        "utc": utc_now(),
        "host": host,
        "ok": all(each["ok"] is not False for each in rows),
        "rows": rows,
    }
    write_atomically(options.json, (json.dumps(written, indent=2) + "\n").encode())
    missed = [each["name"] for each in rows if each["ok"] is False]
    last = (
        f"{len(missed)} of {len(rows)} rows missed: {'; '.join(missed)}"
        if missed
        else f"{len(rows)} rows, none missed"
    )
    sys.stdout.write(f"{table(rows)}\n{last}\nalso in {options.json}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
