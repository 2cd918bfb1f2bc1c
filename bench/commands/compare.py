"""Several runs beside each other: refused where they did not measure the same thing. Hosts may differ: then it is said
in what, and each model on each host stands for itself.

Which model is faster is said of models that were run at least twice each, by the spread between runs
(bench/summaries/between.py); one run says nothing of what the machine does the next time.

Everything shown comes from `verdict.json`, which is silent on what a rater must not know yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.controller.run import Run
from bench.errors import BadInput, PhaseMissing
from bench.records.memory import Figure, MemoryFigures
from bench.records.passes import PassFile
from bench.records.run import Manifest, Preflight
from bench.records.take import Summary
from bench.records.verdict import Nothing, RatingsResult, Verdict
from bench.storage.record_file import load_record
from bench.summaries.between import compare_runs
from bench.verdict.machine import explain

_HOST_FACTS = ("hostname", "machine", "cpus", "mem_total_bytes", "kernel", "python")
_MEMORY = ("gpu_process", "torch_reserved", "available_dip", "cgroup", "rss")
"""The first of these that was taken is shown, with its name."""
_MACHINE = (*_HOST_FACTS, "gpu", "gpu_driver")
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Compared:
    """One run, as far as a comparison shows it."""

    manifest: Manifest
    verdict: Verdict
    fingerprint: dict[str, Any]
    machine: list[str]
    """What was amiss with the machine while the candidate spoke, in words."""

    @property
    def what(self) -> str:
        """Return the model, and its profile where that is not as upstream ships it."""
        profile = self.manifest.profile
        return self.manifest.model if profile == "upstream" else f"{self.manifest.model} ({profile})"


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
    return Compared(manifest, verdict, hash_inputs(run, manifest), _read_machine(run, manifest))


def _read_machine(run: Run, manifest: Manifest) -> list[str]:
    try:
        machine = load_record(PassFile, run.path / "candidate").machine
    except FileNotFoundError:
        return []
    return explain(machine, manifest.neighbour_mode) if machine is not None else []


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
    """Return in what later runs differ from the first, in words; a host's facts from the first run's on that host."""
    found = []
    for run in runs[1:]:
        alike = next(each for each in runs if each.manifest.host == run.manifest.host)
        for name in runs[0].fingerprint | alike.fingerprint:
            value = (alike if name in ("host", *_MACHINE) else runs[0]).fingerprint.get(name)
            if run.fingerprint.get(name) != value:
                found.append(f"{run.manifest.run_id}: {name} is {run.fingerprint.get(name)!r}, not {value!r}")
    return found


def list_host_differences(runs: Sequence[Compared]) -> list[str]:
    """Return in what the hosts of the runs differ, fact by fact; nothing of one host."""
    hosts = {run.manifest.host: run.fingerprint for run in reversed(runs)}
    told = []
    for name in _MACHINE:
        values = {host: facts.get(name) for host, facts in reversed(hosts.items())}
        if len({repr(value) for value in values.values()}) > 1:
            told.append(
                f"{name}: {', '.join(f'{host} {_spell(name, value)}' for host, value in values.items())}"
            )
    return told


def _spell(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name == "mem_total_bytes":
        return f"{value / 2**30:.1f} GiB"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def compare(runs: Sequence[Run], *, anyway: bool = False) -> str:
    """Return a table of the runs and, for each model after the first, how its latency stands to the first's.

    "Not significant": the 95% interval of the ratio, by the spread between runs, holds 1. That does not mean that the
    two are equal.

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
    hosts = {run.manifest.host for run in found}
    if len(hosts) > 1:
        told = list_host_differences(found) or ["nothing that preflight recorded"]
        lines += [
            "",
            "They ran on different hosts, so a ratio is of model and machine together. The hosts differ in:",
        ]
        lines += [f"  {each}" for each in told]
    if different:
        lines += ["", "WARNING: they did not measure the same thing:", *(f"  {each}" for each in different)]
    lines += [f"WARNING: {run.manifest.run_id}: {'; '.join(run.machine)}" for run in found if run.machine]
    lines.append("")
    groups: dict[str, list[Compared]] = {}
    for run in found:
        where = f" on {run.manifest.host}" if len(hosts) > 1 else ""
        groups.setdefault(run.what + where, []).append(run)
    first, *others = groups
    for figure, label in (("ttfa_ms", "time to first audio"), ("rtf", "real-time factor")):
        lines += [_spread(name, runs, figure, label) for name, runs in groups.items() if len(runs) > 1]
        lines += [
            _against(f"{other} against {first}, {label}", groups[first], groups[other], figure)
            for other in others
        ]
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


def _spread(name: str, runs: Sequence[Compared], figure: str, label: str) -> str:
    """Say how far the runs of one model lie apart: by so much another may differ without being another."""
    medians = _medians(runs, figure)
    names = f"{name}, {label}"
    if not medians:
        return f"{names}: no run has such a figure, or it is not to be shown yet"
    low, high = min(medians), max(medians)
    return f"{names}: medians of {len(medians)} runs from {low:.4g} to {high:.4g}, {high / low:.2f}x apart"


def _against(names: str, first: Sequence[Compared], other: Sequence[Compared], figure: str) -> str:
    before, after = _medians(first, figure), _medians(other, figure)
    if not before or not after:
        return f"{names}: cannot be said; a run has no such figure, or it is not to be shown yet"
    ratio = compare_runs(before, after)
    if ratio is None:
        return (
            f"{names}: no claim without at least two runs of each (now {len(before)} and {len(after)}): what the "
            "machine did beside one run can make any difference"
        )
    by = f"95% interval {ratio.low:.2f} to {ratio.high:.2f}, by {len(before)} and {len(after)} runs"
    word = f"{ratio.value:.2f}x faster" if ratio.value >= 1 else f"{1 / ratio.value:.2f}x slower"
    return f"{names}: {word} ({by})" if ratio.differs else f"{names}: not significant ({word}; {by})"


def _medians(runs: Sequence[Compared], figure: str) -> list[float]:
    """Return the positive medians of those runs that have one."""
    found = [_figure(run, figure) for run in runs]
    return [each.p50 for each in found if each is not None and each.p50 is not None and each.p50 > 0]


def _figure(run: Compared, name: str) -> Summary | None:
    latency = run.verdict.latency.get("candidate")
    return latency.figure(name) if latency is not None else None


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
