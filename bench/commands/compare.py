"""Several runs beside each other: refused where they did not measure the same thing.

Everything shown comes from `verdict.json`, which is silent on what a rater must not know yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.controller.run import Run
from bench.errors import BadInput, PhaseMissing
from bench.records.memory import Figure, MemoryFigures
from bench.records.run import Manifest, Preflight
from bench.records.take import Summary
from bench.records.verdict import Nothing, RatingsResult, Verdict
from bench.storage.record_file import load_record
from bench.summaries.summary import intervals_differ

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
    return Compared(manifest, verdict, hash_inputs(run, manifest))


def hash_inputs(run: Run, manifest: Manifest) -> dict[str, Any]:
    """Return what two runs must share for their figures to be compared: the host, the version of the method, and every
    input but the model and its profile."""
    same = manifest.inputs.model_dump(mode="json", exclude={"model", "profile", "entry_sha256"})
    found = {"host": manifest.host, "methodology_version": manifest.methodology_version, **same}
    try:
        facts = load_record(Preflight, run.path).host
    except FileNotFoundError:
        return found
    gpu = facts.get("gpu") or {}
    return found | {name: facts.get(name) for name in _HOST_FACTS} | {
        "gpu": gpu.get("names"),
        "gpu_driver": gpu.get("driver"),
    }  # fmt: skip


def find_mismatches(runs: Sequence[Compared]) -> list[str]:
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

    "Not significant": the 95% intervals of the two medians, as `verdict.json` has them, overlap. That is stricter
    than a test of the difference, and does not mean that the two are equal.

    Raises:
        BadInput: fewer than two runs, or runs that did not measure the same thing and no `anyway`.
        PhaseMissing: a run has no verdict.
    """
    if len({run.path for run in runs}) < 2:
        raise BadInput("a comparison needs two different runs at least.")
    found = [read(run) for run in runs]
    different = find_mismatches(found)
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
    ttfa, rtf = _figure(run, "ttfa_ms"), _figure(run, "rtf")
    ratings = run.verdict.ratings if isinstance(run.verdict.ratings, RatingsResult) else None
    return (
        run.manifest.run_id,
        run.manifest.profile,
        _number(ttfa.p50 if ttfa else None, 1),
        _number(ttfa.p95 if ttfa else None, 1),
        _number(rtf.p50 if rtf else None, 3),
        _memory(run.verdict.memory),
        _number(ratings.candidate_mean if ratings else None, 2),
        _number(ratings.baseline_mean if ratings else None, 2),
        run.verdict.decision,
    )


def _memory(memory: MemoryFigures | Nothing) -> str:
    for name in _MEMORY if memory else ():
        taken: Figure = getattr(memory, name)
        if taken.bytes is not None:
            return f"{taken.bytes / 2**30:.2f} GiB ({name})"
    return _NONE


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _against(first: Compared, other: Compared, figure: str, label: str) -> str:
    names = f"{other.manifest.model} against {first.manifest.model}, {label}"
    before, after = _figure(first, figure), _figure(other, figure)
    if before is None or after is None or (differ := intervals_differ(before, after)) is None:
        return f"{names}: cannot be said; a run has no such figure, or it is not to be shown yet"
    assert before.p50 is not None and after.p50 is not None
    if before.p50 <= 0 or after.p50 <= 0:
        return f"{names}: cannot be said; a median is not positive"
    ratio = before.p50 / after.p50
    word = f"{ratio:.2f}x faster" if ratio >= 1 else f"{1 / ratio:.2f}x slower"
    if not differ:
        return f"{names}: not significant ({word}; the 95% intervals of the medians overlap)"
    return f"{names}: {word}"


def _figure(run: Compared, name: str) -> Summary | None:
    latency = run.verdict.latency.get("candidate")
    return latency.figure(name) if latency is not None else None


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
