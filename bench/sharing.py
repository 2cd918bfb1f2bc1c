"""The report for people outside: the same page with no clip in it."""

from pathlib import Path

from bench.listening import results
from bench.records import Ratings, sha256_file, write_atomically
from bench.report import render, view
from bench.verdict.collect import collect
from bench.verdict.rule import decide

NAME = "report-for-sharing.html"


def write_without_clips(run_dir: Path) -> Path:
    """Write the report without any clip beside the whole one and return its path.

    Raises:
        BadInput, PhaseMissing: as `audition verdict`.
    """
    ratings: Ratings | None
    try:
        ratings = results.ratings(run_dir)
    except FileNotFoundError:
        ratings = None
    evidence = collect(run_dir, rule_sha256=sha256_file(run_dir / "rule.yml"), ratings=ratings)
    shown = view.build(run_dir, decide(evidence), evidence, revealed=True, with_clips=False)
    write_atomically(run_dir / NAME, render(shown).encode())
    return run_dir / NAME
