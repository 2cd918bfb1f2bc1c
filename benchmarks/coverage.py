"""Print how often the 95% interval of the mean difference holds the true one, by playing the test.

Run: `python -m benchmarks.coverage [--simulations 4000] [--json PATH]`.

A line is one design: its raters and pairs, with true differences of 0, 0.5 and 1 and pairs of SD 0.8 and 1.0, six
cells in all; the mean of the cells and the farthest are printed. What a verdict takes for granted (tastes of SD 0.4,
takes that all hear) has a limit: from 93% to 97% in the mean. Below it raters of one taste and of SD 0.8, and takes
that have nothing over each other, for a reader to see how much hangs on it. Beside it the interval of method 3 (a
percentile bootstrap) and Satterthwaite's.

The true difference is that of all raters and all sentences; of a single rater, theirs. It is taken after rounding,
which draws differences together near the ends of the scale.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from bench.verdict.intervals import Interval, bootstrap_interval, mean_interval
from bench.verdict.power import POWER_TAKE_SHARE, POWER_TASTE_SD
from benchmarks.ratings_model import play
from benchmarks.rows import Row, row, table

AREA = "coverage"
DESIGNS = ((1, 10), (1, 20), (1, 40), (2, 10), (2, 20), (3, 10), (3, 20), (5, 10), (8, 10))
"""Raters and pairs."""
GAPS = (0.0, 0.5, 1.0)
SDS = (0.8, 1.0)
OTHER_ASSUMPTIONS = ((0.0, 0.0), (0.0, POWER_TAKE_SHARE), (2 * POWER_TASTE_SD, POWER_TAKE_SHARE))
"""SD of taste, and the takes' share of a pair's SD."""
AIM, REACH = 95.0, 2.0
"""Percent, and how far from it the mean of a design's cells may be."""
SIMULATIONS = 4000
"""Tests a cell."""
FOR_THE_TRUTH = 1_000_000
SEED = 11


def satterthwaite_interval(rows: Sequence[Sequence[int]]) -> tuple[Interval, str]:
    """Return the interval with one t whose degrees of freedom are estimated, components below 0 taken as 0."""
    values = np.array(rows, dtype=np.float64)
    raters, pairs = values.shape
    if raters == 1:
        return mean_interval(rows)
    mean = float(values.mean())
    by_rater, by_pair = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_rater[:, None] - by_pair[None, :] + mean
    free = (raters - 1, pairs - 1, (raters - 1) * (pairs - 1))
    squares = (
        pairs * by_rater.var(ddof=1), raters * by_pair.var(ddof=1), (rest**2).sum() / free[2]
    )  # fmt: skip
    signs = (squares[0] > squares[2], squares[1] > squares[2])
    parts = [
        (sign, square, degrees)
        for sign, square, degrees in zip(
            (*signs, -1 if all(signs) else not any(signs)), squares, free, strict=True
        )
        if sign
    ]
    variance = sum(sign * square for sign, square, _ in parts)
    of_variance = sum(square**2 / degrees for _, square, degrees in parts)
    degrees = max(1.0, variance**2 / of_variance) if of_variance > 0 else 1.0
    half = float(stdtrit(degrees, 0.975)) * math.sqrt(variance / values.size)
    return (mean - half, mean + half), "Satterthwaite"


INTERVALS: dict[str, Callable[[Sequence[Sequence[int]]], tuple[Interval, str]]] = {
    "in use": mean_interval,
    "Satterthwaite": satterthwaite_interval,
    "method 3": bootstrap_interval,
}


def cells(simulations: int) -> list[dict[str, Any]]:
    """Return the coverage of every cell by every interval, as shares."""
    rng = np.random.default_rng(SEED)
    found: list[dict[str, Any]] = []
    for taste_sd, take_share in ((POWER_TASTE_SD, POWER_TAKE_SHARE), *OTHER_ASSUMPTIONS):
        for raters, pairs in DESIGNS:
            if raters == 1 and taste_sd != POWER_TASTE_SD:
                continue  # of one rater the interval is of their own difference, whatever others' are
            for gap, sd in itertools.product(GAPS, SDS):
                own: dict[str, Any] = {
                    "gap": gap,
                    "sd": sd,
                    "take_share": take_share,
                    "taste_sd": 0.0 if raters == 1 else taste_sd,
                }
                true = float(play(rng, FOR_THE_TRUTH, pairs=1, **own).mean())
                made = play(rng, simulations, pairs=pairs, raters=raters, **own)
                held = {name: _held(find, made, true) for name, find in INTERVALS.items()}
                found.append(
                    {**own, "taste_sd": taste_sd, "raters": raters, "pairs": pairs, "true": true, **held}
                )
    return found


def _held(
    find: Callable[[Sequence[Sequence[int]]], tuple[Interval, str]], made: np.ndarray[Any, Any], true: float
) -> float:
    inside = 0
    for test in made.tolist():
        (low, high), _ = find(test)
        inside += low <= true <= high
    return inside / len(made)


def rows_of(found: list[dict[str, Any]]) -> list[Row]:
    """Return a row a design: how many points the mean of its cells is from 95%."""
    rows = []
    for raters, pairs in DESIGNS:
        line = _design(found, POWER_TASTE_SD, POWER_TAKE_SHARE, raters, pairs)
        mean = 100.0 * float(np.mean([cell["in use"] for cell in line]))
        name = f"{raters} rater{'s' if raters > 1 else ''}, {pairs} pairs: |coverage - 95%|, coverage {mean:.1f}%"
        rows.append(row(AREA, name, abs(mean - AIM), "points", REACH))
    return rows


def cell_table(found: list[dict[str, Any]]) -> str:
    """Return the coverage of every design as text: the mean of its cells, and in brackets the lowest and highest."""
    lines = ["taste takes raters pairs " + "".join(f"{name:<22}" for name in INTERVALS)]
    for taste_sd, take_share in ((POWER_TASTE_SD, POWER_TAKE_SHARE), *OTHER_ASSUMPTIONS):
        for raters, pairs in DESIGNS:
            line = _design(found, taste_sd, take_share, raters, pairs)
            if line:
                head = f"{taste_sd:<6g}{take_share:<6g}{raters:<7d}{pairs:<6d}"
                lines.append((head + "".join(f"{_spell(line, name):<22}" for name in INTERVALS)).rstrip())
    return "\n".join(lines)


def _design(
    found: list[dict[str, Any]], taste_sd: float, take_share: float, raters: int, pairs: int
) -> list[dict[str, Any]]:
    wanted = (taste_sd, take_share, raters, pairs)
    return [c for c in found if (c["taste_sd"], c["take_share"], c["raters"], c["pairs"]) == wanted]


def _spell(line: list[dict[str, Any]], name: str) -> str:
    values = [100.0 * cell[name] for cell in line]
    return f"{np.mean(values):.1f}% ({min(values):.1f}-{max(values):.1f})"


def measure(simulations: int = SIMULATIONS) -> list[Row]:
    """Return the rows."""
    return rows_of(cells(simulations))


def main(arguments: list[str] | None = None) -> int:
    """Print the coverage; 1 if a design that the verdict's assumptions hold for is outside 93% to 97%."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--json", type=Path, help="write cells and rows here, too")
    options = parser.parse_args(arguments)
    found = cells(options.simulations)
    rows = rows_of(found)
    if options.json:
        options.json.write_text(json.dumps({"cells": found, "rows": rows}, indent=2) + "\n")
    sys.stdout.write(f"{cell_table(found)}\n\n{table(rows)}\n")
    return 0 if all(each["ok"] is not False for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
