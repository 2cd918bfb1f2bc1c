from pathlib import Path

from bench.client.faults import KINDS

DOCS = Path(__file__).parents[2] / "docs" / "measuring.md"


def test_every_kind_of_failure_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"| `{kind}` |" not in text] == []
