"""Pushing to a real bare repository, and pull requests through a double of `gh`.

The double is a script that answers `auth status`, `pr list`, `pr create` and `pr edit` from a file and notes how it
was called; GitHub itself is never asked.
"""

import json
import os
import posixpath
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadInput
from bench.publish import PublishFailed, publish
from bench.publish.commands import execute, strip_login
from bench.publish.git import Repository
from bench.publish.pull_request import Proposal, forge_repository
from bench.records.run import Phases
from bench.storage.record_file import load_record
from tests.publish.build import BRANCH, RUN_ID, decide, git, program, published, seen, short

pytestmark = pytest.mark.usefixtures("plain_pages")
GH = """#!/bin/sh
# A double of gh: answers from {at}, never asks GitHub.
printf '%s\\n' "$*" >> {at}/calls
case "$1 $2" in
  "auth status") test -e {at}/logged-in ;;
  "pr list") cat {at}/list ;;
  "pr create"|"pr edit")
    if test -e {at}/refuse; then echo "GraphQL: no" >&2; exit 1; fi
    cat > {at}/body
    echo https://github.invalid/o/n/pull/7 ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture
def remote(tmp_path: Path, repo: Path) -> Path:
    """A bare remote that has the first commit of main, while main here has gone on without being pushed."""
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    git(repo, "remote", "add", "origin", str(path))
    git(repo, "push", "-q", "origin", "main")
    git(repo, "commit", "-q", "-m", "Not yet for others")
    return path


class Gh:
    def __init__(self, at: Path) -> None:
        self.at = at

    def listed(self, *found: dict[str, str]) -> None:
        (self.at / "list").write_text(json.dumps(found))

    def calls(self) -> list[str]:
        path = self.at / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gh:
    at = tmp_path / "gh"
    program(at / "bin" / "gh", GH.format(at=at))
    (at / "logged-in").touch()
    monkeypatch.setenv("PATH", f"{at / 'bin'}:{os.environ['PATH']}")
    double = Gh(at)
    double.listed()
    return double


def test_a_push_starts_from_the_remotes_branch_and_sends_nothing_unpublished(
    run_dir: Path, repo: Path, remote: Path
) -> None:
    before = seen(repo)
    report = publish(run_dir, repo, remote="origin")
    assert seen(repo) == before
    assert report.pushed is True
    assert git(remote, "rev-parse", BRANCH) == report.commit
    assert git(remote, "rev-list", "--count", f"main..{BRANCH}") == "1"
    assert "Not yet for others" not in git(remote, "log", "--format=%s", BRANCH)
    assert sorted(published(remote)) == short(report.files)
    again = publish(run_dir, repo, remote="origin")
    assert (again.changed, again.pushed, again.commit) == (False, False, report.commit)


def test_a_remote_that_went_on_is_started_from_as_it_is_now(
    run_dir: Path, repo: Path, remote: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(remote), str(other)], check=True)
    git(other, "commit", "-q", "--allow-empty", "-m", "Elsewhere")
    git(other, "push", "-q", "origin", "main")
    before = seen(repo)
    publish(run_dir, repo, remote=str(remote))
    assert seen(repo) == before
    assert git(repo, "log", "-1", "--format=%s", f"{BRANCH}^") == "Elsewhere"


@pytest.mark.slow
def test_another_clone_goes_on_from_the_published_branch(
    run_dir: Path, repo: Path, remote: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(remote), str(other)], check=True)
    first = publish(run_dir, repo, remote="origin")
    same = publish(run_dir, other, remote="origin")
    assert (same.commit, same.pushed) == (first.commit, False)
    (run_dir / "neighbour.json").unlink()
    decide(run_dir)
    second = publish(run_dir, other, remote="origin")
    assert git(remote, "rev-parse", f"{BRANCH}^") == first.commit
    third = publish(run_dir, repo, remote="origin")
    assert (third.commit, third.pushed) == (second.commit, False)


def test_branches_that_have_parted_are_left_alone(
    run_dir: Path, repo: Path, remote: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(remote), str(other)], check=True)
    git(other, "checkout", "-q", "-b", BRANCH)
    git(other, "commit", "-q", "--allow-empty", "-m", "Theirs")
    publish(run_dir, repo)
    git(other, "push", "-q", "origin", BRANCH)
    ours, theirs = git(repo, "rev-parse", BRANCH), git(remote, "rev-parse", BRANCH)
    with pytest.raises(BadInput, match="have parted"):
        publish(run_dir, repo, remote="origin")
    assert (git(repo, "rev-parse", BRANCH), git(remote, "rev-parse", BRANCH)) == (ours, theirs)


def test_a_push_that_fails_loses_nothing_and_says_how_to_go_on(
    run_dir: Path, repo: Path, remote: Path
) -> None:
    program(remote / "hooks" / "pre-receive", "#!/bin/sh\necho 'closed today' >&2\nexit 1\n")
    with pytest.raises(PublishFailed, match="closed today") as caught:
        publish(run_dir, repo, remote="origin")
    assert caught.value.exit_code == 1
    assert git(repo, "rev-parse", "--verify", BRANCH)
    state = load_record(Phases, run_dir).phases["publish"]
    assert (state.status, state.fault) == ("failed", "host")
    (remote / "hooks" / "pre-receive").unlink()
    command = str(caught.value).split("Again: ")[1]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert git(remote, "rev-parse", BRANCH) == git(repo, "rev-parse", BRANCH)
    assert publish(run_dir, repo, remote="origin").pushed is False


def test_a_remote_that_does_not_answer_leaves_the_commit_here(
    run_dir: Path, repo: Path, tmp_path: Path
) -> None:
    with pytest.raises(PublishFailed, match="committed here"):
        publish(run_dir, repo, remote=str(tmp_path / "gone.git"))
    assert git(repo, "rev-parse", "--verify", BRANCH)


def test_the_users_pre_push_hook_has_its_say(run_dir: Path, repo: Path, remote: Path) -> None:
    program(repo / ".git" / "hooks" / "pre-push", "#!/bin/sh\necho 'not from here' >&2\nexit 1\n")
    with pytest.raises(PublishFailed, match="not from here"):
        publish(run_dir, repo, remote="origin")


def test_a_pull_request_is_opened_once_with_the_report_as_its_body(
    run_dir: Path, repo: Path, remote: Path, gh: Gh
) -> None:
    report = publish(run_dir, repo, remote="origin", open_pull_request=True)
    assert report.pull_request == "https://github.invalid/o/n/pull/7"
    title = f"Audition: keep_flite_survey_complete ({RUN_ID})"
    assert gh.calls()[-1] == f"pr create --head {BRANCH} --base main --title {title} --body-file -"
    assert (gh.at / "body").read_bytes() == published(repo)["report.md"]
    gh.listed({"url": "https://github.invalid/o/n/pull/7", "state": "OPEN"})
    again = publish(run_dir, repo, remote="origin", open_pull_request=True)
    assert (again.changed, again.pull_request) == (False, report.pull_request)
    assert gh.calls()[-1].startswith("pr list")
    (run_dir / "neighbour.json").unlink()
    decide(run_dir)
    assert publish(run_dir, repo, remote="origin", open_pull_request=True).changed
    assert gh.calls()[-1].startswith("pr edit https://github.invalid/o/n/pull/7")


def test_a_pull_request_that_was_merged_is_not_opened_again(
    run_dir: Path, repo: Path, remote: Path, gh: Gh
) -> None:
    publish(run_dir, repo, remote="origin")
    gh.listed({"url": "https://github.invalid/o/n/pull/3", "state": "MERGED"})
    report = publish(run_dir, repo, remote="origin", open_pull_request=True)
    assert not report.changed
    assert "pull/3 (merged)" in report.lines[-1]


@pytest.mark.parametrize("obstacle", ["not installed", "not logged in"])
def test_without_gh_the_command_is_said_and_works(
    run_dir: Path, repo: Path, remote: Path, gh: Gh, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    if obstacle == "not installed":
        monkeypatch.setenv("PATH", path.partition(":")[2])
    else:
        (gh.at / "logged-in").unlink()
    report = publish(run_dir, repo, remote="origin", open_pull_request=True)
    assert report.pushed is True
    assert report.pull_request is None
    assert any(obstacle in line for line in report.lines)
    monkeypatch.setenv("PATH", path)
    subprocess.run(report.commands[0], shell=True, check=True, capture_output=True)
    assert gh.calls()[-1].startswith(f"pr create --head {BRANCH} --base main")
    assert (gh.at / "body").read_bytes() == published(repo)["report.md"]


def test_a_pull_request_that_fails_is_told_with_the_command(
    run_dir: Path, repo: Path, remote: Path, gh: Gh
) -> None:
    (gh.at / "refuse").touch()
    with pytest.raises(PublishFailed, match=r"GraphQL: no\nNothing is lost. Again: cd .* gh pr create"):
        publish(run_dir, repo, remote="origin", open_pull_request=True)
    assert git(remote, "rev-parse", "--verify", BRANCH)


def test_a_pull_request_needs_a_remote(run_dir: Path, repo: Path) -> None:
    with pytest.raises(BadInput, match="publish_remote"):
        publish(run_dir, repo, open_pull_request=True)
    with pytest.raises(BadInput, match="cannot be a remote"):
        publish(run_dir, repo, remote="--upload-pack=x")


def test_the_links_of_the_body_lead_to_the_branch_and_those_of_the_file_to_its_neighbours(
    run_dir: Path, repo: Path, gh: Gh
) -> None:
    report = publish(run_dir, repo)
    files = {name: data.decode() for name, data in published(repo).items() if name.endswith(".md")}
    links = re.findall(r"(?<!\\)\]\(([^)]+)\)", files["report.md"])
    there = git(repo, "ls-tree", "-r", "--name-only", BRANCH).splitlines()
    for link in links:
        found = posixpath.normpath(f"{report.folder}/{link}")
        assert any(name == found or name.startswith(f"{found}/") for name in there), link
    assert {"./verdict.json", "./report.html", "./candidate/", "./baseline/"} < set(links)
    proposal = Proposal(
        repository=Repository.open(repo), branch=BRANCH, base="main", title="t", body=files["report.md"],
        body_at=f"{report.folder}/report.md", forge="forge.invalid/o/n",
    )  # fmt: skip
    (gh.at / "body").unlink(missing_ok=True)
    proposal.open(news=True)
    body = (gh.at / "body").read_text()
    assert re.findall(r"(?<!\\)\]\(([^)]+)\)", body) == [
        f"https://forge.invalid/o/n/blob/{BRANCH}/{report.folder}/{link}" for link in links
    ]
    (gh.at / "body").unlink()
    subprocess.run(["bash", "-c", proposal.command()], check=True, capture_output=True)
    assert (gh.at / "body").read_text() == body, "by hand the same"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("git@github.com:o/n.git", "github.com/o/n"),
        ("https://github.com/o/n", "github.com/o/n"),
        ("https://ann:token@github.com/o/n.git/", "github.com/o/n"),
        ("ssh://git@git.example.org:2222/o/n.git", "git.example.org/o/n"),
        ("/srv/git/n.git", None),
        ("../n.git", None),
    ],
)
def test_the_forges_name_of_an_address(address: str, name: str | None) -> None:
    assert forge_repository(address) == name


def test_commands_cannot_ask_and_end_in_time() -> None:
    asked: dict[str, Any] = {"limit_s": 0.5}
    assert execute(["sh", "-c", "sleep 60 & wait"], **asked).code == 124
    assert execute(["sh", "-c", "read x < /dev/tty"]).code != 0
    assert (
        strip_login("fatal: https://ann:pw@x.org/o/n and ssh://git@y")
        == "fatal: https://x.org/o/n and ssh://y"
    )
