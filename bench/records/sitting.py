"""`listening/sitting.json`: runs whose pairs a rater hears in one sitting, sealed together."""

from typing import ClassVar

from bench.records.base import FileRecord


class SittingSeal(FileRecord):
    """What a sitting commits to. Every run of it has the same, beside its own sealed mapping."""

    file_name: ClassVar[str] = "sitting.json"

    sitting_id: str
    """The name of its first run."""
    sealed_utc: str
    runs: list[str]
    """The candidates' runs, in the chain's order."""
    beside: list[str]
    """Folders, from the runs' own, of pairs of two candidates: they keep the baseline from being the voice that is
    always there, and decide nothing."""
    mappings: dict[str, str]
    """SHA-256 of the sealed mapping of each run and of each folder in `beside`."""
