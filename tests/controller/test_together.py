"""What is said of candidates that are judged side by side."""

from pathlib import Path
from typing import Any

import pytest

from bench.controller import conclude, prepare, surveys
from bench.controller.request import RunRequest
from bench.controller.together import judge_together, label_together, sum_up_together
from bench.errors import BadInput
from bench.inputs import demo_reference
from bench.records.run import Choice, Manifest
from bench.records.survey import Surveyed
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from bench.verdict.power import pass_probability
from tests.controller.test_surveys import begin, fail_to_install, refuse
from tests.support import made_evidence

MODELS = ("f5", "cosyvoice2", "hibari")


def manifest(choice: Choice | None = None) -> Manifest:
    made = made_evidence.manifest(chain=MODELS)
    return made.model_copy(
        update={"inputs": made.inputs.model_copy(update={"together": True, "choice": choice})}
    )


def surveyed(model: str, difference: float | None, *, swap: bool = False, waits: bool = False) -> Surveyed:
    values: dict[str, Any] = dict.fromkeys(Surveyed.model_fields)
    decision = "awaiting_ratings" if waits else "swap_candidate" if swap else "keep_baseline_survey_complete"
    values |= {
        "model": model, "title": model, "place": "waits" if waits else "decided", "gates": [], "decision": decision,
        "reason": None if waits else "rule", "sentence": f"Of {model}.", "difference": difference,
        "ratings": None if difference is None else 20,
    }  # fmt: skip
    return Surveyed.model_validate(values)


def judge(models: list[Surveyed], choice: Choice | None = None) -> tuple[dict[str, Any], str]:
    found = judge_together(manifest(choice), models)
    return found, sum_up_together(manifest(choice), models, found)


def test_several_that_pass_are_all_named_and_none_is_chosen() -> None:
    models = [surveyed("f5", 0.6, swap=True), surveyed("cosyvoice2", 0.1), surveyed("hibari", 1.2, swap=True)]
    found, said = judge(models)
    assert found["passed"] == ["f5", "hibari"] and "chosen" not in found
    assert said.startswith(
        "Each of f5, hibari may take chatterbox's place: no choice was committed to beforehand. Of f5."
    )
    assert label_together("chatterbox", found) == "swap_chatterbox_for_f5_or_hibari"
    found, said = judge(models, "highest_mean")
    assert found["chosen"] == "hibari"
    assert label_together("chatterbox", found) == "swap_chatterbox_for_hibari"
    assert said.startswith("Swap chatterbox for hibari: its mean is the highest of f5, hibari.")


def test_one_none_and_not_yet() -> None:
    found, said = judge(
        [surveyed("f5", 0.6, swap=True), surveyed("cosyvoice2", 0.1), surveyed("hibari", 0.2)]
    )
    assert found["passed"] == ["f5"] and said.startswith("Swap chatterbox for f5: it alone passes.")
    found, said = judge([surveyed(model, 0.1) for model in MODELS], "highest_mean")
    assert found["passed"] == [] and "chosen" not in found and label_together("chatterbox", found) is None
    assert said.startswith("Keep chatterbox: none of f5, cosyvoice2, hibari passes.")
    found, said = judge(
        [surveyed("f5", None, waits=True), surveyed("cosyvoice2", 0.1), surveyed("hibari", 0.1)]
    )
    assert "passed" not in found
    assert said.startswith("Not decided yet: f5.")


def test_the_chance_that_one_passes_by_luck_is_the_sum_of_the_single_ones() -> None:
    rated = [surveyed(model, 0.1) for model in MODELS]
    refused = surveyed("voxtral", None).model_copy(update={"reason": "licence"})
    found, said = judge([*rated, refused])
    single = max(pass_probability(gap=0.0, sd=sd, pairs=10, raters=2, margin_tenths=5) for sd in (0.8, 1.0))
    assert found["false_pass_at_most"] == pytest.approx(3 * single, abs=1e-4)
    assert "if chatterbox were as good as each of f5, cosyvoice2, hibari, the chance" in said
    assert f"at least one of them passes the rating gate would be {300 * single:.1f}% at most" in said
    found, said = judge([refused])
    assert found["false_pass_at_most"] == 0 and said.endswith("No candidate came to be rated.")


@pytest.fixture
def asked(tmp_path: Path) -> RunRequest:
    audio, transcript, rights = demo_reference.make(tmp_path / "reference")
    return RunRequest(
        runs_dir=tmp_path / "runs", host="titan", model="f5", baseline="chatterbox", baseline_url="http://127.0.0.1:1",
        chain=["f5", "cosyvoice2"], reference_audio=audio, reference_transcript=transcript, reference_rights=rights,
        together=True,
    )  # fmt: skip


def test_a_run_is_judged_by_itself_and_the_survey_when_all_are(asked: RunRequest) -> None:
    verdict = refuse(asked)
    assert verdict.decision == "keep_baseline_survey_complete" and verdict.next.commands == []
    assert verdict.sentence.startswith("Keep chatterbox rather than f5: f5's licence does not allow")
    second = asked.model_copy(update={"model": "cosyvoice2"})
    run = begin(second)
    assert load_record(Manifest, run.path).carried is None
    found = surveys.gather(run)
    assert (found.together, found.complete, found.passed) == (True, False, None)
    assert "rated in one sitting" in surveys.write(found, asked.runs_dir).read_text("utf-8")
    failed = fail_to_install(second)
    found = surveys.gather(failed)
    assert (found.complete, found.passed) == (True, [])
    assert "Keep chatterbox rather than cosyvoice2" in load_record(Verdict, failed.path).sentence


def test_other_runs_are_meant_by_a_chain_and_by_candidates_side_by_side(asked: RunRequest) -> None:
    apart = asked.model_copy(update={"together": False})
    hashes = {
        prepare.commit(each).inputs_sha256
        for each in (asked, apart, asked.model_copy(update={"choice": "highest_mean"}))
    }
    assert len(hashes) == 3
    with pytest.raises(BadInput, match="set together: true"):
        prepare.commit(apart.model_copy(update={"choice": "highest_mean"}))


def test_a_run_of_several_is_not_sealed_by_itself(asked: RunRequest) -> None:
    with pytest.raises(BadInput, match="`audition survey` seals"):
        conclude.score_run(begin(asked))
