"""Requests for runs, with the demo's synthetic reference."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.controller.request import RunRequest
from bench.inputs.demo_reference import make
from tests.support.disks import mounted

Asked = Callable[..., RunRequest]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return make(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def asked(reference: tuple[Path, Path, Path], tmp_path: Path) -> Asked:
    """Gives the demo's request; keywords change it."""
    audio, transcript, rights = reference

    def request(**changes: Any) -> RunRequest:
        given = {
            "runs_dir": tmp_path / "runs",
            "host": "here",
            "model": "espeak",
            "baseline": "flite",
            "reference_audio": audio,
            "reference_transcript": transcript,
            "reference_rights": rights,
        }
        return RunRequest.of(given | changes)

    return request


@pytest.fixture
def small_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB; mounting it needs root."""
    with mounted(tmp_path / "disk", "2m") as disk:
        yield disk
