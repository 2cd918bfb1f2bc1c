"""CosyVoice 2 as the product measures it on a GPU: a host's whole job, over HTTP, by profile and by length of the text.

As job_f5.py: the engine in a process of its own, random weights of the published model's sizes, upstream's own code.
A word of the texts is 0.8 s of speech (tests/support/tiny_cosyvoice2.py), so 3, 6 and 12 words are 2.4, 4.8 and 9.6 s.
The reference lasts 5 s. Every profile meets the same texts in the same order; the first take of each length is one more
warm-up. At the end come the times of the parts (cosyvoice2_parts.py).

Run it as `python -m tests.gpu.job_cosyvoice2 --out DIR`; `--tiny` tries it without a GPU. It ends with 1 when a job
failed, a take did, or a figure of the GPU's memory is missing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile

from bench.catalog.loader import load
from bench.jobs.spec import JobSpec
from bench.records.take import Take
from tests.gpu.job_f5 import REFERENCE_TEXT, run_made
from tests.support import tiny_cosyvoice2 as tiny
from tests.support.voiced import voiced

PROFILES = ("upstream", "fixed", "graphed", "graphed_fp32")
WORDS = (3, 6, 12)
TINY_WORDS = (2, 3, 4)
"""Of a trial on a CPU, which takes minutes for the others."""
REFERENCE_S = 5.0
_LEAVE_OUT = "import tests.gpu.stand_ins as s\ns.leave_out_numba()\n"


def texts(each: int, lengths: Sequence[int]) -> list[str]:
    """Return the texts, `each` of every length in words, the lengths in turn."""
    return [tiny.text(words, start) for start in range(each) for words in lengths]


def make_job(folder: Path, spec: JobSpec, says: Sequence[str]) -> Path:
    """Write a job's directory."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(spec.model_dump_json(), "utf-8")
    (folder / "utterances.txt").write_text("\n".join(says) + "\n", "utf-8")
    soundfile.write(folder / "reference.wav", voiced(REFERENCE_S), 24000, subtype="PCM_16")
    (folder / "reference.txt").write_text(REFERENCE_TEXT + "\n", "utf-8")
    return folder


