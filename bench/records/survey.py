"""`survey.json`: all candidates of a chain beside the baseline, and what came of each."""

from typing import ClassVar, Literal

from bench.records.base import Decision, FileRecord, IntendedUse, Reason, Record, optional_key
from bench.records.verdict import Gate

Place = Literal["decided", "waits", "under_way", "to_come", "not_needed"]
"""Where a model of the chain is: `waits` for people or for the baseline, `not_needed` after a swap."""


class SideFigures(Record):
    """One side of one run, as far as its verdict may say it."""

    takes: int | None
    """Timed takes that were heard."""
    ttfa_ms_p50: float | None
    ttfa_ms: list[float]
    """Every value."""
    rtf_p50: float | None
    score: float | None
    """Mean rating, 1 to 5; null until every rater has finished."""


class Surveyed(Record):
    """One model of the chain."""

    model: str
    title: str
    place: Place
    run_id: str | None
    profile: str | None
    created_utc: str | None
    decision: Decision | None
    label: str | None
    reason: Reason | None
    sentence: str | None
    gates: list[Gate]
    candidate: SideFigures | None
    baseline: SideFigures | None
    """The baseline as it was measured beside this candidate."""
    ratings: int | None
    """How many scores of each side the means are of."""
    difference: float | None
    """Mean score, candidate minus baseline."""
    interval_95: tuple[float, float] | None
    gpu_bytes: int | None
    """Of the engine's processes at the peak."""
    install_s: float | None
    neighbour_ratio: float | None
    """Its p50 after over before."""


class Survey(FileRecord):
    """`survey.json`: a pure function of the run directories."""

    file_name: ClassVar[str] = "survey.json"

    survey_id: str
    """`<host>-<UTC of the first run>`."""
    host: str
    chain: list[str]
    baseline: str
    baseline_title: str
    intended_use: IntendedUse
    question: str
    shared_sha256: str
    """Of the inputs that all its runs have in common."""
    complete: bool
    decision: Decision | None
    """Of the last model that has one; null before the first."""
    label: str | None
    summary: str
    """What came of it in a sentence or two, the reasons of earlier models included."""
    models: list[Surveyed]
    together: bool | None = optional_key()
    """All candidates were rated in one sitting, and each is judged against the baseline."""
    passed: list[str] | None = optional_key()
    """Of those, the models that pass; once all are decided."""
    chosen: str | None = optional_key()
    """Which of them is taken, where the choice was committed to beforehand."""
    false_pass_at_most: float | None = optional_key()
    """The chance that at least one passes the rating gate though none is better than the baseline."""
