"""The power table in docs/verdict.md is the one that the code gives."""

import re
from pathlib import Path
from typing import Any

from bench.verdict.power import POWER_GAPS, pass_probability

DOC = Path(__file__).parents[2] / "docs" / "verdict.md"


def test_the_documented_power_is_the_computed_one() -> None:
    rows = re.findall(
        r"^\| (0\.8|1\.0) \| (\d+) \| (\d+) \|(.+)\|$", DOC.read_text("utf-8"), flags=re.MULTILINE
    )
    assert len(rows) == 10
    for sd, raters, pairs, cells in rows:
        design: dict[str, Any] = {"sd": float(sd), "pairs": int(pairs), "raters": int(raters)}
        computed = [f"{pass_probability(gap=gap, margin_tenths=5, **design):.1%}" for gap in POWER_GAPS]
        assert [cell.strip() for cell in cells.split("|")] == computed
