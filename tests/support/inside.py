"""Runs a file of tests inside a model's own environment, in one process, and says what became of each case."""

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cases(inside: Path) -> list[str]:
    """Return the names of the tests in a file."""
    return re.findall(r"^def (test_\w+)", inside.read_text(), re.MULTILINE)


def outcomes(
    python: Path, inside: Path, report: Path, environment: Mapping[str, str], *, plugin: str | None = None
) -> dict[str, list[str]]:
    """Return what went wrong in each case, by the case's name; an empty list is a pass.

    `plugin` is a module with fixtures: a conftest would be every folder's.
    """
    options = ["--noconftest", "-p", "no:cacheprovider", *(["-p", plugin] if plugin else [])]
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *options, f"--junitxml={report}", inside],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        faults = [child.text or child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found.setdefault(re.sub(r"\[.*", "", case.attrib["name"], flags=re.DOTALL), []).extend(faults)
    return found
