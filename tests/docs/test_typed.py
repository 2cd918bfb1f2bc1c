"""Whoever installs the wheel has its types: mypy checks a file of theirs, outside the checkout, against it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.docs.tables import REPO

pytestmark = pytest.mark.slow

THEIRS = """\
from pathlib import Path
from bench.catalog.loader import load
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record

reveal_type(load("f5").version.pin)
reveal_type(load_record(Verdict, Path()).next)
load(5)
"""


def test_a_file_outside_sees_the_types_of_the_installed_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(REPO / "bench", source / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    _run(
        source, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", "..", "."
    )
    _run(tmp_path, "-m", "venv", "--without-pip", "venv")
    packages = next((tmp_path / "venv" / "lib").glob("python3.*/site-packages"))
    (wheel,) = tmp_path.glob("audition-*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    # What it needs besides is here already; the checkout's own entry among it is not followed from there.
    (packages / "here.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "theirs.py").write_text(THEIRS)
    checked = _run(
        tmp_path, "-m", "mypy", "--strict", "--python-executable", "venv/bin/python", "--cache-dir", "cache",
        "theirs.py", expected=1,
    )  # fmt: skip
    assert checked.splitlines()[:-1] == [
        'theirs.py:6: note: Revealed type is "str | None"',
        'theirs.py:7: note: Revealed type is "bench.records.verdict.NextStep"',
        'theirs.py:8: error: Argument 1 to "load" has incompatible type "int"; expected "str"  [arg-type]',
    ]


def _run(folder: Path, *words: str, expected: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout
