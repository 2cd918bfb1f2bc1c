"""The benchmark of the listening test: small, and honest by its exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import listening
from benchmarks.listening import Kills, main, many_raters


@pytest.mark.slow
def test_three_raters_lose_nothing(run_dir: Path) -> None:
    found = many_raters(run_dir, 3)
    assert (found["raters"], found["raters_finished"]) == (3, 3)
    assert found["answers"] == found["acknowledged"] == 3 * 16 and found["lost"] == 0
    assert 0 < found["answer_ms_p50"] <= found["answer_ms_p99"] <= found["answer_ms_max"]


MANY = {
    "raters": 3, "pairs_each": 10, "answers": 45, "acknowledged": 45, "lost": 0, "raters_finished": 3,
    "connections": 32, "seconds": 1.0, "answers_per_s": 45.0, "requests_per_s": 186.0, "answer_ms_p50": 5.0,
    "answer_ms_p99": 9.0, "answer_ms_max": 10.0,
}  # fmt: skip
CUE = {"cue": "loudness", "before": 1.0, "after": 0.5}


@pytest.mark.parametrize(
    ("many", "kills", "code"),
    [
        ({}, Kills(2, 20), 0),
        ({"lost": 1}, Kills(2, 20), 1),
        ({"acknowledged": 44}, Kills(2, 20), 1),
        ({"raters_finished": 2}, Kills(2, 20), 1),
        ({}, Kills(2, 20, lost=["1/2/3"]), 1),
    ],
    ids=["all well", "lost", "not acknowledged", "not finished", "lost by a kill"],
)
def test_the_exit_code_says_whether_anything_was_lost(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    many: dict[str, Any],
    kills: Kills,
    code: int,
) -> None:
    monkeypatch.setattr(listening, "build", lambda run_dir, **_: run_dir.mkdir())
    monkeypatch.setattr(listening, "seal", lambda *_, **__: None)
    monkeypatch.setattr(listening, "many_raters", lambda *_: MANY | many)
    monkeypatch.setattr(listening, "kill_often", lambda *_: kills)
    monkeypatch.setattr(listening, "cue_attacks", lambda _: [{"voices": ["a", "b"], "cues": [CUE]}])
    assert main(["--json", str(tmp_path / "figures.json")]) == code
    assert json.loads((tmp_path / "figures.json").read_text())["many_raters"] == MANY | many
    assert "| a, b | loudness | 100% | 50% |" in capsys.readouterr().out
