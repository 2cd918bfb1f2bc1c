"""The last phases: pairs sealed for rating, the verdict, and what people read of it."""

import json
from pathlib import Path
from typing import Any

from bench.controller.run import Run, explain_full_disk, note_phase
from bench.listening import results
from bench.listening.score import TakesMissing, seal
from bench.metrics.compare import compare_sides
from bench.metrics.take import TakeMetrics
from bench.records import Ratings, sha256_file, utc_now, write_atomically
from bench.report import markdown, render, view
from bench.verdict.collect import collect
from bench.verdict.rule import decide, verdict_bytes

REPORT = "report.html"
SUMMARY = "report.md"


def score(run: Run) -> dict[str, Any]:
    """Seal the pairs and write `metrics.json`; a second call with the same takes changes nothing.

    Returns what the task reports. Takes that are missing or failed are the verdict's matter, not an error.
    """
    started = utc_now()
    with explain_full_disk(run.path):
        try:
            sealed = seal(run.path)
        except TakesMissing as error:
            note_phase(
                run, "score", started, str(error), fault="candidate" if error.side == "candidate" else "host"
            )
            return {"changed": False, "run_id": run.run_id, "msg": str(error)}
        measured = _write_metrics(run.path)
    if not sealed.already_sealed:
        note_phase(run, "score", started)
    changed = measured or not sealed.already_sealed
    lines = [
        f"{sealed.pairs} pairs are sealed; SHA-256 of the mapping: {sealed.mapping_sha256}",
        *sealed.notices,
    ]
    return {"changed": changed, "run_id": run.run_id, "msg": "\n".join(lines)}


def verdict(run: Run) -> dict[str, Any]:
    """Decide, write `verdict.json`, `report.html` and `report.md`, and return what to print.

    The same run directory gives the same bytes.
    """
    started = utc_now()
    evidence = collect(run.path, rule_sha256=sha256_file(run.path / "rule.yml"), ratings=_ratings(run.path))
    decided = decide(evidence)
    shown = view.build(run.path, decided, evidence, revealed=True)
    files = {
        "verdict.json": verdict_bytes(decided),
        REPORT: render(shown).encode(),
        SUMMARY: markdown(shown).encode(),
    }
    with explain_full_disk(run.path):
        changed = [name for name, data in files.items() if _replace(run.path / name, data)]
    if changed:
        note_phase(run, "verdict", started, note=decided.decision)
    commands = [f"  {command}" for command in decided.next.commands]
    return {
        "changed": bool(changed),
        "run_id": run.run_id,
        "decision": decided.decision,
        "label": decided.label,
        "reason": decided.reason,
        "summary": [
            f"{decided.label}: {decided.sentence}",
            f"report: {run.path / REPORT}",
            *(["next:", *commands] if commands else []),
        ],
    }


def _ratings(run_dir: Path) -> Ratings | None:
    try:
        return results.ratings(run_dir)
    except FileNotFoundError:
        return None


def _write_metrics(run_dir: Path) -> bool:
    """Put both sides' metrics beside each other; they were measured on the hosts that made the takes."""
    sides = {name: _take_metrics(run_dir / name / "metrics.jsonl") for name in ("candidate", "baseline")}
    body = {
        "schema_version": 1,
        **{name: [take.model_dump(mode="json") for take in takes] for name, takes in sides.items()},
        "comparison": compare_sides(sides["candidate"], sides["baseline"]).model_dump(mode="json"),
    }
    return _replace(run_dir / "metrics.json", json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n")


def _take_metrics(path: Path) -> list[TakeMetrics]:
    if not path.is_file():
        return []
    return [
        TakeMetrics.model_validate_json(line)
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]


def _replace(path: Path, data: bytes) -> bool:
    """Write `data` unless the file holds it already; say whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomically(path, data)
    return True
