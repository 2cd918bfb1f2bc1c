"""Looking whether an installation still holds: the receipt, and what the model needs beside its environment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.entry import WeightFile
from bench.install.module import engine_step
from bench.install.receipts import name_receipt
from bench.records.run import Install
from bench.weights.store import path_of

PROVED = Install(ok=True, steps=[], total_s=1.0, limit_s=60.0, asked={}, receipt="abc")
INSTALLED, NOSUCH = "dpkg", "audition-has-no-such"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A host that has proved `mine` in its profile `upstream`."""
    path = name_receipt(tmp_path, "mine", "upstream")
    path.parent.mkdir()
    path.write_text(PROVED.model_dump_json())
    return tmp_path


def look(state_dir: Path, *, receipt: str = "abc", **needs: Any) -> dict[str, Any]:
    given = {"action": "look", "state_dir": str(state_dir), "model": "mine", "profile": "upstream"}
    return engine_step({**given, "receipt": receipt, "needs": needs}, check=False)


def test_a_receipt_that_holds_gives_the_record_back(state_dir: Path) -> None:
    found = look(state_dir, system_packages=[INSTALLED])
    assert Install.model_validate(found["install"]) == PROVED
    assert (found["lacking"], found["changed"]) == ([], False)


def test_another_receipt_or_none_proves_nothing(state_dir: Path) -> None:
    assert look(state_dir, receipt="xyz")["install"] is None
    name_receipt(state_dir, "mine", "upstream").unlink()
    assert look(state_dir)["install"] is None


@pytest.mark.parametrize("text", ["{", "[]", "null", json.dumps({"ok": False, "receipt": "abc"})])
def test_a_damaged_receipt_or_a_failed_installations_proves_nothing(state_dir: Path, text: str) -> None:
    name_receipt(state_dir, "mine", "upstream").write_text(text)
    assert look(state_dir)["install"] is None


def test_packages_that_went_are_named(state_dir: Path) -> None:
    assert look(state_dir, system_packages=[INSTALLED, NOSUCH])["lacking"] == [NOSUCH]


def test_a_host_without_dpkg_lacks_what_it_cannot_ask_for(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(state_dir))
    assert look(state_dir, system_packages=[INSTALLED])["lacking"] == [INSTALLED]


def test_weights_that_went_are_named(state_dir: Path) -> None:
    file = WeightFile(repo="maker/voice", revision="ab" * 20, path="model.bin", bytes=None, sha256=None)
    needs: dict[str, Any] = {"weights": [file.model_dump(mode="json")], "store": str(state_dir / "weights")}
    assert look(state_dir, **needs)["lacking"] == ["model.bin"]
    place = path_of(state_dir / "weights", file)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"put there by hand, never verified")
    assert look(state_dir, **needs)["lacking"] == ["model.bin"]


def test_looking_and_removing_import_nothing_dear(state_dir: Path) -> None:
    """Both are asked for in every play; pydantic, numpy and the Docker SDK take longer to start than to answer."""
    given = {
        "state_dir": str(state_dir),
        "model": "mine",
        "profile": "upstream",
        "receipt": "abc",
        "run_id": "r",
    }
    script = (
        "import json, sys; from bench.install.module import engine_step\n"
        f"given = {given!r}\n"
        "engine_step(given | {'action': 'look', 'needs': {'system_packages': ['dpkg']}}, check=False)\n"
        "engine_step(given | {'action': 'remove'}, check=True)\n"
        "print(json.dumps(sorted({'pydantic', 'numpy', 'docker', 'scipy'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
