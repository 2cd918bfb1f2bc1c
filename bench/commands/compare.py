"""Several runs beside each other: refused where they did not measure the same thing.

Everything shown comes from `verdict.json`, which is silent on what a rater must not know yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.client.summary import bootstrap_median
from bench.controller.run import Run
from bench.errors import BadInput, PhaseMissing
from bench.records.run import Manifest, Preflight
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record

_HOST_FACTS = ("hostname", "machine", "cpus", "mem_total_bytes", "kernel", "python")
_MEMORY = ("gpu_process", "torch_reserved", "available_dip", "cgroup", "rss")
"""The first of these that was taken is shown, with its name."""
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Compared:
    """One run, as far as a comparison shows it."""

    manifest: Manifest
    verdict: Verdict
    fingerprint: dict[str, Any]


def read(run: Run) -> Compared:
    """Read a run.

    Raises:
        BadInput: a file of it is of another schema version.
        PhaseMissing: it has no verdict.
    """
    manifest = run.manifest()
    try:
        verdict = load_record(Verdict, run.path)
    except FileNotFoundError:
        raise PhaseMissing(
            f"{run.run_id} has no verdict; `audition verdict {run.run_id}` makes one."
        ) from None
    return Compared(manifest, verdict, fingerprint(run, manifest))


def fingerprint(run: Run, manifest: Manifest) -> dict[str, Any]:
    """Return what two runs must share for their figures to be compared: the host, and every input but the
    model and its profile."""
    same = manifest.inputs.model_dump(mode="json", exclude={"model", "profile", "entry_sha256"})
    found = {"host": manifest.host, **same}
    try:
        facts = load_record(Preflight, run.path).host
    except FileNotFoundError:
        return found
    gpu = facts.get("gpu") or {}
    return found | {name: facts.get(name) for name in _HOST_FACTS} | {
        "gpu": gpu.get("names"),
        "gpu_driver": gpu.get("driver"),
    }  # fmt: skip


def mismatches(runs: Sequence[Compared]) -> list[str]:
    """Return in what later runs differ from the first, in words."""
    first = runs[0]
    return [
        f"{run.manifest.run_id}: {name} is {run.fingerprint.get(name)!r}, not {value!r}"
        for run in runs[1:]
        for name, value in first.fingerprint.items()
        if run.fingerprint.get(name) != value
    ]


def compare(runs: Sequence[Run], *, anyway: bool = False) -> str:
    """Return a table of the runs and, for each after the first, how its latency stands to the first's.

    "Not significant": the 95% bootstrap intervals of the two medians overlap. That is stricter than a test of
    the difference, and does not mean that the two are equal.

    Raises:
        BadInput: fewer than two runs, or runs that did not measure the same thing and no `anyway`.
        PhaseMissing: a run has no verdict.
    """
    if len({run.path for run in runs}) < 2:
        raise BadInput("a comparison needs two different runs at least.")
    found = [read(run) for run in runs]
    different = mismatches(found)
    if different and not anyway:
        listed = "\n  ".join(different)
        raise BadInput(
            f"these runs did not measure the same thing:\n  {listed}\n--anyway compares them all the same."
        )
    lines = _table([_HEAD, *(_row(run) for run in found)])
    if different:
        lines += ["", "WARNING: they did not measure the same thing:", *(f"  {each}" for each in different)]
    lines.append("")
    for run in found[1:]:
        for figure, label in (("ttfa_ms", "time to first audio"), ("rtf", "real-time factor")):
            lines.append(_against(found[0], run, figure, label))
    return "\n".join(lines)


_HEAD = (
    "run", "profile", "ttfa p50 ms", "p95", "rtf p50", "memory peak", "rating", "baseline's", "decision",
)  # fmt: skip


def _row(run: Compared) -> tuple[str, ...]:
    latency = run.verdict.latency.get("candidate") or {}
    ttfa, rtf = latency.get("ttfa_ms") or {}, latency.get("rtf") or {}
    ratings = run.verdict.ratings
    return (
        run.manifest.run_id,
        run.manifest.profile,
        _number(ttfa.get("p50"), 1),
        _number(ttfa.get("p95"), 1),
        _number(rtf.get("p50"), 3),
        _memory(run.verdict.memory),
        _number(ratings.get("candidate_mean"), 2),
        _number(ratings.get("baseline_mean"), 2),
        run.verdict.decision,
    )


def _memory(memory: dict[str, Any]) -> str:
    for name in _MEMORY:
        taken = (memory.get(name) or {}).get("bytes")
        if taken is not None:
            return f"{taken / 2**30:.2f} GiB ({name})"
    return _NONE


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _against(first: Compared, other: Compared, figure: str, label: str) -> str:
    names = f"{other.manifest.model} against {first.manifest.model}, {label}"
    values = [_values(run, figure) for run in (first, other)]
    if any(len(each) < 2 for each in values):
        return f"{names}: cannot be said; a run has no such figure, or it is not to be shown yet"
    before, after = ((run.verdict.latency["candidate"][figure])["p50"] for run in (first, other))
    if before <= 0 or after <= 0:
        return f"{names}: cannot be said; a median is not positive"
    ratio = before / after
    word = f"{ratio:.2f}x faster" if ratio >= 1 else f"{1 / ratio:.2f}x slower"
    (low_a, high_a), (low_b, high_b) = (bootstrap_median(each) for each in values)
    if low_b <= high_a and low_a <= high_b:
        return f"{names}: not significant ({word}; the 95% intervals of the medians overlap)"
    return f"{names}: {word}"


def _values(run: Compared, figure: str) -> list[float]:
    summary = (run.verdict.latency.get("candidate") or {}).get(figure) or {}
    return [float(value) for value in summary.get("values", [])]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
