"""What preflight asks about a host, and what it is told."""

from pathlib import Path
from typing import Any

from bench.catalog.entry import Entry
from bench.neighbour.spec import NeighbourSpec
from bench.records.base import Record
from bench.records.run import Check


class HostSpec(Record):
    """What the host is to be checked for."""

    entry: Entry
    install: str
    baseline: Entry
    baseline_url: str | None
    model_url: str | None = None
    state_dir: Path
    weights_store: Path
    weights_endpoint: str | None = None
    weights_token_file: Path | None = None
    engine_python: str | None = None
    """Interpreter of the venv that the engine will run in, for `venv`."""
    image: str | None = None
    """Name of the image that the engine will run in, for `container`."""
    engine_port: int
    neighbour: NeighbourSpec

    @property
    def in_docker(self) -> bool:
        """Return whether the candidate's engine runs in a container, of ours or of a published image."""
        return self.install in ("container", "image")


class HostReport(Record):
    """What was found."""

    host: dict[str, Any]
    checks: list[Check]
    forecast: dict[str, Any]
