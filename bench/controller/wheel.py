"""What a host runs as a wheel, and the name of the venv that holds it there.

The venv is named by the lock and by the files that a host runs (parts.py): provisioning again changes nothing, and an
edit of what only the controller runs makes no new venv. The wheel is built with a fixed SOURCE_DATE_EPOCH.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from bench.controller.parts import Part, find_host_part
from bench.errors import AuditionError
from bench.storage.digests import sha256_bytes, sha256_file

_EPOCH = "1767225600"
_PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "audition"
version = "{version}"
requires-python = "{python}"
dependencies = {dependencies}

[tool.setuptools.packages.find]
include = ["bench*"]

[tool.setuptools.package-data]
"*" = ["*"]
"""
REPO = Path(__file__).resolve().parents[2]
"""The checkout: a controller always runs from one."""
HOST_LOCK = "requirements/host.txt"
WHISPER_LOCK = "requirements/host-whisper.txt"
"""The same and faster-whisper, half a gigabyte, for a host whose `whisper_model` is set."""


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
def build(repo: Path, *, whisper: bool = False) -> Wheel:
    """Build the wheel of what a host of `repo` runs, once a source tree: two seconds the first time, none afterwards.

    `whisper`: for a venv with faster-whisper in it.

    Raises:
        AuditionError: the build failed; the message ends with its output.
    """
    part, project = find_host_part(repo), _describe(repo)
    folder = repo / ".cache" / "wheels" / _hash(part, project)[:24]
    if not (found := sorted(folder.glob("*.whl"))):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _build(part, project, Path(scratch))
            if not folder.exists():
                (Path(scratch) / "out").rename(folder)
        found = sorted(folder.glob("*.whl"))
    lock = repo / (WHISPER_LOCK if whisper else HOST_LOCK)
    return Wheel(found[0], sha256_file(found[0]), lock, name_venv(repo, lock))


def name_venv(repo: Path, lock: Path | None = None) -> str:
    """Return the key of the venv that holds what a host of `repo` runs; nothing is built for it."""
    part, project = find_host_part(repo), _describe(repo)
    return sha256_bytes((sha256_file(lock or repo / HOST_LOCK) + _hash(part, project)).encode())[:16]


def _hash(part: Part, project: str) -> str:
    return sha256_bytes(f"{part.sha256}{project}".encode())


def _describe(repo: Path) -> str:
    """Return the wheel's pyproject.toml: what a venv has to know of ours, without the tools' settings."""
    try:
        project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise AuditionError(f"building bench's wheel failed: pyproject.toml: {error}") from error
    return _PROJECT.format(
        version=project["version"], python=project["requires-python"], dependencies=project["dependencies"]
    )


def _build(part: Part, project: str, scratch: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    source = scratch / "source"
    for name, path in part.files.items():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    done = subprocess.run(
        [*command, "--wheel-dir", str(scratch / "out"), str(source)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
    )
    if done.returncode != 0:
        raise AuditionError(f"building bench's wheel failed: {done.stderr[-2000:]}")
