"""What a survey's record says of a rated run, and the owner's pages that are brought up to date at its end."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.controller import surveys
from bench.controller.run import Run
from bench.errors import BadInput
from bench.publish import publish
from bench.publish.git import Repository
from bench.publish.pages import Section, place, read_pages
from bench.publish.settings import Page
from tests.publish.build import BENCHMARK, BRANCH, SAMPLES, change_manifest, decide, git, rate, seen

SURVEY, MEMORY, FORWARD = (
    Page(path="docs/SURVEY.md", template="survey"),
    Page(path="MEMORY.md", template="memory"),
    Page(path="docs/old/RESEARCH-OLDER.md", template="forward"),
)


def test_figures_stand_beside_the_baselines_once_all_have_rated_and_not_before(unrated: Path) -> None:
    run_dir = unrated
    change_manifest(run_dir, chain=["espeak", "f5"])
    assert decide(run_dir) == "awaiting_ratings"
    silent = surveys.gather(Run(run_dir))
    assert (silent.models[0].place, silent.models[0].baseline, silent.models[0].difference) == (
        "waits",
        None,
        None,
    )
    assert "score" not in json.dumps([gate.model_dump() for gate in silent.models[0].gates])

    rate(run_dir)
    assert decide(run_dir) == "keep_baseline_try_next"
    (espeak, f5) = surveys.gather(Run(run_dir)).models
    assert (f5.place, f5.run_id) == ("to_come", None)
    assert espeak.candidate is not None
    assert espeak.baseline is not None
    assert (espeak.candidate.score, espeak.baseline.score, espeak.difference, espeak.ratings) == (
        2.0,
        4.0,
        -2.0,
        10,
    )
    page = surveys.write(surveys.gather(Run(run_dir)), run_dir.parent).read_text()
    assert "−2 (−2 to −2)" in page.replace("\u00a0", " ")


@pytest.fixture
def pages(repo: Path) -> dict[str, str]:
    """Pages of the owner's, committed to main; one has our part in its middle."""
    found = {
        "docs/SURVEY.md": "# Survey\n\nOur own words.\n",
        "MEMORY.md": "# Memory\r\n\r\n<!-- audition memory of here: of last year -->\r\nold\r\n"
        "<!-- end of audition memory of here -->\r\n\r\n- something else\r\n",
    }
    for name, text in found.items():
        (repo / name).write_bytes(text.encode())
    git(repo, "add", *found)
    git(repo, "commit", "-q", "-m", "Pages")
    return found


def page(repo: Path, name: str, branch: str = BRANCH) -> str:
    return git(repo, "show", f"{branch}:{name}")


@pytest.mark.usefixtures("plain_pages")
def test_the_run_that_ends_the_survey_brings_the_named_pages_up_to_date(
    run_dir: Path, repo: Path, pages: dict[str, str]
) -> None:
    before = seen(repo)
    report = publish(run_dir, repo, pages=[SURVEY, MEMORY, FORWARD])
    assert seen(repo) == before
    assert {"docs/SURVEY.md", "MEMORY.md", FORWARD.path} <= set(report.files)
    survey = page(repo, "docs/SURVEY.md")
    assert survey.startswith("# Survey\n\nOur own words.\n\n<!-- audition survey of here:")
    (row,) = [line for line in survey.splitlines() if line.startswith("| eSpeak NG |")]
    assert "Keep the baseline, survey complete | 2 / 4 |" in row
    assert f"`{BENCHMARK}` on branch `{BRANCH}`" in row
    memory = page(repo, "MEMORY.md")
    assert "old" not in memory.split()
    raw = Repository(repo).read(BRANCH, "MEMORY.md") or b""
    assert raw.endswith(b"<!-- end of audition memory of here -->\r\n\r\n- something else\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert f"clips `{SAMPLES}/`" in memory
    forward = page(repo, FORWARD.path)
    assert "[The page about it](../RESEARCH-ESPEAK.md)" in forward
    assert not publish(run_dir, repo, pages=[SURVEY, MEMORY, FORWARD]).changed
    assert git(repo, "rev-list", "--count", f"main..{BRANCH}") == "1"


@pytest.mark.usefixtures("plain_pages")
def test_a_run_before_the_last_leaves_them_alone(run_dir: Path, repo: Path, pages: dict[str, str]) -> None:
    change_manifest(run_dir, chain=["espeak", "f5"])
    assert decide(run_dir) == "keep_baseline_try_next"
    report = publish(run_dir, repo, pages=[SURVEY])
    assert "docs/SURVEY.md" not in report.files
    assert page(repo, "docs/SURVEY.md") == pages["docs/SURVEY.md"].strip()


@pytest.mark.usefixtures("plain_pages")
def test_a_template_of_ones_own(
    run_dir: Path, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.md"
    figures = "{{ models[0].surveyed.difference | number }}{{ models[0].surveyed.gpu_bytes | gib }}"
    mine.write_text(f"{{{{ survey.label }}}}: {figures}")
    publish(run_dir, repo, pages=[Page(path="NOTES.md", template=str(mine))])
    assert "keep_flite_survey_complete: −2not taken" in page(repo, "NOTES.md")
    monkeypatch.setenv("MY_TOKEN", "sesame-123456")
    mine.write_text("sesame-123456")
    with pytest.raises(BadInput, match=r"NOTES\.md holds .* MY_TOKEN"):
        publish(run_dir, repo, pages=[Page(path="NOTES.md", template=str(mine))])
    for bad in ("{{ survey.nothing }}", "{% if %}", "{{ survey.__class__.__mro__[1].__subclasses__() }}"):
        mine.write_text(bad)
        with pytest.raises(BadInput, match="cannot be used"):
            publish(run_dir, repo, pages=[Page(path="NOTES.md", template=str(mine))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"path": "/etc/motd", "template": "survey"}, "inside the repository"),
        ({"path": "docs/../../x.md", "template": "survey"}, "inside the repository"),
        ({"path": ".git/config", "template": "survey"}, "inside the repository"),
        ({"path": "x.md", "template": "sonnet"}, "forward, memory, survey"),
        ({"path": "x.md"}, "`path` and a `template`"),
        ({"path": "x.md", "template": "survey", "when": "now"}, "`path` and a `template`"),
    ],
    ids=str,
)
def test_a_page_that_cannot_be_is_refused_before_anything_is_written(
    run_dir: Path, repo: Path, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(BadInput, match=expected):
        publish(run_dir, repo, pages=read_pages([given]))
    assert "-bench-" not in git(repo, "show-ref")


def test_marks_that_do_not_belong_together_are_not_guessed_at() -> None:
    ours = Section("x.md", "survey of here", "new \\1")
    whole = place(ours, b"")
    assert place(ours, whole) == whole
    assert whole.decode().splitlines()[1] == "new \\1"
    opening, closing = whole.splitlines(keepends=True)[0], whole.splitlines(keepends=True)[-1]
    other = place(Section("x.md", "survey of there", "theirs"), whole)
    assert place(ours, other) == other, "each host's survey has its own part"
    for bad in (opening, closing, closing + opening, whole + whole):
        with pytest.raises(BadInput, match="once each"):
            place(ours, bad)
    with pytest.raises(BadInput, match="UTF-8"):
        place(ours, b"\xff")
