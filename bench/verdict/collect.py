"""Read a run directory into `Evidence`: the one place of the verdict that touches files."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import BadInput, PhaseMissing
from bench.records import Check, Gate, Install, Manifest, Phases, PhaseState, Preflight, Ratings, Take
from bench.verdict.evidence import Evidence, InstallOutcome, Refusal
from bench.verdict.takes import utterance_ids, valid_takes

REFUSALS: dict[str, Refusal] = {"licence": "licence", "clone_encoder": "clone_encoder_withheld"}
"""Preflight's gates that decide against a model, by name; any other failed gate is the host's matter."""
MEMORY_FILE = "memory.json"
NEIGHBOUR_FILE = "neighbour.json"
METRICS_FILE = "metrics.json"


def read_takes(side_dir: Path) -> list[Take] | None:
    """Read `takes.jsonl` of one side; None where the pass has not been made.

    Raises:
        BadInput: a line is not a take; the message names it.
    """
    path = side_dir / "takes.jsonl"
    if not path.is_file():
        return None
    takes: list[Take] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                takes.append(Take.model_validate_json(line))
            except ValidationError as error:
                raise BadInput(
                    f"{path}:{number} is not a take ({error.errors()[0]['msg']}); takes are sealed once "
                    "made, so restore the file or start a new run."
                ) from error
    return takes


def collect(run_dir: Path, *, rule_sha256: str, ratings: Ratings | None) -> Evidence:
    """Read all that the verdict needs of a run.

    Args:
        run_dir: the run.
        rule_sha256: of the rule file as it is now.
        ratings: from `bench.listening.results`; None where nobody has been asked yet.

    Raises:
        PhaseMissing: preflight has not been run, or one of its gates that is the host's matter did not pass.
        BadInput: a file is damaged or of another schema version.
    """
    try:
        manifest = Manifest.load(run_dir)
        preflight = Preflight.load(run_dir)
    except FileNotFoundError as error:
        raise PhaseMissing(
            f"{error.filename} is not there; run preflight first (`--tags preflight`)."
        ) from error
    phases = Phases.load(run_dir).phases if (run_dir / Phases.file_name).is_file() else {}
    refusal = _refusal(preflight, run_dir)
    return Evidence(
        manifest=manifest,
        rule_sha256=rule_sha256,
        refused=REFUSALS[refusal.name] if refusal else None,
        refusal_detail=refusal.detail.rstrip(".") if refusal else "",
        preflight_gates=[_gate(check) for check in preflight.checks if check.severity == "gate"],
        preflight_warnings=[
            check.detail or f"Preflight: {check.name}"
            for check in preflight.checks
            if check.severity == "warning" and check.ok is not True
        ],
        install=_install(run_dir, phases.get("install")),
        preset=read_takes(run_dir / "preset"),
        candidate=_candidate(run_dir, phases.get("benchmark"), manifest.rule.pairs),
        candidate_error=_held_against_model(phases.get("benchmark")),
        baseline=read_takes(run_dir / "baseline"),
        baseline_error=_error(phases.get("baseline")),
        ratings=ratings,
        memory=_json(run_dir / MEMORY_FILE),
        neighbour=_json(run_dir / NEIGHBOUR_FILE),
        metrics=_json(run_dir / METRICS_FILE),
    )


def _refusal(preflight: Preflight, run_dir: Path) -> Check | None:
    stopped = [check for check in preflight.checks if check.severity == "gate" and check.ok is not True]
    for check in stopped:
        if check.name in REFUSALS:
            return check
    if stopped:
        raise PhaseMissing(
            f"Preflight of {run_dir.name} stopped at {', '.join(check.name for check in stopped)} "
            f"({stopped[0].detail or 'no detail'}). That says nothing of the model: put it right on the host "
            "and run preflight again."
        )
    return None


def _gate(check: Check) -> Gate:
    return Gate(
        name=check.name,
        value=_plain(check.value),
        limit=_plain(check.limit),
        passed=check.ok is True,
    )


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return float(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _error(phase: PhaseState | None) -> str | None:
    return (phase.error or "failed") if phase is not None and phase.status == "failed" else None


def _held_against_model(phase: PhaseState | None) -> str | None:
    """Return why a phase failed, unless the host is at fault: that is put right and the phase run again."""
    return None if phase is None or phase.fault == "host" else _error(phase)


def _candidate(run_dir: Path, phase: PhaseState | None, pairs: int) -> list[Take] | None:
    """Return the takes of a pass that came to its end; of one that was cut off too few must not count."""
    if phase is None:
        return None
    takes = read_takes(run_dir / "candidate")
    cut_off = phase.status == "failed" and phase.fault == "host"
    return None if cut_off and len(utterance_ids(valid_takes(takes))) < pairs else takes


def _install(run_dir: Path, phase: PhaseState | None) -> InstallOutcome | None:
    if phase is not None and phase.status == "failed" and phase.fault == "host":
        return None
    if (run_dir / Install.file_name).is_file():
        install = Install.load(run_dir)
        return InstallOutcome(
            ok=install.ok, total_s=install.total_s, limit_s=install.limit_s, error=install.error
        )
    error = _error(phase)
    return None if error is None else InstallOutcome(ok=False, error=error)


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInput(
            f"{path} is not JSON ({error}); run the phase that makes it again, or move the run away."
        ) from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} is not a JSON object; run the phase that makes it again.")
    return value
