"""What every record is, and the words that several of them share."""

from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Phase = Literal["preflight", "install", "benchmark", "baseline", "teardown", "score", "verdict", "publish"]
PHASES: tuple[Phase, ...] = get_args(Phase)
NeighbourMode = Literal["pause", "parallel", "none"]
IntendedUse = Literal["personal", "research", "commercial"]
Decision = Literal[
    "swap_candidate",
    "keep_baseline_try_next",
    "keep_baseline_survey_complete",
    "awaiting_ratings",
    "awaiting_baseline",
]
Reason = Literal["rule", "licence", "clone_encoder_withheld", "install_failed", "synthesis_failed"]
Channel = Literal["full", "narrowband", "wideband"]


class Record(BaseModel):
    """A strict record: an unknown key is an error, so a typing slip never passes for data."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, use_attribute_docstrings=True)


class FileRecord(Record):
    """A record that is a whole JSON file in the run directory."""

    file_name: ClassVar[str]
    schema_version: int = SCHEMA_VERSION


def optional_key(**more: Any) -> Any:
    """Declare a key that is not written while it is null: one that need not be given, or that came later, so that a
    file from before it is written again as it was."""
    return Field(default=None, exclude_if=_is_null, **more)


def _is_null(value: object) -> bool:
    return value is None
