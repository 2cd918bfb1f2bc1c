"""A pass's acoustic metrics, taken on the host once the neighbour is back."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bench.errors import BadInput
from bench.jobs.spec import JobSpec
from bench.metrics.measure import Job as MetricsJob
from bench.metrics.measure import measure_pass
from bench.records.metrics import TakeMetrics
from bench.records.take import Take


def _metrics(spec: JobSpec, jobs: Iterable[MetricsJob], reference: Path | None) -> Iterator[TakeMetrics]:
    return measure_pass(
        jobs,
        reference,
        whisper_model=spec.whisper_model,
        python=spec.similarity_python or sys.executable,
    )


def try_metrics(spec: JobSpec, reference: Path | None) -> None:
    """Measure the reference itself with what the inventory asks for, before anything is paused for takes.

    Raises:
        BadInput: a model or package is missing, so every take's metrics would be.
    """
    if reference is None or not (spec.similarity_python or spec.whisper_model):
        return
    (found,) = _metrics(spec, [("reference", reference, "reference")], reference)
    missing = found.error or (found.reasons.get("reference_cosine") if spec.similarity_python else None)
    if missing is not None:
        raise BadInput(f"{missing} (similarity_python, whisper_model; docs/metrics.md)")


def measure_takes(spec: JobSpec, folder: Path, reference: Path | None, say: Callable[[str], None]) -> None:
    """Write `metrics.jsonl` beside the takes of a pass, and say how many are done: it may take minutes."""
    total = sum(1 for _ in _spoken(folder))
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as lines:
        for count, found in enumerate(_metrics(spec, _spoken(folder), reference), 1):
            lines.write(found.model_dump_json() + "\n")
            say(f"measured {count} of the {folder.name}'s {total} takes")


def _spoken(folder: Path) -> Iterator[MetricsJob]:
    """Yield the takes of a pass that have sound, one after another: a pass may have 10,000."""
    with (folder / "takes.jsonl").open(encoding="utf-8") as lines:
        for take in map(Take.model_validate_json, lines):
            if take.wav is not None:
                yield take.utterance_id, folder / take.wav, take.text
