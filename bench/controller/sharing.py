"""The baseline's takes of one run, used again in another of the same survey.

The contract: only while nobody can have heard them. Who has rated a clip, or seen which side was whose, knows it again,
and a second test with it is no longer blind. So a run lends its takes only if it is decided and was never sealed for
rating (its candidate gave too few takes, for instance) nor published; and if the same holds of every other run that has
the same takes, since each lends to one that will be rated. Metrics and clips are made anew by whoever borrows.
"""

import filecmp
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.controller import prepare
from bench.controller.run import Run
from bench.errors import BadInput
from bench.listening.mapping import read_published
from bench.records.passes import PassFile
from bench.records.run import Manifest
from bench.storage.record_file import load_record

TAKES = "baseline/takes.jsonl"
_CUT = ("reference-baseline/reference.wav", "reference-baseline/reference.txt")


@dataclass(frozen=True, slots=True)
class Lent:
    """Takes that may be used again."""

    run: Run
    """Who made them."""
    made: PassFile


def find_lender(borrower: Run, *, warmups: int) -> Lent | None:
    """Return the newest run whose baseline's takes may serve `borrower`, or None.

    It is on the same host, shares the survey's inputs and the method, and asked with the same cut of the reference
    after as many warm-ups.
    """
    manifest = borrower.manifest()
    others = [each for each in _beside(borrower) if each.run_id.endswith("Z")]
    for lender in sorted(others, key=lambda run: run.run_id.rpartition("-")[2], reverse=True):
        try:
            if not _is_alike(lender, borrower, manifest) or not all(map(_is_unheard, holders_of(lender))):
                continue
            made = load_record(PassFile, lender.path / "baseline")
        except (BadInput, FileNotFoundError):
            continue  # of another version, or without its takes: not to be lent
        if made.result is not None and made.result.warmups == warmups:
            return Lent(lender, made)
    return None


def holders_of(run: Run) -> list[Run]:
    """Return every run under the same folder that has the baseline's takes of `run`, itself among them."""
    ours = run.path / TAKES
    if not ours.is_file():
        return []
    return [
        each
        for each in (run, *_beside(run))
        if (each.path / TAKES).is_file() and filecmp.cmp(each.path / TAKES, ours, shallow=False)
    ]


def rated_elsewhere(run: Run) -> str | None:
    """Return the undecided run that has the baseline's takes of `run` too, or None."""
    others = [each for each in holders_of(run) if each.path != run.path]
    return next((each.run_id for each in others if each.undecided()), None)


def _beside(run: Run) -> list[Run]:
    folders = (path.parent for path in run.path.parent.glob(f"*-*Z/{Manifest.file_name}"))
    return [Run(path) for path in folders if not path.is_symlink() and path.name != run.path.name]


def _is_alike(lender: Run, borrower: Run, manifest: Manifest) -> bool:
    theirs = lender.manifest()
    return (
        theirs.host == manifest.host
        and theirs.methodology_version == manifest.methodology_version
        and prepare.shared_sha256(theirs) == prepare.shared_sha256(manifest)
        and all(filecmp.cmp(lender.path / name, borrower.path / name, shallow=False) for name in _CUT)
    )


def _is_unheard(run: Run) -> bool:
    """Return whether nobody can have heard a run's takes, nor ever will: see the contract above."""
    phases = run.phases()
    made, published = phases.get("baseline"), phases.get("publish")
    return (
        not run.undecided()
        and made is not None
        and made.status == "done"
        and read_published(run.path) is None
        and published is None
    )


def copy_takes(lent: Lent, folder: Path) -> None:
    """Copy what was lent into `folder`: the takes, nothing that was made of them."""
    folder.mkdir()
    for path in (lent.run.path / "baseline").iterdir():
        if path.name == "takes.jsonl" or path.suffix == ".wav":
            shutil.copyfile(path, folder / path.name)
