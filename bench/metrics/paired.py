"""Candidate minus baseline, utterance by utterance."""

from collections.abc import Mapping
from statistics import fmean, median

from bench.records.metrics import PairedDifference


def paired_difference(
    candidate: Mapping[str, float | None], baseline: Mapping[str, float | None]
) -> PairedDifference:
    """Return candidate minus baseline for each utterance id, and their summary; order of `candidate`."""
    ids = [*candidate, *(utterance_id for utterance_id in baseline if utterance_id not in candidate)]
    differences: dict[str, float] = {}
    left_out: list[str] = []
    for utterance_id in ids:
        ours, theirs = candidate.get(utterance_id), baseline.get(utterance_id)
        if ours is None or theirs is None:
            left_out.append(utterance_id)
        else:
            differences[utterance_id] = ours - theirs
    values = list(differences.values())
    return PairedDifference(
        by_utterance=differences,
        n=len(values),
        mean=fmean(values) if values else None,
        median=median(values) if values else None,
        lowest=min(values, default=None),
        highest=max(values, default=None),
        left_out=left_out,
    )
