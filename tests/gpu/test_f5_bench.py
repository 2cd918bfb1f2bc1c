"""`make bench-gpu`: that it starts and goes through on a tiny model, and what it judges of known takes."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gpu.f5_judge import GRAPHED, IN_LINE, PACKAGE, SYSTEMS, UPSTREAM, judge, order
from tests.gpu.nvml_peak import NvmlPeak
from tests.support import make_f5_venv

ROOT = Path(__file__).parents[2]
CONDITIONS = [(32, 6.0), (16, 10.0)]


@pytest.mark.engines
@pytest.mark.needs("venv")
@pytest.mark.timeout(900)  # the environment may have to be built first
def test_bench_gpu_runs_as_make_runs_it_and_finds_equal_audio(tmp_path: Path) -> None:
    """The recipe of the Makefile, with the test environment's Python and a tiny model."""
    make = ["make", "--no-print-directory", "-n", "bench-gpu"]
    recipe = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert recipe[0] == "python3"
    options = ["--out", str(tmp_path), "--tiny", "--rounds", "1", "--extra", "0"]  # a later --out wins
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run([str(make_f5_venv.python()), *recipe[1:], *options], cwd=ROOT, env=one_core,
                         capture_output=True, text=True, timeout=600)  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    result = json.loads((tmp_path / "bench_f5.json").read_text())
    assert {(r["system"], r["nfe"], r["reference_s"]) for r in result["rows"]} == {
        (system, nfe, reference_s) for system in SYSTEMS for nfe in (4, 2) for reference_s in (6.0, 10.0)
    }
    assert [c["equal"] for c in result["against_package"]] == [True] * 12
    assert [(m["system"], m["nfe"], m["reference_s"]) for m in result["memory"]] == [
        (system, nfe, reference_s)
        for system in (UPSTREAM, GRAPHED)
        for nfe in (4, 2)
        for reference_s in (6, 10)
    ]
    assert len(result["mels"]) == 4 and max(mel["graphed"] for mel in result["mels"]) < 1e-5
    assert [step["frames"] for step in result["steps"]] == [640, 896, 1280]
    rows, dim, up = 2 * 600, 64, 128
    assert result["steps"][0]["parts"]["products"]["flop"] == 2 * 2 * rows * (dim * 4 * dim + 2 * dim * up)
    assert result["steps"][0]["parts"]["attention"]["flop"] == 2 * 2 * 2 * rows * 600 * dim
    assert not (ROOT / "output.wav").exists()


@pytest.mark.engines
@pytest.mark.needs("venv")
@pytest.mark.timeout(900)
def test_a_hosts_whole_job_is_measured_by_profile(tmp_path: Path) -> None:
    """`tests.gpu.job_f5` with a tiny model on the CPU: as on a GPU, but for the GPU's memory, which is null."""
    command = [sys.executable, "-m", "tests.gpu.job_f5", "--out", str(tmp_path), "--tiny",
               "--profiles", "graphed_low_latency", "--engine-python", str(make_f5_venv.python())]  # fmt: skip
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=one_core, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = json.loads((tmp_path / "job_f5.json").read_text())
    assert (row["profile"], row["company"], row["ok"]) == ("graphed_low_latency", "alone", True)
    for name in ("preset", "candidate"):
        assert (row[name]["takes"], row[name]["failed"]) == (10, 0)
        assert all(ms > 0 for ms in row[name]["each_ttfa_ms"]) and len(row[name]["each_ttfa_ms"]) == 10
        assert row[name]["streamed"] > 0, "a first clause is heard while the rest is being solved"
    assert row["gpu_process_mib"] is None
    assert [window["name"] for window in row["windows"]] == ["preset", "candidate"]
    table = (tmp_path / "job_f5.md").read_text().splitlines()
    assert len(table) == 4 and table[3].startswith("| graphed_low_latency | alone | candidate | ")


def test_every_way_comes_in_every_place_and_after_different_ones() -> None:
    orders = [order(SYSTEMS, number, index) for number in range(2) for index in range(10)]
    for place in range(len(SYSTEMS)):
        often = Counter(o[place] for o in orders)
        assert set(often) == set(SYSTEMS) and max(often.values()) <= 4
    before = {(a, b) for o in orders for a, b in pairwise(o)}
    assert (PACKAGE, IN_LINE) in before and (IN_LINE, PACKAGE) in before


