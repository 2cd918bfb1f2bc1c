"""Print how often the rule is wrong, and how far this program is from the table that was published for it.

Run: `python -m benchmarks.verdict [--simulations 60000] [--json PATH]`.

Published: simulation, issue 6: 60,000 tests a cell, one rater, integer 1-5 ratings, baseline mean 3.2, no taste.
Exact: enumeration by `bench.verdict.power`. Simulated: the test played (`benchmarks.ratings_model`), sharing no
arithmetic with it. Below it what a verdict prints: raters with tastes, who hear the same takes; computed, and played.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.verdict.power import POWER_GAPS, POWER_SDS, enumerated_pass_probability, pass_probability
from benchmarks.ratings_model import play, share_passed
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
MARGIN_TENTHS = 5
DESIGNS = ((1, 10), (1, 20), (2, 10), (3, 10), (3, 20), (5, 10), (10, 10))
"""Raters and pairs of the table that a verdict prints a row of."""
CROSSED_ERROR = 0.01
"""What `bench.verdict.power` promises of several raters; a simulated cell's own chance is added."""
SEED = 6
AREA = "verdict"


def cells(simulations: int) -> list[dict[str, Any]]:
    """Return every cell of the table: published, exact, simulated, and the errors in standard errors."""
    rng = np.random.default_rng(SEED)
    found: list[dict[str, Any]] = []
    for (sd, pairs), line in PUBLISHED.items():
        for gap, published in zip(POWER_GAPS, line, strict=True):
            exact = enumerated_pass_probability(gap=gap, sd=sd, pairs=pairs, margin_tenths=MARGIN_TENTHS)
            made = play(rng, simulations, gap=gap, sd=sd, pairs=pairs, taste_sd=0.0, take_share=0.0)
            simulated = share_passed(made, MARGIN_TENTHS)
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


def design_cells(simulations: int) -> list[dict[str, Any]]:
    """Return every cell of the designs: computed as a verdict has it, and simulated."""
    rng = np.random.default_rng(SEED)
    found: list[dict[str, Any]] = []
    for raters, pairs in DESIGNS:
        for sd in POWER_SDS:
            for gap in POWER_GAPS:
                design: dict[str, Any] = {"gap": gap, "sd": sd, "pairs": pairs, "raters": raters}
                computed = pass_probability(**design, margin_tenths=MARGIN_TENTHS)
                made = play(rng, simulations, **design)
                found.append({**design, "computed": computed, "simulated": share_passed(made, MARGIN_TENTHS)})
    return found


def design_table(found: list[dict[str, Any]]) -> str:
    """Return the cells as text, a block a design and SD."""
    lines = ["raters pairs SD               " + "".join(f"gap {gap:<6g}" for gap in POWER_GAPS)]
    for raters, pairs in DESIGNS:
        for sd in POWER_SDS:
            line = [c for c in found if (c["raters"], c["pairs"], c["sd"]) == (raters, pairs, sd)]
            for name in ("computed", "simulated"):
                head = f"{raters:<7d}{pairs:<6d}{sd:<6g}" if name == "computed" else " " * 19
                lines.append(f"{head}{name:<11}" + "".join(f"{cell[name]:<10.3f}" for cell in line))
    return "\n".join(lines)


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
    """Return how far the cells are from what was published and from play."""
    return rows_of(cells(simulations), design_cells(simulations), simulations)


def rows_of(found: list[dict[str, Any]], designs: list[dict[str, Any]], simulations: int) -> list[Row]:
    """Return the cells' greatest errors as rows."""
    worst = max(found, key=lambda cell: abs(cell["published_minus_exact"]))
    farthest = max(cell["standard_errors"] for cell in found)
    played = max(abs(cell["simulated"] - cell["exact"]) for cell in found)
    crossed = max(designs, key=lambda each: abs(each["simulated"] - each["computed"]))
    cell = {key: worst[key] for key in ("sd", "pairs", "gap")}
    crowded = play(
        np.random.default_rng(SEED), simulations, gap=1.0, sd=0.8, pairs=10, taste_sd=0.0, baseline_mean=4.3
    )
    chance = 3.5 * math.sqrt(0.25 / simulations)
    return [
        row(
            AREA, "greatest |published - exact| of 30 cells", abs(worst["published_minus_exact"]), "", **cell
        ),
        row(AREA, "the same in standard errors beyond rounding", farthest, "", 4.0),
        row(AREA, f"greatest |simulated - exact|, {simulations} a cell", played, ""),
        row(
            AREA, "baseline at 4.3: tests that miss 1 point (SD 0.8, 10 pairs)", 1 - share_passed(crowded), ""
        ),
        row(
            AREA,
            f"raters with tastes, shared takes: greatest |simulated - computed| of {len(designs)} cells",
            abs(crossed["simulated"] - crossed["computed"]),
            "",
            CROSSED_ERROR + chance,
            **{key: crossed[key] for key in ("sd", "pairs", "raters", "gap")},
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the cells and the greatest errors; 1 if one is beyond its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=PUBLISHED_SIMULATIONS)
    parser.add_argument("--json", type=Path, help="write cells and rows here, too")
    options = parser.parse_args(arguments)
    found, designs = cells(options.simulations), design_cells(options.simulations)
    rows = rows_of(found, designs, options.simulations)
    if options.json:
        written = {"cells": found, "designs": designs, "rows": rows}
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    sys.stdout.write(f"{cell_table(found)}\n\n{design_table(designs)}\n\n{table(rows)}\n")
    return 0 if all(each["ok"] is not False for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
