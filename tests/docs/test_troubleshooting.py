"""What troubleshooting says is on the screen is what something of ours, or Ansible, says."""

import re
from pathlib import Path

import ansible
import pytest

from tests.docs.tables import REPO

SAID = re.findall(
    r"^\| (?:a neighbour that )?`([^`|]+)` \|",
    (REPO / "docs" / "troubleshooting.md").read_text("utf-8"),
    re.M,
)
"""The first column of its tables."""
OURS = ("bench", "library", "action_plugins", "callback_plugins", "lookup_plugins", "roles", "playbooks")


def _words(path: Path) -> str:
    """Return a source with its strings joined where they were broken, and without its backquotes."""
    joined = re.sub(r"[\"']\s*\n\s*f?[\"']", "", path.read_text("utf-8"))
    return re.sub(r"[`]|\s+", lambda found: "" if found[0] == "`" else " ", joined)


@pytest.fixture(scope="module")
def sources() -> str:
    paths = [p for folder in OURS for p in (REPO / folder).rglob("*") if p.suffix in (".py", ".yml", ".js")]
    paths += [
        Path(ansible.__file__).parent / "playbook" / "play.py",
        Path(ansible.__file__).parent / "cli" / "__init__.py",
    ]
    return "\n".join(map(_words, paths))


@pytest.mark.parametrize("said", SAID)
def test_it_is_said(said: str, sources: str) -> None:
    for part in filter(None, (part.strip(" ?()") for part in said.split("..."))):
        # What stands in a value's place is only an example of one.
        pieces = [piece for piece in re.split(r"'How'", part) if len(piece.strip()) > 3]
        assert pieces and all(piece.strip() in sources for piece in pieces), part


def test_there_are_rows() -> None:
    assert len(SAID) > 15
