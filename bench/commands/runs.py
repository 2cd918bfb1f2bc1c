"""Which run directory a word on the command line means."""

from dataclasses import dataclass
from pathlib import Path

from bench.controller.run import Run
from bench.errors import AuditionError, BadInput

_LISTED = 20
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Found:
    """The run that is meant."""

    run: Run
    note: str = ""
    """Which one was taken, where the word alone does not say it."""


def find_run(word: str, runs_dir: Path, *, host: str | None = None, model: str | None = None) -> Found:
    """Return the run named by an id under `runs_dir`, by `latest`, or by a path.

    `host`, `model`: of these alone; `latest` is then the newest of them. Where runs of several hosts or models are
    there, it is said which one `latest` is.

    Raises:
        BadInput: there is no such run; the message lists what there is.
    """
    if word == LATEST and (host or model):
        newest = [run for run in _by_age(runs_dir) if _fits(run, host, model)]
        if not newest:
            of = " and ".join(
                f"{name} {value}" for name, value in (("model", model), ("host", host)) if value
            )
            raise BadInput(f"there is no run of {of}; {_what_there_is(runs_dir)}")
        return Found(newest[0], f"latest is {newest[0].run_id}")
    for path in (runs_dir / word, Path(word)):
        if (path / "manifest.json").is_file():
            run = Run(path.resolve())
            if not _fits(run, host, model):
                raise BadInput(f"{run.run_id} is of another host or model than --host and --model say.")
            several = word == LATEST and any(_of(each) != _of(run) for each in _by_age(runs_dir))
            return Found(run, f"latest is {run.run_id}" if several else "")
    raise BadInput(f"there is no run '{word}'; {_what_there_is(runs_dir)}")


def _fits(run: Run, host: str | None, model: str | None) -> bool:
    model_of, host_of = _of(run) if host or model else ("", "")
    return host in (None, host_of) and model in (None, model_of)


def _of(run: Run) -> tuple[str, str]:
    """Return a run's model and host; of one that cannot be read nothing."""
    try:
        manifest = run.manifest()
    except AuditionError:
        return "", ""
    return manifest.model, manifest.host


def _by_age(runs_dir: Path) -> list[Run]:
    """Return the runs, newest first, by the time in their names."""
    found = [Run(p.parent) for p in runs_dir.glob("*/manifest.json") if not p.parent.is_symlink()]
    return sorted(found, key=lambda run: run.run_id.rpartition("-")[2], reverse=True)


def _what_there_is(runs_dir: Path) -> str:
    known = [run.run_id for run in _by_age(runs_dir)]
    if not known:
        return f"{runs_dir} has none (--runs-dir names another place)."
    more = f" and {len(known) - _LISTED} older" if len(known) > _LISTED else ""
    return f"{runs_dir} has, newest first: {', '.join(known[:_LISTED])}{more}."
