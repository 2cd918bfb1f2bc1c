"""Candidates side by side: their pairs sealed for one sitting, and what came of all of them."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.controller import conclude
from bench.controller.run import Run, explain_full_disk
from bench.errors import BadInput
from bench.listening import mapping
from bench.listening.score import Alike, CuesRemain, TakesMissing, measure_alike, seal
from bench.listening.sitting import read_seal
from bench.records.run import Manifest
from bench.records.sitting import SittingSeal
from bench.records.survey import Surveyed
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.storage.record_file import record_bytes, save_record
from bench.verdict.power import POWER_SDS, pass_probability

FOLDER = "sittings"
PAIRS_BESIDE = 5
"""Of every two candidates. The baseline is in 15 trials of each: with three candidates in 45 of 60."""


def seal_together(runs: Sequence[Run]) -> list[str]:
    """Seal the pairs of all runs for one sitting, and pairs of two candidates; return what to say of it.

    A run whose candidate cannot be rated stays out; where one alone is left, it is sealed by itself. What is sealed
    stays as it is.

    Raises:
        BadInput: a baseline has to speak again, or people have rated one of the runs already.
        CuesRemain, NotAligned, UnusableTake: as `bench.listening.score.seal`.
    """
    left = [run for run in runs if run.undecided() and run.todo("score") is None]
    if all(read_seal(run.path) is not None for run in left):
        return []
    said: list[str] = []
    rated = [run for run in left if _can_be_rated(run, said)]
    if len(rated) < 2:
        return said + [f"{run.run_id}: {conclude.score_run(run, alone=True)['msg']}" for run in rated]
    for run in rated:
        _forget_unrated(run.path)
    alike = measure_alike([run.path for run in rated])
    for number, (run, asked) in enumerate(zip(rated, alike, strict=True)):
        conclude.score_run(run, practice=number == 0, alike=asked)
    made = _seal_beside(rated, alike[0])
    folders = {run.run_id: run.path for run in rated} | made
    sealed = SittingSeal(
        sitting_id=rated[0].run_id,
        sealed_utc=utc_now(),
        runs=[run.run_id for run in rated],
        beside=list(made),
        mappings={name: str(mapping.read_published(folder)) for name, folder in folders.items()},
    )
    for run in rated:
        write_atomically(mapping.directory(run.path) / SittingSeal.file_name, record_bytes(sealed))
    pairs = sum(run.manifest().rule.pairs for run in rated)
    return [
        *said,
        f"{', '.join(run.manifest().model for run in rated)} are sealed for one sitting: {pairs} pairs with the "
        f"baseline, {PAIRS_BESIDE * len(made)} of two candidates, and the controls.",
    ]


def _can_be_rated(run: Run, said: list[str]) -> bool:
    """Whether both sides have enough takes; where the candidate has not, that is recorded and said.

    Raises:
        BadInput: the baseline has not.
    """
    try:
        measure_alike([run.path], channels=())
    except TakesMissing as error:
        said.append(f"{run.run_id}: {conclude.score_run(run, alone=True)['msg']}")
        if error.side == "baseline":
            raise BadInput(f"{error} Run `audition survey` again: it makes them, and goes on.") from error
        return False
    return True


def _forget_unrated(run_dir: Path) -> None:
    """Take back what a sealing that was cut off left of a sitting, as long as nobody can have rated it.

    Raises:
        BadInput: somebody may have.
    """
    home = mapping.directory(run_dir)
    if (home / mapping.RATINGS).exists():
        raise BadInput(
            f"{run_dir.name} has been opened for rating already, by itself or in another sitting; begin new runs to "
            "rate it together with others."
        )
    for name in (mapping.PUBLISHED, SittingSeal.file_name, mapping.REPORT, mapping.SEALED):
        (home / name).unlink(missing_ok=True)
    shutil.rmtree(home / mapping.CLIPS, ignore_errors=True)


def _seal_beside(runs: Sequence[Run], alike: Alike) -> dict[str, Path]:
    """Seal pairs of every two candidates; return their folders by the names that they have from the runs' own.

    Two whose takes cannot stand beside each other are left out: nothing is decided by them.
    """
    runs_dir = runs[0].path.parent
    made = {}
    for first, second in combinations(runs, 2):
        name = f"{FOLDER}/{runs[0].run_id}/{first.manifest().model}-{second.manifest().model}"
        folder = runs_dir / name
        with explain_full_disk(runs_dir):
            _lay_out(folder, first, second)
            own = replace(alike, seed=mapping.new_secret())
            try:
                seal(folder, channels=(), practice=False, controls=False, pairs=PAIRS_BESIDE, alike=own)
            except (CuesRemain, TakesMissing):
                shutil.rmtree(folder)
                continue
        made[name] = folder
    return made


def _lay_out(folder: Path, first: Run, second: Run) -> None:
    """Make a folder that reads as a run of the first candidate against the second."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    ours, theirs = first.manifest(), second.manifest()
    beside = ours.model_copy(
        update={
            "baseline_entry": theirs.entry,
            "baseline_profile": theirs.profile,
            "inputs": ours.inputs.model_copy(update={"baseline": theirs.model}),
        }
    )
    shutil.copyfile(first.path / "rule.yml", folder / "rule.yml")
    save_record(beside, folder)
    for side, run in (("candidate", first), ("baseline", second)):
        (folder / side).symlink_to(os.path.relpath(run.path / "candidate", folder))


