"""Every decision, label and reason; every gate at its edge; every attempt at deciding by other means."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BadInput, PhaseMissing
from bench.records.listening import Unusable
from bench.records.run import Rule
from bench.records.take import Take
from bench.records.verdict import Gate, Verdict
from bench.storage.record_file import save_record
from bench.verdict.evidence import Evidence, InstallOutcome
from bench.verdict.methods import METHODOLOGY_VERSION
from bench.verdict.rule import decide, verdict_bytes
from tests.support.made_evidence import (
    answer,
    evidence,
    failed_take,
    manifest,
    neighbour,
    ratings,
    take,
    takes,
)
from tests.support.records import comparison, memory_report, window

UNRATED = ratings([], raters={})
"""Sealed, and nobody has been asked yet."""


def gate(verdict: Verdict, name: str) -> Gate:
    return next(found for found in verdict.gates if found.name == name)


def stored(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as its file has it."""
    found: dict[str, Any] = json.loads(verdict_bytes(verdict))
    return found


def test_swap_when_both_gates_pass() -> None:
    verdict = decide(evidence())
    assert (verdict.decision, verdict.label, verdict.reason) == (
        "swap_candidate", "swap_chatterbox_for_f5", "rule",
    )  # fmt: skip
    assert all(found.passed for found in verdict.gates)
    assert verdict.sentence == (
        "Swap chatterbox for f5: its mean score is 1 above chatterbox's (+1.00 on average over 10 ratings, "
        "+0.5 needed) and its TTFA p50 is 305.5 ms (limit 500 ms)."
    )
    assert verdict.next.model is None


def test_keep_and_try_the_next_of_the_chain() -> None:
    verdict = decide(evidence(ratings=ratings([0] * 10)))
    assert (verdict.decision, verdict.label, verdict.reason) == (
        "keep_baseline_try_next", "keep_chatterbox_try_cosyvoice2", "rule",
    )  # fmt: skip
    assert verdict.next.model == "cosyvoice2"
    assert verdict.next.commands == ["ansible-playbook site.yml -e model=cosyvoice2"]


@pytest.mark.parametrize("chain", [("f5",), ("cosyvoice2", "f5"), ("cosyvoice2",), ()])
def test_survey_complete_where_nothing_follows(chain: tuple[str, ...]) -> None:
    verdict = decide(evidence(manifest=manifest(chain=chain), ratings=ratings([0] * 10)))
    assert (verdict.decision, verdict.label) == (
        "keep_baseline_survey_complete", "keep_chatterbox_survey_complete",
    )  # fmt: skip
    assert verdict.next.model is None
    assert verdict.next.commands == []


@pytest.mark.parametrize(
    ("differences", "swaps"),
    [([1] * 5 + [0] * 5, True), ([1] * 4 + [0] * 6, False), ([4, 4] + [0] * 7 + [-3], True)],
)
def test_an_exact_tie_with_the_margin_swaps(differences: list[int], swaps: bool) -> None:
    verdict = decide(evidence(ratings=ratings(differences)))
    assert (verdict.decision == "swap_candidate") is swaps
    assert gate(verdict, "rating_margin").value == sum(differences) / 10
    assert gate(verdict, "rating_margin").limit == 0.5


