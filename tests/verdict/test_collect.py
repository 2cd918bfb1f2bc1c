"""A run directory into evidence, and the damage it may have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from bench.errors import BadInput, PhaseMissing
from bench.records.base import Phase
from bench.records.metrics import MetricsFile, TakeMetrics
from bench.records.run import Check, Install, Phases, PhaseState, Preflight, Rule
from bench.records.take import Take
from bench.storage.digests import sha256_bytes, sha256_file
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import collect, read_takes
from bench.verdict.rule import decide, verdict_bytes
from tests.support.made_evidence import RULE_BYTES, evidence, manifest, neighbour, ratings, takes
from tests.support.records import comparison, memory_report, pass_file

GATE = Check(name="licence", ok=True, value="mit", limit="personal", severity="gate")


def write_takes(folder: Path, rows: list[Take]) -> None:
    folder.mkdir()
    (folder / "takes.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))


def run_directory(
    root: Path, *, checks: list[Check] | None = None, failed: dict[Phase, str] | None = None
) -> Path:
    save_record(manifest(), root)
    (root / "rule.yml").write_bytes(RULE_BYTES)
    save_record(Preflight(host={}, checks=checks if checks is not None else [GATE], forecast={}), root)
    phases: dict[Phase, PhaseState] = {}
    names: list[Phase] = ["preflight", "install", "benchmark", "baseline"]
    for name in names:
        error = (failed or {}).get(name)
        status: Literal["done", "failed"] = "done" if error is None else "failed"
        phases[name] = PhaseState(status=status, started_utc="a", ended_utc="b", error=error)
    save_record(Phases(phases=phases), root)
    return root


def whole_run(root: Path) -> Path:
    run_directory(root)
    save_record(Install(ok=True, steps=[], total_s=120.0, limit_s=3600.0), root)
    for side, rows in (("preset", takes()), ("candidate", takes()), ("baseline", takes(ttfa_ms=420.0))):
        write_takes(root / side, rows)
    save_record(neighbour(), root)
    save_record(memory_report(), root)
    return root


def test_a_whole_run_reads_as_it_was_and_decides_the_same_bytes_twice(tmp_path: Path) -> None:
    whole_run(tmp_path)
    rated = ratings([1] * 10)
    found = collect(tmp_path, ratings=rated)
    assert found.candidate == evidence().candidate
    assert found.install == evidence().install
    first = verdict_bytes(decide(found))
    assert first == verdict_bytes(decide(collect(tmp_path, ratings=rated)))
    assert json.loads(first)["decision"] == "swap_candidate"
    assert "series" not in json.loads(first)["memory"]


@pytest.mark.parametrize(
    ("name", "reason"), [("licence", "licence"), ("clone_encoder", "clone_encoder_withheld")]
)
def test_a_refused_gate_decides(tmp_path: Path, name: str, reason: str) -> None:
    refused = Check(name=name, ok=False, value=["a"], limit=False, detail="Says so. More.", severity="gate")
    run_directory(tmp_path, checks=[refused])
    verdict = decide(collect(tmp_path, ratings=None))
    assert verdict.reason == reason
    assert verdict.gates[0].model_dump() == {"name": name, "value": '["a"]', "limit": "no", "passed": False}
    assert verdict.sentence.endswith("\u2013 Says so.")


@pytest.mark.parametrize("ok", [False, None])
def test_a_gate_of_the_host_says_nothing_of_the_model(tmp_path: Path, ok: Any) -> None:
    run_directory(tmp_path, checks=[Check(name="disk", ok=ok, detail="2 GiB free", severity="gate")])
    with pytest.raises(PhaseMissing, match=r"stopped at disk \(2 GiB free\)"):
        collect(tmp_path, ratings=None)


def test_preflights_warnings_are_carried_on(tmp_path: Path) -> None:
    whole_run(tmp_path)
    warning = Check(name="baseline", ok=False, detail="Out of reach.", severity="warning")
    save_record(Preflight(host={}, checks=[GATE, warning], forecast={}), tmp_path)
    verdict = decide(collect(tmp_path, ratings=ratings([1] * 10)))
    assert "Out of reach." in verdict.warnings


def test_a_failed_phase_brings_its_error(tmp_path: Path) -> None:
    run_directory(tmp_path, failed={"install": "no such wheel"})
    verdict = decide(collect(tmp_path, ratings=None))
    assert verdict.reason == "install_failed"
    assert "no such wheel" in str(verdict.gates)


def test_a_pass_that_was_cut_off_is_run_again_and_not_held_against_the_model(tmp_path: Path) -> None:
    whole_run(tmp_path)
    save_record(Phases(phases={}), tmp_path)
    with pytest.raises(PhaseMissing, match="--tags benchmark"):
        decide(collect(tmp_path, ratings=None))


def fail(root: Path, phase: Phase, fault: Literal["candidate", "host"]) -> None:
    phases = load_record(Phases, root)
    ended = PhaseState(status="failed", started_utc="a", ended_utc="b", error="broken", fault=fault)
    phases.phases[phase] = ended
    save_record(phases, root)


def test_a_fault_of_the_host_is_not_held_against_the_model(tmp_path: Path) -> None:
    whole_run(tmp_path)
    rows = [*takes(4)]
    (tmp_path / "candidate" / "takes.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in rows))
    fail(tmp_path, "benchmark", "host")
    with pytest.raises(PhaseMissing, match="--tags benchmark"):
        decide(collect(tmp_path, ratings=None))
    fail(tmp_path, "benchmark", "candidate")
    assert decide(collect(tmp_path, ratings=None)).reason == "synthesis_failed"


def test_a_host_that_failed_after_the_takes_leaves_them_good(tmp_path: Path) -> None:
    fail(whole_run(tmp_path), "benchmark", "host")
    assert decide(collect(tmp_path, ratings=ratings([1] * 10))).decision == "swap_candidate"


def test_an_installation_that_the_host_failed_is_run_again(tmp_path: Path) -> None:
    fail(run_directory(tmp_path), "install", "host")
    phases = load_record(Phases, tmp_path)
    del phases.phases["benchmark"]
    save_record(phases, tmp_path)
    with pytest.raises(PhaseMissing, match="--tags install"):
        decide(collect(tmp_path, ratings=None))


def test_before_preflight(tmp_path: Path) -> None:
    with pytest.raises(PhaseMissing, match="run preflight first"):
        collect(tmp_path, ratings=None)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    write_takes(tmp_path / "candidate", takes(2))
    with (tmp_path / "candidate" / "takes.jsonl").open("a") as stream:
        stream.write('\n{"utterance_id": "u03"')
    with pytest.raises(BadInput, match=r"takes\.jsonl:5 is not a take"):
        read_takes(tmp_path / "candidate")
    assert read_takes(tmp_path / "baseline") is None


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    whole_run(tmp_path)
    (tmp_path / "neighbour.json").write_text(text)
    with pytest.raises(BadInput, match=r"neighbour\.json is not"):
        collect(tmp_path, ratings=None)


def edit_manifest(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads((root / "manifest.json").read_text())
    change(raw)
    (root / "manifest.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rating_margin_tenths", 0), ("ttfa_p50_limit_ms", 5000.0), ("channel", "narrowband"),
        ("minimum_raters", 2), ("pairs", 9), ("failed_takes_limit", 3), ("rtf_limit", 2.0), ("stall_ms_limit", 1.0),
        ("ttfa_audible_p50_limit_ms", 800.0),
    ],
)  # fmt: skip
def test_a_rule_edited_in_the_manifest_alone_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    """The file and its hash are as they were; the gates would go by the manifest's copy."""
    assert field in Rule.model_fields
    whole_run(tmp_path)
    edit_manifest(tmp_path, lambda raw: raw["rule"].update({field: value}))
    with pytest.raises(BadInput, match=f"{field} is {value} and was"):
        collect(tmp_path, ratings=ratings([0] * 10))


