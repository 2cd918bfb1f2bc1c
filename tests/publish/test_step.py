"""The phase as Ansible plays it, and which run it finds."""

from pathlib import Path

import pytest
import yaml

from bench.controller.request import RunRequest
from bench.controller.run import Run, locate, open_or_create
from bench.errors import PhaseMissing
from bench.inputs import demo_reference
from bench.publish.step import publish_step
from bench.records.run import Check, Preflight
from bench.storage.record_file import save_record
from tests.publish.build import BRANCH, RUN_ID, decide, git, seen
from tests.support.play import REPO, play

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_pages")]


def step(request: RunRequest, repo: Path, *, enabled: bool = True, check: bool = False) -> dict[str, object]:
    return publish_step(
        run=request.model_dump(mode="json", exclude_none=True),
        repo=str(repo),
        enabled=enabled,
        remote="",
        pull_request=False,
        base="",
        clip_format="wav",
        pages=[],
        check=check,
    )


def test_the_newest_run_with_these_inputs_is_published_although_it_is_decided(
    repo: Path, tmp_path: Path
) -> None:
    audio, transcript, rights = demo_reference.make(tmp_path / "demo")
    request = RunRequest(
        runs_dir=tmp_path / "runs",
        host="here",
        model="espeak",
        baseline="flite",
        reference_audio=audio,
        reference_transcript=transcript,
        reference_rights=rights,
    )
    with pytest.raises(PhaseMissing, match="--tags preflight"):
        step(request, repo)
    assert step(request, repo, check=True)["changed"]
    opened, _ = open_or_create(request, REPO)
    unreadable = opened.path.with_name("espeak-here-20991231T235959Z")
    unreadable.mkdir()
    (unreadable / "manifest.json").write_text('{"schema_version": 99}')
    with pytest.raises(PhaseMissing, match="has no verdict"):
        step(request, repo)
    refused = Check(name="licence", ok=False, value="personal", limit="no", detail="No.", severity="gate")
    save_record(Preflight(host={}, checks=[refused], forecast={}), opened.path)
    assert decide(opened.path) == "keep_baseline_survey_complete"
    with pytest.raises(PhaseMissing):
        locate(request)
    assert not step(request, repo, enabled=False)["changed"]
    assert "-bench-" not in git(repo, "show-ref")
    said = step(request, repo)
    assert (said["changed"], said["run_id"]) == (True, opened.run_id)
    assert git(repo, "rev-parse", str(said["branch"])) == said["commit"]
    assert not step(request, repo)["changed"]


def test_the_playbook_publishes_when_asked_and_only_then(run_dir: Path, repo: Path, tmp_path: Path) -> None:
    before = seen(repo)
    asked = {"publish_enabled": True}
    plays = [
        {"import_playbook": str(REPO / "playbooks/publish.yml"), "vars": {"publish_repo": str(repo), **more}}
        for more in ({}, asked, asked, {"publish_pull_request": True})
    ]
    playbook = tmp_path / "all.yml"
    playbook.write_text(yaml.safe_dump(plays))
    hosts = tmp_path / "hosts.yml"
    given = {
        "ansible_connection": "local",
        "model": "espeak",
        "baseline": "flite",
        "run_id": RUN_ID,
        "runs_dir": str(run_dir.parent),
        "reference_audio": "demo.wav",
    }
    hosts.write_text(yaml.safe_dump({"audition_hosts": {"hosts": {"here": given}}}))
    played = play(tmp_path / "runner", inventory=hosts, playbook=str(playbook))
    tasks = [task for task in played.tasks if task.name == "Put the run on a branch"]
    assert [(task.status, task.changed) for task in tasks] == [
        ("ok", False),
        ("ok", True),
        ("ok", False),
        ("failed", False),
    ], played.text
    said = [task.said for task in played.tasks if task.name.endswith("what to do next")]
    assert "nobody asked" in said[0]
    assert f"on branch {BRANCH}" in said[1]
    assert "holds this already" in said[2]
    assert "publish_remote" in tasks[3].said
    assert played.rc == 2
    assert seen(repo) == before
    assert "publish_remote" in played.why("here")
    assert Run(run_dir).phases()["publish"].status == "done", "what was done stays done"
