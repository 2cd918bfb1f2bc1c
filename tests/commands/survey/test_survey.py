"""The survey drives real playbooks through the real ansible-runner; only what a phase does is made up."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from bench.commands.survey import Options, survey
from bench.controller.run import locate_command
from bench.errors import BadInput
from bench.records.survey import Survey
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from tests.commands.survey.project import PHASES, Project

pytestmark = pytest.mark.slow  # each is a play or more


def wait_for(what: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def speaking(project: Project, model: str = "f5") -> bool:
    return any((run / "speaker.pid").exists() for run in project.runs(model))


def descendants(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_stops_on_awaiting_and_then_goes_on_down_the_chain(project: Project) -> None:
    project.script(f5={"decision": "awaiting_ratings", "neighbour_p50_ms": 100.0})
    code, said = project.survey()
    assert code == 0, said
    run_id = project.runs("f5")[0].name
    lines = said.splitlines()
    assert [line for line in lines if "| candidate |" in line] == [
        f"box | f5 | candidate | {n}/3 | ttfa 10 ms" for n in (1, 2, 3)
    ]
    where = f"--runs-dir {project.runs_dir}"
    typed = [locate_command(f"audition {word} {run_id} {where}") for word in ("rate", "verdict")]
    assert lines[-2:] == [f"  {each}" for each in typed]
    assert not project.runs("cosyvoice2")
    assert project.played() == [f"f5 {phase}" for phase in PHASES]

    # People have rated: the same command concludes f5 without touching the host, and begins the next.
    project.script(
        f5={"decision": "keep_baseline_try_next"},
        cosyvoice2={"decision": "keep_baseline_survey_complete", "neighbour_p50_ms": 130.0},
    )
    code, said = project.survey()
    assert code == 0, said
    assert project.played()[len(PHASES) :] == ["f5 verdict", *(f"cosyvoice2 {phase}" for phase in PHASES)]
    assert len(project.runs("f5")) == 1
    assert project.manifest("cosyvoice2").chain == ["f5", "cosyvoice2"]
    assert "WARNING: llm's p50 before cosyvoice2 was 130 ms, 1.30 times the survey's first (100 ms" in said

    # One record of both, made anew after each verdict.
    (folder,) = (project.runs_dir / "surveys").iterdir()
    found = load_record(Survey, folder)
    assert (found.complete, found.decision) == (True, "keep_baseline_survey_complete")
    assert [(each.run_id, each.place) for each in found.models] == [
        (project.runs(model)[0].name, "decided") for model in ("f5", "cosyvoice2")
    ]
    assert f"  all candidates: {folder / 'survey.html'}" in said.splitlines()

    # And with everything decided nothing is measured again.
    played = len(project.played())
    code, said = project.survey()
    assert code == 0
    assert len(project.played()) == played
    assert "f5 | keep_baseline_try_next" in said
    assert "Every model had its decision already" in said


def test_what_was_decided_between_two_surveys_is_published_by_the_next(project: Project) -> None:
    project.add_phase("publish")
    project.script(f5={"decision": "awaiting_ratings", "leave": "publish"})
    assert project.survey()[0] == 0
    (run_dir,) = project.runs("f5")
    decided = {"decision": "keep_baseline_try_next", "reason": "rule"}
    save_record(
        load_record(Verdict, run_dir).model_copy(update=decided), run_dir
    )  # as `audition verdict` does
    project.script(f5={}, cosyvoice2={"decision": "awaiting_ratings", "leave": "publish"})
    before = len(project.played())
    code, said = project.survey()
    assert code == 0, said
    assert project.played()[before] == "f5 publish"
    assert [each for each in project.played()[before:] if each.startswith("f5")] == ["f5 publish"]
    assert project.phases("f5")[-1] == "publish"

    played = project.played()
    assert project.survey()[0] == 0
    assert "f5 publish" not in project.played()[len(played) :], "once is enough"


def test_a_run_that_another_version_began_does_not_stand_in_the_way(project: Project) -> None:
    project.script(f5={"decision": "awaiting_ratings"})
    old = project.runs_dir / "f5-box-20250101T000000Z"
    old.mkdir(parents=True)
    (old / "manifest.json").write_text('{"schema_version": 0}')
    code, said = project.survey("-q")
    assert code == 0, said
    assert project.runs("f5")[-1] != old
    assert project.verdict("f5").decision == "awaiting_ratings"
    assert said.startswith("box | f5 | awaiting_ratings\n"), "quiet: what it came to, and nothing of the work"
    assert "audition verdict" in said.splitlines()[-1]


def test_a_failed_phase_exits_2_and_is_gone_on_with(project: Project) -> None:
    project.script(f5={"decision": "swap_candidate", "fail": "benchmark"})
    code, said = project.survey("-e", "question=Which of these two?")
    assert code == 2, said
    assert "audition: benchmark of f5 failed on box: the disk is full" in said
    assert "Traceback" not in said
    assert project.manifest("f5").question == "Which of these two?"
    project.script(f5={"decision": "swap_candidate", "seconds": 5.0})
    code, said = project.survey("-e", "question=Which of these two?")
    assert code == 0, said
    assert re.search(r"^\.\.\. box \| f5 \| benchmark: \d s so far$", said, re.M), (
        "a sign within five seconds"
    )
    assert len(project.runs("f5")) == 1
    assert not project.runs("cosyvoice2"), "a swap ends the chain"
    assert f"goes on with {project.runs('f5')[0].name}" in said


def test_interrupted_ends_every_process_and_resumes(project: Project) -> None:
    project.environment["SURVEY_TEST_TOKEN"] = "s3cr3t-of-the-environment"
    project.script(f5={"decision": "swap_candidate", "seconds": 60.0})
    process = project.start()
    wait_for(lambda: speaking(project))
    family = descendants(process)
    assert len(family) >= 2, "ansible-playbook and its worker"
    assert secrets_in(project.temp) == []
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted in benchmark" in said
    assert alive(family) == []
    assert list(project.temp.glob("audition-runner-*")) == []
    assert "benchmark" not in project.phases("f5")

    project.script(f5={"decision": "swap_candidate"})
    code, said = project.survey()
    assert code == 0, said
    assert len(project.runs("f5")) == 1, "the same run goes on"


def test_a_playbook_that_is_killed_is_said_and_gone_on_with(project: Project) -> None:
    project.script(f5={"decision": "swap_candidate", "seconds": 60.0})
    process = project.start()
    wait_for(lambda: speaking(project))
    (playbook,) = psutil.Process(process.pid).children()
    workers = playbook.children(recursive=True)
    playbook.kill()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "benchmark of f5 failed on this machine: ansible-playbook was killed." in said
    assert "Traceback" not in said and "it goes on from there" in said
    for worker in alive(workers):  # ours end with their playbook; act.py does not
        worker.kill()
    project.script(f5={"decision": "swap_candidate"})
    code, said = project.survey()
    assert code == 0, said
    assert len(project.runs("f5")) == 1, "the same run goes on"


def test_killed_leaves_no_secret_and_no_playbook(project: Project) -> None:
    project.environment["SURVEY_TEST_TOKEN"] = "s3cr3t-of-the-environment"
    project.script(f5={"decision": "swap_candidate", "seconds": 20.0})
    process = project.start()
    wait_for(lambda: speaking(project))
    family = descendants(process)
    process.kill()
    process.communicate(timeout=30)
    assert list(project.temp.glob("audition-runner-*")), "a killed process cannot tidy up; what it leaves:"
    assert secrets_in(project.temp) == []
    assert secrets_in(project.runs_dir) == []
    wait_for(lambda: alive(family) == [], 60)


def secrets_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and b"s3cr3t-of-the-environment" in path.read_bytes()
    ]


def test_an_inventory_without_our_hosts_is_an_error_that_names_the_group(project: Project) -> None:
    with (project.folder / "ansible.cfg").open("a") as config:
        config.write("\n[inventory]\nhost_pattern_mismatch = error\n")  # as in our own
    (project.folder / "other.yml").write_text("all:\n  hosts:\n    box:\n      ansible_connection: local\n")
    code, said = project.survey("-i", str(project.folder / "other.yml"))
    assert code == 2, said
    assert re.search(r"^audition: the inventory cannot be used: .*audition_hosts", said, re.M), said


def test_a_limit_that_matches_nothing_is_an_error(project: Project) -> None:
    code, said = project.survey("--limit", "nobody")
    assert code == 2, said
    assert re.search(r"^audition: .*nobody", said, re.M), said
    assert "Traceback" not in said
    assert not project.runs_dir.exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"inventory": ["no/such/inventory"]}, "there is no inventory no/such/inventory"),
        ({"extra": ["model=f5"]}, "takes its models from `chain`"),
        ({"extra": ["run_id=f5-box-20261122T101500Z"]}, "finds their runs itself"),
        ({"extra": ["@no/such/file.yml"]}, "-e @no/such/file.yml: there is no such file"),
        ({"extra": ["profile"]}, "-e profile: give key=value"),
    ],
)
def test_bad_input_is_refused_before_ansible_starts(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(expected)):
        survey(Options(tmp_path / "no-project", **options), print)


def test_an_unknown_model_in_the_chain_starts_nothing(project: Project) -> None:
    code, said = project.survey("-e", '{"chain": ["f5", "espeek"]}')
    assert code == 2, said
    assert "espeek" in said
    assert "f5, flite" in said, "the catalog is listed"
    assert "Traceback" not in said
    assert project.played() == []


def test_a_model_without_the_profile_is_found_before_the_first_is_measured(project: Project) -> None:
    variables = project.folder / "inventory" / "group_vars" / "audition_hosts.yml"
    given = yaml.safe_load(variables.read_text())
    given["common_run"]["profile"] = "{{ profile }}"
    variables.write_text(yaml.safe_dump({**given, "profile": "low_latency"}))
    code, said = project.survey()
    assert code == 2, said
    assert "cosyvoice2 has no profile 'low_latency'" in said
    assert project.played() == []

    by_model = "{{ {'f5': 'low_latency'}[model] | default('upstream') }}"
    variables.write_text(yaml.safe_dump({**given, "profile": by_model}))
    project.script(f5={"fail": "preflight"})
    code, said = project.survey()
    assert "preflight of f5 failed" in said
    assert project.manifest("f5").profile == "low_latency"
