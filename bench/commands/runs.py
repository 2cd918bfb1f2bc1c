"""Which run directory a word on the command line means."""

from pathlib import Path

from bench.controller.run import Run
from bench.errors import BadInput

_LISTED = 20


def find_run(word: str, runs_dir: Path) -> Run:
    """Return the run named by an id under `runs_dir`, by `latest`, or by a path.

    Raises:
        BadInput: there is no such run; the message lists what there is.
    """
    for path in (runs_dir / word, Path(word)):
        if (path / "manifest.json").is_file():
            return Run(path.resolve())
    raise BadInput(f"there is no run '{word}'; {_what_there_is(runs_dir)}")


def _what_there_is(runs_dir: Path) -> str:
    known = sorted(
        (p.parent.name for p in runs_dir.glob("*/manifest.json") if not p.parent.is_symlink()),
        key=lambda name: name.rpartition("-")[2],
        reverse=True,
    )
    if not known:
        return f"{runs_dir} has none (--runs-dir names another place)."
    more = f" and {len(known) - _LISTED} older" if len(known) > _LISTED else ""
    return f"{runs_dir} has, newest first: {', '.join(known[:_LISTED])}{more}."
