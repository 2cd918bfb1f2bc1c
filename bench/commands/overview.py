"""`audition runs` and `audition show RUN`: what there is, how far it is, and what it came to.

Everything shown comes from files that are silent on what a rater must not know yet: `verdict.json`, `phases.json`, the
manifest, and who of the raters is how far.
"""

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.controller.run import Run
from bench.errors import AuditionError, PhaseMissing
from bench.records.verdict import Gate, Nothing, RatingsResult, Verdict
from bench.storage.record_file import load_record

_FINAL_PHASE = "verdict"


@dataclass(frozen=True, slots=True)
class Line:
    """One run in the list."""

    run_id: str
    model: str
    host: str
    state: str
    """The decision, else how far the phases are, else why the run cannot be read."""
    created_utc: str
    next: str
    """What to type next; empty when nothing is left."""


def list_runs(runs_dir: Path, *, host: str | None = None, model: str | None = None) -> list[Line]:
    """Return every run under `runs_dir`, newest first; a run that cannot be read says why."""
    found = [
        _line(Run(path.parent.resolve()))
        for path in runs_dir.glob("*/manifest.json")
        if not path.parent.is_symlink()
    ]
    return sorted(
        (line for line in found if host in (None, line.host) and model in (None, line.model)),
        key=lambda line: line.created_utc,
        reverse=True,
    )


def _line(run: Run) -> Line:
    try:
        manifest = run.manifest()
        state, commands = _state(run)
    except AuditionError as error:
        return Line(run.run_id, "?", "?", f"cannot be read: {error}", "", "")
    commands = run.typed(commands)
    return Line(
        run.run_id,
        manifest.model,
        manifest.host,
        state,
        manifest.created_utc,
        commands[0] if commands else "",
    )


def _state(run: Run) -> tuple[str, list[str]]:
    """Return how far a run is and the commands that are next."""
    try:
        verdict = load_record(Verdict, run.path)
        return verdict.decision, verdict.next.commands
    except FileNotFoundError:
        phases = run.phases()
    manifest = run.manifest()
    go_on = [f"ansible-playbook site.yml -e model={manifest.model} --limit {manifest.host}"]
    failed = [name for name, state in phases.items() if state.status == "failed"]
    if failed:
        return f"{failed[-1]} failed", go_on
    done = [name for name, state in phases.items() if state.status == "done"]
    return (f"{done[-1]} done" if done else "begun"), go_on


def spell_runs(lines: list[Line], now: datetime.datetime | None = None) -> list[str]:
    """Return the list as a table for people."""
    at = now or datetime.datetime.now(datetime.UTC)
    rows: list[tuple[str, ...]] = [("run", "model", "host", "state", "age", "next")]
    rows += [
        (line.run_id, line.model, line.host, line.state, _age(line.created_utc, at), line.next)
        for line in lines
    ]
    return lay_out(rows)


def lay_out(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines of text whose columns stand below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _age(utc: str, now: datetime.datetime) -> str:
    if not utc:
        return ""
    passed = now - datetime.datetime.fromisoformat(utc)
    minutes = int(passed.total_seconds() // 60)
    for size, unit in ((60 * 24, "d"), (60, "h")):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}"
    return f"{max(0, minutes)} min"


def read_run(run: Run) -> dict[str, Any]:
    """Return the facts of one run: its line in the list, its phases and, where there is one, its verdict.

    Raises:
        BadInput: it cannot be read.
    """
    manifest = run.manifest()
    try:
        verdict = load_record(Verdict, run.path).model_dump(mode="json")
    except FileNotFoundError:
        verdict = None
    return {
        "schema_version": 1,
        **asdict(_line(run)),
        "profile": manifest.profile,
        "baseline": manifest.baseline_entry.get("name") or manifest.inputs.baseline,
        "phases": {name: state.model_dump(mode="json") for name, state in run.phases().items()},
        "verdict": verdict,
    }


def spell_run(run: Run) -> list[str]:
    """Return the figures of one run for people.

    Raises:
        PhaseMissing: it has no verdict yet, so there are no figures.
    """
    line = _line(run)
    manifest = run.manifest()
    out = [
        f"{run.run_id}: {manifest.model} ({manifest.profile}) against {manifest.inputs.baseline} "
        f"({manifest.baseline_profile}) on {manifest.host}, begun {manifest.created_utc}"
    ]
    for name, state in run.phases().items():
        why = f": {state.error}" if state.error else ""
        out.append(f"  {name:<10} {state.status}{_spell_seconds(state.started_utc, state.ended_utc)}{why}")
    try:
        verdict = load_record(Verdict, run.path)
    except FileNotFoundError:
        raise PhaseMissing(
            "\n".join([*out, f"{run.run_id} has no verdict yet ({line.state}); next: {line.next}"])
        ) from None
    out += ["", f"{verdict.label}: {verdict.sentence}", ""]
    out += lay_out([("gate", "value", "limit", ""), *map(_spell_gate, verdict.gates)])
    rows: list[tuple[str, ...]] = [("latency", "takes", "TTFA p50 ms", "p95")]
    for side, latency in verdict.latency.items():
        ttfa = latency.figure("ttfa_ms")
        p50, p95 = (ttfa.p50, ttfa.p95) if ttfa is not None else (None, None)
        rows.append((side, str(latency.takes), _number(p50), _number(p95)))
    out += ["", *lay_out(rows)]
    ratings = verdict.ratings
    if isinstance(ratings, RatingsResult):
        low, high = ratings.interval_95
        out += [
            "",
            f"ratings: {ratings.candidate_mean:.2f} against {ratings.baseline_mean:.2f}, "
            f"{ratings.mean_difference:+.2f} on average (95% interval {low:+.2f} to {high:+.2f}); "
            f"{ratings.margin:+g} is needed",
        ]
    elif not isinstance(ratings, Nothing):
        states = ", ".join(f"{name} {state}" for name, state in ratings.raters.items())
        out += ["", f"ratings: sealed, not known yet; {states or 'nobody was invited'}"]
    out += [f"WARNING: {each}" for each in verdict.warnings]
    commands = run.typed(verdict.next.commands)
    return [*out, *(["next:", *(f"  {command}" for command in commands)] if commands else [])]


def _spell_gate(gate: Gate) -> tuple[str, ...]:
    return (gate.name, _number(gate.value), _number(gate.limit), "passed" if gate.passed else "FAILED")


def _number(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _spell_seconds(begin: str, end: str) -> str:
    try:
        passed = datetime.datetime.fromisoformat(end) - datetime.datetime.fromisoformat(begin)
    except ValueError:
        return ""
    return f", {passed.total_seconds():.0f} s"