def _takes(upstream_ms: float, count: int = 20) -> list[dict[str, Any]]:
    totals = dict.fromkeys(SYSTEMS, 1000.0) | {PACKAGE: 1300.0, UPSTREAM: upstream_ms}
    return [
        {"system": system, "nfe": nfe, "reference_s": reference_s, "text": n % 10, "round": n // 10,
         "ttfa_ms": total, "total_ms": total + n, "audio_s": 2.0}
        for nfe, reference_s in CONDITIONS for n in range(count) for system, total in totals.items()
    ]  # fmt: skip


def _compared(*, equal: bool = True) -> list[dict[str, Any]]:
    same = {"text": "Yes.", "largest_difference": 0.5}
    return [same | {"nfe": nfe, "reference_s": ref, "equal": equal or nfe == 32} for nfe, ref in CONDITIONS]


def _mels(difference: float = 1.4e-4) -> list[dict[str, Any]]:
    return [{"nfe": 32, "reference_s": 6.0, "graphed": difference, "package_in_float32": 1e-3}]


@pytest.mark.parametrize(
    ("takes", "compared", "mels", "passed"),
    [
        (_takes(1015.0), _compared(), _mels(), [True, True, True, True]),
        (_takes(1030.0), _compared(), _mels(), [True, False, True, True]),
        (_takes(1000.0, count=19), _compared(), _mels(), [False, True, True, True]),
        (_takes(1000.0), _compared(equal=False), _mels(), [True, True, False, True]),
        (_takes(1000.0), _compared()[:1], _mels(), [True, True, False, True]),
        (_takes(1000.0), _compared(), _mels(4e-4), [True, True, True, False]),
        ([], [], [], [False, False, False, False]),
    ],
)
def test_the_criteria_judge(takes: Any, compared: Any, mels: Any, passed: list[bool]) -> None:
    assert [j["passed"] for j in judge(takes, compared, mels, CONDITIONS)] == passed


def test_one_condition_clearly_over_the_limit_fails_though_the_median_of_all_is_under() -> None:
    takes = [
        t | {"total_ms": t["total_ms"] * (1.05 if (t["system"], t["nfe"]) == (UPSTREAM, 16) else 1.0)}
        for t in _takes(990.0)
        if t["nfe"] == 32 or t["text"] < 4
    ]
    ratio = judge(takes, _compared(), _mels(), CONDITIONS)[1]
    assert not ratio["passed"] and "median 0.990" in ratio["found"]
    assert "NFE 16 reference 10 s 1.040" in ratio["found"]


def _nvml(listed: list[Any]) -> SimpleNamespace:
    """pynvml's double: two devices, of which the second has `used` bytes in use and runs `listed`."""
    double = SimpleNamespace(used=500)
    double.nvmlInit = lambda: None
    double.nvmlDeviceGetCount = lambda: 2
    double.nvmlDeviceGetHandleByIndex = lambda index: index
    double.nvmlDeviceGetUUID = lambda handle: f"GPU-{handle}"
    double.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(used=double.used if handle else 0)
    double.nvmlDeviceGetComputeRunningProcesses = lambda handle: listed if handle else []
    return double


def _peak(pid: int) -> dict[str, Any]:
    double = _nvml([SimpleNamespace(pid=pid, usedGpuMemory=250)])
    nvml = NvmlPeak(double)
    nvml.of("1")
    with nvml.sampled() as peak:
        double.used = 800
    return peak.figure()


def test_a_listed_process_is_reported_by_its_own_figure() -> None:
    figure = _peak(os.getpid())
    assert (figure["nvml_bytes"], figure["nvml_from"]) == (250, "process")
    assert figure["nvml_device_delta_bytes"] == 300


def test_a_process_under_another_number_is_reported_by_the_devices_growth_and_said_so() -> None:
    figure = _peak(os.getpid() + 1)
    assert (figure["nvml_bytes"], figure["nvml_from"]) == (300, "device, growth since the start")
    assert figure["nvml_process_bytes"] is None


def test_a_device_that_nvml_does_not_list_gives_no_figure_and_the_reason() -> None:
    nvml = NvmlPeak(_nvml([]))
    nvml.of("7")
    with nvml.sampled() as peak:
        pass
    assert peak.figure()["nvml_bytes"] is None
    assert "none is 7" in str(peak.nvml_error)
