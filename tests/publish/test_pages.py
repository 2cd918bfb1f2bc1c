"""What a survey's record says of a rated run, and the owner's pages that are brought up to date at its end."""

import json
from pathlib import Path

from bench.controller import surveys
from bench.controller.run import Run
from tests.publish.build import change_manifest, decide, rate


def test_figures_stand_beside_the_baselines_once_all_have_rated_and_not_before(unrated: Path) -> None:
    run_dir = unrated
    change_manifest(run_dir, chain=["espeak", "f5"])
    assert decide(run_dir) == "awaiting_ratings"
    silent = surveys.gather(Run(run_dir))
    assert (silent.models[0].place, silent.models[0].baseline, silent.models[0].difference) == (
        "waits",
        None,
        None,
    )
    assert "score" not in json.dumps([gate.model_dump() for gate in silent.models[0].gates])

    rate(run_dir)
    assert decide(run_dir) == "keep_baseline_try_next"
    (espeak, f5) = surveys.gather(Run(run_dir)).models
    assert (f5.place, f5.run_id) == ("to_come", None)
    assert espeak.candidate is not None
    assert espeak.baseline is not None
    assert (espeak.candidate.score, espeak.baseline.score, espeak.difference, espeak.ratings) == (
        2.0,
        4.0,
        -2.0,
        10,
    )
    page = surveys.write(surveys.gather(Run(run_dir)), run_dir.parent).read_text()
    assert "−2 (−2 to −2)" in page.replace("\u00a0", " ")
