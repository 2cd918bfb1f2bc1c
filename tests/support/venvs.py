"""Environments in which the tests run a model's real package on a CPU: `.cache/<name>-venv`.

Pinned by a lock with hashes, and `TORCH` apart: its local builds have no hash that would hold elsewhere. Built once,
and again when the recipe or the interpreter changes.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
TORCH = "torch==2.13.0"
"""From wherever this machine's pip finds it: a CPU build is enough, the default index's CUDA build works too."""
PRUNE = """
import pathlib, sysconfig, torch
if torch.version.cuda is None:
    for extension in pathlib.Path(sysconfig.get_path("purelib"), "torchaudio", "lib").glob("*.so"):
        extension.unlink()
import torchaudio
"""
"""torchaudio's compiled extension wants CUDA's libraries; its MelSpectrogram and Resample are Python and remain."""


@dataclass(frozen=True)
class Venv:
    """One such environment."""

    name: str
    lock: Path
    recipe_files: tuple[Path, ...]
    """All that decides what it holds, besides the lock and this file."""
    finish: str = ""
    """Python run in it when all is installed; it ends with an import of the package."""
    after: Callable[[Path], None] = field(default=lambda venv: None)
    """Called with its folder before `finish`."""

    def recipe(self) -> str:
        """Return the hash of all that decides what the environment holds."""
        digest = hashlib.sha256(sys.version.encode())
        for path in (Path(__file__), self.lock, *self.recipe_files):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def python(self) -> Path:
        """Return the environment's interpreter, building the environment where it is missing or outdated.

        Raises:
            subprocess.CalledProcessError: pip failed; its output says why.
        """
        venv = CACHE / f"{self.name}-venv"
        stamp = venv / "recipe.sha256"
        with _locked(CACHE / f"{self.name}-venv.lock"):
            if not stamp.exists() or stamp.read_text() != self.recipe():
                shutil.rmtree(venv, ignore_errors=True)
                subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
                for arguments in (["--require-hashes", "--no-deps", "-r", str(self.lock)], [TORCH]):
                    _pip(venv, arguments)
                self.after(venv)
                command = [str(venv / "bin" / "python"), "-c", PRUNE + self.finish]
                subprocess.run(command, check=True, stdout=sys.stderr)
                stamp.write_text(self.recipe())
        return venv / "bin" / "python"


def say(venv: Venv) -> None:
    """Print the interpreter's path, and on the other stream how long it took: for `python -m` of a recipe."""
    began = time.monotonic()
    print(venv.python())
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


def _pip(venv: Path, arguments: list[str]) -> None:
    # Bytecode is left to the first import: compiling all of it would take longer than the download.
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
    subprocess.run([*pip, "--disable-pip-version-check", *arguments], check=True, stdout=sys.stderr)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
