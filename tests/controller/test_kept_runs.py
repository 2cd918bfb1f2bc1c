"""Run directories as Audition 0.1.0 left them: every file is the record it says, and decides the same today."""

import json
import tarfile
from pathlib import Path

import pytest
from pydantic import BaseModel

from bench.commands.schema import FILES
from bench.controller import conclude
from bench.listening import mapping
from bench.records.base import FileRecord
from bench.records.listening import SealReport
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsFile, TakeMetrics
from bench.records.passes import PassFile
from bench.records.run import Install, Manifest, Phases, Preflight
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import collect, read_takes
from bench.verdict.rule import decide, verdict_bytes

ARCHIVE = Path(__file__).resolve().parents[1] / "data" / "runs-0.1.0.tar.xz"
AWAITING, REFUSED = "espeak-local-20261126T153008Z", "f5-local-20261126T153057Z"
IN_PASSES: dict[str, type[BaseModel]] = {"takes.jsonl": Take, "metrics.jsonl": TakeMetrics}
FOUND = {Manifest, Preflight, Phases, Install, MemoryReport, PassFile, MetricsFile, Verdict}
"""Kinds of files that these runs have; they had no neighbour."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "runs"


def file_records() -> list[type[FileRecord]]:
    return [each.model for each in FILES if issubclass(each.model, FileRecord)]


def test_every_record_loads_and_is_written_as_it_was(runs: Path, tmp_path: Path) -> None:
    loaded: set[type[BaseModel]] = set()
    for kind in file_records():
        for path in runs.rglob(kind.file_name):
            record = load_record(kind, path.parent)
            save_record(record, tmp_path / "again")
            assert json.loads((tmp_path / "again" / kind.file_name).read_text()) == json.loads(
                path.read_text()
            )
            loaded.add(kind)
    assert loaded == FOUND
    for name, model in IN_PASSES.items():
        lines = [line for path in runs.rglob(name) for line in path.read_text().splitlines()]
        assert lines
        for line in lines:
            assert model.model_validate_json(line).model_dump(mode="json") == json.loads(line)


def test_what_was_sealed_is_intact(runs: Path) -> None:
    sealed = mapping.load_intact(runs / AWAITING)
    stored = json.loads((runs / AWAITING / "listening" / "sealed.json").read_text())
    assert sealed.model_dump(mode="json") == stored
    report = json.loads((runs / AWAITING / "listening" / "seal.json").read_text())
    assert SealReport.model_validate(report).model_dump(mode="json") == report


@pytest.mark.parametrize("name", [AWAITING, REFUSED])
def test_the_verdict_made_today_is_the_stored_one_byte_for_byte(runs: Path, name: str) -> None:
    evidence = conclude.evidence_of(runs / name)
    stored = (runs / name / Verdict.file_name).read_bytes()
    assert verdict_bytes(decide(evidence)) == stored
    assert verdict_bytes(load_record(Verdict, runs / name)) == stored


def test_a_run_that_waits_for_its_baseline_has_its_takes(runs: Path) -> None:
    (waiting,) = (path for path in runs.iterdir() if path.name.startswith("espeak") and path.name != AWAITING)
    evidence = collect(waiting, ratings=None)
    assert evidence.candidate == read_takes(waiting / "candidate") and evidence.baseline is None
    assert evidence.memory is not None and evidence.memory.rss.bytes
    assert decide(evidence).decision == "awaiting_baseline"
