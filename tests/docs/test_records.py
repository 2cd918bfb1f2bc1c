"""What the code writes is what the models say, key by key; docs/schema is made from them (test_tables.py)."""

import json
import time
from pathlib import Path
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel

from bench.client.takes import TAKES_FILE
from bench.commands.schema import FILES, Described, make_schema
from bench.controller import conclude, incoming, outgoing
from bench.controller.run import Run, note_phase
from bench.errors import BadInput
from bench.jobs.archive import pack
from bench.jobs.spec import JobResult
from bench.listening import mapping
from bench.memory.meminfo import settle_baseline
from bench.memory.sampler import MemorySampler
from bench.records.base import SCHEMA_VERSION, FileRecord
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsFile, TakeMetrics
from bench.records.passes import Detection, PassFile, PassResult
from bench.records.run import Install, Manifest, Phases, PhaseState, Preflight
from bench.records.take import Take, TakeError
from bench.records.verdict import Verdict
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record, save_record
from tests.docs.tables import DOCS


def check(model: type[BaseModel], value: Any) -> None:
    described = next(each for each in FILES if each.model is model)
    jsonschema.Draft202012Validator(make_schema(described)).validate(value)


TAKE = Take(utterance_id="u01", text="Hello.", voice="a", error=TakeError(kind="timeout", message="120 s"))


@pytest.mark.parametrize("described", FILES, ids=lambda each: each.model.__name__)
def test_schemas_are_schemas(described: Described) -> None:
    jsonschema.Draft202012Validator.check_schema(make_schema(described))


def test_every_file_record_is_described() -> None:
    described = {each.model for each in FILES}
    waiting: list[type[FileRecord]] = [FileRecord]
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        if each is not FileRecord and each.__module__.startswith("bench."):
            assert each in described, each


def test_a_written_take_fits_and_a_lacking_or_strange_key_does_not() -> None:
    line = TAKE.model_dump(mode="json")
    check(Take, line)
    for bad in ({k: v for k, v in line.items() if k != "ttfa_ms"}, line | {"ttfa": 1.0}):
        with pytest.raises(jsonschema.ValidationError):
            check(Take, bad)


def test_another_version_does_not_fit_and_is_refused(tmp_path: Path) -> None:
    record = Phases(
        phases={"install": PhaseState(status="failed", started_utc="x", ended_utc="y", error="e")}
    )
    save_record(record, tmp_path)
    written = json.loads((tmp_path / "phases.json").read_text())
    check(Phases, written)
    other = written | {"schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(jsonschema.ValidationError):
        check(Phases, other)
    (tmp_path / "phases.json").write_text(json.dumps(other))
    with pytest.raises(BadInput, match=f"{SCHEMA_VERSION + 1}.*reads {SCHEMA_VERSION}"):
        load_record(Phases, tmp_path)


def test_memory_file(tmp_path: Path) -> None:
    sampler = MemorySampler(baseline=settle_baseline(window_s=0.1, timeout_s=0.2))
    with sampler, sampler.window("candidate"):
        time.sleep(0.2)
    save_record(sampler.report(), tmp_path)
    check(MemoryReport, json.loads((tmp_path / "memory.json").read_text()))


def test_a_sealed_pass(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    made = tmp_path / "out" / "baseline"
    made.mkdir(parents=True)
    run.path.mkdir()
    (made / TAKES_FILE).write_text(json.dumps(TAKE.model_dump(mode="json")) + "\n")
    done = PassResult(
        voice="a",
        detection=Detection(dialect="openai", chosen_by="entry"),
        measured_from="host",
        reference_cached=None,
        registration_ms=None,
        sample_rate_hz=None,
        started_utc=utc_now(),
        takes=1,
        ok=1,
    )
    result = JobResult(
        phase="baseline",
        ok=True,
        seconds=1.0,
        passes={"baseline": done},
        health={"profile": {"fp32_retries": 0}},
        health_after={"baseline": {"profile": {"fp32_retries": 2}}},
        fp32_retries={"baseline": {"u01": 1}},
    )
    (tmp_path / "out" / "result.json").write_text(result.model_dump_json())
    pack(tmp_path / "out", tmp_path / "out.tar")
    assert incoming.accept(run, "baseline", tmp_path / "out.tar", utc_now()).ok
    made_as = json.loads((run.path / "baseline" / "pass.json").read_text())
    check(PassFile, made_as)
    assert made_as["health"]["profile"]["fp32_retries"] == 2, "as it was after the pass"
    assert made_as["fp32_retries"] == {"u01": 1}
    check(Phases, json.loads((run.path / "phases.json").read_text()))


def test_metrics_file(tmp_path: Path) -> None:
    for side in ("candidate", "baseline"):
        (tmp_path / side).mkdir()
        line = TakeMetrics(utterance_id="u01", wav="u01.wav", audio_s=1.0, reasons={"heard": "left out"})
        check(TakeMetrics, line.model_dump(mode="json"))
        (tmp_path / side / "metrics.jsonl").write_text(line.model_dump_json() + "\n")
    assert conclude._write_metrics(tmp_path)
    check(MetricsFile, json.loads((tmp_path / "metrics.json").read_text()))


def test_page_names_every_file_and_rule() -> None:
    page = (DOCS / "records.md").read_text(encoding="utf-8")
    names = [r.file_name for r in (Manifest, Preflight, Install, Phases, Verdict)]
    names += [
        TAKES_FILE,
        conclude.REPORT,
        conclude.SUMMARY,
        mapping.SEALED,
        mapping.PUBLISHED,
        mapping.RATINGS,
    ]
    names += [
        f"{mapping.CLIPS}/",
        f"{mapping.DIRECTORY}/",
        "attempts/",
        *(f"{n}/" for n in outgoing.PASSES["benchmark"]),
    ]
    for name in names:
        assert name in page, name


def test_a_phase_is_noted_as_the_page_says(tmp_path: Path) -> None:
    run = Run(tmp_path)
    note_phase(run, "benchmark", utc_now(), "the disk is full", fault="host")
    state = run.phases()["benchmark"]
    assert (state.status, state.fault) == ("failed", "host")
    page = (DOCS / "phases.md").read_text(encoding="utf-8")
    faults = {v for arg in get_args(PhaseState.model_fields["fault"].annotation) for v in get_args(arg)}
    assert faults == {"candidate", "host"}
    for fault in faults:
        assert f"| `{fault}`" in page
