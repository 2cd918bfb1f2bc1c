"""F5-TTS as the product measures it on a GPU: a host's whole job, over HTTP, by profile, alone and beside a busy GPU.

`bench.jobs.job.run_job` as a host runs it, on the catalog's own entry and utterances: the engine in a process of its
own, the client's TTFA and RTF, the memory report with NVML's figures. In place of the checkpoint stand random weights
of its size; the reference is arithmetic. "Beside" is a second process that multiplies bfloat16 matrices without a
pause: worse than any language model, and the same for every profile.

Run it as `python -m tests.gpu.job_f5 --out DIR`; `--tiny` tries it without a GPU. It ends with 1 when a job failed,
a take did, or a figure of the GPU's memory is missing.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import soundfile

from bench.catalog.entry import EngineRun, Entry
from bench.catalog.loader import load
from bench.jobs.job import run_job
from bench.jobs.spec import JobSpec
from bench.records.take import Take
from bench.summaries.summary import summarise
from tests.support import tiny_f5
from tests.support.followed import followed
from tests.support.voiced import voiced

PROFILES = ("upstream", "nfe16", "low_latency", "graphed", "graphed_low_latency", "graphed_low_latency_nfe16")
REFERENCE_S = 6.0
REFERENCE_TEXT = "and so the clerk went on to read the whole of the letter aloud in a calm voice."
Company = Literal["alone", "beside"]
_MULTIPLY = """
import torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
print("ready", flush=True)
while True:
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
"""
_LEAVE_OUT = "import tests.gpu.stand_ins as s\ns.leave_out_what_is_missing()\n"


def build_weights(python: str, store: Path, entry: Entry, environment: dict[str, str], *, tiny: bool) -> None:
    """Make the store with the engine's own interpreter, each repository at the revision that the entry pins."""
    command = [python, "-m", "tests.support.tiny_f5", str(store), *([] if tiny else ["--full-size"])]
    subprocess.run(command, check=True, env=environment)
    for file in entry.weights:
        folder = store / file.repo.replace("/", "--")
        if not (pinned := folder / file.commit).exists():
            pinned.symlink_to(folder / tiny_f5.REVISION, target_is_directory=True)


def make_job(folder: Path, spec: JobSpec) -> Path:
    """Write a job's directory: the shipped utterances and a reference that is nobody's voice."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(spec.model_dump_json(), "utf-8")
    (folder / "utterances.txt").write_bytes(files("bench.inputs").joinpath("utterances.txt").read_bytes())
    soundfile.write(folder / "reference.wav", voiced(REFERENCE_S), 24000, subtype="PCM_16")
    (folder / "reference.txt").write_text(REFERENCE_TEXT + "\n", "utf-8")
    return folder


@contextlib.contextmanager
def company(which: Company, python: str) -> Iterator[None]:
    """Keep the GPU busy, or leave it alone."""
    if which == "alone":
        yield
        return
    with subprocess.Popen([python, "-c", _MULTIPLY], stdout=subprocess.PIPE, text=True) as busy:
        try:
            assert busy.stdout is not None
            assert busy.stdout.readline() == "ready\n", "the matrices did not start"
            yield
        finally:
            busy.kill()


def figures(folder: Path, name: str) -> dict[str, Any]:
    """Return a pass's figures over the takes that are no warm-ups."""
    lines = (folder / "out" / name / "takes.jsonl").read_text("utf-8").splitlines()
    takes = [take for take in map(Take.model_validate_json, lines) if not take.warmup]
    ttfa, rtf = summarise(t.ttfa_ms for t in takes), summarise(t.rtf for t in takes)
    return {
        "takes": len(takes), "failed": sum(t.error is not None for t in takes), "ttfa_p50_ms": ttfa.p50,
        "ttfa_p95_ms": ttfa.p95, "rtf_p50": rtf.p50, "streamed": sum(t.streamed is True for t in takes),
        "each_ttfa_ms": [t.ttfa_ms for t in takes],
    }  # fmt: skip


def mib(figure: dict[str, Any]) -> float | None:
    """Return a memory figure in MiB."""
    return None if figure["bytes"] is None else figure["bytes"] / 2**20


def measure(folder: Path, spec: JobSpec) -> dict[str, Any]:
    """Make the job and run it; return what came of it."""
    return run_made(make_job(folder, spec))


