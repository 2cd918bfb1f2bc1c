"""From takes to a verdict: what cannot be rated decides or asks for the phase that is missing; nothing dead-ends."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.controller import conclude
from bench.controller.run import Run, note_phase
from bench.errors import BadInput, PhaseMissing
from bench.listening import mapping
from bench.listening.score import CuesRemain
from bench.records.base import Phase
from bench.records.metrics import TakeMetrics
from bench.records.run import Install, Preflight, Rule
from bench.records.take import Take, TakeError, TakeSide
from bench.records.verdict import FailedTake, Verdict
from bench.storage.clock import utc_now
from bench.storage.digests import sha256_file
from bench.storage.record_file import load_record, save_record
from benchmarks.listening_run import WORDS, build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def spoken_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sentences of both sides, of which the rule asks for four; every phase but score is done."""
    run = Run(tmp_path_factory.mktemp("made") / "espeak-here-20261122T101500Z")
    build(run.path, texts=WORDS[:5], candidate="flite kal", rule=Rule(pairs=4))
    manifest = run.manifest()
    save_record(manifest.model_copy(update={"utterances": 5}), run.path)
    save_record(Preflight(host={}, checks=[], forecast={}), run.path)
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=60.0), run.path)
    phases: tuple[Phase, ...] = ("preflight", "install", "benchmark", "baseline")
    for phase in phases:
        note_phase(run, phase, utc_now())
    return run.path


