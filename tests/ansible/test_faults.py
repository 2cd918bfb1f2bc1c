"""Engines that fail, licences that forbid, baselines out of reach: a decision or a wait, never an error.

One playbook, a host for each; the engine at fault is the candidate.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.engines.launch import LaunchSpec, launch
from bench.records.run import Phases
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support import entries
from tests.support.hub import Hub
from tests.support.neighbours import free_port
from tests.support.play import TEN_WORDS, Played, inventory, lines, play

pytestmark = pytest.mark.timeout(1800)
REVISION = "cd" * 20


@dataclass(frozen=True, slots=True)
class Faults:
    played: Played
    root: Path
    hub: Hub
    cards: Hub
    """The hub of host `card` alone."""
    hosts_file: Path
    port: int
    """Where the baseline of host `deaf` is meant to be."""

    def run_dir(self, host: str) -> Path:
        found = [path for path in (self.root / "runs").glob(f"*-{host}-*Z") if path.is_dir()]
        assert len(found) == 1
        return found[0]

    def verdict(self, host: str) -> Verdict:
        return load_record(Verdict, self.run_dir(host))


@pytest.fixture(scope="module")
def faults(
    state_dir: Path, demo: Demo, private: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Faults]:
    del demo  # the host's venv is made by then, or all the hosts would make it at once
    root, port = tmp_path_factory.mktemp("faults"), free_port()
    served = entries.raw("served", run={"kind": "http", "dialect": "openai", "voice": "slt"}, preset=None)
    kinds = [entries.faulty(kind) for kind in ("Dying", "OneInTen", "Silent", "Disobedient")]
    of_card = [
        {
            "repo": "maker/voice",
            "revision": REVISION,
            "path": "model.safetensors",
            "bytes": None,
            "sha256": None,
        }
    ]
    card = entries.raw("card", weights=of_card, clone_encoder={"status": "open", "source": "an old page"})
    catalog = entries.write(root / "catalog", served, card, *kinds)
    files = {"README.md": b"The clone encoder is withheld.\n", "model.safetensors": b"weights"}
    hosts: dict[str, dict[str, Any]] = {
        "dying": {"model": "dying", "chain": ["dying", "silent"]},
        "oneinten": {"model": "oneinten"},
        "silent": {"model": "silent"},
        "disobedient": {"model": "disobedient"},
        "commercial": {"model": "f5", "intended_use": "commercial", "chain": ["f5", "cosyvoice2"]},
        "withheld": {"model": "voxtral4b"},
        "card": {"model": "card"},
        "deaf": {"model": "espeak", "baseline": "served", "baseline_url": f"http://127.0.0.1:{port}"},
    }
    common = {
        "state_dir": str(state_dir),
        "runs_dir": str(root / "runs"),
        "catalog_dir": str(catalog),
        "utterances_file": str(lines(root / "ten.txt", TEN_WORDS)),
    }
    with Hub({}) as hub, Hub({"maker/voice": {REVISION: files}}) as cards:
        hosts["card"] |= {"weights_endpoint": cards.url, "weights_store": str(root / "store")}
        hosts_file = inventory(root / "hosts.yml", hosts, **common)
        environ = {"PYTHONPATH": str(entries.FAULTY), "HF_ENDPOINT": hub.url}
        played = play(private(), None, "--forks", "8", inventory=hosts_file, environ=environ)
        yield Faults(played, root, hub, cards, hosts_file, port)


def test_every_decision_exits_with_0(faults: Faults) -> None:
    assert faults.played.rc == 0, faults.played.text[-5000:]


def test_an_engine_that_dies_in_mid_pass_fails_the_synthesis_and_the_next_is_named(faults: Faults) -> None:
    verdict = faults.verdict("dying")
    assert (verdict.decision, verdict.reason) == ("keep_baseline_try_next", "synthesis_failed")
    assert verdict.label == "keep_flite_try_silent"
    assert verdict.next.model == "silent"
    assert "-e model=silent" in " ".join(verdict.next.commands)
    failures = verdict.failures["candidate"]
    assert failures is not None
    assert failures.valid == 2, "two of the five sentences were warm-ups"
    assert (failures.failed[0].utterance_id, failures.failed[0].kind) == ("u03", "aborted")
    said = failures.model_dump_json() + (faults.run_dir("dying") / "candidate/pass.json").read_text()
    assert "ended with code 9" in said
    assert "out of memory, says the faulty engine" in said


def test_an_engine_that_fails_one_of_ten_is_named_with_its_utterance(faults: Faults) -> None:
    verdict = faults.verdict("oneinten")
    assert (verdict.decision, verdict.reason) == ("keep_baseline_survey_complete", "synthesis_failed")
    failures = verdict.failures["candidate"]
    assert failures is not None
    assert (failures.made, failures.valid) == (10, 9)
    assert [(one.utterance_id, one.message) for one in failures.failed] == [
        ("u05", "the model produced nothing usable")
    ]
    takes = (faults.run_dir("oneinten") / "candidate/takes.jsonl").read_text().splitlines()
    failed = [take for take in map(Take.model_validate_json, takes) if take.error]
    assert [(take.wav, take.ttfa_ms, take.rtf) for take in failed] == [(None, None, None)], "null, never 0"


def test_an_engine_that_speaks_silence_has_spoken_nothing(faults: Faults) -> None:
    verdict = faults.verdict("silent")
    assert (verdict.decision, verdict.reason) == ("keep_baseline_survey_complete", "synthesis_failed")
    failures = verdict.failures["candidate"]
    assert failures is not None
    assert (failures.made, failures.valid) == (10, 0)
    assert {failure.kind for failure in failures.failed} == {"silence"}


def test_an_engine_that_ignores_its_profile_is_a_failed_installation(faults: Faults) -> None:
    verdict = faults.verdict("disobedient")
    assert verdict.reason == "install_failed"
    assert "words_per_minute: asked 175, runs 99" in verdict.model_dump_json()


def test_a_licence_that_forbids_the_use_decides_without_one_request(faults: Faults) -> None:
    verdict = faults.verdict("commercial")
    assert (verdict.decision, verdict.reason) == ("keep_baseline_try_next", "licence")
    assert verdict.label == "keep_flite_try_cosyvoice2"
    assert faults.hub.connections == 0
    run_dir = faults.run_dir("commercial")
    assert not [
        path.name for path in run_dir.iterdir() if path.name in ("install.json", "preset", "candidate")
    ]
    assert "forbids commercial use" in (run_dir / "verdict.json").read_text()
    assert not [task for task in faults.played.of("commercial") if task.status == "failed"]


def test_a_withheld_clone_encoder_ends_the_run_at_once(faults: Faults) -> None:
    verdict = faults.verdict("withheld")
    assert (verdict.decision, verdict.reason) == ("keep_baseline_survey_complete", "clone_encoder_withheld")
    assert set(load_record(Phases, faults.run_dir("withheld")).phases) == {"preflight", "teardown", "verdict"}


def test_a_model_card_that_withholds_the_encoder_ends_the_run_before_any_weights(faults: Faults) -> None:
    verdict = faults.verdict("card")
    assert (verdict.decision, verdict.reason) == ("keep_baseline_survey_complete", "clone_encoder_withheld")
    assert "the model card says" in verdict.model_dump_json()
    assert set(load_record(Phases, faults.run_dir("card")).phases) == {"preflight", "teardown", "verdict"}
    assert {asked.path for asked in faults.cards.requests} == {"README.md"}
    assert not (faults.run_dir("card") / "install.json").exists()


def test_what_failed_is_said_on_the_console(faults: Faults) -> None:
    for host in ("dying", "oneinten", "silent", "disobedient", "commercial", "withheld", "card", "deaf"):
        printed = [task.said for task in faults.played.of(host) if task.name.startswith("Print the verdict")]
        assert printed and faults.verdict(host).sentence in printed[-1]


def test_a_baseline_out_of_reach_is_warned_of_and_awaited(faults: Faults) -> None:
    warned = [task.said for task in faults.played.of("deaf") if task.name == "Print warnings"]
    assert "baseline_reachable" in warned[0] and "the run goes on without" in warned[0]
    verdict = faults.verdict("deaf")
    assert (verdict.decision, verdict.reason) == ("awaiting_baseline", None)
    phases = load_record(Phases, faults.run_dir("deaf")).phases
    assert (phases["benchmark"].status, phases["baseline"].status) == ("done", "failed")
    assert "--tags baseline,score,verdict" in " ".join(verdict.next.commands)


def test_an_awaited_baseline_is_completed_by_three_tags(
    faults: Faults, state_dir: Path, private: Callable[[], Path], tmp_path: Path
) -> None:
    before = (faults.run_dir("deaf") / "candidate/takes.jsonl").read_bytes()
    spec = LaunchSpec(
        entry=entries.entry(entries.raw("flite", **_FLITE)),
        profile="upstream",
        run_id="test",
        install="system",
        log=tmp_path / "flite.log",
        port=faults.port,
    )
    with launch(spec):
        played = play(
            private(),
            None,
            "--tags",
            "baseline,score,verdict",
            "--limit",
            "deaf",
            inventory=faults.hosts_file,
        )
    assert played.rc == 0, played.text[-4000:]
    assert {task.host for task in played.tasks} == {"deaf"}
    assert faults.verdict("deaf").decision == "awaiting_ratings"
    assert (faults.run_dir("deaf") / "candidate/takes.jsonl").read_bytes() == before
    jobs = state_dir / "jobs" / faults.run_dir("deaf").name
    assert not jobs.exists(), "teardown is not among the three, and the reference was in the job"
    shutil.rmtree(tmp_path)


_FLITE = {
    "run.adapter": "bench.serving.flite:Flite",
    "profiles": {"upstream": {"voice": "slt", "duration_stretch": 1.0}},
}
