"""The rights statement that goes with a reference: whose voice it is, and by what right it is cloned.

A run without one is refused. It is what the owner attests, not a legal finding of ours; docs/reference.md
shows a whole file.
"""

import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from bench.errors import BadInput
from bench.records.base import Record
from bench.storage.strict_yaml import parse_yaml

_MAX_BYTES = 64 * 1024

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _plain_date(value: Any) -> Any:
    """Let a date and a timestamp as YAML and JSON spell them mean the day."""
    return datetime.datetime.fromisoformat(value).date() if isinstance(value, str) else value


Day = Annotated[datetime.date, BeforeValidator(_plain_date)]


class Attestation(Record):
    """Who says that the voice may be cloned, and when."""

    who: Text
    date: Day
    statement: Text


class Rights(Record):
    """A rights statement. It names the audio it is about by its hash."""

    speaker: Text
    source: Text
    """Where the recording comes from."""
    licence: Text
    attestation: Attestation
    expires: Day | None = None
    """Last day on which the clip may be used; null: no end."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the audio file's bytes."""
    may_publish_clips: bool
    """Whether clips spoken in this voice may leave the machine (`audition publish`)."""
    single_speaker: bool = False
    """The owner attests that one person alone speaks, which lifts the two-speaker suspicion."""


def read(path: Path, audio_sha256: str, *, today: datetime.date | None = None) -> Rights:
    """Read the statement (YAML or JSON) and hold it to the audio and to the day.

    Args:
        path: the file.
        audio_sha256: SHA-256 of the audio it must be about, lower-case hex.
        today: the day it must hold on; this day in UTC when None.

    Raises:
        BadInput: missing, malformed, a key wrong or missing, expired, attested in the future, or about
            another audio file.
    """
    if not path.is_file():
        raise BadInput(
            f"{path}: there is no such rights statement; no voice is cloned without one. Write whose voice "
            "it is and by what right it is used: docs/reference.md shows a whole file."
        )
    rights = _parse(path)
    day = today or datetime.datetime.now(datetime.UTC).date()
    if rights.expires is not None and rights.expires < day:
        raise BadInput(
            f"{path}: the right to use this voice ended on {rights.expires}; renew it or take another."
        )
    if rights.attestation.date > day:
        raise BadInput(f"{path}: attestation.date {rights.attestation.date} is in the future.")
    if rights.sha256 != audio_sha256:
        raise BadInput(
            f"{path}: sha256 is {rights.sha256} and the audio's is {audio_sha256}; the statement is about "
            "another file. Have it made for this one."
        )
    return rights


def _parse(path: Path) -> Rights:
    if path.stat().st_size > _MAX_BYTES:
        raise BadInput(f"{path}: larger than 64 KiB, which no rights statement is.")
    rights, _ = parse_yaml(
        path.read_bytes(),
        str(path),
        Rights,
        what="a rights statement",
        see="docs/reference.md shows a whole file.",
    )
    return rights
