"""A baseline that Audition installs into a venv of its own, beside a candidate from system packages."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.records.run import BaselineInstall, Install
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support.play import TEN_WORDS, Played, inventory, lines, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True)
class Both:
    run_dir: Path
    first: Played
    again: Played


@pytest.fixture(scope="module")
def both(
    demo: Demo, state_dir: Path, private: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    del demo  # the host's venv and hibari's are made by then
    root = tmp_path_factory.mktemp("both")
    receipts, kept = state_dir / "receipts", root / "receipts"
    receipts.rename(kept)
    hosts_file = inventory(
        root / "hosts.yml",
        {"alone": {}},
        model="espeak",
        baseline="hibari",
        state_dir=str(state_dir),
        runs_dir=str(root / "runs"),
        utterances_file=str(lines(root / "ten.txt", TEN_WORDS)),
    )
    first = play(private(), None, inventory=hosts_file)
    again = play(private(), None, "--tags", "preflight,install", inventory=hosts_file)
    yield Both((root / "runs" / "latest").resolve(), first, again)
    shutil.rmtree(receipts)
    kept.rename(receipts)  # the demo's own, which other tests look at


def test_both_sides_were_installed_and_each_said_a_sentence(both: Both) -> None:
    assert both.first.rc == 0, both.first.text[-6000:]
    baseline = load_record(BaselineInstall, both.run_dir)
    assert (baseline.ok, baseline.error) == (True, None)
    assert (baseline.ran["version"], baseline.ran["install"]) == ("hibari-tts 0.2.1", "venv")
    assert baseline.smoke is not None and baseline.smoke.sample_rate_hz == 24000
    candidate = load_record(Install, both.run_dir)
    assert candidate.ran["install"] == "system"
    assert load_record(Verdict, both.run_dir).decision == "awaiting_ratings"


def test_the_baseline_spoke_every_sentence(both: Both) -> None:
    takes = [Take.model_validate_json(line) for line in (both.run_dir / "baseline" / "takes.jsonl").open()]
    timed = [take for take in takes if not take.warmup]
    assert [take.error for take in timed] == [None] * 10
    assert {take.sample_rate_hz for take in timed} == {24000}


def test_again_changes_nothing(both: Both) -> None:
    assert both.again.rc == 0, both.again.text[-4000:]
    assert [(task.play, task.name) for task in both.again.tasks if task.changed] == []
