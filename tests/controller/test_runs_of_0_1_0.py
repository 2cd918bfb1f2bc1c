"""Run directories that version 0.1.0 left (tests/data): they load, they are found by their inputs, they go on."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bench.catalog.loader import read
from bench.commands.cli import main
from bench.commands.schema import FILES
from bench.controller import conclude, outgoing
from bench.controller.host_settings import HostSettings
from bench.controller.request import RunRequest
from bench.controller.run import Run, locate, open_or_create
from bench.controller.wheel import REPO
from bench.errors import BadInput, PhaseMissing
from bench.listening import mapping
from bench.records.base import FileRecord
from bench.records.listening import SealReport
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsFile, TakeMetrics
from bench.records.passes import PassFile
from bench.records.run import Install, Manifest, Phases, Preflight
from bench.records.take import Take
from bench.records.verdict import RatingsResult, Verdict
from bench.serving.server import load_adapter
from bench.storage.record_file import load_record, save_record
from bench.verdict.rule import decide, verdict_bytes
from tests.support.rated import rate_everything

ARCHIVE = REPO / "tests" / "data" / "runs-0.1.0.tar.xz"
SEALED, HALF, REFUSED, BEGUN = (
    "espeak-local-20261126T153008Z", "espeak-local-20261126T153039Z",
    "f5-local-20261126T153057Z", "f5-local-20261126T153104Z",
)  # fmt: skip

FOUND = {Manifest, Preflight, Phases, Install, MemoryReport, PassFile, MetricsFile, Verdict}
"""Kinds of files that these runs have; they had no neighbour."""
LINES: dict[str, type[BaseModel]] = {"takes.jsonl": Take, "metrics.jsonl": TakeMetrics}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def _request(old: Path, **changes: Any) -> RunRequest:
    """Return what those runs were begun with."""
    voice = old / "reference"
    given = {
        "runs_dir": old / "runs",
        "host": "local",
        "model": "espeak",
        "baseline": "flite",
        "reference_audio": voice / "voice.wav",
        "reference_transcript": voice / "voice.txt",
        "reference_rights": voice / "voice.rights.yml",
        "utterances_file": old / "one.txt",
        "rule_file": old / "rule.yml",
        "catalog_dir": old / "catalog",
        "chain": ["espeak"],
    }
    return RunRequest.of(given | changes)


def test_old_paths_of_adapters_still_load(old: Path) -> None:
    for name in ("espeak", "flite"):
        run = read(old / "catalog" / f"{name}.yml").run
        assert "bench.engines" in (old / "catalog" / f"{name}.yml").read_text()
        assert load_adapter(getattr(run, "adapter", "")).sample_rate_hz > 0
    for run_id in (SEALED, HALF, REFUSED, BEGUN):
        adapter = getattr(Run(old / "runs" / run_id).entry().run, "adapter", "")
        assert adapter.startswith("bench.serving.")


@pytest.mark.parametrize(
    ("run_id", "changes"),
    [
        (SEALED, {}),
        (HALF, {"utterances_file": "other.txt"}),
        (SEALED, {"catalog_dir": None}),  # today's entries
    ],
)
def test_an_unfinished_run_is_found_by_the_same_inputs(
    old: Path, run_id: str, changes: dict[str, Any]
) -> None:
    if "utterances_file" in changes:
        changes = changes | {"utterances_file": old / changes["utterances_file"]}
    request = _request(old, **changes)
    assert locate(request).run_id == run_id
    assert open_or_create(request, REPO)[1] is False
    other = old / "another.yml"
    other.write_text("pairs: 1\nttfa_p50_limit_ms: 400\n")
    assert open_or_create(request.model_copy(update={"rule_file": other}), REPO)[1] is True


def test_f5s_weights_are_others_now_so_its_runs_go_on_by_name_alone(old: Path) -> None:
    copied = _request(old, model="f5", chain=["f5"])
    with pytest.raises(BadInput, match=r"config\.yaml can name code"):
        locate(copied)
    request = copied.model_copy(update={"catalog_dir": None})
    with pytest.raises(PhaseMissing, match="-e run_id="):
        locate(request)
    assert locate(request.model_copy(update={"run_id": BEGUN})).run_id == BEGUN
    assert open_or_create(request, REPO)[1] is True


def test_a_half_made_run_has_the_rest_to_do(old: Path) -> None:
    run = Run(old / "runs" / HALF)
    assert (run.todo("benchmark"), run.todo("baseline")) == ("already done", None)
    job = outgoing.make_job_spec(run, "baseline", HostSettings.of({"state_dir": "/var/lib/audition"}))
    assert (job.passes, job.install) == (["baseline"], "system")


def test_every_record_loads_and_is_written_as_it_was(old: Path, tmp_path: Path) -> None:
    loaded: set[type[BaseModel]] = set()
    for kind in (each.model for each in FILES if issubclass(each.model, FileRecord)):
        for path in (old / "runs").rglob(kind.file_name):
            save_record(load_record(kind, path.parent), tmp_path / "again")
            was = json.loads(path.read_text())
            again = _without_later_nulls(json.loads((tmp_path / "again" / kind.file_name).read_text()), was)
            assert json.dumps(again) == json.dumps(was)
            loaded.add(kind)
    assert loaded == FOUND
    for name, model in LINES.items():
        lines = [line for path in (old / "runs").rglob(name) for line in path.read_text().splitlines()]
        assert lines
        for line in lines:
            was = json.loads(line)
            again = _without_later_nulls(model.model_validate_json(line).model_dump(mode="json"), was)
            assert json.dumps(again) == json.dumps(was)


def _without_later_nulls(now: Any, was: Any) -> Any:
    """Return `now` without the keys that came later and of which such a run knows nothing."""
    if isinstance(now, dict) and isinstance(was, dict):
        kept = {key: value for key, value in now.items() if key in was or value is not None}
        return {key: _without_later_nulls(value, was.get(key)) for key, value in kept.items()}
    if isinstance(now, list) and isinstance(was, list) and len(now) == len(was):
        return [_without_later_nulls(*pair) for pair in zip(now, was, strict=True)]
    return now


def test_what_was_sealed_is_intact(old: Path) -> None:
    home = old / "runs" / SEALED / "listening"
    sealed = json.loads((home / "sealed.json").read_text())
    assert mapping.load_intact(home.parent).model_dump(mode="json") == sealed
    report = json.loads((home / "seal.json").read_text())
    assert SealReport.model_validate(report).model_dump(mode="json") == report


def test_a_run_that_waits_for_its_baseline_is_evidence(old: Path) -> None:
    evidence = conclude.collect_evidence(old / "runs" / HALF)
    assert evidence.baseline is None and set(evidence.passes) == {"candidate"}
    assert evidence.memory is not None and evidence.memory.rss.bytes
    assert decide(evidence).decision == "awaiting_baseline"


@pytest.mark.parametrize(
    ("run_id", "decision"), [(SEALED, "awaiting_ratings"), (REFUSED, "keep_baseline_survey_complete")]
)
def test_its_verdict_is_the_one_that_was_given(old: Path, run_id: str, decision: str) -> None:
    run = Run(old / "runs" / run_id)
    before = (run.path / Verdict.file_name).read_bytes()
    stored = load_record(Verdict, run.path)
    assert (stored.decision, verdict_bytes(stored)) == (decision, before)
    if stored.memory:  # it told what it should not have: how long the candidate's clips are together
        assert [window.name for window in stored.memory.windows] == ["preset", "candidate"]
        stored.memory.windows = []
    conclude.decide_run(run)
    assert (run.path / Verdict.file_name).read_bytes() == verdict_bytes(stored)


@pytest.mark.usefixtures("patient")
def test_a_sealed_run_is_rated_decided_and_reported(old: Path) -> None:
    run = Run(old / "runs" / SEALED)
    rate_everything(run.path, "ann")
    conclude.decide_run(run)
    decided = load_record(Verdict, run.path)
    assert (decided.decision, decided.reason) == ("keep_baseline_survey_complete", "rule")
    assert isinstance(decided.ratings, RatingsResult) and decided.ratings.raters == {"ann": "finished"}
    page = (run.path / conclude.REPORT).read_text()
    assert "eSpeak NG" in page and "data:audio/" in page


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (
            {"versions": {"audition": "9.8.7"}, "git_commit": "1a2b3c4-dirty"},
            "the version that began it (Audition 9.8.7, commit 1a2b3c4-dirty), or start a new one.",
        ),
        (
            {"versions": {"audition": "9.8.7"}},
            "the version that began it (Audition 9.8.7), or start a new one.",
        ),
        ({"versions": ["9.8.7"]}, "the version that began it, or start a new one."),
    ],
    ids=["as today", "without a commit", "otherwise"],
)
def test_a_run_of_a_schema_to_come_is_refused_with_the_version_that_began_it(
    old: Path, known: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_dir = old / "runs"
    (runs_dir / SEALED / "manifest.json").write_text(json.dumps({"schema_version": 2, **known}))
    assert main(["verdict", SEALED, "--runs-dir", str(runs_dir)]) == 2
    said = capsys.readouterr().err
    assert "has schema_version 2 and this Audition reads 1; finish that run with " + says in said
    assert open_or_create(_request(old), REPO)[1] is True, "it stands in no other run's way"


def test_a_pass_of_a_schema_to_come_is_refused_too(old: Path) -> None:
    run = Run(old / "runs" / SEALED)
    path = run.path / "candidate" / PassFile.file_name
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    began = run.manifest()
    with pytest.raises(BadInput, match=rf"Audition 0\.1\.0, commit {began.git_commit}\)"):
        load_record(PassFile, path.parent)


def test_a_key_to_come_is_refused_with_the_version_that_began_the_run(old: Path) -> None:
    run_dir = old / "runs" / SEALED
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["versions"]["audition"] = "9.8.7"
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"weather": "rain"}))
    with pytest.raises(BadInput, match=r"(?s)weather.*Extra inputs.*\(Audition 9\.8\.7, commit \w+\)"):
        load_record(Manifest, run_dir)