@pytest.mark.parametrize("pairs", [12, 30])
def test_the_margin_is_exact_where_floats_are_not(pairs: int) -> None:
    """65 against 50 over 30 pairs is the fact page's case: 65/30 >= 50/30 + 0.5 is false in floats."""
    assert not 65 / 30 >= 50 / 30 + 0.5
    differences = [1] * (pairs // 2) + [0] * (pairs - pairs // 2)
    many = takes(pairs)
    verdict = decide(
        evidence(
            manifest=manifest(rule=Rule(pairs=pairs), utterances=pairs),
            candidate=many,
            baseline=many,
            ratings=ratings(differences, pairs=pairs),
        )
    )
    assert verdict.decision == "swap_candidate"


@pytest.mark.parametrize(("p50", "swaps"), [(499.99, True), (500.0, True), (500.01, False), (None, False)])
def test_ttfa_at_its_limit_and_null(p50: float | None, swaps: bool) -> None:
    verdict = decide(evidence(candidate=takes(ttfa_ms=p50)))
    assert (verdict.decision == "swap_candidate") is swaps
    assert gate(verdict, "ttfa_p50_ms").value == p50
    assert gate(verdict, "ttfa_p50_ms").passed is swaps


def test_ttfa_of_an_even_number_is_the_mean_of_the_middle_two_and_leaves_warmups_out() -> None:
    candidate = [take(1, warmup=True, ttfa_ms=1.0)] + [
        take(n, ttfa_ms=ms)
        for n, ms in enumerate([100, 100, 100, 100, 400, 602, 900, 900, 900, 900], start=1)
    ]
    verdict = decide(evidence(candidate=candidate))
    assert gate(verdict, "ttfa_p50_ms").value == 501.0
    assert not gate(verdict, "ttfa_p50_ms").passed


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_one_take_without_ttfa_makes_the_median_null(value: float | None) -> None:
    candidate = takes()
    candidate[4].ttfa_ms = value
    verdict = decide(evidence(candidate=candidate))
    assert gate(verdict, "ttfa_p50_ms") == Gate(name="ttfa_p50_ms", value=None, limit=500.0, passed=False)
    assert verdict.decision == "keep_baseline_try_next"
    assert any("null" in warning for warning in verdict.warnings)


@pytest.mark.parametrize(
    ("ttfa_ms", "score", "said"), [(900.0, 1, True), (900.0, 0, False), (100.0, 1, False), (None, 1, False)]
)
def test_the_other_profiles_are_named_where_only_the_time_was_wanting(
    ttfa_ms: float | None, score: int, said: bool
) -> None:
    entry = {"name": "f5", "title": "F5-TTS", "profiles": {"upstream": {}, "quick": {}, "quicker": {}}}
    for committed, told in ((manifest(entry=entry), said), (manifest(), False)):
        verdict = decide(
            evidence(manifest=committed, candidate=takes(ttfa_ms=ttfa_ms), ratings=ratings([score] * 10))
        )
        hints = [warning for warning in verdict.warnings if "only the TTFA gate failed" in warning]
        assert [("has quick, quicker; each" in hint) for hint in hints] == ([True] if told else [])
        assert all(hint.endswith("ansible-playbook site.yml -e model=f5 -e profile=NAME") for hint in hints)


def test_audible_ttfa_that_says_otherwise_is_warned_of() -> None:
    said = "By the first audible sample the TTFA gate would fail"
    assert not any(said in warning for warning in decide(evidence()).warnings)
    verdict = decide(evidence(candidate=takes(ttfa_audible_ms=700.0)))
    assert any(said in warning for warning in verdict.warnings)
    assert verdict.decision == "swap_candidate"


@pytest.mark.parametrize(
    ("refused", "words"), [("licence", "does not allow personal use"), ("clone_encoder_withheld", "withheld")]
)
def test_early_refusals_need_nothing_else(refused: Any, words: str) -> None:
    verdict = decide(
        evidence(
            refused=refused,
            preflight_gates=[Gate(name="licence", value="cc-by-nc-4.0", limit="commercial", passed=False)],
            install=None, candidate=None, baseline=None, ratings=None, preset=None,
        )
    )  # fmt: skip
    assert (verdict.decision, verdict.reason) == ("keep_baseline_try_next", refused)
    assert words in verdict.sentence
    assert not verdict.gates[0].passed


def test_failed_installation() -> None:
    verdict = decide(
        evidence(install=InstallOutcome(ok=False, error="past 60 minutes"), candidate=None, ratings=None)
    )
    assert (verdict.decision, verdict.reason) == ("keep_baseline_try_next", "install_failed")
    assert gate(verdict, "install").value == "past 60 minutes"


@pytest.mark.parametrize(
    "bad",
    [failed_take(10), take(10, audio_s=0.0), take(10, audio_s=float("nan")), take(10, audio_s=None),
     take(10, wav=None), take(10, sha256=None), take(9), take(10, warmup=True)],
)  # fmt: skip
def test_nine_valid_takes_of_ten_is_synthesis_failed(bad: Any) -> None:
    verdict = decide(evidence(candidate=[*takes(9), bad]))
    assert (verdict.decision, verdict.reason) == ("keep_baseline_try_next", "synthesis_failed")
    assert gate(verdict, "valid_candidate_takes").value == 9


def test_a_benchmark_that_failed_without_a_take_is_synthesis_failed() -> None:
    verdict = decide(evidence(candidate=None, candidate_error="engine died"))
    assert verdict.reason == "synthesis_failed"
    assert stored(verdict)["failures"]["candidate"]["pass_error"] == "engine died"


@pytest.mark.parametrize("baseline", [None, [], [*takes(9), failed_take(10)], takes(9)])
def test_a_missing_baseline_take_is_awaited(baseline: Any) -> None:
    verdict = decide(evidence(baseline=baseline, baseline_error="connection refused"))
    assert (verdict.decision, verdict.label, verdict.reason) == (
        "awaiting_baseline", "awaiting_baseline", None,
    )  # fmt: skip
    assert verdict.next.model == "f5"
    assert verdict.next.commands == [
        "ansible-playbook site.yml -e model=f5 -e run_id=f5-titan-20261122T101500Z "
        "--tags baseline,score,verdict"
    ]


FOUR = manifest(rule=Rule(pairs=4), utterances=5)


def of_four(**changes: Any) -> Evidence:
    rated = ratings([1] * 4, pairs=4, answers=[answer(n, 5, 4) for n in (2, 3, 4, 5)])
    rated.utterances = ["u02", "u03", "u04", "u05"]
    values = {"candidate": takes(5), "baseline": takes(5), "ratings": rated}
    return evidence(manifest=FOUR, **{**values, **changes})


def without_first() -> list[Take]:
    return [failed_take(1), *(take(n) for n in (2, 3, 4, 5))]


@pytest.mark.parametrize(
    "changes",
    [
        {"candidate": without_first()},
        {"baseline": without_first()},
        {"unusable": [Unusable(side="baseline", utterance_id="u01", reason="u01.wav is silent")]},
    ],
)
def test_a_spare_sentence_takes_the_place_of_a_failed_one_and_it_is_said(changes: dict[str, Any]) -> None:
    verdict = decide(of_four(**changes))
    assert verdict.decision == "swap_candidate"
    assert any(warning.startswith("u01 could not be rated") for warning in verdict.warnings)
    assert any("1 of 5" in warning and warning.endswith("takes failed: u01.") for warning in verdict.warnings)


def test_an_unusable_take_is_no_valid_take() -> None:
    silent = [Unusable(side="candidate", utterance_id="u03", reason="u03.wav is silent")]
    verdict = decide(evidence(unusable=silent, ratings=None))
    assert verdict.reason == "synthesis_failed"
    assert stored(verdict)["failures"]["candidate"]["failed"] == [
        {"utterance_id": "u03", "kind": "unusable", "message": "u03.wav is silent"}
    ]
    other = [Unusable(side="baseline", utterance_id="u03", reason="u03.wav is silent")]
    waiting = decide(evidence(unusable=other, ratings=None))
    assert waiting.decision == "awaiting_baseline"
    assert "no valid take of u03" in waiting.sentence


def test_other_sentences_than_were_sealed_are_refused() -> None:
    with pytest.raises(BadInput, match=r"sealed \(u01, u05\)"):
        decide(of_four())


@pytest.mark.parametrize("error", [None, "The processed clips still give their side away by loudness"])
def test_without_a_seal_the_phase_to_run_is_named_and_nobody_is_sent_to_rate(error: str | None) -> None:
    with pytest.raises(PhaseMissing, match="--tags score") as caught:
        decide(evidence(ratings=None, score_error=error))
    assert (error or "no sealed pairs") in str(caught.value)


def test_damage_to_the_ratings_is_said_where_the_verdict_is_read() -> None:
    notice = "The ratings' database was damaged."
    for rated in (ratings([1] * 10), UNRATED):
        verdict = decide(evidence(ratings=rated.model_copy(update={"notices": [notice]})))
        assert notice in verdict.warnings


def test_a_broken_seal_is_refused_before_takes_are_counted() -> None:
    broken = ratings([1] * 10, mapping_intact=False, notices=["mapping.sha256 is gone"])
    with pytest.raises(BadInput, match=r"mapping\.sha256 is gone"):
        decide(evidence(ratings=broken, candidate=takes(4)))


def test_takes_at_a_second_attempt_are_counted_and_named() -> None:
    candidate = takes()
    candidate[3].note = "asked again after http_503 and Retry-After of 1 s"
    verdict = decide(evidence(candidate=candidate))
    assert stored(verdict)["failures"]["candidate"]["noted"] == [
        {"utterance_id": "u03", "note": candidate[3].note}
    ]
    assert "1 of 10 candidate takes were made at a second attempt: u03." in verdict.warnings


def test_the_hidden_reference_is_reported_and_a_strange_answer_warned_of() -> None:
    knows = ratings(
        [1] * 10, extra=[answer(3, 5, 2, kind="anchor"), answer(4, 4, 3, kind="anchor", rater="owner")]
    )
    figures = {"trials": 2, "reference_higher": 2, "reference_mean": 4.5, "take_mean": 2.5}
    verdict = decide(evidence(ratings=knows))
    assert stored(verdict)["ratings"]["anchor"] == figures, "an attention check"
    hidden = decide(evidence(ratings=knows.model_copy(update={"hidden_reference": True})))
    assert stored(hidden)["ratings"]["anchor"] == figures | {"hidden_reference": True}
    assert not any("no higher than the take" in text for text in [*verdict.warnings, *hidden.warnings])
    strange = ratings([1] * 10, extra=[answer(3, 2, 2, kind="anchor")])
    warned = "was scored no higher than the take beside it in 1 of 1"
    (said,) = [text for text in decide(evidence(ratings=strange)).warnings if warned in text]
    assert said.startswith("In the attention check the reference itself") and "speaker" not in said
    strange.hidden_reference = True
    (said,) = [text for text in decide(evidence(ratings=strange)).warnings if warned in text]
    assert said.startswith("The hidden reference") and "attention" not in said
    assert stored(decide(evidence()))["ratings"]["anchor"]["reference_mean"] is None


@pytest.mark.parametrize("rated", [0, 1, 9])
@pytest.mark.parametrize("state", ["started", "finished"])
def test_too_few_ratings_are_awaited(rated: int, state: Any) -> None:
    verdict = decide(evidence(ratings=ratings([4] * rated, pairs=10, state=state)))
    assert (verdict.decision, verdict.label, verdict.reason) == ("awaiting_ratings", "awaiting_ratings", None)
    assert verdict.next.commands == [
        "audition rate f5-titan-20261122T101500Z",
        "audition verdict f5-titan-20261122T101500Z",
    ]
    assert gate(verdict, "rating_margin") == Gate(name="rating_margin", value=None, limit=0.5, passed=False)


def test_ten_rated_but_not_submitted_as_finished_is_awaited() -> None:
    assert decide(evidence(ratings=ratings([1] * 10, state="started"))).decision == "awaiting_ratings"


def test_nobody_asked_yet_is_awaited() -> None:
    assert decide(evidence(ratings=ratings([], raters={}))).decision == "awaiting_ratings"


def test_one_of_two_raters_still_rating_is_awaited() -> None:
    two = ratings({"ann": [1] * 10, "bob": [1] * 10}, raters={"ann": "finished", "bob": "invited"})
    verdict = decide(evidence(ratings=two))
    assert verdict.decision == "awaiting_ratings"
    assert "bob to finish rating" in verdict.sentence


def test_fewer_raters_than_the_rule_asks_for_is_awaited() -> None:
    verdict = decide(evidence(manifest=manifest(rule=Rule(minimum_raters=3))))
    assert verdict.decision == "awaiting_ratings"
    assert "2 more raters" in verdict.sentence


def test_a_ttfa_gate_that_has_failed_is_shown_while_ratings_are_awaited() -> None:
    verdict = decide(evidence(candidate=takes(ttfa_ms=900.0), ratings=UNRATED))
    assert verdict.decision == "awaiting_ratings"
    assert gate(verdict, "ttfa_p50_ms") == Gate(name="ttfa_p50_ms", value=900.0, limit=500.0, passed=False)
    assert "TTFA gate has already failed" in verdict.sentence


def test_ratings_in_another_channel_do_not_count() -> None:
    phone = [answer(n, 1, 5, channel="narrowband") for n in range(1, 11)]
    verdict = decide(evidence(ratings=ratings([1] * 10, extra=phone)))
    assert verdict.decision == "swap_candidate"
    assert stored(verdict)["ratings"]["other_channels"] == {"narrowband": {"n": 10, "mean_difference": -4.0}}
    assert any("narrowband channel the rating gate would say otherwise" in w for w in verdict.warnings)
    noted = decide(
        evidence(ratings=ratings([1] * 10, extra=phone), preflight_warnings=["disk: a note"])
    ).warnings
    assert ["narrowband" in noted[0], noted[-1]] == [True, "disk: a note"], "first what the decision hangs on"
    only_phone = evidence(manifest=manifest(rule=Rule(channel="narrowband")))
    assert decide(only_phone).decision == "awaiting_ratings"


def test_repeats_traps_and_anchors_do_not_count() -> None:
    extra = [
        answer(1, 1, 5, kind="repeat"),
        answer(2, 1, 5, kind="identical"),
        answer(3, 1, 5, kind="anchor"),
    ]
    verdict = decide(evidence(ratings=ratings([1] * 5 + [0] * 5, extra=extra)))
    assert verdict.decision == "swap_candidate"
    assert stored(verdict)["ratings"]["n"] == 10
    assert stored(verdict)["ratings"]["repeats"] == {
        "scores": 2,
        "exact": 0.0,
        "mean_absolute_difference": 2.5,
    }
    assert stored(verdict)["ratings"]["identical"]["scored_equal"] == 0


def test_a_broken_seal_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot be unsealed"):
        decide(evidence(ratings=ratings([1] * 10, mapping_intact=False)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question_sha256": "0" * 64}, "another question"),
        ({"pairs": 9}, "has 9 pairs"),
        ({"raters": {"ann": "finished"}}, "nobody invited: owner"),
        ({"answers": [answer(11, 5, 1)]}, "sentences that were not sealed: u11"),
        ({"answers": [answer(1, 5, 1), answer(1, 5, 1)]}, "two answers to u01"),
    ],
)
def test_ratings_that_are_not_of_this_test_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        decide(evidence(ratings=ratings([1] * 10, **change)))


def test_a_rule_with_more_pairs_than_sentences_is_refused() -> None:
    with pytest.raises(BadInput, match="only 9 utterances"):
        decide(evidence(manifest=manifest(utterances=9)))


@pytest.mark.parametrize(("install", "phase"), [(InstallOutcome(ok=True), "benchmark"), (None, "install")])
def test_a_phase_that_was_not_run_is_named(install: Any, phase: str) -> None:
    with pytest.raises(PhaseMissing, match=f"--tags {phase}"):
        decide(evidence(install=install, candidate=None))


def test_neighbour_drift_is_recorded_and_warned_of_and_decides_nothing() -> None:
    verdict = decide(evidence(neighbour=neighbour(after={"p50_ms": 130.0})))
    assert verdict.decision == "swap_candidate"
    assert stored(verdict)["neighbour"]["ratio"] == pytest.approx(1.3)
    assert any("1.30x, limit 1.2x" in warning for warning in verdict.warnings)


def test_nothing_of_one_sides_sound_before_the_reveal() -> None:
    secret = evidence(
        ratings=ratings([1] * 9, pairs=10, state="started"),
        memory=memory_report(windows=[window(name="candidate", audio_s=71.25, joules_per_audio_s=1.5)]),
        metrics=comparison(candidate_f0_drift_median_semitones=123.456),
        candidate=takes(streamed=False, audio_s=7.125, ttfa_audible_ms=700.0),
        preset=takes(streamed=False),
        baseline=takes(streamed=False),
    )
    found = decide(secret)
    assert set(found.latency) == {"candidate"}
    text = re.sub(r'"\w*audio_s": null', "", verdict_bytes(found).decode())
    assert "audible" not in text
    for key in (
        "audio_s",
        "total_ms",
        "ttfa_audible_ms",
        "f0_",
        "123.456",
        "71.25",
        "7.125",
        "candidate_mean",
        '"rtf"',
    ):
        assert key not in text
    assert '"ttfa_ms"' in text
    assert '"rtf"' in verdict_bytes(decide(evidence(ratings=UNRATED))).decode()


def test_power_of_the_design_is_known_before_the_ratings_are() -> None:
    verdict = decide(evidence(ratings=UNRATED))
    assert stored(verdict)["ratings"]["power"][0]["passes_at_gap"]["0"] == pytest.approx(0.175, abs=0.006)


def test_same_evidence_same_bytes_whatever_the_order_of_the_answers() -> None:
    mixed = ratings([1, 0, 2, -1, 1, 1, 0, 0, 2, 1])
    turned = mixed.model_copy(update={"answers": mixed.answers[::-1]})
    first = verdict_bytes(decide(evidence(ratings=mixed)))
    assert first == verdict_bytes(decide(evidence(ratings=mixed)))
    assert first == verdict_bytes(decide(evidence(ratings=turned)))
    assert json.loads(first)["methodology_version"] == METHODOLOGY_VERSION


def test_saved_bytes_are_the_verdicts_bytes(tmp_path: Any) -> None:
    verdict = decide(evidence())
    save_record(verdict, tmp_path)
    assert (tmp_path / "verdict.json").read_bytes() == verdict_bytes(verdict)


@settings(max_examples=50)
@given(st.lists(st.integers(-4, 4), min_size=10, max_size=10), st.integers(0, 40))
def test_swap_exactly_when_the_integers_say_so(differences: list[int], margin: int) -> None:
    verdict = decide(
        evidence(manifest=manifest(rule=Rule(rating_margin_tenths=margin)), ratings=ratings(differences))
    )
    assert (verdict.decision == "swap_candidate") is (10 * sum(differences) >= margin * 10)


@settings(max_examples=50)
@given(
    st.sampled_from([None, [], takes(9), takes()]),
    st.sampled_from([UNRATED, ratings([1] * 10), ratings([0] * 10), ratings([1] * 9, pairs=10)]),
    st.sampled_from([None, 100.0, 900.0]),
)
def test_no_swap_without_every_gate_passed(baseline: Any, rated: Any, ttfa: float | None) -> None:
    verdict = decide(evidence(baseline=baseline, ratings=rated, candidate=takes(ttfa_ms=ttfa)))
    if verdict.decision == "swap_candidate":
        assert all(found.passed and found.value is not None for found in verdict.gates)
    elif verdict.reason == "rule":
        assert not all(found.passed for found in verdict.gates)
    else:
        assert verdict.decision.startswith("awaiting")
