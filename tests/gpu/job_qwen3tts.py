"""Qwen3-TTS as the product measures it on a GPU: a host's whole job, over HTTP, by profile and by length of the text.

As job_chatterbox.py, whose texts and reference these are: 2.4, 4.8 and 9.6 s of speech, 10 s of reference. The random
weights have the sizes of the published 0.6B model, or with `--size 1.7b` of the other. At the end come the times of the
parts (qwen3tts_parts.py).

Run it as `python -m tests.gpu.job_qwen3tts --out DIR`; `--tiny` tries it without a GPU. It ends with 1 when a job
failed, a take did, or a figure of the GPU's memory is missing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.catalog.loader import load
from bench.jobs.spec import JobSpec
from tests.gpu.job_chatterbox import by_length, make_job
from tests.gpu.job_cosyvoice2 import conclude, table
from tests.gpu.job_f5 import run_made
from tests.support.chatterbox_words import REVISION

ENTRIES = {"0.6b": "qwen3_tts_06b", "1.7b": "qwen3_tts_17b"}
PROFILES = ("upstream", "graphed", "graphed_whole")
_LEAVE_OUT = "import tests.gpu.stand_ins as s\ns.leave_out_numba()\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs, write `job_qwen3tts.json` and `.md`; return 1 when something failed or is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--size", choices=ENTRIES, default="0.6b")
    parser.add_argument("--each", type=int, default=5, help="texts of each length")
    parser.add_argument("--engine-python", default=sys.executable, help="what has the model's packages")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: to try this file")
    parser.add_argument("--no-parts", action="store_true", help="no times of the parts")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    entry = load(ENTRIES[options.size])
    assert entry.run.kind == "engine"
    entry.run.adapter = f"tests.support.tiny_qwen3tts:{'Tiny' if options.tiny else 'FullSize'}"
    if options.tiny:
        entry.run.start_timeout_s = 3600.0  # on an emulator it takes many minutes
    entry.weights[:] = [file.model_copy(update={"revision": REVISION}) for file in entry.weights]
    kind = ["--size", options.size, *(["--tiny"] if options.tiny else [])]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "sitecustomize.py").write_text(_LEAVE_OUT, "utf-8")
        here = Path(__file__).parents[2]
        path = os.pathsep.join(filter(None, (str(scratch), str(here), os.environ.get("PYTHONPATH"))))
        os.environ["PYTHONPATH"] = path  # the engine's process inherits it
        store = scratch / "store"
        build = [options.engine_python, "-m", "tests.support.tiny_qwen3tts", str(store), *kind]
        subprocess.run(build, check=True, cwd=here)
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
            (options.out / "job_qwen3tts.json").write_text(json.dumps(rows, indent=1), "utf-8")
        return conclude("job_qwen3tts", rows, options, ["tests.gpu.qwen3tts_parts", str(store), *kind])


if __name__ == "__main__":
    raise SystemExit(main())