def by_length(folder: Path, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Return the figures of each length of text in words, but of its first take."""
    lines = (folder / "out" / "candidate" / "takes.jsonl").read_text("utf-8").splitlines()
    takes = [take for take in map(Take.model_validate_json, lines) if not take.warmup]
    rows = []
    for words in lengths:
        mine = [t for t in takes if t.text in {tiny.text(words, start) for start in range(len(takes))}][1:]
        good = [t for t in mine if t.error is None]
        rows.append({
            "seconds": words * tiny.S_PER_WORD, "takes": len(mine), "failed": len(mine) - len(good),
            "ttfa_p50_ms": statistics.median(t.ttfa_ms or 0.0 for t in good) if good else None,
            "ttfa_ms": [t.ttfa_ms for t in good],
            "rtf_p50": statistics.median(t.rtf or 0.0 for t in good) if good else None,
            "chunks": [t.chunks for t in good], "stalls": sum(t.stalls or 0 for t in good),
            "errors": sorted({f"{t.error.kind}: {t.error.message}" for t in mine if t.error}),
            "audio_s": sorted({round(t.audio_s or 0.0, 2) for t in good}),
        })  # fmt: skip
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| profile | text | TTFA p50 | least and most | RTF p50 | stalls | failed | NVML | torch | start |",
             "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        if not row["ok"]:
            lines.append(f"| {row['profile']} | {row['error']} |")
        for length in row.get("lengths", []):
            if not length["ttfa_ms"]:
                lines.append(
                    f"| {row['profile']} | {length['seconds']:.1f} s | all {length['failed']} failed: "
                    f"{'; '.join(length['errors'])[:500]} |"
                )
                continue
            nvml, held = (f"{row[k] or 0:.0f} MiB" for k in ("gpu_process_mib", "torch_allocated_mib"))
            lines.append(
                f"| {row['profile']} | {length['seconds']:.1f} s | {length['ttfa_p50_ms']:.0f} ms | "
                f"{min(length['ttfa_ms']):.0f} to {max(length['ttfa_ms']):.0f} ms | {length['rtf_p50']:.3f} | "
                f"{length['stalls']} | {length['failed']} | {nvml} | {held} | {row['engine_start_s']:.1f} s |"
            )
    return "\n".join(lines)


def conclude(
    name: str, rows: Sequence[dict[str, Any]], options: argparse.Namespace, parts: Sequence[str]
) -> int:
    """Time the parts, by the module and arguments `parts`, unless told not to; write and print all there is.

    Return 1 where a row lacks what it is for.
    """
    found: dict[str, Any] = {}
    if not options.no_parts:
        command = [options.engine_python, "-m", *parts]
        here = Path(__file__).parents[2]
        said = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        failed = said.returncode != 0
        found = {"error": said.stderr[-2000:]} if failed else json.loads(said.stdout.splitlines()[-1])
        (options.out / "parts.json").write_text(json.dumps(found, indent=1), "utf-8")
    (options.out / f"{name}.md").write_text(table(rows) + "\n", "utf-8")
    print(table(rows))
    print(json.dumps(found))
    bad = [
        row for row in rows
        if not row["ok"] or any(length["failed"] or not length["takes"] for length in row["lengths"])
        or not (options.tiny or row["gpu_process_mib"])
    ]  # fmt: skip
    for row in bad:
        print(f"wanting: {json.dumps(row)}", file=sys.stderr)
    return 1 if bad or "error" in found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs, write `job_cosyvoice2.json` and `.md`; return 1 when something failed or is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--each", type=int, default=7, help="texts of each length")
    parser.add_argument("--engine-python", default=sys.executable, help="what has the model's packages")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: to try this file")
    parser.add_argument("--no-parts", action="store_true", help="no times of the parts")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    entry = load("cosyvoice2")
    assert entry.run.kind == "engine"
    if options.tiny:
        entry.run.start_timeout_s = 3600.0  # on an emulator it takes many minutes
    entry.weights[:] = [file.model_copy(update={"revision": tiny.REVISION}) for file in entry.weights]
    lengths = TINY_WORDS if options.tiny else WORDS
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "sitecustomize.py").write_text(_LEAVE_OUT, "utf-8")
        here = Path(__file__).parents[2]
        path = os.pathsep.join(filter(None, (str(scratch), str(here), os.environ.get("PYTHONPATH"))))
        os.environ["PYTHONPATH"] = path  # the engine's process inherits it
        store = scratch / "store"
        build = [options.engine_python, "-m", "tests.support.tiny_cosyvoice2", str(store)]
        subprocess.run([*build, *([] if options.tiny else ["--full-size"])], check=True, cwd=here)
        for profile in options.profiles:
            spec = JobSpec(
                run_id="gpu-here-20260101T000000Z", phase="benchmark", passes=["candidate"], entry=entry,
                profile=profile, install="system", engine_python=options.engine_python, weights=store,
                warmups=0 if options.tiny else 1,
                take_timeout_s=1800.0 if options.tiny else 120.0,  # an emulator may take minutes
            )  # fmt: skip
            folder = make_job(scratch / profile, spec, texts(options.each, lengths))
            row = {"profile": profile} | run_made(folder)
            if row["ok"]:
                row["lengths"] = by_length(folder, lengths)
            rows.append(row)
            print(table(rows[-1:]).partition("|\n")[2].partition("|\n")[2], flush=True)
            (options.out / "job_cosyvoice2.json").write_text(json.dumps(rows, indent=1), "utf-8")
        return conclude(
            "job_cosyvoice2", rows, options, ["tests.gpu.cosyvoice2_parts", str(store), str(lengths[1])]
        )


if __name__ == "__main__":
    raise SystemExit(main())
