"""A record as a JSON file of a run directory; a file of another schema version is refused, never guessed at."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from bench.errors import BadInput
from bench.records.base import SCHEMA_VERSION, FileRecord
from bench.storage.atomic import write_atomically

Kept = TypeVar("Kept", bound=FileRecord)
_DEPTH = 3
"""A record is in the run directory, or one or two folders below it."""


def save_record(record: FileRecord, run_dir: Path) -> None:
    """Write a record into `run_dir`, atomically; the same record gives the same bytes."""
    write_atomically(run_dir / record.file_name, record_bytes(record))


def record_bytes(record: FileRecord) -> bytes:
    """Return a record as its file holds it."""
    text = json.dumps(
        record.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False, sort_keys=False
    )
    return text.encode() + b"\n"


def load_record(kind: type[Kept], run_dir: Path) -> Kept:
    """Read the record of a kind from `run_dir`.

    Raises:
        FileNotFoundError: there is none.
        BadInput: the file is of another schema version, or not a record of this kind.
    """
    path = run_dir / kind.file_name
    try:
        data = path.read_bytes()
        raw = json.loads(data)
        if b"\\u" in data:
            json.dumps(raw, ensure_ascii=False).encode()  # half a character could not be written again
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not JSON ({error}); run the phase that makes it again, or move the run directory away."
        ) from error
    if not isinstance(raw, dict):
        raise BadInput(f"{path} is not a JSON object; run the phase that makes it again.")
    found = raw.get("schema_version")
    if found != SCHEMA_VERSION:
        raise BadInput(
            f"{path} has schema_version {found!r} and this Audition reads {SCHEMA_VERSION}; "
            f"finish that run with the version that began it{_name_beginner(path)}, or start a new one."
        )
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        began = _name_beginner(path)
        hint = f"\nIts run was begun by another version perhaps{began}: that one reads it." if began else ""
        raise BadInput(f"{path} is not a valid {kind.file_name}: {error}{hint}") from error


def _name_beginner(path: Path) -> str:
    """Return the version, and the commit where it is known, that began the run of a file, as the end of a clause.

    The manifest may be of a schema that nobody here knows: what is not where it always was is left out.
    """
    for folder in path.parents[:_DEPTH]:
        try:
            manifest = json.loads((folder / "manifest.json").read_bytes())
            version, commit = manifest["versions"]["audition"], manifest.get("git_commit")
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            continue
        return f" (Audition {version}{f', commit {commit}' if commit else ''})"
    return ""
