"""Pages and schemas are as the code makes them; `python -m tests.docs.generate` mends them."""

import re
from pathlib import Path

import pytest

from bench.commands.schema import FILES, main, write_schemas
from tests.docs.tables import DOCS, REPO, TABLES, filled

OURS = sorted(TABLES)
STALE = "is not what the code says now; run `python -m tests.docs.generate` and read what changed"


@pytest.mark.parametrize("page", OURS)
def test_tables_are_current(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert filled(page, text) == text, f"docs/{page} {STALE}"


def test_schemas_are_current(tmp_path: Path) -> None:
    made = {path.name: path.read_bytes() for path in write_schemas(tmp_path)}
    assert set(made) == {"manifest.json", "report.json", "survey.json", "take.json", "verdict.json"}
    kept = {path.name: path.read_bytes() for path in (DOCS / "schema").iterdir()}
    assert kept.keys() == made.keys(), "docs/schema holds a schema too many or too few"
    for name, data in made.items():
        assert kept[name] == data, f"docs/schema/{name} {STALE}"


def test_the_schema_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "out")]) == 0
    assert {Path(line).name for line in capsys.readouterr().out.split()} == {
        f"{each.schema}.json" for each in FILES if each.schema
    }
    assert main([]) == 2
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file")]) == 1


@pytest.mark.parametrize("page", OURS)
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        path = DOCS / (name or page)
        assert path.is_file(), f"docs/{page} links to {target}"
        if heading:
            found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", OURS)
def test_files_that_are_named_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    names = re.findall(r"`((?:bench|roles|playbooks|inventory|requirements|tests|library)/[\w./-]+)`", text)
    for name in (n for n in names if n != "bench/serving/pico.py" and "/NAME/" not in n):
        assert (REPO / name).exists(), f"docs/{page} names {name}"
