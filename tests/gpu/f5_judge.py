"""What the takes of bench_f5 say: rows, the criteria, and the Markdown table. Pure: no torch, no model."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.summaries.summary import summarise as distribution

PACKAGE, IN_LINE, UPSTREAM, FIRST_CLAUSE, GRAPHED, GRAPHED_FIRST, SOCKET = SYSTEMS = (
    "package", "package in line", "upstream", "first clause", "graphed", "graphed, first clause", "socket",
)  # fmt: skip
MIN_TAKES = 20
"""Of every way under every condition."""
MOST_GRAPHED_DIFFERENCE = 3e-4
"""Of the graphed solver's mel to the package's, relative, in the model's own precision and for one seed."""
MOST_OVER_PACKAGE = 1.02
"""Of the adapter's total time at profile `upstream` to that of the package solving in the same thread."""

Take = dict[str, Any]


def order(systems: Sequence[str], number: int, index: int) -> tuple[str, ...]:
    """Return the order of `systems` for text `index` of round `number`.

    It moves on by one with every text, so each way is first, second, ... equally often, and odd rounds go
    backwards, so that none always follows the same other.
    """
    shift = (number + index) % len(systems)
    turned = (*systems[shift:], *systems[:shift])
    return turned[::-1] if number % 2 else turned


def summarise(takes: list[Take]) -> list[dict[str, Any]]:
    """Return a row per condition, with medians over the takes and the median paired ratios to the package."""
    rows = []
    conditions = {(t["nfe"], t["reference_s"]): None for t in takes}
    for system in SYSTEMS:
        for steps, reference_s in conditions:
            of = [
                t for t in takes if (t["system"], t["nfe"], t["reference_s"]) == (system, steps, reference_s)
            ]
            if not of:
                continue
            against: dict[str, Any] = {}
            for name, other in (("package", PACKAGE), ("in_line", IN_LINE)):
                ratios = paired(takes, system, other, steps, reference_s)
                against[f"total_over_{name}_p50"] = statistics.median(ratios) if ratios else None
                against[f"total_over_{name}_95"] = interval(ratios)
            rows.append({
                "system": system, "nfe": steps, "reference_s": reference_s, "takes": len(of),
                "ttfa_p50_ms": statistics.median(t["ttfa_ms"] for t in of),
                "ttfa_p95_ms": float(np.percentile([t["ttfa_ms"] for t in of], 95)),
                "total_p50_ms": statistics.median(t["total_ms"] for t in of),
                "rtf_p50": statistics.median(t["total_ms"] / 1e3 / t["audio_s"] for t in of),
            } | against)  # fmt: skip
    return rows


def paired(
    takes: list[Take], system: str, other: str, steps: int | None = None, reference_s: float | None = None
) -> list[float]:
    """Return `system`'s total over `other`'s, for each text of each round in which both spoke."""

    def key(take: Take) -> tuple[Any, ...]:
        return take["nfe"], take["reference_s"], take["text"], take["round"]

    others = {key(t): t["total_ms"] for t in takes if t["system"] == other}
    return [
        t["total_ms"] / others[key(t)]
        for t in takes
        if t["system"] == system and key(t) in others
        and steps in (None, t["nfe"]) and reference_s in (None, t["reference_s"])
    ]  # fmt: skip


def interval(values: list[float]) -> list[float] | None:
    """Return the 95% bootstrap interval of the median; None for fewer than five values."""
    if len(values) < 5:
        return None
    found = distribution(values)
    assert found.p50_low is not None and found.p50_high is not None
    return [found.p50_low, found.p50_high]


