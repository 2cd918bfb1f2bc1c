"""F5-TTS and CosyVoice 2 with tiny weights, as an installation on this machine finds them.

The weights come from a hub of the tests' own, the packages from locks for a CPU (cpu_lock.py), and CosyVoice's code
from a git repository; all else is as on a host: the catalog's entries with other hashes, real packages, our adapters.
"""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import bench.catalog
from bench.jobs.spec import JobSpec
from tests.support import cpu_lock, make_cosyvoice2_venv, make_f5_venv, tiny_cosyvoice2, tiny_f5

Files = dict[str, dict[str, dict[str, bytes]]]
"""A hub's: by repository, revision and path."""

REPO = Path(__file__).resolve().parents[2]
CARD = b"# F5-TTS\n\nA flow-matching model. Everything it needs is in this repository.\n"
CODE = "FunAudioLLM/CosyVoice"
ENVIRON = {
    "PIP_FIND_LINKS": str(cpu_lock.HOME),
    "PIP_COMPILE": "0",  # it would take longer than all the rest
    "OMP_NUM_THREADS": "1",
}
"""For whoever installs and runs them."""


@dataclass(frozen=True, slots=True)
class Tiny:
    """A model: its catalog entry as YAML has it, and its files for a hub."""

    entry: dict[str, Any]
    files: Files


def make_f5(folder: Path) -> Tiny:
    """Make F5-TTS below `folder`."""
    _build(make_f5_venv.python(), "tests.support.tiny_f5", folder)
    made = _pin("f5", folder, tiny_f5.REVISION)
    made.files["SWivid/F5-TTS"][tiny_f5.REVISION]["README.md"] = CARD
    made.entry["profiles"]["upstream"] |= {"arch": tiny_f5.ARCH, "nfe_step": 4}
    made.entry["run"]["requirements"] = str(cpu_lock.make())
    return made


def make_cosyvoice2(folder: Path, mirror: Path, says: Sequence[str]) -> Tiny:
    """Make CosyVoice 2 below `folder`, its code in a repository below `mirror`; it will be asked to say `says`."""
    words = " ".join([JobSpec.model_fields["smoke_text"].default, *says])
    _build(make_cosyvoice2_venv.python(), "tests.support.tiny_cosyvoice2", folder, "--says", words)
    made = _pin("cosyvoice2", folder, tiny_cosyvoice2.REVISION)
    made.files[tiny_cosyvoice2.REPO][tiny_cosyvoice2.REVISION]["README.md"] = b"# CosyVoice 2\n"
    made.entry["run"]["requirements"] = str(cpu_lock.make_cosyvoice2())
    made.entry["run"]["sources"] = [_publish_code(mirror)]
    return made


def _build(python: Path, module: str, folder: Path, *more: str) -> None:
    command = [str(python), "-m", module, str(folder), *more]
    subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.DEVNULL)


def _pin(name: str, weights: Path, revision: str) -> Tiny:
    """Return the catalog's entry with the hashes of `weights`, and the hub's files."""
    entry = yaml.safe_load(Path(bench.catalog.__file__).with_name(f"{name}.yml").read_text())
    files: Files = {}
    for one in entry["weights"]:
        data = (weights / one["repo"].replace("/", "--") / revision / one["path"]).read_bytes()
        files.setdefault(one["repo"], {revision: {}})[revision][one["path"]] = data
        one["revision"] = revision
        one |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return Tiny(entry, files)


def _publish_code(mirror: Path) -> dict[str, Any]:
    """Commit the code of the tests' environment to a repository, and return what an entry says of it."""
    site = next((make_cosyvoice2_venv.python().parents[1] / "lib").glob("python3.*/site-packages"))
    tops = [
        site / name for name in ("cosyvoice", "matcha", "tn", "cosyvoice2_wheel.py") if (site / name).exists()
    ]
    found = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
    repo = mirror / f"{CODE}.git"
    work = mirror / "work"
    _git(work, "init", "-q", "-b", "main", str(work))
    listed = []
    for path in found:
        if path.is_file() and path.suffix != ".pyc":
            data, name = path.read_bytes(), path.relative_to(site)
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            listed.append({"path": str(name), "to": str(name), "bytes": len(data), "sha256": digest})
    _git(work, "add", "--force", ".")
    _git(work, "-c", "user.name=Upstream", "-c", "user.email=u@example.org", "commit", "-q", "-m", "Code")
    commit = _git(work, "rev-parse", "HEAD")
    repo.parent.mkdir(parents=True, exist_ok=True)
    _git(work, "clone", "-q", "--bare", str(work), str(repo))
    return {"repo": f"https://github.com/{CODE}.git", "commit": commit, "files": listed}


def _git(work: Path, *words: str) -> str:
    work.mkdir(parents=True, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-c", "core.autocrlf=false", *words],
        cwd=work,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
