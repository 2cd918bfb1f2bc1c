"""All that the verdict is decided from, in one value."""

from typing import Any, Literal

from bench.records import Gate, Manifest, Ratings, Record, Take

Refusal = Literal["licence", "clone_encoder_withheld"]


class InstallOutcome(Record):
    """How the installation ended."""

    ok: bool
    total_s: float | None = None
    limit_s: float | None = None
    error: str | None = None


class Evidence(Record):
    """What a run directory says, as far as the verdict needs it.

    A list of takes is None where that pass has not been made; a pass that was tried and gave nothing is an
    empty list, or None with the pass's error. Objects of other parts (`memory`, `neighbour`, `metrics`) stay
    as found.
    """

    manifest: Manifest
    rule_sha256: str
    """Of the rule file as it is now; the manifest has what it was."""
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
    ratings: Ratings | None = None
    memory: dict[str, Any] | None = None
    neighbour: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
