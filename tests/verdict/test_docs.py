"""The power table in docs/verdict.md is the one that the code gives."""

import re
from pathlib import Path

from bench.verdict.statistics import POWER_GAPS, swap_probability

DOC = Path(__file__).parents[2] / "docs" / "verdict.md"


def test_the_documented_power_is_the_computed_one() -> None:
    rows = re.findall(r"^\| (0\.8|1\.0) \| (\d+) \|(.+)\|$", DOC.read_text("utf-8"), flags=re.MULTILINE)
    assert len(rows) == 6
    for sd, pairs, cells in rows:
        computed = [f"{swap_probability(gap=gap, sd=float(sd), pairs=int(pairs)):.1%}" for gap in POWER_GAPS]
        assert [cell.strip() for cell in cells.split("|")] == computed
