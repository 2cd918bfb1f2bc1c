"""On a real NVIDIA GPU: take known amounts of memory and print what each figure of MemoryReport says of them.

    python -m tests.gpu.nvml_check [--json PATH] [--gib 1 4 16]

Needs a GPU and torch, so it is a command and no part of the test suite. An engine-like child allocates
with torch; the parent samples it as it would an engine, in a cgroup of its own where one may be made. Exits 1
when a figure that was to be had is off by more than 1%.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.host.engine_pids import CGROUP_ROOT, Engine, EngineProcesses, ProcessTree, cgroup_pids
from bench.host.memory import MemoryReport, MemorySampler, settle_baseline

GIB = 2**30
HOLD_S = 1.5
TOLERANCE = 0.01


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
        command = [sys.executable, "-m", "tests.gpu.nvml_check", "--child"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        cgroup = own_cgroup(process.pid)
        engine: EngineProcesses = (
            ProcessTree(process.pid) if cgroup is None else Engine(lambda: cgroup_pids(cgroup), cgroup)
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
            "pids_by_cgroup": None if cgroup is None else sorted(cgroup_pids(cgroup)),
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
    rows = []
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
        rows.append({"known_bytes": amount, "bytes": figures, "error_percent": errors})
    return rows


def main() -> int:
    """Measure, print, and judge."""
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
    amounts = [round(gib * GIB) for gib in arguments.gib]
    report, peaks, facts = measure(amounts, arguments.hz)
    rows = compare(report, peaks, amounts)
    cost = {
        "hz_achieved": report.hz_achieved,
        "sample_ms_p50": report.sample_ms_p50,
        "sample_ms_max": report.sample_ms_max,
        "cpu_percent_of_a_core": None if report.cpu_fraction is None else 100 * report.cpu_fraction,
        "cores": os.cpu_count(),
    }
    result = {"rows": rows, "cost": cost, "facts": facts, "report": report.model_dump(mode="json")}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    context = next(window for window in report.windows if window.name == "context")
    work = next(window for window in report.windows if window.name == "work")
    print("GPU", [gpu.name for gpu in report.gpus], "driver", report.driver_version)
    print("NVML errors", report.nvml_errors or "none", "| facts", facts)
    print("CUDA context by NVML (MiB)", (context.gpu_process_peak_bytes or 0) / 2**20)
    for row in rows:
        print(f"known {row['known_bytes'] / GIB:g} GiB")
        for key, value in row["bytes"].items():
            error = row["error_percent"][key]
            print(f"  {key:28} {'null' if value is None else f'{value / 2**20:.1f} MiB ({error:+.2f}%)'}")
    for name in ("gpu_process", "torch_allocated", "torch_reserved", "available_dip", "cgroup", "rss"):
        print(f"report.{name}: {getattr(report, name).model_dump()}")
    print("work", work.model_dump())
    print("cost", cost)
    judged = [
        row["error_percent"][key] for row in rows for key in ("nvml_process_less_context", "torch_allocated")
    ]
    return 0 if all(error is not None and abs(error) <= 100 * TOLERANCE for error in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
