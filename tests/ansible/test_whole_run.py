"""`ansible-playbook site.yml` with the default inventory: what it leaves, what it says, and a second time."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from bench.audio.wav import read_mono
from bench.listening.mapping import read_published
from bench.records.base import PHASES, FileRecord
from bench.records.metrics import TakeMetrics
from bench.records.run import Install, Manifest, Phases, Preflight
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.storage.digests import sha256_bytes, sha256_file
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support.play import DEMO_REFERENCE, REPO

pytestmark = pytest.mark.timeout(1800)

DESIGNED = [
    "utterance_id", "text", "voice", "wav", "sha256", "sample_rate_hz", "audio_s", "ttfb_ms", "ttfa_ms",
    "ttfa_audible_ms", "total_ms", "rtf", "streamed", "chunks", "stalls", "stall_ms", "start_buffer_ms", "warmup",
    "error",
]  # fmt: skip
"""The keys of a line of takes.jsonl that were agreed on."""
ADDED = {"rtf_after_first", "reference_cached", "note"}
SIDES = ("preset", "candidate", "baseline")


def _takes(run_dir: Path, side: str) -> list[Take]:
    lines = (run_dir / side / "takes.jsonl").read_text(encoding="utf-8").splitlines()
    return [Take.model_validate_json(line) for line in lines]


def test_it_ends_well_and_waits_for_people_without_blocking(demo: Demo) -> None:
    assert demo.first.rc == 0
    assert not [task for task in demo.first.tasks if task.status in ("failed", "unreachable")]
    assert load_record(Verdict, demo.run_dir).decision == "awaiting_ratings"


def test_it_prints_the_two_commands_that_go_on(demo: Demo) -> None:
    decided = [task for task in demo.first.tasks if task.name == "Print the verdict and what to do next"][-1]
    assert f"audition rate {demo.run_id}" in decided.said
    assert f"audition verdict {demo.run_id}" in decided.said
    assert str(demo.run_dir / "report.html") in decided.said


def test_the_phases_come_in_order_and_each_is_noted(demo: Demo) -> None:
    noted = load_record(Phases, demo.run_dir).phases
    done = [phase for phase in PHASES if phase in noted]
    assert done[:7] == ["preflight", "install", "benchmark", "baseline", "teardown", "score", "verdict"]
    for phase in done[:7]:
        assert (noted[phase].status, noted[phase].error) == ("done", None), phase
    ends = [noted[phase].ended_utc for phase in done[:7]]
    assert ends == sorted(ends)
    for phase in ("preflight", "install", "benchmark"):  # each takes seconds
        assert noted[phase].started_utc < noted[phase].ended_utc, phase
    for one, other in pairwise(done[:7]):
        assert noted[one].ended_utc <= noted[other].started_utc, (one, other)


def test_the_name_of_the_run_and_the_latest_link(demo: Demo) -> None:
    manifest = load_record(Manifest, demo.run_dir)
    stamp = manifest.created_utc.replace("-", "").replace(":", "")
    assert demo.run_id == manifest.run_id == f"hibari-local-{stamp}"
    assert [path.name for path in sorted(demo.runs_dir.iterdir())] == [demo.run_id, "latest"]


@pytest.mark.parametrize("record", [Manifest, Preflight, Install, Phases, Verdict])
def test_every_record_is_there_and_loads(demo: Demo, record: type[FileRecord]) -> None:
    assert load_record(record, demo.run_dir).schema_version == 1


def test_every_json_file_carries_its_schema_version(demo: Demo) -> None:
    found = {path.name: json.loads(path.read_bytes()) for path in demo.run_dir.glob("*.json")}
    assert set(found) >= {"manifest.json", "preflight.json", "install.json", "metrics.json", "verdict.json"}
    assert {name: body.get("schema_version") for name, body in found.items()} == dict.fromkeys(found, 1)


def test_the_manifest_commits_to_what_was_given(demo: Demo) -> None:
    manifest = load_record(Manifest, demo.run_dir)
    assert manifest.inputs.utterances_sha256 == sha256_file(REPO / "bench/inputs/utterances.txt")
    assert manifest.inputs.utterances_sha256 == sha256_file(demo.run_dir / "utterances.txt")
    assert manifest.rule_sha256 == sha256_file(demo.run_dir / "rule.yml")
    assert manifest.question_sha256 == sha256_bytes(manifest.question.encode())
    assert manifest.reference["given"]["sha256"]["audio"] == sha256_file(DEMO_REFERENCE / "demo.wav")
    assert (manifest.model, manifest.inputs.baseline, manifest.host) == ("hibari", "flite", "local")
    assert (manifest.profile, manifest.neighbour_mode, manifest.utterances) == ("upstream", "none", 10)


@pytest.mark.parametrize("side", SIDES)
def test_ten_takes_a_side_with_the_agreed_keys_and_the_bytes_they_name(demo: Demo, side: str) -> None:
    for line in (demo.run_dir / side / "takes.jsonl").read_text(encoding="utf-8").splitlines():
        assert set(json.loads(line)) == set(DESIGNED) | ADDED
    takes = _takes(demo.run_dir, side)
    timed = [take for take in takes if not take.warmup]
    assert len(timed) == 10 and len({take.utterance_id for take in timed}) == 10
    assert takes[: len(takes) - 10] and all(take.warmup for take in takes[: len(takes) - 10])
    for take in timed:
        assert take.error is None and take.wav is not None
        wav = demo.run_dir / side / take.wav
        assert sha256_file(wav) == take.sha256
        samples, rate_hz = read_mono(wav)
        assert rate_hz == take.sample_rate_hz
        assert take.audio_s is not None
        assert take.audio_s == pytest.approx(samples.size / rate_hz)
        assert take.ttfb_ms is not None and take.ttfa_ms is not None and take.total_ms is not None
        assert 0 < take.ttfb_ms <= take.ttfa_ms <= take.total_ms
        assert take.rtf == pytest.approx(take.total_ms / 1000 / take.audio_s)


def test_the_cloned_takes_were_timed_with_the_reference_encoded_beforehand(demo: Demo) -> None:
    assert all(take.reference_cached for take in _takes(demo.run_dir, "candidate"))
    assert len({take.voice for take in _takes(demo.run_dir, "candidate")}) == 1
    assert {take.voice for take in _takes(demo.run_dir, "preset")} == {"heart"}


def test_the_smoke_sentence_was_said_and_its_settings_read_back(demo: Demo) -> None:
    install = load_record(Install, demo.run_dir)
    assert install.ok and install.receipt
    assert install.smoke is not None and install.smoke.audio_s is not None and install.smoke.audio_s > 1
    assert install.settings == load_record(Manifest, demo.run_dir).entry["profiles"]["upstream"]
    assert [step.name for step in install.steps][-4:] == ["venv", "packages", "pip check", "smoke sentence"]
    assert (install.ran["version"], install.ran["install"]) == ("hibari-tts 0.2.1", "venv")


def test_both_sides_were_measured_and_stand_beside_each_other(demo: Demo) -> None:
    metrics = json.loads((demo.run_dir / "metrics.json").read_bytes())
    for side in ("candidate", "baseline"):
        measured = [TakeMetrics.model_validate(one) for one in metrics[side]]
        assert len(measured) == 10
    assert metrics["comparison"]


def test_the_sealed_mapping_is_what_was_printed(demo: Demo) -> None:
    digest = read_published(demo.run_dir)
    assert digest is not None
    sealed = [task for task in demo.first.tasks if task.name == "Print the hash of the sealed mapping"][-1]
    assert digest in sealed.said


def test_the_report_shows_no_player_before_people_have_rated(demo: Demo) -> None:
    report = (demo.run_dir / "report.html").read_text(encoding="utf-8")
    assert demo.run_id in report
    assert "<audio" not in report


def test_a_line_came_for_every_take_while_it_was_made(demo: Demo) -> None:
    for side in SIDES:
        model = "flite" if side == "baseline" else "hibari"
        shown = [line for line in demo.first.text.splitlines() if f"{model} | {side} | " in line]
        assert sum("/10 | " in line for line in shown) == 10, side
        assert all("TTFA" in line for line in shown)
        # Lengths and RTF would tell the sides apart to whoever rates later.
        assert not any("RTF" in line or "audio" in line for line in shown)


def test_the_host_keeps_nothing_of_the_run(demo: Demo, state_dir: Path) -> None:
    assert not (state_dir / "jobs" / demo.run_id).exists()


# A second time


def test_again_changes_nothing_in_preflight_install_and_teardown(demo: Demo) -> None:
    assert demo.again.rc == 0, demo.again.text[-4000:]
    plays = {task.play for task in demo.again.tasks}
    for play in (
        "Check the inputs and the host, and begin the run",
        "Install the candidate's engine and prove it",
        "Remove what the run left on the host",
    ):
        assert play in plays
        assert demo.again.changed(play) == []


def test_again_goes_on_with_the_same_run_and_makes_no_take_twice(demo: Demo) -> None:
    assert {task.result["run_id"] for task in demo.again.tasks if task.result.get("run_id")} == {demo.run_id}
    assert "TTFA" not in demo.again.text
    for side in SIDES:
        assert f"{side}-" not in " ".join(p.name for p in demo.run_dir.glob("attempts/*"))


def test_again_changes_nothing_at_all(demo: Demo) -> None:
    assert [(task.play, task.name) for task in demo.again.tasks if task.changed] == []


def test_again_checks_the_variables_once_and_shows_few_tasks(demo: Demo) -> None:
    shown = [task.name for task in demo.again.tasks if task.status == "ok"]
    assert len(shown) <= 20, shown
    for once in (
        "Validating arguments against arg spec 'main' - The public",
        "Refuse a tag that no phase has",
    ):
        assert sum(name.startswith(once) for name in shown) == 1
    made_once = ("Check the host", "Install the engine and let it say one sentence", "Speak every utterance")
    assert not [name for name in shown if name.startswith(made_once)]


def test_again_looks_at_the_receipt_and_for_what_is_left(demo: Demo) -> None:
    shown = {task.name: task for task in demo.again.tasks if task.status == "ok"}
    assert shown["Say how the installation went"].said == "proved before; the receipt holds"
    assert "install" in shown["Ask whether the engine is to be installed"].result
    assert shown["Remove the run's jobs and containers"].result["on_host"] is True
