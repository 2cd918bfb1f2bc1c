"""What the rule says of a run."""

from typing import Any, ClassVar

from bench.records.base import Decision, FileRecord, Reason, Record


class Gate(Record):
    """One condition of the rule. A null value never passes."""

    name: str
    value: float | str | None
    limit: float | str | None
    passed: bool


class NextStep(Record):
    """What to run next; null model when there is nothing left in the chain."""

    model: str | None
    commands: list[str]


class Verdict(FileRecord):
    """`verdict.json`: a pure function of the rest of the run directory."""

    file_name: ClassVar[str] = "verdict.json"

    run_id: str
    model: str
    baseline: str
    decision: Decision
    label: str
    reason: Reason | None
    """Null while the decision awaits something."""
    sentence: str
    gates: list[Gate]
    ratings: dict[str, Any]
    latency: dict[str, Any]
    memory: dict[str, Any]
    neighbour: dict[str, Any]
    failures: dict[str, Any]
    """Failed takes by side, counted and named."""
    warnings: list[str]
    next: NextStep
    methodology_version: int
