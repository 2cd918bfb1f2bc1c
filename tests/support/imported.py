"""A rater's answers as they come from another copy of a sealed run."""

from pathlib import Path

from bench.listening import mapping
from bench.listening.results import import_json
from bench.records.listening import Answer, Export, RaterPlan, Ratings
from bench.records.run import Manifest
from bench.storage.clock import utc_now
from bench.storage.digests import canonical_json
from bench.storage.record_file import load_record


def sign_export(run_dir: Path, export: Export) -> Export:
    """Sign as only somebody with the sealed seed can."""
    part = canonical_json(export.model_dump(mode="json", exclude={"signature"}))
    return export.model_copy(update={"signature": mapping.sign(mapping.load(run_dir), part)})


def take_in_answers(run_dir: Path, *, candidate: int, baseline: int, answered_utc: str | None = None) -> None:
    """Have `ann` give the same two scores to all that was drawn for her, on another copy, and import them."""
    manifest, sealed = load_record(Manifest, run_dir), mapping.load(run_dir)
    plan = RaterPlan(id="a" * 16, channels=sealed.channels[:1])
    answers = [
        Answer(
            rater="ann",
            trial_id=trial.trial_id,
            kind=trial.kind,
            utterance_id=trial.utterance_id,
            channel=trial.channel,
            candidate=candidate,
            baseline=baseline,
            candidate_side=trial.candidate_side,
            answered_utc=answered_utc or utc_now(),
        )
        for trial in mapping.plan_of(sealed, plan.id, plan.channels)
    ]
    ratings = Ratings(
        question=manifest.question,
        question_sha256=manifest.question_sha256,
        mapping_sha256=mapping.digest_of(sealed),
        mapping_intact=True,
        raters={"ann": "finished"},
        answers=answers,
        pairs=manifest.rule.pairs,
    )
    path = run_dir.parent / "ann.json"
    export = Export(run_id=manifest.run_id, ratings=ratings, plans={"ann": plan})
    path.write_text(sign_export(run_dir, export).model_dump_json())
    assert import_json(run_dir, path) == ["ann"]
