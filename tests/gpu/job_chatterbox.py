"""Chatterbox as the product measures it on a GPU: a host's whole job, over HTTP, by profile and by length of the text.

As job_cosyvoice2.py: the engine in a process of its own, random weights of the published model's sizes, upstream's own
package. A word of the texts is 0.4 s of speech (tests/support/tiny_chatterbox.py, which ends an utterance there), so 6,
12 and 24 words are 2.4, 4.8 and 9.6 s. The reference lasts 10 s. Every profile meets the same texts in the same order;
the first take of each length is one more warm-up. At the end come the times of the parts (chatterbox_parts.py).

Run it as `python -m tests.gpu.job_chatterbox --out DIR`; `--tiny` tries it without a GPU. It ends with 1 when a job
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
from tests.gpu.job_cosyvoice2 import conclude, table
from tests.gpu.job_f5 import REFERENCE_TEXT, run_made
from tests.support.chatterbox_words import REVISION, S_PER_WORD, text
from tests.support.voiced import voiced

PROFILES = ("upstream", "graphed", "graphed_whole", "in_service")
WORDS = (6, 12, 24)
REFERENCE_S = 10.0
_LEAVE_OUT = "import tests.gpu.stand_ins as s\ns.leave_out_numba()\n"


def make_job(folder: Path, spec: JobSpec, each: int) -> Path:
    """Write a job's directory: `each` texts of every length, the lengths in turn."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(spec.model_dump_json(), "utf-8")
    lines = [text(words, start) for start in range(each) for words in WORDS]
    (folder / "utterances.txt").write_text("\n".join(lines) + "\n", "utf-8")
    soundfile.write(folder / "reference.wav", voiced(REFERENCE_S), 24000, subtype="PCM_16")
    (folder / "reference.txt").write_text(REFERENCE_TEXT + "\n", "utf-8")
    return folder


def by_length(folder: Path) -> list[dict[str, Any]]:
    """Return the figures of each length of text, but of its first take."""
    lines = (folder / "out" / "candidate" / "takes.jsonl").read_text("utf-8").splitlines()
    takes = [take for take in map(Take.model_validate_json, lines) if not take.warmup]
    rows = []
    for words in WORDS:
        mine = [t for t in takes if len(t.text.split()) == words][1:]
        good = [t for t in mine if t.error is None]
        audio = [t.audio_s or 0.0 for t in good]
        rows.append({
            "seconds": words * S_PER_WORD, "takes": len(mine), "failed": len(mine) - len(good),
            "ttfa_p50_ms": statistics.median(t.ttfa_ms or 0.0 for t in good) if good else None,
            "ttfa_ms": [t.ttfa_ms for t in good],
            "rtf_p50": statistics.median(t.rtf or 0.0 for t in good) if good else None,
            "whole_p50_ms": statistics.median(
                (t.rtf or 0.0) * seconds * 1000.0 for t, seconds in zip(good, audio, strict=True)
            ) if good else None,
            "chunks": [t.chunks for t in good], "stalls": sum(t.stalls or 0 for t in good),
            "errors": sorted({f"{t.error.kind}: {t.error.message}" for t in mine if t.error}),
            "audio_s": sorted({round(seconds, 2) for seconds in audio}),
        })  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs, write `job_chatterbox.json` and `.md`; return 1 when something failed or is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--each", type=int, default=5, help="texts of each length")
    parser.add_argument("--engine-python", default=sys.executable, help="what has the model's packages")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: to try this file")
    parser.add_argument("--no-parts", action="store_true", help="no times of the parts")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    entry = load("chatterbox")
    assert entry.run.kind == "engine"
    entry.run.adapter = f"tests.support.tiny_chatterbox:{'Tiny' if options.tiny else 'FullSize'}"
    if options.tiny:
        entry.run.start_timeout_s = 3600.0  # on an emulator it takes many minutes
    entry.weights[:] = [file.model_copy(update={"revision": REVISION}) for file in entry.weights]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "sitecustomize.py").write_text(_LEAVE_OUT, "utf-8")
        here = Path(__file__).parents[2]
        path = os.pathsep.join(filter(None, (str(scratch), str(here), os.environ.get("PYTHONPATH"))))
        os.environ["PYTHONPATH"] = path  # the engine's process inherits it
        store = scratch / "store"
        build = [options.engine_python, "-m", "tests.support.tiny_chatterbox", str(store)]
        subprocess.run([*build, *([] if options.tiny else ["--full-size"])], check=True, cwd=here)
        for profile in options.profiles:
            spec = JobSpec(
                run_id="gpu-here-20260101T000000Z", phase="benchmark", passes=["candidate"], entry=entry,
                profile=profile, install="system", engine_python=options.engine_python, weights=store, warmups=1,
                take_timeout_s=1800.0 if options.tiny else 120.0,  # an emulator may take minutes
            )  # fmt: skip
            folder = make_job(scratch / profile, spec, options.each)
            row = {"profile": profile} | run_made(folder)
            if row["ok"]:
                row["lengths"] = by_length(folder)
            rows.append(row)
            print(table(rows[-1:]).partition("|\n")[2].partition("|\n")[2], flush=True)
            (options.out / "job_chatterbox.json").write_text(json.dumps(rows, indent=1), "utf-8")
        return conclude(
            "job_chatterbox",
            rows,
            options,
            ["tests.gpu.chatterbox_parts", str(store), *(["--tiny"] if options.tiny else [])],
        )


if __name__ == "__main__":
    raise SystemExit(main())
