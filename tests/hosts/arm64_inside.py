"""What `make arm64` does within the emulated machine, once for each of its environments.

`python -m tests.hosts.arm64_inside WHAT --out DIR`, with Debian's own Python. `host` is the bench venv: the whole lock,
`pip check`, and every module that a host runs is imported. Another name is an engine: its lock is installed by the
product's own code (bench/install/provision.py), the package is imported as its adapter does it, and a tiny random
model speaks as a host's job has it do, through the job of `JOBS`.

Facts go into DIR/<what>.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
BENCH = Path("/venvs/bench")
MIRROR = Path("/mirror")
JOBS = {
    "f5": ["tests.gpu.job_f5", "--profiles", "graphed", "--company", "alone"],
    "cosyvoice2": ["tests.gpu.job_cosyvoice2", "--each", "2", "--profiles", "graphed_fp32", "--no-parts"],
    "chatterbox": ["tests.gpu.job_chatterbox", "--each", "2", "--profiles", "graphed", "--no-parts"],
    "qwen3_tts_06b": ["tests.gpu.job_qwen3tts", "--each", "2", "--profiles", "graphed", "--no-parts"],
}
"""What says a few sentences with a tiny model; the times of an emulator's parts are worth nothing."""
TINY_NEEDS = {"cosyvoice2": ("ml-dtypes", "onnx")}
"""What makes a tiny model needs besides its engine's lock; the pins are those of tests/support/<engine>_venv.txt."""
_EMULATED = '''
import importlib.util
import sys


class Torch:
    """oneDNN makes code for the processor that it finds, and finds none that it knows under an emulator."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.backends.mkldnn.enabled = False

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Torch())
'''
"""The one thing that an emulated environment has besides: a module that its interpreter starts with."""
_WHOLE = """
import importlib, json, sys
from pathlib import Path
from bench.controller.parts import find_host_part
names = [n for n in find_host_part(Path.cwd()).files if n.endswith(".py") and n.startswith("bench/")]
for name in names:
    importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
print(json.dumps(len(names)))
"""
_INSTALL = """
import json, sys
from pathlib import Path
from bench.catalog.loader import load
from bench.controller.host_settings import find_engine_lock, find_part
from bench.controller.parts import pack_part
from bench.install import sources
from bench.install.provision import Provisioner
entry, target, mirror = load(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
code = target.with_suffix(".tar")
code.parent.mkdir(parents=True, exist_ok=True)
code.write_bytes(pack_part(find_part(entry)))
made = Provisioner(4 * 3600.0, lambda line: print(line, file=sys.stderr))
made.venv(target, find_engine_lock(entry), code, None, entry.ours.unmet)
if entry.ours.sources:
    sources.assemble(entry.ours.sources, next((target / "lib").glob("python3*/site-packages")), mirror=mirror)
print(json.dumps({"adapter": entry.ours.adapter, "steps": [step.model_dump(mode="json") for step in made.steps]}))
"""


def main() -> int:
    """Do it and write the facts; return 1 where a step failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    facts: dict[str, Any] = {"machine": os.uname().machine, "python": sys.version.split()[0]}
    python = BENCH / "bin" / "python"
    try:
        if not (BENCH / "whole").exists():
            facts["host"] = _make_bench()
        if options.what == "host":
            facts["modules"] = json.loads(_run([str(python), "-c", _WHOLE], facts, "import"))
        else:
            _prove(options.what, python, options.out, facts)
    except subprocess.CalledProcessError as error:
        facts["failed"] = f"{' '.join(map(str, error.cmd))[:300]} (exit {error.returncode})"
    (options.out / f"{options.what}.json").write_text(json.dumps(facts, indent=1), "utf-8")
    print(json.dumps(facts), flush=True)
    return 1 if "failed" in facts else 0


def _make_bench() -> dict[str, Any]:
    facts: dict[str, Any] = {}
    _run([sys.executable, "-m", "venv", str(BENCH)], facts, "venv")
    pip = [str(BENCH / "bin" / "pip"), "--disable-pip-version-check"]
    _run(
        [*pip, "install", "-q", "--require-hashes", "-r", str(HERE / "requirements" / "host.txt")],
        facts,
        "packages",
    )
    _run([*pip, "check"], facts, "pip check")
    (BENCH / "whole").touch()
    return facts


def _prove(engine: str, python: Path, out: Path, facts: dict[str, Any]) -> None:
    venv = Path("/venvs") / engine
    mirror = str(MIRROR) if MIRROR.is_dir() else ""
    said = _run([str(python), "-c", _INSTALL, engine, str(venv), mirror], facts, "install")
    facts |= json.loads(said.splitlines()[-1])
    site = next((venv / "lib").glob("python3*/site-packages"))
    (site / "audition_emulated.py").write_text(_EMULATED, "utf-8")
    (site / "audition_emulated.pth").write_text("import audition_emulated\n", "utf-8")
    its = str(venv / "bin" / "python")
    facts["packages"] = json.loads(_run([its, "-m", "pip", "list", "--format=json"], facts, "list"))
    facts["bytes"] = sum(path.lstat().st_size for path in venv.rglob("*"))
    module = facts["adapter"].partition(":")[0]
    package = module.replace(".adapter", ".package")
    _run([its, "-c", f"import {package if engine in JOBS else 'hibari'}"], facts, "import")
    if engine in TINY_NEEDS:
        pins = venv.with_suffix(".tiny.txt")
        pins.write_text(_find_pins(engine), "utf-8")
        _run(
            [its, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(pins)],
            facts,
            "for the tiny model",
        )
    if engine in JOBS:
        job = [str(python), "-m", *JOBS[engine], "--tiny", "--engine-python", its, "--out", str(out / engine)]
        _run(job, facts, "speak")
    else:
        _run(
            [its, "-c", "import hibari; print(hibari.Hibari(voice='heart', threads=1)('Good morning.'))"],
            facts,
            "speak",
        )


def _find_pins(engine: str) -> str:
    lock = (HERE / "tests" / "support" / f"{engine}_venv.txt").read_text("utf-8")
    blocks = ""
    for name in TINY_NEEDS[engine]:
        (block,) = re.findall(rf"^{name}==(?:.*\\\n)*.*\n", lock, flags=re.MULTILINE)
        blocks += block
    return blocks


def _run(command: list[str], facts: dict[str, Any], step: str) -> str:
    """Run a step, keep its seconds, return what it printed."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, check=True)
    facts.setdefault("s", {})[step] = round(time.monotonic() - began, 1)
    print(f"{step}: {facts['s'][step]} s", flush=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
