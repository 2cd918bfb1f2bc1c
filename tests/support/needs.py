"""What fixtures need beyond `make setup`: whichever asks for one of these makes its tests `whole` (tiers.py)."""

import os

import pytest


@pytest.fixture(scope="session")
def needs_root() -> None:
    """Mounts a small disk, or the like."""
    assert os.geteuid() == 0, "this test mounts a disk, which needs root"


@pytest.fixture(scope="session")
def needs_docker() -> None:
    """A Docker engine; one is started where none answers, which needs root."""


@pytest.fixture(scope="session")
def needs_chromium() -> None:
    """Debian's Chromium, from `make setup-test`."""


@pytest.fixture(scope="session")
def needs_npm() -> None:
    """npm and its registry, the first time."""


@pytest.fixture(scope="session")
def needs_venv() -> None:
    """An environment of its own, which pip builds from an index the first time."""
