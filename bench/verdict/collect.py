"""Read a run directory into `Evidence`: the one place of the verdict that touches files."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from bench.errors import BadInput, PhaseMissing
from bench.records.listening import Ratings, Unusable
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsFile
from bench.records.neighbour import NeighbourRecord
from bench.records.passes import PassFile
from bench.records.run import Check, Install, Manifest, Phases, PhaseState, Preflight, Rule
from bench.records.take import Take, TakeSide
from bench.records.verdict import Gate
from bench.storage.digests import sha256_bytes
from bench.storage.record_file import Kept, load_record
from bench.storage.strict_yaml import parse_yaml
from bench.verdict.evidence import Evidence, InstallOutcome, Refusal
from bench.verdict.methods import check_method
from bench.verdict.takes import utterance_ids, valid_takes

REFUSALS: dict[str, Refusal] = {"licence": "licence", "clone_encoder": "clone_encoder_withheld"}
"""Preflight's gates that decide against a model, by name; any other failed gate is the host's matter."""
SIDES: tuple[TakeSide, ...] = ("candidate", "baseline")
RULE_FILE = "rule.yml"
UNUSABLE_FILE = "listening/unusable.json"
_UNUSABLE = TypeAdapter(list[Unusable])


def read_rule(path: Path) -> tuple[Rule, bytes]:
    """Read a rule file; its bytes are what is hashed.

    Raises:
        BadInput: missing, not YAML, or a key is unknown, repeated or not of its exact type; with the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"rule_file {path} cannot be read ({error.strerror}).") from error
    rule, _ = parse_yaml(
        data, f"rule_file {path}", Rule, what="a rule", see="docs/verdict.md lists its keys."
    )
    return rule, data


def _read_lax_rule(path: Path) -> tuple[Rule, bytes]:
    """Read a rule file as method 3 did, before files were read strictly: a run that committed to it goes by it."""
    try:
        data = path.read_bytes()
        return Rule.model_validate(yaml.safe_load(data)), data
    except OSError as error:
        raise BadInput(f"rule_file {path} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise BadInput(f"rule_file {path} is no rule: {error}") from error


def check_commitments(run_dir: Path, manifest: Manifest) -> None:
    """See that rule and question are those that the run committed to: everything decides by the manifest's, so it
    must say what the rule file says, and the file and the question must have the hashes in it.

    Raises:
        BadInput: one was edited; the message names what. Or the run began with a newer Audition.
    """
    check_method(manifest)
    rule, data = (_read_lax_rule if manifest.methodology_version < 4 else read_rule)(run_dir / RULE_FILE)
    found = sha256_bytes(data)
    if found != manifest.rule_sha256 or manifest.inputs.rule_sha256 != manifest.rule_sha256:
        raise BadInput(
            f"The rule was changed after run {manifest.run_id} committed to it: it had SHA-256 "
            f"{manifest.rule_sha256[:12]} and has {found[:12]} now. "
            "Put the old rule back, or start a new run under the new one."
        )
    edited = [
        f"{name} is {getattr(manifest.rule, name)} and was {getattr(rule, name)}"
        for name in Rule.model_fields
        if getattr(rule, name) != getattr(manifest.rule, name)
    ]
    if edited:
        raise BadInput(
            f"The rule in manifest.json of run {manifest.run_id} is not the one in {RULE_FILE} that it committed "
            f"to: {'; '.join(edited)}. Put it back, or start a new run under the new rule."
        )
    second = None if manifest.second_question is None else sha256_bytes(manifest.second_question.encode())
    asked = sha256_bytes(manifest.question.encode())
    if (
        second != manifest.inputs.second_question_sha256
        or not asked == manifest.question_sha256 == manifest.inputs.question_sha256
    ):
        raise BadInput(
            f"The question in manifest.json of run {manifest.run_id} is not the one that was committed to (its "
            "SHA-256 differs); restore it, or start a new run."
        )


def read_takes(side_dir: Path) -> list[Take] | None:
    """Read `takes.jsonl` of one side; None where the pass has not been made.

    Raises:
        BadInput: a line is not a take, or an utterance has two timed ones; the message names it.
    """
    path = side_dir / "takes.jsonl"
    if not path.is_file():
        return None
    takes: list[Take] = []
    seen: set[str] = set()
    with path.open("rb") as stream:  # what is no UTF-8 is no JSON either
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                take = Take.model_validate_json(line)
            except ValidationError as error:
                raise BadInput(
                    f"{path}:{number} is not a take ({error.errors()[0]['msg']}); takes are sealed once "
                    "made, so restore the file or start a new run."
                ) from error
            if not take.warmup and take.utterance_id in seen:
                raise BadInput(
                    f"{path}:{number}: {take.utterance_id} has a second take; takes are sealed once made, so "
                    "restore the file or start a new run."
                )
            if not take.warmup:
                seen.add(take.utterance_id)
            takes.append(take)
    return takes


def collect(run_dir: Path, *, ratings: Ratings | None) -> Evidence:
    """Read all that the verdict needs of a run.

    Args:
        run_dir: the run.
        ratings: from `bench.listening.results`; None where nothing is sealed.

    Raises:
        PhaseMissing: preflight has not been run, or one of its gates that is the host's matter did not pass.
        BadInput: rule or question was edited; a file is damaged or of another schema version.
    """
    try:
        manifest = load_record(Manifest, run_dir)
        preflight = load_record(Preflight, run_dir)
    except FileNotFoundError as error:
        raise PhaseMissing(
            f"{error.filename} is not there; run preflight first (`--tags preflight`)."
        ) from error
    check_commitments(run_dir, manifest)
    phases = load_record(Phases, run_dir).phases if (run_dir / Phases.file_name).is_file() else {}
    refusal = _refusal(preflight, run_dir)
    return Evidence(
        manifest=manifest,
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
        unusable=read_unusable(run_dir),
        passes={side: found for side in SIDES if (found := _load(PassFile, run_dir / side)) is not None},
        ratings=ratings,
        score_error=_error(phases.get("score")),
        memory=_load(MemoryReport, run_dir),
        neighbour=_load(NeighbourRecord, run_dir),
        metrics=metrics.comparison if (metrics := _load(MetricsFile, run_dir)) is not None else None,
    )


def read_unusable(run_dir: Path) -> list[Unusable]:
    """Read which takes sealing could not use; nothing where none was found.

    Raises:
        BadInput: the file is damaged.
    """
    path = run_dir / UNUSABLE_FILE
    try:
        return _UNUSABLE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise BadInput(
            f"{path} cannot be read ({error.errors()[0]['msg']}); run the score phase again."
        ) from error


def unusable_bytes(found: list[Unusable]) -> bytes:
    """Return what `read_unusable` reads."""
    return _UNUSABLE.dump_json(found, indent=1) + b"\n"


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
        install = load_record(Install, run_dir)
        return InstallOutcome(
            ok=install.ok,
            total_s=install.total_s,
            limit_s=install.limit_s,
            error=install.error,
            asked=install.asked,
            ran=install.ran,
        )
    error = _error(phase)
    return None if error is None else InstallOutcome(ok=False, error=error)


def _load(kind: type[Kept], folder: Path) -> Kept | None:
    try:
        return load_record(kind, folder)
    except FileNotFoundError:
        return None