def judge_together(manifest: Manifest, models: Sequence[Surveyed]) -> dict[str, Any]:
    """Return what a survey's record says of candidates that were rated in one sitting."""
    asked = max(
        [manifest.rule.minimum_raters]
        + [each.ratings // manifest.rule.pairs for each in models if each.ratings is not None]
    )
    found: dict[str, Any] = {
        "together": True,
        "false_pass_at_most": _bound_false_pass(manifest, len(models), asked),
    }
    if any(each.reason is None for each in models):
        return found
    passed = [each for each in models if each.decision == "swap_candidate"]
    found["passed"] = [each.model for each in passed]
    if passed and manifest.inputs.choice == "highest_mean":
        found["chosen"] = max(passed, key=lambda each: each.difference or 0.0).model
    return found


def _bound_false_pass(manifest: Manifest, candidates: int, raters: int) -> float:
    """Return Boole's bound, which holds however the candidates' ratings hang together."""
    one = max(
        pass_probability(
            gap=0.0,
            sd=sd,
            pairs=manifest.rule.pairs,
            raters=raters,
            margin_tenths=manifest.rule.rating_margin_tenths,
        )
        for sd in POWER_SDS
    )
    return round(min(1.0, candidates * one), 4)


def sum_up_together(manifest: Manifest, models: Sequence[Surveyed], found: Mapping[str, Any]) -> str:
    """Say what came of all candidates."""
    baseline = manifest.inputs.baseline
    chance = (
        f"With {len(models)} candidates, none of them better than {baseline}, the chance that at least one passes "
        f"the rating gate is {100 * found['false_pass_at_most']:.1f}% at most."
    )
    if "passed" not in found:
        waiting = [each.model for each in models if each.reason is None]
        return f"Not decided yet: {', '.join(waiting)}. {chance}"
    passed = found["passed"]
    own = " ".join(str(each.sentence) for each in models)
    if not passed:
        return f"Keep {baseline}: none of {', '.join(each.model for each in models)} passes. {own} {chance}"
    if "chosen" in found:
        head = f"Swap {baseline} for {found['chosen']}: its mean is the highest of {', '.join(passed)}"
    elif len(passed) == 1:
        head = f"Swap {baseline} for {passed[0]}: it alone passes"
    else:
        head = (
            f"Each of {', '.join(passed)} may take {baseline}'s place: no choice was committed to beforehand"
        )
    return f"{head}. {own} {chance}"
