"""A second record, beside the log, of who has finished and which of their answers were the last.

Once a rater has seen the names nothing of theirs may change, even when the row of the log that says so is lost. The
mark is on disk before any name is shown.
"""

import json
import os
from pathlib import Path

from bench.listening.mapping import DIRECTORY
from bench.listening.store import NotSaved
from bench.records.listening import Mark
from bench.storage.atomic import write_atomically
from bench.storage.digests import canonical_json

FOLDER = "finished"


def write(run_dir: Path, rater_id: str, mark: Mark) -> None:
    """Write a rater's mark; its bytes and its name are on disk when this returns.

    Raises:
        NotSaved: the disk did not take it.
    """
    path = _path(run_dir, rater_id)
    try:
        write_atomically(path, canonical_json(mark.model_dump(mode="json")))
        for folder in (path.parent, path.parent.parent):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise NotSaved(f"Not saved: {error}. Free disk space; what was saved before is safe.") from error


def read(run_dir: Path, rater_id: str) -> Mark | None:
    """Return a rater's mark, None where they have none. One that cannot be read says that they had finished, and of
    no answer that it was the last."""
    try:
        return Mark.model_validate(json.loads(_path(run_dir, rater_id).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return Mark(finished_utc="", revisions={})


def _path(run_dir: Path, rater_id: str) -> Path:
    return run_dir / DIRECTORY / FOLDER / f"{rater_id}.json"
