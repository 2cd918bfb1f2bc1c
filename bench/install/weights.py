"""What `library/bench_weights.py` does on a host, followed by its controller while it lasts."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.catalog.entry import WeightFile
from bench.errors import AuditionError
from bench.jobs.control import Cancelled, Control
from bench.jobs.follow import sign
from bench.records.settings import GIB
from bench.weights.hub import Progress
from bench.weights.settings import WeightsTask
from bench.weights.store import ensure, list_missing, spell_size

_SAY_EVERY_S = 2.0


def weights_step(params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what `library/bench_weights.py` documents; returns the module's result."""
    try:
        task = WeightsTask.model_validate(params)
    except ValidationError as error:
        return {"failed": True, "msg": f"weights: {error}"}
    try:
        if check:
            return _looked(task.weights, task.store)
        with _followed(task.job_dir, task.timeout_s) as progress:
            report = ensure(
                task.weights,
                task.store,
                endpoint=task.endpoint or None,
                token_file=Path(task.token_file) if task.token_file else None,
                margin_bytes=round(task.margin_gib * GIB),
                rehash=task.rehash,
                progress=progress,
            )
    except (AuditionError, OSError) as error:
        return _failed(error, task.store)
    fetched = f"fetched {spell_size(report.bytes_downloaded)}" if report.changed else "every file is in place"
    return {"changed": report.changed, "report": report.as_dict(), "msg": fetched}


def _failed(error: AuditionError | OSError, store: Path) -> dict[str, Any]:
    """Say what went wrong. It is never the model's fault: a hub out of reach, wrong bytes, a full disk or a wrong
    setting are put right, and the same command goes on."""
    said = str(error)
    if isinstance(error, OSError):
        said = (
            f"{store}: the store of weights cannot be used ({error}); let the user that installs read and write "
            "there, or set weights_store to another folder."
        )
    return {
        "failed": True,
        "msg": said,
        "exit_code": error.exit_code if isinstance(error, AuditionError) else 1,
        "fault": "host",
    }


def _looked(weights: Sequence[WeightFile], store: Path) -> dict[str, Any]:
    wanted = list_missing(weights, store)
    names = [f"{file.repo}/{file.path}" for file in wanted]
    sizes = [file.bytes for file in wanted]
    return {
        "changed": bool(wanted),
        "would_fetch": names,
        "would_fetch_bytes": None if None in sizes else sum(size for size in sizes if size is not None),
        "msg": f"would fetch {', '.join(names)}" if names else "every file is in place",
    }


@contextlib.contextmanager
def _followed(folder: Path | None, limit_s: float) -> Iterator[Progress | None]:
    """Yield what says how far the download is; it ends when the controller is gone or the time is up.

    Without a job's directory nobody follows, and nothing is said.
    """
    if folder is None:
        yield None
        return
    sign(folder)
    control = Control(folder, limit_s, "weights_timeout_s")

    def gone() -> None:
        # A download that waits for a silent hub asks nobody; what arrived is kept for the next run all the same.
        if control.fault == "host":
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1)

    control.on_stop(gone)
    try:
        with control.watching():
            yield _Lines(folder / "progress.jsonl", control)
    finally:
        (folder / "done").touch()


class _Lines:
    """Says in lines how much of a file has come, now and then, and stops the download where it must."""

    def __init__(self, path: Path, control: Control) -> None:
        self._path, self._control, self._said = path, control, 0.0

    def __call__(self, name: str, have: int, total: int | None) -> None:
        if (why := self._control.reason()) is not None:
            raise Cancelled(f"{name}: {why}. What arrived is kept; run install again to go on.")
        if have != total and time.monotonic() - self._said < _SAY_EVERY_S:
            return
        self._said = time.monotonic()
        text = f"weights | {name} | {spell_size(have)}" + (
            "" if total is None else f" of {spell_size(total)}"
        )
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"text": text}) + "\n")
