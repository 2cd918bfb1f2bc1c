"""The report for people outside: the same page with no clip in it."""

from pathlib import Path

from bench.controller.conclude import collect_evidence
from bench.report import render, view
from bench.storage.atomic import write_atomically
from bench.verdict.rule import decide

NAME = "report-for-sharing.html"


def write_without_clips(run_dir: Path) -> Path:
    """Write the report without any clip beside the whole one and return its path.

    Raises:
        BadInput, PhaseMissing: as `audition verdict`.
    """
    evidence = collect_evidence(run_dir)
    shown = view.build(run_dir, decide(evidence), evidence, revealed=True, with_clips=False)
    write_atomically(run_dir / NAME, render(shown).encode())
    return run_dir / NAME
