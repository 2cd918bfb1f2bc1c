"""The chain's reasons carried on, and its one record and report, with the catalog's own entries."""

import re
import shutil
import time
from pathlib import Path

import pytest

from bench.controller import conclude, surveys
from bench.controller.request import RunRequest
from bench.controller.run import Run, open_or_create
from bench.inputs import demo_reference
from bench.records.run import Check, Install, Manifest, Phases, PhaseState, Preflight
from bench.records.survey import Survey
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from tests.support.play import REPO

pytestmark = pytest.mark.slow

LICENCE = Check(
    name="licence",
    ok=False,
    value="commercial",
    limit="CC-BY-NC-4.0",
    detail="Not for sale.",
    severity="gate",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return demo_reference.make(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def asked(tmp_path: Path, reference: tuple[Path, Path, Path]) -> RunRequest:
    audio, transcript, rights = reference
    return RunRequest(
        runs_dir=tmp_path / "runs",
        host="titan",
        model="f5",
        baseline="chatterbox",
        baseline_url="http://127.0.0.1:1",
        chain=["f5", "cosyvoice2"],
        reference_audio=audio,
        reference_transcript=transcript,
        reference_rights=rights,
    )


def begin(request: RunRequest) -> Run:
    """Begin a run in a second of its own, which its name is made of."""
    time.sleep(1.0 - time.time() % 1.0)
    return open_or_create(request, REPO)[0]


def refuse(request: RunRequest) -> Verdict:
    run = begin(request)
    save_record(Preflight(host={}, checks=[LICENCE], forecast={}), run.path)
    conclude.decide_run(run)
    return load_record(Verdict, run.path)


def fail_to_install(request: RunRequest) -> Run:
    run = begin(request)
    save_record(Preflight(host={}, checks=[], forecast={}), run.path)
    save_record(Install(ok=False, steps=[], total_s=61.0, limit_s=60.0, error="no wheel"), run.path)
    done = PhaseState(status="done", started_utc="a", ended_utc="b")
    save_record(Phases(phases={"preflight": done}), run.path)
    conclude.decide_run(run)
    return run


def following(request: RunRequest, **changes: object) -> RunRequest:
    return request.model_copy(update={"model": "cosyvoice2", "profile": "graphed", **changes})


def test_the_last_failure_ends_the_survey_and_says_why_each_was_not_taken(asked: RunRequest) -> None:
    first = refuse(asked)
    assert (first.decision, first.next.model) == ("keep_baseline_try_next", "cosyvoice2")
    assert first.carried is None
    assert b"carried" not in (asked.runs_dir / first.run_id / "verdict.json").read_bytes()

    run = fail_to_install(following(asked))
    (carried,) = load_record(Manifest, run.path).carried or []
    assert (carried.model, carried.run_id, carried.reason) == ("f5", first.run_id, "licence")
    last = load_record(Verdict, run.path)
    assert last.label == "keep_chatterbox_survey_complete"
    assert last.carried == [carried]
    assert last.sentence == (
        "Keep chatterbox; the survey is complete: cosyvoice2 could not be installed. Before it: f5's licence does not "
        "allow personal use – Not for sale."
    )
    before = (run.path / "verdict.json").read_bytes()
    shutil.rmtree(asked.runs_dir / first.run_id)
    conclude.decide_run(run)
    assert (run.path / "verdict.json").read_bytes() == before, "a verdict needs no other run"


def test_what_was_decided_of_other_inputs_or_taken_is_not_carried_on(asked: RunRequest) -> None:
    refuse(asked.model_copy(update={"question": "Which is it?"}))
    run = begin(following(asked))
    assert run.manifest().carried is None
    shutil.rmtree(run.path)
    refused = refuse(asked)
    path = asked.runs_dir / refused.run_id
    for change in ({"decision": "awaiting_ratings", "reason": None}, {"decision": "swap_candidate"}):
        save_record(refused.model_copy(update=change), path)
        run = begin(following(asked))
        assert run.manifest().carried is None, change
        shutil.rmtree(run.path)
    save_record(refused, path)
    run = begin(following(asked))
    assert [each.model for each in run.manifest().carried or []] == ["f5"]


def test_one_record_and_one_report_of_all_candidates(asked: RunRequest) -> None:
    first = refuse(asked)
    member = Run(asked.runs_dir / first.run_id)
    begun = surveys.gather(member)
    assert (begun.complete, begun.decision) == (False, "keep_baseline_try_next")
    assert [(each.model, each.place) for each in begun.models] == [
        ("f5", "decided"),
        ("cosyvoice2", "to_come"),
    ]

    run = fail_to_install(following(asked))
    found = surveys.gather(run)
    assert surveys.gather(member) == found, "whichever of its runs is asked"
    assert (found.complete, found.label) == (True, "keep_chatterbox_survey_complete")
    assert found.survey_id == f"titan-{first.run_id.rpartition('-')[2]}"
    assert [(each.reason, each.install_s) for each in found.models] == [
        ("licence", None),
        ("install_failed", 61.0),
    ]
    assert found.summary == load_record(Verdict, run.path).sentence

    page = surveys.write(found, asked.runs_dir)
    assert load_record(Survey, page.parent) == found
    text = page.read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert [(page.parent / link).resolve().parent.name for link in links] == [first.run_id, run.run_id]
    assert all((page.parent / link).is_file() for link in links)
    assert text.count("Not for sale") == 3, "in the summary, in the chain and at the model"
    assert "Time to first audio" not in text, "nobody was measured"
    assert "Installation" in text
    said = (page.parent / "survey.md").read_text()
    assert "CosyVoice 2" in said
    written = {path: path.stat().st_mtime_ns for path in page.parent.iterdir()}
    surveys.write(surveys.gather(run), asked.runs_dir)
    assert {path: path.stat().st_mtime_ns for path in page.parent.iterdir()} == written