def judge(
    takes: list[Take],
    compared: list[dict[str, Any]],
    mels: list[dict[str, Any]],
    conditions: list[tuple[int, float]],
) -> list[dict[str, Any]]:
    """Return the criteria, each with `passed` and what was found.

    The ratio is judged over all conditions together, where noise is least; and no condition's interval may lie
    above the limit as a whole.
    """
    counts = {
        (system, *condition): sum(
            (t["system"], t["nfe"], t["reference_s"]) == (system, *condition) for t in takes
        )
        for system in SYSTEMS
        for condition in conditions
    }
    fewest = min(counts, key=lambda key: counts[key])
    in_line, package = paired(takes, UPSTREAM, IN_LINE), paired(takes, UPSTREAM, PACKAGE)
    each = {c: paired(takes, UPSTREAM, IN_LINE, *c) for c in conditions}
    above = [
        c for c in conditions if (bounds := interval(each[c])) is not None and bounds[0] > MOST_OVER_PACKAGE
    ]
    found = f"median {_ratio(in_line)}; to the package as it is called {_ratio(package)}; " + ", ".join(
        f"NFE {steps} reference {reference_s:g} s {_ratio(each[steps, reference_s])}"
        for steps, reference_s in conditions
    )
    unequal = [c for c in compared if not c["equal"]]
    where = {(c["nfe"], c["reference_s"]) for c in compared}
    return [
        {
            "criterion": f"at least {MIN_TAKES} interleaved takes of every way under every condition",
            "passed": counts[fewest] >= MIN_TAKES,
            "found": f"fewest: {counts[fewest]}, of {fewest[0]} at NFE {fewest[1]}, reference {fewest[2]:g} s",
        },
        {
            "criterion": f"upstream takes at most {MOST_OVER_PACKAGE}x the package's time in the same thread",
            "passed": bool(in_line) and statistics.median(in_line) <= MOST_OVER_PACKAGE and not above,
            "found": found,
        },
        {
            "criterion": "the same seed gives the package's audio, sample for sample, under every condition",
            "passed": not unequal and where == set(conditions),
            "found": f"{len(compared) - len(unequal)} of {len(compared)} equal; differing: "
            + (", ".join(f"NFE {c['nfe']} reference {c['reference_s']:g} s '{c['text']}' by "
                         f"{c['largest_difference']}" for c in unequal) or "none"),
        },
        {
            "criterion": f"the graphed solver's mel is within {MOST_GRAPHED_DIFFERENCE:g} of the package's",
            "passed": bool(mels) and all(m["graphed"] <= MOST_GRAPHED_DIFFERENCE for m in mels),
            "found": "; ".join(
                f"NFE {m['nfe']} reference {m['reference_s']:g} s {m['graphed']:.1e} (the package itself in float32: "
                f"{m['package_in_float32']:.1e})" for m in mels),
        },
    ]  # fmt: skip


def _ratio(ratios: list[float]) -> str:
    if not ratios:
        return "none"
    bounds = interval(ratios)
    middle = f"{statistics.median(ratios):.3f}"
    return middle if bounds is None else f"{middle} ({bounds[0]:.3f} to {bounds[1]:.3f})"


def table(result: dict[str, Any]) -> str:
    """Return the rows, the memory and the criteria as Markdown."""
    lines = [
        "| way | NFE | reference | takes | TTFA p50 | p95 | total p50 | RTF p50 | total / package | / in line |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        ratios = []
        for name in ("package", "in_line"):
            middle, bounds = r[f"total_over_{name}_p50"], r[f"total_over_{name}_95"]
            ratios.append("-" if middle is None else f"{middle:.3f}")
            if bounds:
                ratios[-1] += f" ({bounds[0]:.3f} to {bounds[1]:.3f})"
        lines.append(
            f"| {r['system']} | {r['nfe']} | {r['reference_s']:.0f} s | {r['takes']} | {r['ttfa_p50_ms']:.0f} ms "
            f"| {r['ttfa_p95_ms']:.0f} ms | {r['total_p50_ms']:.0f} ms | {r['rtf_p50']:.3f} "
            f"| {ratios[0]} | {ratios[1]} |"
        )
    lines += [
        "",
        "| way | NFE | reference | torch allocated | torch reserved | NVML | from |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in result["memory"]:
        sizes = [
            _mib(m.get(k)) for k in ("torch_peak_allocated_bytes", "torch_peak_reserved_bytes", "nvml_bytes")
        ]
        lines.append(
            f"| {m['system']} | {m['nfe']} | {m['reference_s']:.0f} s | {' | '.join(sizes)} "
            f"| {m['nvml_from'] or m['nvml_error']} |"
        )
    steps = {where: round(statistics.median(ms), 1) for where, ms in result["step_ms"].items()}
    lines += ["", f"Two steps, ms: {steps}", ""]
    for j in result["judged"]:
        lines.append(f"judged {'passed' if j['passed'] else 'FAILED'}: {j['criterion']}: {j['found']}")
    return "\n".join(lines)


def _mib(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**20:.0f} MiB"
