"""axe-core, for the tests of pages."""

import subprocess

import pytest

from tests.support.docker import CACHE, REPOSITORY, locked

PACKAGE = REPOSITORY / "tests" / "browser"


@pytest.fixture(scope="session")
def axe(needs_npm: None) -> str:
    """axe-core's source, at the version and hash of package-lock.json."""
    source = PACKAGE / "node_modules" / "axe-core" / "axe.min.js"
    with locked(CACHE / "npm.lock"):
        if source.exists():
            return source.read_text("utf-8")
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=PACKAGE, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"npm ci ended with {done.returncode}: {done.stdout}{done.stderr}"
    return source.read_text("utf-8")
