"""The last phases: pairs sealed for rating, the verdict, and what people read of it."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.controller.run import Run, explain_full_disk, note_phase
from bench.errors import BadInput
from bench.listening import results
from bench.listening.alignment import NotAligned
from bench.listening.mapping import read_published
from bench.listening.processing import UnusableTake
from bench.listening.score import CuesRemain, TakesMissing, seal
from bench.metrics.compare import compare_sides
from bench.records.metrics import TakeMetrics
from bench.report import as_json, render, view, write_markdown
from bench.report.objective import read_unnamed_alarms
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.verdict.collect import UNUSABLE_FILE, collect, read_unusable, unusable_bytes
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide, verdict_bytes

REPORT = "report.html"
SUMMARY = "report.md"
RECORD = "report.json"


def score_run(run: Run, *, alone: bool = False) -> dict[str, Any]:
    """Seal the pairs and write `metrics.json`; a second call with the same takes changes nothing.

    A run that is to be rated together with others is sealed by `audition survey`, which knows them; `alone` where no
    other is left.

    Returns what the task reports. Takes that are missing, failed or unusable are the verdict's matter, not an
    error; a baseline that has too few of them is set aside, so that it can be made again.

    Raises:
        CuesRemain, NotAligned, UnusableTake, BadInput: as `bench.listening.score.seal`.
    """
    started = utc_now()
    if not alone and run.manifest().inputs.together and read_published(run.path) is None:
        raise BadInput(
            f"{run.run_id} is to be rated together with the others of its survey (together: true): `audition survey` "
            "seals the pairs of all once each has spoken. To rate it by itself, begin a run with together: false."
        )
    with explain_full_disk(run.path):
        try:
            sealed = seal(run.path)
        except TakesMissing as error:
            if error.side == "baseline":
                _set_baseline_aside(run, str(error))
            note_phase(
                run, "score", started, str(error), fault="candidate" if error.side == "candidate" else "host"
            )
            return {"changed": False, "run_id": run.run_id, "msg": str(error)}
        except (CuesRemain, NotAligned, UnusableTake) as error:
            note_phase(run, "score", started, str(error), fault="host")
            raise
        measured = _write_metrics(run.path)
    noted = run.phases().get("score")
    if not sealed.already_sealed or noted is None or noted.status != "done":
        note_phase(run, "score", started)
    changed = measured or not sealed.already_sealed
    lines = [
        f"{sealed.pairs} pairs are sealed; SHA-256 of the mapping: {sealed.mapping_sha256}",
        *sealed.notices,
        *(f"ALARM: {line}" for line in read_unnamed_alarms(run.path)),
    ]
    return {"changed": changed, "run_id": run.run_id, "msg": "\n".join(lines)}


def decide_run(run: Run) -> dict[str, Any]:
    """Decide, write `verdict.json` and the report in its three forms, and return what to print.

    The same run directory gives the same bytes.
    """
    started = utc_now()
    evidence = collect_evidence(run.path)
    decided = decide(evidence)
    shown = view.build(run.path, decided, evidence, revealed=True, with_reference=True)
    files = {
        "verdict.json": verdict_bytes(decided),
        REPORT: render(shown).encode(),
        SUMMARY: write_markdown(shown).encode(),
        RECORD: as_json(shown).encode(),
    }
    with explain_full_disk(run.path):
        changed = [name for name, data in files.items() if _replace(run.path / name, data)]
    if changed:
        note_phase(run, "verdict", started, note=decided.decision)
    commands = run.typed(decided.next.commands)
    if decided.decision == "awaiting_ratings" and decided.ratings and decided.ratings.raters:
        late = " --late" if "finished" in decided.ratings.raters.values() else ""
        (withdraw,) = run.typed([f"audition withdraw {run.run_id} NAME{late}"])
        commands.append(f"{withdraw}  (a rater who will not finish)")
    return {
        "changed": bool(changed),
        "run_id": run.run_id,
        "decision": decided.decision,
        "label": decided.label,
        "reason": decided.reason,
        "summary": [
            f"{decided.label}: {decided.sentence}",
            f"report: {run.path / REPORT}",
            *(["next:", *(f"  {command}" for command in commands)] if commands else []),
        ],
    }


def collect_evidence(run_dir: Path) -> Evidence:
    """Read all that a verdict and its report are made from.

    Raises:
        PhaseMissing, BadInput: as `bench.verdict.collect.collect`.
    """
    try:
        ratings = results.read_ratings(run_dir)
    except FileNotFoundError:
        ratings = None
    return collect(run_dir, ratings=ratings)


def _set_baseline_aside(run: Run, why: str) -> None:
    """Move a baseline that cannot be rated to `attempts/`, so that its phase has work again."""
    if (made := run.path / "baseline").is_dir():
        kept = run.path / "attempts" / f"baseline-{utc_now().replace(':', '').replace('-', '')}"
        kept.mkdir(parents=True)
        made.rename(kept / made.name)
    left = [each for each in read_unusable(run.path) if each.side != "baseline"]
    if (run.path / UNUSABLE_FILE).exists():
        write_atomically(run.path / UNUSABLE_FILE, unusable_bytes(left))
    note_phase(run, "baseline", utc_now(), why, fault="candidate")


def _write_metrics(run_dir: Path) -> bool:
    """Put both sides' metrics beside each other; they were measured on the hosts that made the takes."""
    sides = {name: _take_metrics(run_dir / name / "metrics.jsonl") for name in ("candidate", "baseline")}
    parts = ['{\n "schema_version": 1']
    for name, takes in sides.items():  # a line a take, and never 10,000 of them as dictionaries
        parts.append(f' "{name}": [\n' + ",\n".join(f"  {take.model_dump_json()}" for take in takes) + "\n ]")
    compared = compare_sides(sides["candidate"], sides["baseline"])
    parts.append(f' "comparison": {compared.model_dump_json()}\n}}\n')
    return _replace(run_dir / "metrics.json", ",\n".join(parts).encode())


def _take_metrics(path: Path) -> list[TakeMetrics]:
    if not path.is_file():
        return []
    try:
        with path.open("rb") as lines:
            return [TakeMetrics.model_validate_json(line) for line in lines if line.strip()]
    except ValidationError as error:
        raise BadInput(
            f"{path} is no list of metrics ({error.errors()[0]['msg']}); restore the file, or start a new run."
        ) from error


def _replace(path: Path, data: bytes) -> bool:
    """Write `data` unless the file holds it already; say whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomically(path, data)
    return True
