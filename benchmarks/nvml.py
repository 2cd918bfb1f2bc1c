"""On a real NVIDIA GPU: take known amounts of memory and print what each figure of MemoryReport says of them.

    python -m benchmarks.nvml [--json PATH] [--gib 1 4 16]

Needs a GPU and torch; without them its rows are null. An engine-like child allocates
with torch; the parent samples it as it would an engine, in a cgroup of its own where one may be made. Exits 1
when a figure that was to be had is off by more than 1%.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.memory.meminfo import settle_baseline
from bench.memory.nvml import NvmlReader
from bench.memory.processes import CGROUP_ROOT, EngineProcesses, FixedProcesses, ProcessTree, read_cgroup_pids
from bench.memory.sampler import MemorySampler
from bench.records.memory import MemoryReport
from benchmarks.rows import Row, null, row, table

GIB = 2**30
HOLD_S = 1.5
TOLERANCE = 0.01
AREA = "nvml"
FIGURES = ("nvml_process_less_context", "torch_allocated")
"""What must be within `TOLERANCE` of the known amount; the others also hold something else."""


def child() -> None:
    """Obey `alloc BYTES`, `free`, `work SECONDS` and `stop` from stdin, answering with torch's peaks."""
    import torch

    held: Any = None
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "alloc":
            torch.cuda.reset_peak_memory_stats()
            held = torch.ones(int(rest[0]), dtype=torch.uint8, device="cuda")
            torch.cuda.synchronize()
        elif word == "free":
            held = None
            torch.cuda.empty_cache()
        elif word == "work":
            matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
            until = time.monotonic() + float(rest[0])
            while time.monotonic() < until:
                for _ in range(20):
                    matrix @ matrix
                torch.cuda.synchronize()
            del matrix
        elif word == "stop":
            break
        assert held is None or held.numel()
        peaks = {
            "torch_peak_allocated_bytes": torch.cuda.max_memory_allocated(),
            "torch_peak_reserved_bytes": torch.cuda.max_memory_reserved(),
        }
        sys.stdout.write(json.dumps(peaks) + "\n")
        sys.stdout.flush()


def own_cgroup(pid: int) -> Path | None:
    """Move `pid` into a cgroup made for it; None where that is not allowed."""
    for parent in (CGROUP_ROOT / "memory", CGROUP_ROOT / "unified", CGROUP_ROOT):
        made = parent / f"audition-nvml-check-{pid}"
        try:
            made.mkdir()
            (made / "cgroup.procs").write_text(str(pid))
        except OSError:
            continue
        if (made / "memory.current").exists() or (made / "memory.usage_in_bytes").exists():
            return made
    return None


