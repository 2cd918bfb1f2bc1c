"""Builds the environment in which the tests run the real f5-tts package on a CPU: `.cache/f5-venv`.

Pinned by `f5_venv.txt` (hashes) and `TORCH`; built once and again when the recipe or the interpreter changes.
Two differences from what an engine installs, both because no GPU is here: torch is of another version, and
where it is built without CUDA, torchaudio's compiled extension, which wants CUDA's libraries, is taken out.
torchaudio's MelSpectrogram and Resample are Python and remain. Use: `python -m tests.support.make_f5_venv`
prints the interpreter's path.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
LOCK = HERE / "f5_venv.txt"
TORCH = "torch==2.13.0"
"""From wherever this machine's pip finds it: a CPU build is enough, the default index's CUDA build works too."""
_PRUNE = """
import pathlib, sys, sysconfig, torch
if torch.version.cuda is None:
    for extension in pathlib.Path(sysconfig.get_path("purelib"), "torchaudio", "lib").glob("*.so"):
        extension.unlink()
import torchaudio, f5_tts.infer.utils_infer
"""


def recipe() -> str:
    """Return the hash of all that decides what the environment holds."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(LOCK.read_bytes())
    digest.update(sys.version.encode())
    return digest.hexdigest()


def python() -> Path:
    """Return the environment's interpreter, building the environment where it is missing or outdated.

    Raises:
        subprocess.CalledProcessError: pip failed; its output says why.
    """
    venv = CACHE / "f5-venv"
    stamp = venv / "recipe.sha256"
    with _locked(CACHE / "f5-venv.lock"):
        if not stamp.exists() or stamp.read_text() != recipe():
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            for arguments in (["--require-hashes", "--no-deps", "-r", str(LOCK)], [TORCH]):
                _pip(venv, arguments)
            subprocess.run([str(venv / "bin" / "python"), "-c", _PRUNE], check=True, stdout=sys.stderr)
            stamp.write_text(recipe())
    return venv / "bin" / "python"


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


if __name__ == "__main__":
    began = time.monotonic()
    print(python())
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
