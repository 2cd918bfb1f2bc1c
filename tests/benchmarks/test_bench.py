"""One table, one JSON file, no stop at a missed target, null with a reason where something is not to be had."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as bench_all
from benchmarks import nvml
from benchmarks.client import error_rows
from benchmarks.rows import Row, null, row, table
from benchmarks.verdict import main as verdict_main

KEYS = {"area", "name", "value", "unit", "limit", "ok"}


def test_a_row_says_whether_its_target_is_met() -> None:
    assert row("a", "n", 1.0, "ms")["ok"] is None
    assert row("a", "n", 1.0, "ms", 1.0)["ok"] is True
    assert row("a", "n", 1.1, "ms", 1.0)["ok"] is False
    assert row("a", "n", None, "ms", 1.0)["ok"] is False
    assert row("a", "n", 1.0, "ms", 2.0, failed=1)["ok"] is False
    assert row("a", "n", 1.0, "ms", failed=1)["ok"] is False
    assert null("a", "n", "ms", "no GPU")["ok"] is None


def test_takes_that_failed_are_a_missed_target_and_all_of_them_no_crash() -> None:
    good = error_rows("x", 2.0, {"arrival": [0.5, -1.0], "whole": [9.0, 9.0]}, 0)
    assert [each["ok"] for each in good] == [None, True, None, None]
    some = error_rows("x", 2.0, {"arrival": [0.5], "whole": [9.0]}, 1)
    assert [each["ok"] for each in some] == [False] * 4
    none = error_rows("x", 2.0, {"arrival": [], "whole": []}, 3)
    assert [(each["value"], each["ok"]) for each in none] == [(None, False)] * 4


def _broken() -> list[Row]:
    raise RuntimeError("it broke")


def _written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    assert all(set(each) >= KEYS for each in found["rows"])
    return found


def test_a_missed_target_or_a_broken_area_stops_nothing_and_fails_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {
        "one": lambda: [row("one", "too slow", 3.0, "ms", 2.0)],
        "two": _broken,
        "three": lambda: [
            null("three", "by the GPU", "%", "no driver"),
            row("three", "fine", 1.0, "ms", 2.0),
        ],
    }
    monkeypatch.setattr(bench_all, "areas", lambda quick, realtime: made)
    assert bench_all.main(["--json", str(tmp_path / "bench.json")]) == 1
    written = _written(tmp_path / "bench.json")
    assert [each["ok"] for each in written["rows"]] == [False, False, None, True]
    assert written["ok"] is False
    shown = capsys.readouterr().out
    assert "3.000 ms" in shown and "MISSED" in shown and "it broke" in shown and "no driver" in shown
    assert "2 of 4 rows missed: too slow; measured" in shown
    assert bench_all.main(["--json", str(tmp_path / "ok.json"), "--only", "three"]) == 0
    assert _written(tmp_path / "ok.json")["ok"] is True


def test_without_a_gpu_the_figures_of_one_are_null_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "missing", lambda: "nvmlInit: NVML_ERROR_LIBRARY_NOT_FOUND")
    rows = nvml.rows()
    assert {each["value"] for each in rows} == {None}
    assert {each["reason"] for each in rows} == {"nvmlInit: NVML_ERROR_LIBRARY_NOT_FOUND"}
    assert "null" in table(rows)


def test_the_verdicts_benchmark_writes_its_cells_and_rows(tmp_path: Path) -> None:
    assert verdict_main(["--simulations", "200", "--json", str(tmp_path / "v.json")]) == 0
    written = _written(tmp_path / "v.json")
    assert len(written["cells"]) == 30
    assert len(written["designs"]) == 70
    assert {each["area"] for each in written["rows"]} == {"verdict"}