def test_every_field_of_the_rule_is_tried_above() -> None:
    mark = next(m for m in test_a_rule_edited_in_the_manifest_alone_is_refused.pytestmark)
    assert {field for field, _ in mark.args[1]} == set(Rule.model_fields)


@pytest.mark.parametrize("with_hash", [False, True])
def test_an_edited_rule_file_is_refused(tmp_path: Path, with_hash: bool) -> None:
    whole_run(tmp_path)
    (tmp_path / "rule.yml").write_text("pairs: 10\nrating_margin_tenths: 0\n")
    if with_hash:  # the hash among the inputs still says what it was
        digest = sha256_file(tmp_path / "rule.yml")
        edit_manifest(tmp_path, lambda raw: raw.update(rule_sha256=digest))
    with pytest.raises(BadInput, match="rule was changed"):
        collect(tmp_path, ratings=None)


def test_a_rule_file_that_is_gone_is_named(tmp_path: Path) -> None:
    whole_run(tmp_path)
    (tmp_path / "rule.yml").unlink()
    with pytest.raises(BadInput, match=r"rule\.yml cannot be read"):
        collect(tmp_path, ratings=None)


@pytest.mark.parametrize("with_hash", [False, True])
def test_an_edited_question_is_refused(tmp_path: Path, with_hash: bool) -> None:
    whole_run(tmp_path)
    edit_manifest(tmp_path, lambda raw: raw.update(question="Which is louder?"))
    if with_hash:
        digest = sha256_bytes(b"Which is louder?")
        edit_manifest(tmp_path, lambda raw: raw.update(question_sha256=digest))
    with pytest.raises(BadInput, match="question"):
        collect(tmp_path, ratings=None)


def test_a_second_take_of_one_utterance_is_named(tmp_path: Path) -> None:
    write_takes(tmp_path / "candidate", [*takes(2), takes(2)[1]])
    with pytest.raises(BadInput, match=r"takes\.jsonl:4: u01 has a second take"):
        read_takes(tmp_path / "candidate")


def test_how_each_side_was_measured_and_the_comparison_alone_are_kept(tmp_path: Path) -> None:
    whole_run(tmp_path)
    made, compared = pass_file(), comparison(pairs=10)
    save_record(made, tmp_path / "baseline")
    take = TakeMetrics(utterance_id="u01", wav="u01.wav")
    save_record(MetricsFile(candidate=[take], baseline=[], comparison=compared), tmp_path)
    found = collect(tmp_path, ratings=None)
    assert found.passes == {"baseline": made}
    assert found.metrics == compared


@pytest.mark.parametrize("name", ["neighbour.json", "memory.json", "candidate/pass.json"])
def test_a_record_with_a_key_that_it_does_not_have_is_refused_by_name(tmp_path: Path, name: str) -> None:
    save_record(pass_file(), whole_run(tmp_path) / "candidate")
    raw = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps({**raw, "p50": 1.0}))
    with pytest.raises(BadInput, match=f"{name} is not a valid"):
        collect(tmp_path, ratings=None)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    whole_run(tmp_path)
    raw = json.loads((tmp_path / "preflight.json").read_text())
    (tmp_path / "preflight.json").write_text(json.dumps({**raw, "schema_version": 99}))
    with pytest.raises(BadInput, match="schema_version 99"):
        collect(tmp_path, ratings=None)
