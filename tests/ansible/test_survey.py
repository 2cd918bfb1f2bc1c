"""`audition survey`, default inventory and real playbooks: interrupted in mid-benchmark, then gone on with; and a chain
from a refusal over a failure to ratings, published in a real git server."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.controller.run import locate_command
from bench.listening import server as server_module
from bench.records.passes import PassFile
from bench.records.run import Manifest, Phases
from bench.records.survey import Survey
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support import entries, git_server
from tests.support.listening_fixtures import start
from tests.support.play import REPO

pytestmark = pytest.mark.timeout(1800)


def _survey(
    state_dir: Path, folder: Path, hum_pieces: int = 0, *more: str, chain: Sequence[str] = ("slow",)
) -> "subprocess.Popen[str]":
    """Begin a survey; its model `slow` hums `hum_pieces` times 50 ms for each sentence, or speaks."""
    given = [
        f"state_dir={state_dir}",
        f"catalog_dir={folder / 'catalog'}",
        json.dumps({"chain": chain}),
        *more,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.commands.cli", "survey", "--runs-dir", str(folder / "runs"),
         *(word for each in given for word in ("-e", each))],
        cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{entries.hum(folder / 'hum', hum_pieces)}:{REPO}", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def test_an_interrupted_survey_goes_on_and_ends_with_what_to_do(
    demo: Demo, state_dir: Path, tmp_path: Path
) -> None:
    del demo  # the host's venv is made by then
    entries.write(tmp_path / "catalog", entries.faulty("Slow"))
    process = _survey(state_dir, tmp_path, hum_pieces=30)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "| preset | 2/10 |" in line:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 130, "".join(said) + rest
    assert "interrupted in benchmark" in rest
    (run_dir,) = (path for path in (tmp_path / "runs").glob("*Z") if not path.is_symlink())
    assert set(load_record(Phases, run_dir).phases) == {"preflight", "install"}

    again = _survey(state_dir, tmp_path, hum_pieces=0)
    text, _ = again.communicate(timeout=600)
    assert again.returncode == 0, text
    assert f"local | slow | goes on with {run_dir.name}" in text
    for model, name in (("slow", "preset"), ("slow", "candidate"), ("flite", "baseline")):
        shown = re.findall(rf"\| {model} \| {name} \| (\d+)/10 \| \w+ \| TTFA", text)
        assert shown == [str(n) for n in range(1, 11)], name
    assert load_record(Verdict, run_dir).decision == "awaiting_ratings"
    where = f"--runs-dir {run_dir.parent}"
    assert text.splitlines()[-2:] == [
        f"  {locate_command(f'audition {word} {run_dir.name} {where}')}" for word in ("rate", "verdict")
    ]
    assert [path for path in (tmp_path / "runs").glob("*Z") if not path.is_symlink()] == [run_dir]
    assert not (state_dir / "jobs" / run_dir.name).exists()


def _rate(run_dir: Path) -> None:
    """Have one rater rate all pairs through the server."""
    with pytest.MonkeyPatch.context() as patience:  # nobody listens here for as long as the clips last
        patience.setattr("bench.listening.heard.SLACK_S", 1e9)
        patience.setattr(server_module, "RATER_LIMIT", (1e6, 1_000_000))
        patience.setattr(server_module, "ADDRESS_LIMIT", (1e6, 1_000_000))
        live, stop = start(run_dir)
        try:
            live.client("ann").rate_all()
        finally:
            stop()


def test_a_chain_goes_from_a_refusal_over_a_failure_to_ratings_and_is_published(
    demo: Demo, state_dir: Path, tmp_path: Path
) -> None:
    del demo  # the host's venv is made by then
    entries.write(tmp_path / "catalog", entries.faulty("Silent"))
    chain, given = ("f5", "silent", "espeak"), ("intended_use=commercial", "share_baseline=true")
    process = _survey(state_dir, tmp_path, 0, *given, chain=chain)
    text, _ = process.communicate(timeout=900)
    assert process.returncode == 0, text
    runs = {model: next((tmp_path / "runs").glob(f"{model}-*Z")) for model in chain}
    decided = {model: load_record(Verdict, run) for model, run in runs.items()}
    assert [(each.decision, each.reason) for each in decided.values()] == [
        ("keep_baseline_try_next", "licence"),
        ("keep_baseline_try_next", "synthesis_failed"),
        ("awaiting_ratings", None),
    ]
    carried = load_record(Manifest, runs["espeak"]).carried or []
    assert [(each.model, each.run_id) for each in carried] == [(m, runs[m].name) for m in ("f5", "silent")]
    # The second's baseline was heard by nobody, so the third has its takes.
    assert load_record(PassFile, runs["espeak"] / "baseline").lent_by == runs["silent"].name
    assert f"of {runs['silent'].name}" in text
    (folder,) = (tmp_path / "runs/surveys").iterdir()
    assert [each.place for each in load_record(Survey, folder).models] == ["decided", "decided", "waits"]
    assert "flite" not in json.dumps(load_record(Verdict, runs["espeak"]).model_dump(mode="json")["latency"])

    _rate(runs["espeak"])
    server, repo = git_server.make(tmp_path, {"SURVEY.md": "# Survey\n"})
    publish = {
        "publish_repo": str(repo),
        "publish_remote": "origin",
        "publish_base": "main",
        "publish_pages": [{"path": "SURVEY.md", "template": "survey"}],
    }
    again = _survey(state_dir, tmp_path, 0, *given, json.dumps(publish), chain=chain)
    text, _ = again.communicate(timeout=900)
    assert again.returncode == 0, text
    last = load_record(Verdict, runs["espeak"])
    found = load_record(Survey, folder)
    assert found.complete and found.label == last.label
    swap = last.decision == "swap_candidate"
    assert swap or (
        last.decision == "keep_baseline_survey_complete" and "Before it: f5's licence" in last.sentence
    )

    stamps = {model: run.name.rpartition("-")[2] for model, run in runs.items()}
    names = {"f5": "f5-tts", "silent": "silent", "espeak": "espeak"}
    branches = git_server.git(server, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
    assert sorted(branches) == sorted(["main", *(f"{names[m]}-bench-{stamps[m]}" for m in chain)])
    listed = {
        model: git_server.git(
            server, "diff", "--name-only", "main", f"{names[model]}-bench-{stamps[model]}"
        ).splitlines()
        for model in chain
    }
    assert f"docs/BENCHMARK-F5-TTS-LOCAL-{stamps['f5']}.json" in listed["f5"]
    assert "docs/RESEARCH-F5-TTS.md" in listed["f5"]
    # While the third waits, what it shares with the second stays at home.
    assert not [name for name in listed["silent"] if "/baseline/" in name]
    assert f"docs/espeak-bench-samples-{stamps['espeak']}/baseline/takes.jsonl" in listed["espeak"]
    assert "SURVEY.md" in listed["espeak"] and "SURVEY.md" not in listed["f5"]
    page = git_server.git(server, "show", f"espeak-bench-{stamps['espeak']}:SURVEY.md")
    assert page.startswith("# Survey\n\n<!-- audition survey of local:")
    assert f"on branch `f5-tts-bench-{stamps['f5']}`" in page