def measure(amounts: list[int], hz: float) -> tuple[MemoryReport, dict[str, Any], dict[str, Any]]:
    """Return the report, torch's peaks by window, and facts about the matching."""
    baseline = settle_baseline()
    peaks: dict[str, Any] = {}
    with MemorySampler(hz=hz, baseline=baseline) as sampler:
        with sampler.window("no engine"):
            time.sleep(HOLD_S)
        command = [sys.executable, "-m", "benchmarks.nvml", "--child"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        cgroup = own_cgroup(process.pid)
        engine: EngineProcesses = (
            ProcessTree(process.pid)
            if cgroup is None
            else FixedProcesses(lambda: read_cgroup_pids(cgroup), cgroup)
        )
        sampler.attach(engine)

        def tell(line: str) -> Any:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        tell("alloc 1")
        with sampler.window("context"):
            peaks["context"] = tell("alloc 1")
            time.sleep(HOLD_S)
        for amount in amounts:
            tell("free")
            name = f"{amount / GIB:g} GiB"
            with sampler.window(name):
                peaks[name] = tell(f"alloc {amount}")
                sampler.set_torch_peak(peaks[name])
                time.sleep(HOLD_S)
        tell("free")
        with sampler.window("work"):
            tell("work 3")
        facts = {
            "child_pid": process.pid,
            "own_cgroup": None if cgroup is None else str(cgroup),
            "pids_by_cgroup": None if cgroup is None else sorted(read_cgroup_pids(cgroup)),
            "pids_by_tree": sorted(ProcessTree(process.pid).pids()),
        }
        process.stdin.write("stop\n")
        process.stdin.flush()
        process.wait(timeout=60)
        sampler.attach(None)
    if cgroup is not None:
        cgroup.rmdir()
    return sampler.report(), peaks, facts


def error_percent(found: int | None, known: int) -> float | None:
    """Return by how many per cent `found` is off from `known`."""
    return None if found is None else 100 * (found - known) / known


def compare(report: MemoryReport, peaks: dict[str, Any], amounts: list[int]) -> list[dict[str, Any]]:
    """Return one row a known amount: every figure in bytes and its error in per cent."""
    windows = {window.name: window for window in report.windows}
    context = windows["context"].gpu_process_peak_bytes
    before = windows["no engine"].available_lowest_bytes
    compared = []
    for amount in amounts:
        name = f"{amount / GIB:g} GiB"
        window = windows[name]
        seen = window.gpu_process_peak_bytes
        lowest = window.available_lowest_bytes
        figures = {
            "nvml_process": seen,
            "nvml_process_less_context": None if seen is None or context is None else seen - context,
            "torch_allocated": peaks[name]["torch_peak_allocated_bytes"],
            "torch_reserved": peaks[name]["torch_peak_reserved_bytes"],
            "available_dip": None if before is None or lowest is None else before - lowest,
            "cgroup_current": window.cgroup_peak_bytes,
            "rss": window.rss_peak_bytes,
        }
        errors = {key: error_percent(value, amount) for key, value in figures.items()}
        compared.append({"known_bytes": amount, "bytes": figures, "error_percent": errors})
    return compared


def missing() -> str | None:
    """Return why nothing can be measured here, or None."""
    reader = NvmlReader()
    if not reader.open():
        return "; ".join(f"{call}: {name}" for call, name in reader.errors.items()) or "NVML lists no GPU"
    reader.close()
    return (
        None if importlib.util.find_spec("torch") else "torch is not installed, which takes the known amounts"
    )


def rows(amounts: Sequence[int] = (GIB, 4 * GIB, 16 * GIB), hz: float = 15.0) -> list[Row]:
    """Return each figure's error in per cent, and what sampling costs."""
    if (reason := missing()) is not None:
        return [
            *(
                null(AREA, f"known {amount / GIB:g} GiB, by {FIGURES[0]}", "% off", reason)
                for amount in amounts
            ),
            null(AREA, "a sample, median", "ms", reason),
        ]
    report, peaks, facts = measure(list(amounts), hz)
    found = []
    for each in compare(report, peaks, list(amounts)):
        known = f"known {each['known_bytes'] / GIB:g} GiB, by"
        for figure, error in each["error_percent"].items():
            bytes_found = each["bytes"][figure]
            if error is None:
                found.append(null(AREA, f"{known} {figure}", "% off", "not to be had here"))
                continue
            off = row(AREA, f"{known} {figure}", error, "% off", bytes=bytes_found)
            if figure in FIGURES:
                off = row(AREA, f"{known} {figure}", abs(error), "% off", 100 * TOLERANCE, bytes=bytes_found)
            found.append(off)
    cost = None if report.cpu_fraction is None else 100 * report.cpu_fraction
    context = next(window for window in report.windows if window.name == "context").gpu_process_peak_bytes
    machine = {"gpus": [gpu.name for gpu in report.gpus], "driver": report.driver_version, **facts}
    return [
        *found,
        row(
            AREA, "the CUDA context, by NVML", None if context is None else context / 2**20, "MiB", **machine
        ),
        row(AREA, "a sample, median", report.sample_ms_p50, "ms", nvml_errors=report.nvml_errors),
        row(AREA, "a sample, longest", report.sample_ms_max, "ms"),
        row(AREA, f"sampling at {hz:g} Hz", cost, "% of a core"),
    ]


def main() -> int:
    """Measure, print, write as JSON where asked, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--gib", type=float, nargs="+", default=[1.0, 4.0, 16.0])
    parser.add_argument("--hz", type=float, default=15.0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child()
        return 0
    found = rows([round(gib * GIB) for gib in arguments.gib], arguments.hz)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(table(found) + "\n")
    return 0 if all(each["ok"] for each in found if each["limit"] is not None) else 1


if __name__ == "__main__":
    sys.exit(main())
