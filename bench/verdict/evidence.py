"""All that the verdict is decided from, in one value."""

from typing import Any, Literal

from bench.records.base import Record
from bench.records.listening import Ratings, Unusable
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsComparison
from bench.records.neighbour import NeighbourRecord
from bench.records.passes import PassFile
from bench.records.run import Manifest
from bench.records.take import Take, TakeSide
from bench.records.verdict import Gate

Refusal = Literal["licence", "clone_encoder_withheld"]


class InstallOutcome(Record):
    """How the installation ended."""

    ok: bool
    total_s: float | None = None
    limit_s: float | None = None
    error: str | None = None
    asked: dict[str, Any] = {}
    ran: dict[str, Any] = {}
    """As in `install.json`."""


class Evidence(Record):
    """What a run directory says, as far as the verdict needs it.

    A list of takes is None where that pass has not been made; a pass that was tried and gave nothing is an
    empty list, or None with the pass's error.
    """

    manifest: Manifest
    """Its rule and question are those of the files and hashes that were committed to."""
    refused: Refusal | None = None
    """The preflight gate that ends the run with a decision."""
    refusal_detail: str = ""
    preflight_gates: list[Gate] = []
    preflight_warnings: list[str] = []
    install: InstallOutcome | None = None
    preset: list[Take] | None = None
    candidate: list[Take] | None = None
    candidate_error: str | None = None
    """Why the benchmark phase failed, where it did."""
    baseline: list[Take] | None = None
    baseline_error: str | None = None
    unusable: list[Unusable] = []
    """Takes that sealing found to be no speech that can be rated."""
    passes: dict[TakeSide, PassFile] = {}
    """`pass.json` of candidate and baseline: from which host, over which network, in whose voice."""
    ratings: Ratings | None = None
    """None where nothing is sealed."""
    score_error: str | None = None
    """Why the score phase failed, where it did."""
    memory: MemoryReport | None = None
    neighbour: NeighbourRecord | None = None
    metrics: MetricsComparison | None = None
    """The comparison in `metrics.json`."""
