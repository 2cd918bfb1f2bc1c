"""What the pages for contributors name is there: files and make's targets; and so is what workflow and hooks call."""

import re
import tomllib

import pytest
import yaml

from tests.docs.tables import REPO

PAGES = [
    "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "requirements/README.md",
    ".github/PULL_REQUEST_TEMPLATE.md", ".github/ISSUE_TEMPLATE/bug.md", ".github/ISSUE_TEMPLATE/model.md",
]  # fmt: skip
TARGETS = set(re.findall(r"^([a-z\d-]+):", (REPO / "Makefile").read_text("utf-8"), re.M))
TOP = {path.name for path in REPO.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"runs"}
YOURS = {"inventory/mine", "inventory/NAME/private"}
"""What a page asks the reader to make."""


def _text(name: str) -> str:
    return (REPO / name).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", _text(page)):
        path, _, anchor = link.partition("#")
        there = (REPO / page).parent / path if path else REPO / page
        assert there.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, (
                link
            )


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_and_paths_exist(page: str) -> None:
    code = re.findall(r"`([^`\n]+)`|^```sh\n(.*?)^```", _text(page), re.M | re.S)
    for each in (inline or block for inline, block in code):
        assert set(re.findall(r"\bmake ([a-z\d-]+)", each)) <= TARGETS, each
        for word in set(re.findall(r"(?<![\w./-])[\w-]+/[\w./-]*\w", each)) - YOURS:
            assert word.partition("/")[0] not in TOP or (REPO / word).exists(), word


def test_contributing_shows_every_tier() -> None:
    assert {
        "test-quick",
        "test",
        "test-chain",
        "check",
        "chaos",
        "test-engines",
        "test-cosyvoice2",
    } <= set(re.findall(r"`make ([a-z\d-]+)`", _text("CONTRIBUTING.md")))


def test_the_demo_ends_with_what_the_play_says_last() -> None:
    """The verdict and the next command, which is spelt as it must be typed only where our PATH is as the reader's."""
    (recipe,) = re.findall(r"^demo:[^\n]*\n((?:\t[^\n]*\n)+)", _text("Makefile"), re.M)
    assert recipe == "\t$(VENV)/bin/ansible-playbook site.yml\n"


def test_the_workflow_calls_make_and_the_pythons_we_take() -> None:
    jobs = yaml.safe_load(_text(".github/workflows/test.yml"))["jobs"]
    said = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert {target for each in said for target in re.findall(r"^\s*make ([a-z-]+)", each, re.M)} == {
        "test-quick",
        "test",
        "test-chain",
        "test-engines",
    }
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    assert project["requires-python"] == ">=3.11,<3.13"
    assert jobs["quick"]["strategy"]["matrix"]["python"] == ["3.11", "3.12"]


def test_the_hooks_are_of_this_checkout() -> None:
    repos = yaml.safe_load(_text(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert {hook["entry"].split()[0] for hook in repos[0]["hooks"]} == {".venv/bin/ruff", ".venv/bin/mypy"}


def test_the_site_has_every_page_once_and_no_other() -> None:
    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        return [page for each in inner for page in pages(each)]

    listed = pages(yaml.safe_load((REPO / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert sorted(listed) == sorted(path.name for path in (REPO / "docs").glob("*.md"))


def test_the_site_is_strict_and_no_page_of_it_leads_out_of_it() -> None:
    """With `-q` MkDocs counts no warning, and strict is not."""
    (build,) = re.findall(r"mkdocs build.*", _text("Makefile"))
    assert build == "mkdocs build --strict"
    for page in (REPO / "docs").glob("*.md"):
        assert not re.search(r"\]\(\.\./", page.read_text("utf-8")), page
