"""Print how often the rule is wrong, and how far this program is from the table that was published for it.

Run: `python -m benchmarks.verdict [--simulations 60000] [--json PATH]`.

Published: simulation, issue 6: 60,000 tests a cell, integer 1-5 ratings, baseline mean 3.2. Exact:
enumeration by `bench.verdict.statistics.swap_probability`. Simulated: the test played here, sharing no
arithmetic with it.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.verdict.statistics import (
    POWER_GAPS,
    bootstrap_interval,
    simulated_swap_probability,
    swap_probability,
)
from benchmarks.rows import Row, row, table

PUBLISHED: dict[tuple[float, int], tuple[float, ...]] = {
    (0.8, 10): (0.054, 0.230, 0.552, 0.838, 0.966),
    (0.8, 20): (0.008, 0.123, 0.526, 0.895, 0.993),
    (0.8, 40): (0.000, 0.042, 0.498, 0.954, 1.00),
    (1.0, 10): (0.089, 0.264, 0.531, 0.783, 0.929),
    (1.0, 20): (0.022, 0.164, 0.505, 0.843, 0.975),
    (1.0, 40): (0.002, 0.070, 0.478, 0.909, 0.996),
}
"""Simulation, issue 6: integer 1-5 ratings, baseline mean 3.2; by SD and pairs, a figure for each of `POWER_GAPS`."""
PUBLISHED_SIMULATIONS = 60_000
"""Tests a cell."""
SEED = 6
AREA = "verdict"


def cells(simulations: int) -> list[dict[str, Any]]:
    """Return every cell of the table: published, exact, simulated, and the errors in standard errors."""
    rng = np.random.default_rng(SEED)
    found: list[dict[str, Any]] = []
    for (sd, pairs), line in PUBLISHED.items():
        for gap, published in zip(POWER_GAPS, line, strict=True):
            exact = swap_probability(gap=gap, sd=sd, pairs=pairs)
            simulated = simulated_swap_probability(
                gap=gap, sd=sd, pairs=pairs, simulations=simulations, rng=rng
            )
            error = math.sqrt(max(exact * (1.0 - exact), 1e-12) / PUBLISHED_SIMULATIONS)
            found.append(
                {
                    "sd": sd,
                    "pairs": pairs,
                    "gap": gap,
                    "published": published,
                    "exact": exact,
                    "simulated": simulated,
                    "published_minus_exact": published - exact,
                    # The table has three digits: up to half a digit of the difference is rounding.
                    "standard_errors": max(0.0, abs(published - exact) - 0.0005) / error,
                }
            )
    return found


def cell_table(found: list[dict[str, Any]]) -> str:
    """Return the cells as text, a block a row of the published table."""
    lines = ["SD   pairs            " + "".join(f"gap {gap:<6g}" for gap in POWER_GAPS)]
    for sd, pairs in PUBLISHED:
        row = [cell for cell in found if (cell["sd"], cell["pairs"]) == (sd, pairs)]
        for name in ("published", "exact", "simulated"):
            head = f"{sd:<5g}{pairs:<6d}" if name == "published" else " " * 11
            lines.append(f"{head}{name:<11}" + "".join(f"{cell[name]:<10.3f}" for cell in row))
    return "\n".join(lines)


def measure(simulations: int = PUBLISHED_SIMULATIONS) -> list[Row]:
    """Return how far the cells are from what was published and from play, and what the bootstrap costs."""
    return rows_of(cells(simulations), simulations)


def rows_of(found: list[dict[str, Any]], simulations: int) -> list[Row]:
    """Return the cells' greatest errors as rows."""
    worst = max(found, key=lambda cell: abs(cell["published_minus_exact"]))
    farthest = max(cell["standard_errors"] for cell in found)
    played = max(abs(cell["simulated"] - cell["exact"]) for cell in found)
    began = time.perf_counter()
    bootstrap_interval([[1, 0, 1, 0, 2, 1, 0, 0, 1, 1]] * 1000)
    bootstrap_ms = (time.perf_counter() - began) * 1000.0
    cell = {key: worst[key] for key in ("sd", "pairs", "gap")}
    return [
        row(
            AREA, "greatest |published - exact| of 30 cells", abs(worst["published_minus_exact"]), "", **cell
        ),
        row(AREA, "the same in standard errors beyond rounding", farthest, "", 4.0),
        row(AREA, f"greatest |simulated - exact|, {simulations} a cell", played, ""),
        row(AREA, "exact two-stage bootstrap, 1000 raters of 10 pairs", bootstrap_ms, "ms"),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the cells and the greatest errors; 1 if a published cell is beyond four standard errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=PUBLISHED_SIMULATIONS)
    parser.add_argument("--json", type=Path, help="write cells and rows here, too")
    options = parser.parse_args(arguments)
    found = cells(options.simulations)
    rows = rows_of(found, options.simulations)
    if options.json:
        options.json.write_text(json.dumps({"cells": found, "rows": rows}, indent=2) + "\n")
    sys.stdout.write(f"{cell_table(found)}\n\n{table(rows)}\n")
    return 0 if all(each["ok"] is not False for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
