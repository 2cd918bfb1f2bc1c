"""What the neighbour's record says of its latency before and after."""

from bench.records.neighbour import NeighbourRecord
from bench.records.verdict import NeighbourSummary, Nothing


def neighbour_summary(record: NeighbourRecord | None) -> tuple[NeighbourSummary | Nothing, list[str]]:
    """Return what the verdict keeps of `neighbour.json`, and its warnings. It decides nothing."""
    if record is None:
        return Nothing(), []
    before, after = record.before.p50_ms, record.after.p50_ms
    ratio = after / before if before and after is not None else None
    kept = NeighbourSummary(
        mode=record.mode,
        name=record.name,
        state=record.state,
        p50_before_ms=before,
        p50_after_ms=after,
        ratio=ratio,
        limit=record.limit,
        pauses=record.pauses,
        down_s=record.down_s,
        felt_p50_ms=record.felt.p50_ms if record.felt else None,
        differences=record.differences,
    )
    warnings = []
    if record.error:
        warnings.append(f"The neighbour: {record.error}")
    elif ratio is not None and ratio > record.limit:
        warnings.append(
            f"The neighbour is up but slower than before: p50 {after:.0f} ms after and {before:.0f} ms "
            f"before ({ratio:.2f}x, limit {record.limit:g}x)."
        )
    elif record.mode != "none" and ratio is None:
        warnings.append("The neighbour's latency before and after could not be compared.")
    if record.differences:
        warnings.append(f"The neighbour's container differs from before: {'; '.join(record.differences)}.")
    return kept, warnings
