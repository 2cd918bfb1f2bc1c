"""The rights statement: without a valid one no voice is used."""

import datetime
from pathlib import Path

import pytest
import yaml

from bench.errors import BadInput
from bench.inputs import rights

HASH = "a" * 64
TODAY = datetime.date(2026, 6, 1)
GOOD: dict[str, object] = {
    "speaker": "A. Speaker",
    "source": "recorded for this",
    "licence": "private, for evaluation",
    "attestation": {"who": "B. Owner", "date": "2026-01-05", "statement": "The speaker agreed in writing."},
    "expires": "2026-12-31",
    "sha256": HASH,
    "may_publish_clips": False,
}


def _read(tmp_path: Path, content: str, *, sha256: str = HASH) -> rights.Rights:
    path = tmp_path / "rights.yml"
    path.write_text(content)
    return rights.read(path, sha256, today=TODAY)


def test_yaml_and_json_and_unquoted_dates(tmp_path: Path) -> None:
    quoted = _read(tmp_path, yaml.safe_dump(GOOD))
    assert quoted.expires == datetime.date(2026, 12, 31)
    unquoted = yaml.safe_dump(GOOD).replace("'2026-12-31'", "2026-12-31")
    assert "expires: 2026-12-31\n" in unquoted
    assert _read(tmp_path, unquoted) == quoted
    assert _read(tmp_path, yaml.safe_dump(GOOD, default_flow_style=True)) == quoted


def test_the_last_day_still_counts(tmp_path: Path) -> None:
    assert _read(tmp_path, yaml.safe_dump(GOOD | {"expires": TODAY})).expires == TODAY


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expires": "2026-05-31"}, "ended on 2026-05-31"),
        ({"sha256": "b" * 64}, "another file"),
        ({"sha256": "B" * 64}, "sha256: "),
        ({"speaker": None}, "speaker: "),
        ({"speaker": "  "}, "speaker: "),
        ({"may_publish_clips": "perhaps"}, "may_publish_clips: "),
        ({"attestation": {"who": "B", "date": "2026-01-05"}}, "attestation.statement: "),
        ({"attestation": {"who": "B", "date": "2026-07-01", "statement": "Yes."}}, "in the future"),
        ({"licenze": "typing slip"}, "licenze: "),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        _read(tmp_path, yaml.safe_dump(GOOD | changes))
    assert says in str(refused.value)


@pytest.mark.parametrize("missing", [key for key in GOOD if key != "expires"])
def test_each_key_is_needed(tmp_path: Path, missing: str) -> None:
    with pytest.raises(BadInput, match=f"{missing}: Field required"):
        _read(tmp_path, yaml.safe_dump({key: value for key, value in GOOD.items() if key != missing}))


@pytest.mark.parametrize("content", ["", "I allow it.", "{", "- a\n- b\n"])
def test_a_file_that_is_no_statement(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadInput, match=r"rights\.yml"):
        _read(tmp_path, content)


def test_no_file_no_voice(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no voice is cloned without one"):
        rights.read(tmp_path / "rights.yml", HASH)


def test_the_statement_that_the_docs_show_is_a_whole_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
    shown = page.split("```yaml\n")[1].split("```")[0]
    sha256 = yaml.safe_load(shown)["sha256"]
    assert _read(tmp_path, shown, sha256=sha256).speaker == "Maria Example"
