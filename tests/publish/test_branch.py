"""The branch in a real repository: what is on it, and what is left alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.errors import AuditionError, BadInput, PhaseMissing
from bench.publish import publish
from bench.records.run import Phases
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from tests.publish.build import BRANCH, RUN_ID, SAMPLES, decide, git, program, published, rate, seen, short

pytestmark = pytest.mark.usefixtures("plain_pages")


@pytest.mark.slow
def test_one_commit_on_a_branch_and_nothing_else_of_the_repository_changes(run_dir: Path, repo: Path) -> None:
    before = seen(repo)
    report = publish(run_dir, repo)
    assert seen(repo) == before
    assert (report.changed, report.branch, report.pushed, report.pull_request) == (True, BRANCH, None, None)
    assert git(repo, "rev-list", "--count", f"main..{BRANCH}") == "1"
    assert git(repo, "rev-parse", BRANCH) == report.commit
    changed = git(repo, "diff", "--name-status", "main", BRANCH).splitlines()
    assert sorted(changed) == sorted(f"A\t{name}" for name in report.files)
    shown = git(repo, "log", "-1", "--format=%an <%ae>|%cn|%aI|%cI|%G?|%s", BRANCH).split("|")
    when = "2026-11-22T10:15:00+00:00"
    said = f"{RUN_ID}: keep_flite_survey_complete"
    assert shown == ["Ann Other <ann@example.org>", "Ann Other", when, when, "N", said]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert load_record(Phases, run_dir).phases["publish"].note == f"{BRANCH} {report.commit}"


def test_hooks_signatures_and_line_endings_of_the_user_do_not_matter(
    run_dir: Path, repo: Path, home: Path, hostile: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    report = publish(run_dir, repo)
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert list(home.glob("ran-*")) == []
    assert git(repo, "rev-parse", BRANCH) == report.commit
    assert published(repo)["verdict.json"] == (run_dir / "verdict.json").read_bytes()


def test_attributes_and_filters_of_the_repository_change_no_byte(
    run_dir: Path, repo: Path, home: Path
) -> None:
    record = run_dir / "neighbour.json"
    record.write_bytes(record.read_bytes().replace(b"\n", b"\r\n"))
    git(repo, "config", "filter.spoil.clean", f"touch {home}/ran; tr a-z A-Z")
    attributes = repo / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text("*.json text=auto\n*.wav filter=spoil\n")
    publish(run_dir, repo)
    assert published(repo)["neighbour.json"] == (run_dir / "neighbour.json").read_bytes()
    assert not (home / "ran").exists()
    assert not publish(run_dir, repo).changed


def test_a_publication_that_was_killed_left_nothing_and_does_not_hinder_the_next(
    run_dir: Path, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, path = seen(repo), os.environ["PATH"]
    cut = 'sed "/ inline .*metrics.json$/,\\$d" | exec "$REAL" "$@"'
    script = f'#!/bin/sh\ncase "$*" in *fast-import*) {cut};; *) exec "$REAL" "$@";; esac\n'
    program(tmp_path / "cut" / "git", script)
    monkeypatch.setenv("REAL", str(shutil.which("git")))
    monkeypatch.setenv("PATH", f"{tmp_path / 'cut'}:{path}")
    with pytest.raises(AuditionError, match="could not be set"):
        publish(run_dir, repo)
    monkeypatch.setenv("PATH", path)
    assert seen(repo) == before
    assert "-bench-" not in git(repo, "show-ref")
    assert git(repo, "worktree", "list").count("\n") == 0
    report = publish(run_dir, repo)
    assert sorted(published(repo)) == short(report.files)


def test_a_branch_that_somebody_moves_meanwhile_keeps_their_commit(
    run_dir: Path, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(run_dir, repo)
    (run_dir / "neighbour.json").unlink()
    decide(run_dir)
    theirs = git(repo, "commit-tree", "-p", BRANCH, "-m", "Theirs", f"{BRANCH}^{{tree}}")
    move = f'"$REAL" -C {repo} update-ref refs/heads/{BRANCH} {theirs}'
    program(
        tmp_path / "late" / "git",
        f'#!/bin/sh\ncase "$*" in *fast-import*) {move};; esac\nexec "$REAL" "$@"\n',
    )
    monkeypatch.setenv("REAL", str(shutil.which("git")))
    monkeypatch.setenv("PATH", f"{tmp_path / 'late'}:{os.environ['PATH']}")
    with pytest.raises(AuditionError, match="could not be set"):
        publish(run_dir, repo)
    assert git(repo, "rev-parse", BRANCH) == theirs


def test_again_there_is_nothing_to_do_and_another_clone_makes_the_same_commit(
    run_dir: Path, repo: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(repo, clone)
    first = publish(run_dir, repo)
    phases = (run_dir / "phases.json").read_bytes()
    again = publish(run_dir, repo)
    assert (again.changed, again.commit) == (False, first.commit)
    assert (run_dir / "phases.json").read_bytes() == phases
    git(repo, "commit", "-q", "-m", "main goes on")
    assert not publish(run_dir, repo).changed, "where main is does not matter to a branch that is there"
    assert publish(run_dir, clone).commit == first.commit


def test_a_run_that_went_on_gets_a_commit_on_top_and_loses_what_is_stale(run_dir: Path, repo: Path) -> None:
    first = publish(run_dir, repo)
    (run_dir / "neighbour.json").unlink()
    (run_dir / "install.json").write_text((run_dir / "install.json").read_text().replace("1.0", "2.0"))
    decide(run_dir)
    second = publish(run_dir, repo)
    assert git(repo, "rev-parse", f"{BRANCH}^") == first.commit
    assert set(first.files) - set(second.files) == {f"{SAMPLES}/neighbour.json"}
    assert sorted(published(repo)) == short(second.files)
    assert git(repo, "show", f"{BRANCH}:docs/notes.txt") == "somebody's"


def test_check_says_what_would_change_and_writes_nothing(run_dir: Path, repo: Path) -> None:
    objects = git(repo, "count-objects", "-v")
    assert publish(run_dir, repo, check=True).changed
    assert git(repo, "count-objects", "-v") == objects
    assert "-bench-" not in git(repo, "show-ref")
    assert "publish" not in load_record(Phases, run_dir).phases
    publish(run_dir, repo)
    assert not publish(run_dir, repo, check=True).changed


@pytest.mark.slow
def test_a_run_that_waits_has_nothing_to_publish(unrated: Path, repo: Path) -> None:
    with pytest.raises(PhaseMissing, match=f"audition verdict {RUN_ID}"):
        publish(unrated, repo)
    assert decide(unrated) == "awaiting_ratings"
    report = publish(unrated, repo)
    assert not report.changed
    assert "nothing to publish yet" in report.lines[0]
    rate(unrated)
    decide(unrated)
    assert publish(unrated, repo).changed


@pytest.mark.parametrize("how", ["verdict", "takes"])
def test_a_verdict_that_the_run_no_longer_gives_is_refused(run_dir: Path, repo: Path, how: str) -> None:
    if how == "verdict":
        verdict = load_record(Verdict, run_dir)
        verdict.sentence = "Take espeak."
        save_record(verdict, run_dir)
    else:
        path = run_dir / "candidate" / "takes.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(AuditionError):
        publish(run_dir, repo)
    assert "-bench-" not in git(repo, "show-ref")


def test_an_own_branch_and_base(run_dir: Path, repo: Path) -> None:
    git(repo, "branch", "older")
    git(repo, "commit", "-q", "-m", "main goes on")
    publish(run_dir, repo, branch="results/espeak", base="older")
    assert git(repo, "rev-parse", "results/espeak^") == git(repo, "rev-parse", "older")
    with pytest.raises(BadInput, match="publish_base"):
        publish(run_dir, repo, base="nowhere")
    with pytest.raises(BadInput, match="both"):
        publish(run_dir, repo, branch="older", base="older")
    for bad in ("a..b", "--force", "x.lock"):
        with pytest.raises(BadInput, match="cannot be the name"):
            publish(run_dir, repo, branch=bad)


def test_a_branch_that_is_checked_out_is_left_alone(run_dir: Path, repo: Path, tmp_path: Path) -> None:
    first = publish(run_dir, repo)
    git(repo, "worktree", "add", "-q", str(tmp_path / "beside"), BRANCH)
    with pytest.raises(BadInput, match="checked out"):
        publish(run_dir, repo)
    assert git(repo, "rev-parse", BRANCH) == first.commit


def test_a_file_where_the_folder_should_be_is_not_replaced(run_dir: Path, repo: Path) -> None:
    git(repo, "rm", "-rq", "--cached", "docs")
    shutil.rmtree(repo / "docs")
    (repo / "docs").write_text("a file\n")
    git(repo, "add", "docs")
    git(repo, "commit", "-q", "-m", "A file of that name")
    with pytest.raises(BadInput, match="docs is a file"):
        publish(run_dir, repo)


def test_an_empty_and_a_bare_repository(run_dir: Path, tmp_path: Path) -> None:
    for name, more in (("empty", []), ("bare", ["--bare"])):
        path = tmp_path / name
        subprocess.run(["git", "init", "-q", *more, str(path)], check=True)
        report = publish(run_dir, path)
        assert git(path, "rev-list", "--count", BRANCH) == "1"
        assert sorted(published(path)) == short(report.files)


def test_what_cannot_be_published_in_says_what_to_do(
    run_dir: Path, repo: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="publish_repo"):
        publish(run_dir, tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(BadInput, match="cannot be used as a git repository"):
        publish(run_dir, tmp_path / "plain")
    (home / ".gitconfig").write_text("")
    with pytest.raises(BadInput, match="config user"):
        publish(run_dir, repo)
    monkeypatch.setenv("PATH", str(tmp_path / "plain"))
    with pytest.raises(BadInput, match="git is not installed"):
        publish(run_dir, repo)


def test_a_branch_in_the_way_of_the_name_is_told(run_dir: Path, repo: Path) -> None:
    git(repo, "branch", f"{BRANCH}/theirs")
    with pytest.raises(AuditionError, match="could not be set"):
        publish(run_dir, repo)