@pytest.fixture
def run(spoken_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("bench.listening.score.CHANNELS", ("full",))
    monkeypatch.setattr("bench.controller.conclude.render", lambda shown: f"<title>{shown.run_id}</title>")
    return Run(Path(shutil.copytree(spoken_once, tmp_path / spoken_once.name)))


def change_take(run: Run, side: TakeSide, number: int, change: Callable[[Take], Take]) -> None:
    path = run.path / side / "takes.jsonl"
    takes = [Take.model_validate_json(line) for line in path.read_text().splitlines()]
    takes[number - 1] = change(takes[number - 1])
    path.write_text("".join(take.model_dump_json() + "\n" for take in takes))


def click(run: Run, side: TakeSide, number: int) -> None:
    """Let a take hold nothing but a click: the client finds no error in it."""
    wav = run.path / side / f"u{number:02d}.wav"
    soundfile.write(wav, np.concatenate((np.zeros(9000), [0.9], np.zeros(9000))), 22050)
    change_take(run, side, number, lambda take: take.model_copy(update={"sha256": sha256_file(wav)}))


def fail(run: Run, side: TakeSide, number: int) -> None:
    error = TakeError(kind="timeout", message="no audio in 120 s")
    change_take(run, side, number, lambda take: Take(**{**take.model_dump(), "wav": None, "error": error}))


def failed(verdict: Verdict, side: TakeSide) -> list[FailedTake]:
    failures = verdict.failures[side]
    assert failures is not None
    return failures.failed


def decided(run: Run) -> Verdict:
    conclude.decide_run(run)
    return load_record(Verdict, run.path)


@pytest.mark.parametrize("spoil", [fail, click])
def test_one_take_too_few_of_the_candidate_is_synthesis_failed(
    run: Run, spoil: Callable[[Run, TakeSide, int], None]
) -> None:
    spoil(run, "candidate", 1)
    spoil(run, "candidate", 4)
    assert "synthesis_failed" in conclude.score_run(run)["msg"]
    verdict = decided(run)
    assert (verdict.reason, verdict.gates[-1].value) == ("synthesis_failed", 3)
    assert {each.utterance_id for each in failed(verdict, "candidate")} == {"u01", "u04"}
    assert run.phases()["score"].fault == "candidate"


def test_a_baseline_that_nobody_can_rate_is_awaited_and_can_be_made_again(run: Run) -> None:
    good = shutil.copytree(run.path / "baseline", run.path.parent / "good")
    click(run, "baseline", 2)
    click(run, "baseline", 3)
    conclude.score_run(run)
    verdict = decided(run)
    assert verdict.decision == "awaiting_baseline"
    assert "u02 (unusable: baseline/u02.wav holds less than" in verdict.sentence
    assert verdict.next.commands[0].endswith("--tags baseline,score,verdict")
    assert len(list(run.path.glob("attempts/baseline-*/baseline/takes.jsonl"))) == 1
    assert run.todo("baseline") is None, "its phase has work again"
    shutil.copytree(good, run.path / "baseline")
    note_phase(run, "baseline", utc_now())
    assert run.todo("score") is None
    conclude.score_run(run)
    assert decided(run).decision == "awaiting_ratings"


def test_sealing_says_that_one_side_takes_twice_as_long_and_not_which(run: Run) -> None:
    for side, seconds in (("candidate", 4.4), ("baseline", 2.0)):
        made = [
            TakeMetrics(utterance_id=f"u{number:02d}", wav=f"u{number:02d}.wav", sounding_s=seconds)
            for number in range(1, 6)
        ]
        (run.path / side / "metrics.jsonl").write_text(
            "".join(each.model_dump_json() + "\n" for each in made)
        )
    said = [line for line in conclude.score_run(run)["msg"].splitlines() if line.startswith("ALARM: ")]
    assert said[0].startswith("ALARM: In 5 of 5 sentences one side speaks far longer than the other")
    assert not any(
        name in line for line in said for name in ("espeak", "flite", "candidate", "baseline", "2.2")
    )


def test_damaged_metrics_are_refused_by_their_name(run: Run) -> None:
    (run.path / "candidate/metrics.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(BadInput, match=r"candidate/metrics\.jsonl is no list of metrics"):
        conclude.score_run(run)


def test_a_baseline_set_aside_by_a_score_that_was_killed_is_still_made_again(run: Run) -> None:
    shutil.rmtree(run.path / "baseline")
    conclude.score_run(run)
    assert run.todo("baseline") is None
    assert decided(run).decision == "awaiting_baseline"


@pytest.mark.parametrize("spoil", [fail, click])
@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_with_a_sentence_to_spare_the_pairs_are_sealed_and_the_verdict_is_of_the_same(
    run: Run, spoil: Callable[[Run, TakeSide, int], None], side: TakeSide
) -> None:
    spoil(run, side, 1)
    assert conclude.score_run(run)["msg"].startswith("4 pairs are sealed")
    assert mapping.load_intact(run.path).utterances == ["u02", "u03", "u04", "u05"]
    verdict = decided(run)
    assert verdict.decision == "awaiting_ratings"
    assert any(warning.startswith("u01 could not be rated") for warning in verdict.warnings)
    assert [each.utterance_id for each in failed(verdict, side)] == ["u01"]


def test_without_the_score_phase_the_verdict_names_it(run: Run) -> None:
    with pytest.raises(PhaseMissing, match="--tags score"):
        conclude.decide_run(run)


def test_a_score_phase_that_could_not_seal_says_why_at_the_verdict(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.listening.cues.find_telling", lambda results: results[:1])
    with pytest.raises(CuesRemain):
        conclude.score_run(run)
    with pytest.raises(PhaseMissing, match="still give their side away"):
        conclude.decide_run(run)


def test_a_deleted_hash_is_a_refused_verdict_and_not_one_that_waits(run: Run) -> None:
    conclude.score_run(run)
    assert decided(run).decision == "awaiting_ratings"
    (run.path / "listening" / "mapping.sha256").unlink()
    with pytest.raises(BadInput, match=r"mapping\.sha256 is gone"):
        conclude.decide_run(run)


def test_takes_edited_after_sealing_are_a_refused_verdict(run: Run) -> None:
    conclude.score_run(run)
    change_take(run, "candidate", 1, lambda take: take.model_copy(update={"ttfa_ms": 1.0}))
    with pytest.raises(BadInput, match=r"candidate/takes\.jsonl was changed"):
        conclude.decide_run(run)


def test_the_report_is_written_in_its_three_forms(run: Run) -> None:
    conclude.score_run(run)
    conclude.decide_run(run)
    record = json.loads((run.path / conclude.RECORD).read_bytes())
    assert record["schema_version"] == 1
    assert record["verdict"] == json.loads((run.path / "verdict.json").read_bytes())
    assert (run.path / conclude.REPORT).is_file() and (run.path / conclude.SUMMARY).is_file()
    assert not conclude.decide_run(run)["changed"]


@pytest.mark.slow
def test_ten_thousand_utterances_are_accepted_sealed_and_reported_in_bounded_memory(tmp_path: Path) -> None:
    """Records of all are held, sound of the rated alone: embedding every clip took 280 MiB more, and minutes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.controller.long_pass", str(tmp_path), "10000"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["decision"] == "swap_candidate"
    assert found["players"] == 21, "the reference, and both sides of ten pairs"
    assert found["grown_mib"]["verdict and report"] < 320
    assert found["bytes"]["report.html"] < 2_000_000
