"""`audition purge RUN`: a run's voice and clips go, its records stay, and somebody is asked."""

import io
from pathlib import Path

import pytest

from bench.commands.cli import main
from tests.commands.conftest import FIRST

Output = pytest.CaptureFixture[str]
CLIPS = {".wav", ".flac", ".html"}


def _purge(runs_dir: Path, *words: str) -> int:
    return main(["purge", FIRST, "--runs-dir", str(runs_dir), *words])


@pytest.fixture
def run_dir(runs_dir: Path) -> Path:
    path = runs_dir / FIRST
    (path / "listening" / "clips").mkdir(parents=True, exist_ok=True)
    (path / "listening" / "clips" / "0a.wav").write_bytes(b"x")
    (path / "attempts" / "preset-1").mkdir(parents=True)
    (path / "attempts" / "preset-1" / "greeting.wav").write_bytes(b"x")
    (path / "reference-hidden").mkdir(exist_ok=True)
    (path / "reference-hidden" / "whole.txt").write_text("what was said")
    (path / "report.html").write_text("<audio>")
    return path


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow
def test_without_a_yes_nothing_goes(
    runs_dir: Path, run_dir: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _files(run_dir)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert _purge(runs_dir) == 2
    assert "nobody can be asked here. Give --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    assert _purge(runs_dir) == 1
    assert _files(run_dir) == before
    said = capsys.readouterr().out
    assert "  reference  " in said and "These stay: its records" in said and "can be neither rated" in said


@pytest.mark.parametrize("how", ["asked", "--yes"])
def test_voice_and_clips_go_and_records_stay(
    runs_dir: Path, run_dir: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before = _files(run_dir)
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert _purge(runs_dir, *([how] if how == "--yes" else [])) == 0
    after = _files(run_dir)
    gone = before - after
    assert gone and all(path.suffix in CLIPS or path.parts[0].startswith("reference") for path in gone)
    assert not any(path.suffix in CLIPS or path.parts[0].startswith("reference") for path in after)
    assert {
        Path("manifest.json"),
        Path("candidate/takes.jsonl"),
        Path("listening/sealed.json"),
    } & before <= after
    capsys.readouterr()
    assert _purge(runs_dir, "--yes") == 0
    assert "holds no voice and no clip" in capsys.readouterr().out


def test_what_is_no_run_is_a_host(runs_dir: Path, capsys: Output) -> None:
    words = ["purge", "nowhere", "--runs-dir", str(runs_dir), "-i", "nowhere.yml", "--yes"]
    assert main(words) == 2
    assert "there is no inventory nowhere.yml" in capsys.readouterr().err