def run_made(folder: Path) -> dict[str, Any]:
    """Run a job that was made; return what came of it."""
    with followed(folder):
        result = run_job(folder)
    found: dict[str, Any] = {"ok": result.ok, "error": result.error, "engine_start_s": result.engine_start_s}
    if result.ok:
        memory = json.loads((folder / "out" / "memory.json").read_bytes())
        found |= {name: figures(folder, name) for name in result.passes}
        found |= {
            "gpu_process_mib": mib(memory["gpu_process"]), "torch_allocated_mib": mib(memory["torch_allocated"]),
            "gpus": memory["gpus"], "nvml_errors": memory["nvml_errors"], "sampling_cpu": memory["cpu_fraction"],
            "windows": [
                {k: w[k] for k in ("name", "power_mean_w", "energy_source", "joules_per_audio_s")}
                for w in memory["windows"]
            ],
        }  # fmt: skip
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    head = (
        "| profile | GPU | pass | TTFA p50 | p95 | RTF p50 | streamed | failed | NVML | torch | start |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for row in rows:
        for name in ("preset", "candidate"):
            if (f := row.get(name)) is None:
                lines.append(f"| {row['profile']} | {row['company']} | {name} | {row['error']} |||||||| |")
                continue
            sizes = [
                "null" if row[k] is None else f"{row[k]:.0f} MiB"
                for k in ("gpu_process_mib", "torch_allocated_mib")
            ]
            lines.append(
                f"| {row['profile']} | {row['company']} | {name} | {f['ttfa_p50_ms']:.0f} ms | "
                f"{f['ttfa_p95_ms']:.0f} ms | {f['rtf_p50']:.3f} | {f['streamed']} of {f['takes']} | {f['failed']} | "
                f"{sizes[0]} | {sizes[1]} | {row['engine_start_s']:.1f} s |"
            )
    return head + "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs, write `job_f5.json` and `job_f5.md`; return 1 when something failed or is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--company", nargs="+", choices=get_args(Company), default=list(get_args(Company)))
    parser.add_argument("--engine-python", default=sys.executable, help="what has the model's packages")
    parser.add_argument(
        "--tiny", action="store_true", help="a tiny model, alone, on the CPU: to try this file"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parents[2]
    entry = load("f5")
    assert isinstance(entry.run, EngineRun)
    if options.tiny:
        entry.run.start_timeout_s = 3600.0  # on an emulator it takes many minutes
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "sitecustomize.py").write_text(_LEAVE_OUT, "utf-8")
        path = os.pathsep.join(filter(None, (str(scratch), str(here), os.environ.get("PYTHONPATH"))))
        os.environ["PYTHONPATH"] = path  # the engine's process inherits it
        build_weights(options.engine_python, scratch / "store", entry, dict(os.environ), tiny=options.tiny)
        if options.tiny:
            for settings in entry.profiles.values():
                settings |= {"arch": tiny_f5.ARCH, "nfe_step": 2}
        companies: list[Company] = ["alone"] if options.tiny else options.company
        for which in companies:
            for profile in options.profiles:
                spec = JobSpec(
                    run_id="gpu-here-20260101T000000Z", phase="benchmark", passes=["preset", "candidate"],
                    entry=entry, profile=profile, install="system", engine_python=options.engine_python,
                    weights=scratch / "store",
                    take_timeout_s=1800.0 if options.tiny else 120.0,  # an emulator may take minutes
                )  # fmt: skip
                with company(which, options.engine_python):
                    row = measure(scratch / f"{which}-{profile}", spec)
                rows.append({"profile": profile, "company": which} | row)
                (options.out / "job_f5.json").write_text(json.dumps(rows, indent=1), "utf-8")
                (options.out / "job_f5.md").write_text(table(rows) + "\n", "utf-8")
                print("\n".join(table(rows[-1:]).splitlines()[-2:]), flush=True)
    wanting = [
        row for row in rows
        if not row["ok"] or any(row[n]["failed"] for n in ("preset", "candidate"))
        or not (options.tiny or row["gpu_process_mib"])
    ]  # fmt: skip
    print(table(rows))
    for row in wanting:
        print(f"wanting: {json.dumps(row)}", file=sys.stderr)
    return 1 if wanting else 0


if __name__ == "__main__":
    raise SystemExit(main())
