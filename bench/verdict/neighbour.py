"""What the neighbour's record says of its latency before and after."""

import math
from typing import Any

from bench.records.settings import P50_RATIO_LIMIT


def _p50(part: Any) -> float | None:
    value = part.get("p50_ms") if isinstance(part, dict) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def neighbour_summary(record: dict[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Return what the verdict keeps of `neighbour.json`, and its warnings. It decides nothing.

    Reads a few keys of `bench.neighbour.record.NeighbourRecord`, and leaves the rest to that file.
    """
    if not record:
        return {}, []
    before, after = _p50(record.get("before")), _p50(record.get("after"))
    limit = record.get("limit")
    limit = float(limit) if isinstance(limit, int | float) else P50_RATIO_LIMIT
    ratio = after / before if before and after is not None else None
    felt = record.get("felt")
    differences = [str(text) for text in record.get("differences") or []]
    kept = {
        "mode": record.get("mode"),
        "name": record.get("name"),
        "state": record.get("state"),
        "p50_before_ms": before,
        "p50_after_ms": after,
        "ratio": ratio,
        "limit": limit,
        "pauses": record.get("pauses"),
        "down_s": record.get("down_s"),
        "felt_p50_ms": felt.get("p50_ms") if isinstance(felt, dict) else None,
        "differences": differences,
    }
    warnings = []
    if record.get("error"):
        warnings.append(f"The neighbour: {record['error']}")
    elif ratio is not None and ratio > limit:
        warnings.append(
            f"The neighbour is up but slower than before: p50 {after:.0f} ms after and {before:.0f} ms "
            f"before ({ratio:.2f}x, limit {limit:g}x)."
        )
    elif record.get("mode") not in (None, "none") and ratio is None:
        warnings.append("The neighbour's latency before and after could not be compared.")
    if differences:
        warnings.append(f"The neighbour's container differs from before: {'; '.join(differences)}.")
    return kept, warnings
