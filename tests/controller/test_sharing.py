"""The baseline's takes of one run used again in another: only what nobody can have heard, and measured anew."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.audio.wav import write_wav_16bit
from bench.controller import incoming, outgoing, sharing
from bench.controller.host_settings import HostSettings
from bench.controller.run import Run, note_phase, open_or_create
from bench.jobs.archive import pack, unpack
from bench.jobs.job import run_job
from bench.listening.mapping import PUBLISHED, directory
from bench.records.metrics import TakeMetrics
from bench.records.passes import PassFile
from bench.records.verdict import NextStep, Nothing, Verdict
from bench.storage.clock import utc_now
from bench.storage.digests import sha256_file
from bench.storage.record_file import load_record, save_record
from tests.controller.conftest import Asked
from tests.support.made_evidence import take

pytestmark = pytest.mark.slow

HOST = HostSettings(state_dir="/var/lib/audition", share_baseline=True)
MADE: dict[str, Any] = {
    "pass": {
        "voice": "v", "detection": {"dialect": "openai", "chosen_by": "entry"}, "measured_from": "here",
        "reference_cached": True, "registration_ms": 1.0, "sample_rate_hz": 16000, "takes": 3, "ok": 3, "warmups": 2,
        "started_utc": "2026-11-22T10:15:00Z",
    },
    "health": {"revision": "2.2"}, "fp32_retries": None, "engine_start_s": 0.5, "reference_f0_hz": 99.0,
    "network": None, "voice_check": None,
}  # fmt: skip


def begin(asked: Asked, model: str = "f5", **changes: Any) -> Run:
    time.sleep(1.0 - time.time() % 1.0)  # a run is called by its second
    return open_or_create(asked(model=model, chain=["espeak", "f5"], **changes), Path("/"))[0]


def speak(run: Run) -> None:
    """Put three takes of the baseline into a run, as a job leaves them."""
    folder = run.path / "baseline"
    folder.mkdir()
    lines = []
    for number in (1, 2, 3):
        wav = folder / f"u{number:02}.wav"
        time_s = np.arange(16000) / 16000
        write_wav_16bit(
            wav, np.float32(0.3) * np.sin(2 * np.pi * 110 * number * time_s).astype(np.float32), 16000
        )
        lines.append(
            take(number).model_copy(update={"wav": wav.name, "sha256": sha256_file(wav)}).model_dump_json()
        )
    (folder / "takes.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "metrics.jsonl").write_text("of another cut\n")
    save_record(PassFile.model_validate(MADE), folder)
    note_phase(run, "baseline", utc_now())


def conclude(run: Run, decision: str = "keep_baseline_try_next") -> None:
    verdict = Verdict.model_validate(
        {
            "run_id": run.run_id, "model": "m", "baseline": "flite", "decision": decision, "label": decision,
            "reason": None if decision.startswith("awaiting") else "synthesis_failed", "sentence": "Said.",
            "gates": [], "ratings": Nothing(), "latency": {}, "memory": Nothing(), "neighbour": Nothing(),
            "failures": {}, "warnings": [], "next": NextStep(model=None, commands=[]), "methodology_version": 4,
        }
    )  # fmt: skip
    save_record(verdict, run.path)


def seal(run: Run) -> None:
    directory(run.path).mkdir(exist_ok=True)
    (directory(run.path) / PUBLISHED).write_text("0" * 64)


@pytest.fixture
def lender(asked: Asked) -> Run:
    run = begin(asked, "espeak")
    speak(run)
    conclude(run)
    return run


def lent_to(run: Run, warmups: int = 2) -> str | None:
    found = sharing.find_lender(run, warmups=warmups)
    return found.run.run_id if found else None


def test_takes_that_nobody_can_have_heard_are_lent(asked: Asked, lender: Run) -> None:
    borrower = begin(asked)
    assert lent_to(borrower) == lender.run_id
    assert lent_to(borrower, warmups=3) is None, "they were made in another way"


def test_takes_of_other_inputs_are_not(asked: Asked, lender: Run) -> None:
    assert lent_to(begin(asked, question="Which is it?")) is None
    assert lent_to(begin(asked, host="there")) is None
    borrower = begin(asked)
    (borrower.path / "reference-baseline/reference.txt").write_text("Another cut.")
    assert lent_to(borrower) is None


@pytest.mark.parametrize("how", ["sealed", "undecided", "waiting", "published", "failed"])
def test_takes_that_somebody_may_hear_are_not(asked: Asked, lender: Run, how: str) -> None:
    if how == "sealed":
        seal(lender)
    elif how == "undecided":
        (lender.path / "verdict.json").unlink()
    elif how == "waiting":
        conclude(lender, "awaiting_ratings")
    elif how == "published":
        note_phase(lender, "publish", utc_now())
    else:
        note_phase(lender, "baseline", utc_now(), "one take failed", fault="candidate")
    assert lent_to(begin(asked)) is None


def test_what_is_lent_is_measured_anew_and_lent_no_further(asked: Asked, lender: Run, tmp_path: Path) -> None:
    borrower = begin(asked)
    lent = sharing.find_lender(borrower, warmups=2)
    spec = outgoing.make_job_spec(borrower, "baseline", HOST, lent)
    job_dir = tmp_path / "job"
    with outgoing.pack_job(borrower, spec, lent=lent) as tar:
        unpack(tar, job_dir)
    assert not list(job_dir.rglob("metrics.jsonl")), "what was measured against another cut stays behind"
    (job_dir / "heartbeat").touch()
    result = run_job(job_dir)
    assert (result.ok, result.error, result.lent_by) == (True, None, lender.run_id)
    pack(job_dir / "out", tmp_path / "out.tar")
    assert incoming.accept(borrower, "baseline", tmp_path / "out.tar", utc_now()).ok

    made = load_record(PassFile, borrower.path / "baseline")
    assert made.lent_by == lender.run_id
    assert made.result == load_record(PassFile, lender.path / "baseline").result
    assert made.reference_f0_hz != 99.0, "of the reference that raters of this run hear"
    for name in ("takes.jsonl", "u01.wav", "u02.wav", "u03.wav"):
        assert (borrower.path / "baseline" / name).read_bytes() == (
            lender.path / "baseline" / name
        ).read_bytes()
    lines = (borrower.path / "baseline/metrics.jsonl").read_text().splitlines()
    assert [TakeMetrics.model_validate_json(line).utterance_id for line in lines] == ["u01", "u02", "u03"]

    assert borrower.phases()["baseline"].status == "done"
    assert sharing.rated_elsewhere(lender) == borrower.run_id
    third = begin(asked, profile="low_latency")
    assert lent_to(third) is None, "they will be rated in the second"
    conclude(borrower)
    assert lent_to(third) is not None, "the second was never sealed either"
    assert sharing.rated_elsewhere(lender) is None
    seal(borrower)
    assert lent_to(third) is None
