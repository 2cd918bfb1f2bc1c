"""A survey's one record and one report: all candidates of the chain beside the baseline.

They say what the verdicts say and nothing else, so the blindness contract of a verdict holds for them too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.controller import prepare
from bench.controller.run import Run, explain_full_disk, list_runs
from bench.controller.together import judge_together, label_together, sum_up_together
from bench.errors import BadInput
from bench.records.run import Install
from bench.records.survey import Place, SideFigures, Survey, Surveyed
from bench.records.take import TakeSide
from bench.records.verdict import RatingsResult, Verdict
from bench.storage.atomic import write_atomically
from bench.storage.record_file import load_record, record_bytes

_FINAL = ("swap_candidate", "keep_baseline_survey_complete")
FOLDER = "surveys"
REPORT = "survey.html"
SUMMARY = "survey.md"


def gather(member: Run) -> Survey:
    """Return the record of the survey that a run is part of.

    Of each model of the run's chain the newest run counts that is on the same host and shares its inputs: all but the
    model's own entry and profile.
    """
    manifest = member.manifest()
    shared = prepare.shared_sha256(manifest)
    found = {
        model: member
        if model == manifest.model
        else newest_of(member.path.parent, model, manifest.host, shared)
        for model in manifest.chain
    }
    models = [_describe(model, run) for model, run in found.items()]
    together = manifest.inputs.together
    if not together:
        models = _place(models)
    decided = [each for each in models if each.decision is not None]
    last = decided[-1] if decided else None
    side_by_side = judge_together(manifest, models) if together else {}
    if together and last is not None:
        last = next((each for each in decided if each.decision == "swap_candidate"), last)
    runs = [run.run_id for run in found.values() if run is not None]
    first = min(run_id.rpartition("-")[2] for run_id in runs)
    return Survey(
        survey_id=f"{manifest.host}-{first}",
        host=manifest.host,
        chain=manifest.chain,
        baseline=manifest.inputs.baseline,
        baseline_title=_title(manifest.baseline_entry, manifest.inputs.baseline),
        intended_use=manifest.intended_use,
        question=manifest.question,
        shared_sha256=shared,
        complete=last is not None and last.decision in _FINAL
        if not together
        else all(each.decision in _FINAL for each in models),
        decision=last.decision if last else None,
        label=label_together(manifest.inputs.baseline, side_by_side) or (last.label if last else None),
        summary=sum_up_together(manifest, models, side_by_side) if together else _sum_up(models),
        models=models,
        **side_by_side,
    )


def newest_of(runs_dir: Path, model: str, host: str, shared: str) -> Run | None:
    """Return the newest run of a model on a host that has the survey's inputs, decided or not."""
    for run in list_runs(runs_dir, model, host):
        try:
            if prepare.shared_sha256(run.manifest()) == shared:
                return run
        except BadInput:
            continue  # of another version: see `bench.controller.run.find_newest`
    return None


def write(survey: Survey, runs_dir: Path) -> Path:
    """Write record and report under `runs_dir` where they differ from what is there; return the report's path."""
    from bench.report.survey import render_survey, write_survey_markdown  # draws the report

    folder = runs_dir / FOLDER / survey.survey_id
    files = {
        Survey.file_name: record_bytes(survey),
        SUMMARY: write_survey_markdown(survey).encode(),
        REPORT: render_survey(survey).encode(),
    }
    with explain_full_disk(runs_dir):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != data:
                write_atomically(path, data)
    return folder / REPORT


def _place(models: Sequence[Surveyed]) -> list[Surveyed]:
    """Mark what a swap made needless."""
    swapped = False
    for each in models:
        if swapped and each.run_id is None:
            each.place = "not_needed"
        swapped = swapped or each.decision == "swap_candidate"
    return list(models)


def _describe(model: str, run: Run | None) -> Surveyed:
    manifest = run.manifest() if run else None
    verdict = _load_verdict(run) if run else None
    return Surveyed(
        model=model,
        title=_title(manifest.entry, model) if manifest else model,
        place=_where(run, verdict),
        run_id=run.run_id if run else None,
        profile=manifest.profile if manifest else None,
        created_utc=manifest.created_utc if manifest else None,
        install_s=_install_s(run) if run else None,
        **_judged(verdict),
    )


def _where(run: Run | None, verdict: Verdict | None) -> Place:
    if run is None:
        return "to_come"
    if verdict is None:
        return "under_way"
    return "waits" if verdict.decision.startswith("awaiting") else "decided"


def _judged(verdict: Verdict | None) -> dict[str, Any]:
    rated = verdict.ratings if verdict and isinstance(verdict.ratings, RatingsResult) else None
    return {
        "decision": verdict.decision if verdict else None,
        "label": verdict.label if verdict else None,
        "reason": verdict.reason if verdict else None,
        "sentence": verdict.sentence if verdict else None,
        "gates": verdict.gates if verdict else [],
        "candidate": _figures(verdict, "candidate", rated.candidate_mean if rated else None),
        "baseline": _figures(verdict, "baseline", rated.baseline_mean if rated else None),
        "ratings": rated.n if rated else None,
        "difference": rated.mean_difference if rated else None,
        "interval_95": rated.interval_95 if rated else None,
        "gpu_bytes": verdict.memory.gpu_process.bytes if verdict and verdict.memory else None,
        "neighbour_ratio": verdict.neighbour.ratio if verdict and verdict.neighbour else None,
    }


def _figures(verdict: Verdict | None, side: TakeSide, score: float | None) -> SideFigures | None:
    found = verdict.latency.get(side) if verdict else None
    if found is None:
        return None
    ttfa, rtf = found.figure("ttfa_ms"), found.figure("rtf")
    return SideFigures(
        takes=found.takes,
        ttfa_ms_p50=ttfa.p50 if ttfa else None,
        ttfa_ms=ttfa.values if ttfa else [],
        rtf_p50=rtf.p50 if rtf else None,
        score=score,
    )


def _sum_up(models: Sequence[Surveyed]) -> str:
    """Say what came of it: the last decision's own sentence carries the earlier reasons on."""
    said = [each for each in models if each.sentence is not None]
    if not said:
        return "Nothing has been decided yet."
    last = said[-1]
    if last.decision == "keep_baseline_survey_complete" and "Before it: " not in str(last.sentence):
        earlier = [str(each.sentence) for each in said[:-1]]
        return " ".join([str(last.sentence), *(f"Before it: {each}" for each in earlier)])
    return str(last.sentence)


def _title(entry: Mapping[str, Any], name: str) -> str:
    return str(entry.get("title") or name)


def _load_verdict(run: Run) -> Verdict | None:
    try:
        return load_record(Verdict, run.path)
    except FileNotFoundError:
        return None


def _install_s(run: Run) -> float | None:
    try:
        return load_record(Install, run.path).total_s
    except FileNotFoundError:
        return None
