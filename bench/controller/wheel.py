"""`bench` as a wheel, and the name of the venv that holds it on a host.

The wheel is built with a fixed SOURCE_DATE_EPOCH, so the same tree gives the same bytes, and the venv is named
by the hash of lock and wheel: another version is another venv, and provisioning again changes nothing.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from bench.errors import AuditionError
from bench.storage.digests import sha256_bytes, sha256_file

_EPOCH = "1767225600"
_SOURCES = ("*.py", "*.yml", "*.txt", "*.css", "*.js", "*.html", "*.svg", "py.typed", "Dockerfile*")
REPO = Path(__file__).resolve().parents[2]
"""The checkout: a controller always runs from one."""
HOST_LOCK = "requirements/host.txt"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A built wheel and the host venv that it and the lock belong to."""

    path: Path
    sha256: str
    lock: Path
    venv_key: str

    def venv(self, state_dir: str) -> str:
        """Return the venv's folder on a host whose state lives in `state_dir`."""
        return str(PurePosixPath(state_dir) / "venvs" / f"bench-{self.venv_key}")

    def python(self, state_dir: str) -> str:
        """Return the interpreter of that venv."""
        return f"{self.venv(state_dir)}/bin/python"


@lru_cache(maxsize=4)
def build(repo: Path) -> Wheel:
    """Build the wheel of `repo`, once a source tree; two seconds the first time, none afterwards.

    Raises:
        AuditionError: the build failed; the message ends with its output.
    """
    lock = repo / HOST_LOCK
    sources = sha256_bytes("".join(f"{p}:{sha256_file(p)};" for p in _tree(repo)).encode())[:24]
    folder = repo / ".cache" / "wheels" / sources
    if not (found := sorted(folder.glob("*.whl"))):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _build(repo, Path(scratch))
            if not folder.exists():
                built = Path(scratch) / "out"
                built.rename(folder)
        found = sorted(folder.glob("*.whl"))
    digest = sha256_file(found[0])
    return Wheel(found[0], digest, lock, sha256_bytes((sha256_file(lock) + digest).encode())[:16])


def _tree(repo: Path) -> list[Path]:
    files = [p for pattern in _SOURCES for p in (repo / "bench").rglob(pattern)]
    return sorted({*files, repo / "pyproject.toml"})


def _build(repo: Path, scratch: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    # A copy is built, so that no build/ or egg-info of an earlier tree leaks into the wheel.
    source = scratch / "source"
    (source / "bench").mkdir(parents=True)
    for path in _tree(repo):
        copy = source / path.relative_to(repo)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (source / "README.md").touch()  # the README is no part of what runs, so editing it makes no new venv
    done = subprocess.run(
        [*command, "--wheel-dir", str(scratch / "out"), str(source)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
    )
    if done.returncode != 0:
        raise AuditionError(f"building bench's wheel failed: {done.stderr[-2000:]}")
