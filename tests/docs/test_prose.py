"""How the pages for people are written: sentences that can be read, and nobody is a he."""

import re

import pytest

from tests.docs.tables import REPO

PAGES = sorted(str(p.relative_to(REPO)) for p in [*REPO.glob("*.md"), *(REPO / "docs").glob("*.md")])
MOST_WORDS = 60
"""In one breath: from one full stop, colon or semicolon to the next."""


def _text(page: str) -> str:
    """Return a page's prose: without code, tables and headings, and each item of a list a paragraph of its own."""
    text = re.sub(r"```.*?```", "", (REPO / page).read_text("utf-8"), flags=re.S)
    text = "\n".join("" if line.startswith(("|", "<!--", "#")) else line for line in text.splitlines())
    return re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", text, flags=re.M)


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_is_too_long_to_be_read(page: str) -> None:
    sentences = [
        sentence
        for paragraph in re.split(r"\n\s*\n", _text(page))
        for sentence in re.split(r"(?<=[.!?:;])\s+", " ".join(paragraph.split()))
    ]
    assert [each for each in sentences if len(each.split()) > MOST_WORDS] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_person_is_they(page: str) -> None:
    assert re.findall(r"\b(?:he|him|his|she|her|hers)\b", _text(page), re.I) == []
