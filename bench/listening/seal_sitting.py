"""Seal the pairs of several runs for one sitting, and pairs of two candidates beside them."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from bench.errors import BadInput
from bench.listening import mapping
from bench.listening.score import CHANNELS, Alike, CuesRemain, TakesMissing, measure_alike, seal
from bench.records.base import Channel
from bench.records.run import Manifest
from bench.records.sitting import SittingSeal
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record, record_bytes, save_record

FOLDER = "sittings"
PAIRS_BESIDE = 5
"""Of every two candidates. The baseline is in 15 trials of each: with three candidates in 45 of 60."""


def seal_sitting(run_dirs: Sequence[Path], *, channels: Sequence[Channel] = CHANNELS) -> SittingSeal:
    """Seal every run with clips that are alike in all of them, then pairs of every two candidates, and write into each
    run what was sealed.

    The first run has the practice pair of the sitting. What an attempt left that was cut off is made anew.

    Raises:
        BadInput: people may have rated one of the runs already.
        TakesMissing, CuesRemain, NotAligned, UnusableTake: as `bench.listening.score.seal`.
    """
    for run_dir in run_dirs:
        _forget_unrated(run_dir)
    alike = measure_alike(run_dirs, channels=channels)
    for number, (run_dir, asked) in enumerate(zip(run_dirs, alike, strict=True)):
        seal(run_dir, channels=channels, practice=number == 0, alike=asked)
    beside = _seal_beside(run_dirs, alike[0])
    folders = {run_dir.name: run_dir for run_dir in run_dirs} | beside
    sealed = SittingSeal(
        sitting_id=run_dirs[0].name,
        sealed_utc=utc_now(),
        runs=[run_dir.name for run_dir in run_dirs],
        beside=list(beside),
        mappings={name: str(mapping.read_published(folder)) for name, folder in folders.items()},
    )
    for run_dir in run_dirs:
        write_atomically(mapping.directory(run_dir) / SittingSeal.file_name, record_bytes(sealed))
    return sealed


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


def _seal_beside(run_dirs: Sequence[Path], alike: Alike) -> dict[str, Path]:
    """Seal pairs of every two candidates; return their folders by the names that they have from the runs' own.

    Two whose takes cannot stand beside each other are left out: nothing is decided by them.
    """
    runs_dir, made = run_dirs[0].parent, {}
    for first, second in combinations(run_dirs, 2):
        ours, theirs = load_record(Manifest, first), load_record(Manifest, second)
        name = f"{FOLDER}/{run_dirs[0].name}/{ours.model}-{theirs.model}"
        folder = runs_dir / name
        _lay_out(folder, first, second)
        own = replace(alike, seed=mapping.new_secret())
        try:
            seal(folder, channels=(), practice=False, controls=False, pairs=PAIRS_BESIDE, alike=own)
        except (CuesRemain, TakesMissing):
            shutil.rmtree(folder)
            continue
        made[name] = folder
    return made


def _lay_out(folder: Path, first: Path, second: Path) -> None:
    """Make a folder that reads as a run of the first candidate against the second."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    ours, theirs = load_record(Manifest, first), load_record(Manifest, second)
    beside = ours.model_copy(
        update={
            "baseline_entry": theirs.entry,
            "baseline_profile": theirs.profile,
            "inputs": ours.inputs.model_copy(update={"baseline": theirs.model}),
        }
    )
    shutil.copyfile(first / "rule.yml", folder / "rule.yml")
    save_record(beside, folder)
    for side, run_dir in (("candidate", first), ("baseline", second)):
        (folder / side).symlink_to(os.path.relpath(run_dir / "candidate", folder))
