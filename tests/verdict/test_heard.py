"""Takes that nobody heard in time count, and whether the others can be listened to as they come is said first."""

from typing import Any

import pytest

from bench.records.listening import Unusable
from bench.records.run import Rule
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.verdict.rule import decide, verdict_bytes
from tests.support.made_evidence import evidence, failed_take, manifest, ratings, take, takes
from tests.verdict.test_rule import UNRATED, gate, stored

LATE: dict[str, Any] = {
    "rtf": 5.2,
    "stalls": 7,
    "stall_ms": 21000.0,
    "start_buffer_ms": 20500.0,
    "ttfa_audible_ms": 470.0,
}


def of_many(candidate: list[Take], count: int, **changes: Any) -> Verdict:
    """Ten pairs are rated of a pass of `count`, those that the candidate spoke."""
    spoken = [each.utterance_id for each in candidate if each.error is None and not each.warmup]
    rated = changes.pop("ratings", ratings([1] * 10))
    rated.utterances = spoken[:10]
    for row, name in zip(rated.answers, rated.utterances, strict=False):
        row.utterance_id = name
    given = {"manifest": manifest(utterances=count), "baseline": takes(count), **changes}
    return decide(evidence(candidate=candidate, ratings=rated, **given))


def some_failed(failed: int, count: int, **changes: Any) -> list[Take]:
    return [failed_take(n) if n <= failed else take(n, **changes) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("failed", "count", "swaps", "p50"),
    [(26, 36, False, None), (10, 20, False, None), (9, 20, True, 319.5), (10, 21, True, 321.0), (1, 31, True, 317.0)],
)  # fmt: skip
def test_a_take_that_failed_was_never_heard(failed: int, count: int, swaps: bool, p50: float | None) -> None:
    """Infinite in the median: of 20 with 10 failed it is the mean of a figure and of infinity."""
    verdict = of_many(some_failed(failed, count), count)
    assert (verdict.decision == "swap_candidate") is swaps
    assert (gate(verdict, "ttfa_p50_ms").value, gate(verdict, "ttfa_p50_ms").passed) == (p50, swaps)
    summary = verdict.latency["candidate"].figure("ttfa_ms")
    assert summary is not None
    assert (summary.n, len(summary.values), summary.p50) == (count, count - failed, p50)
    assert b"Infinity" not in verdict_bytes(verdict) and b"NaN" not in verdict_bytes(verdict)
    assert verdict.warnings[0].startswith(f"{failed} of {count} candidate takes failed")
    assert any("their median TTFA is infinite" in text for text in verdict.warnings) is not swaps
    assert ("f5's TTFA p50 is infinite (limit 500 ms)" in verdict.sentence) is not swaps


def test_takes_that_a_pass_did_not_come_to_failed_as_well() -> None:
    died = "benchmark was stopped: it was not done within 3600 s (pass_timeout_s)"
    verdict = of_many(takes(12), 40, candidate_error=died)
    assert verdict.decision == "keep_baseline_try_next"
    assert gate(verdict, "ttfa_p50_ms").value is None
    assert stored(verdict)["failures"]["candidate"]["never_made"] == 28
    assert verdict.warnings[0] == f"28 of 40 candidate takes were never made ({died}); they count as failed."
    whole = of_many(takes(40), 40)
    assert stored(whole)["failures"]["candidate"]["never_made"] == 0
    assert "never_made" not in stored(whole)["failures"]["baseline"]
    assert whole.warnings == []


def test_a_take_of_silence_was_not_heard_either() -> None:
    silent = [Unusable(side="candidate", utterance_id=f"u{n:02d}", reason="silent") for n in range(11, 31)]
    verdict = of_many(takes(30), 30, unusable=silent)
    assert gate(verdict, "ttfa_p50_ms").value is None
    assert verdict.decision == "keep_baseline_try_next"


@pytest.mark.parametrize(("limit", "swaps"), [(None, True), (4, True), (3, False), (0, False)])
def test_a_rule_may_limit_failed_takes(limit: int | None, swaps: bool) -> None:
    committed = manifest(rule=Rule(failed_takes_limit=limit), utterances=30)
    verdict = of_many(some_failed(4, 30), 30, manifest=committed)
    assert (verdict.decision == "swap_candidate") is swaps
    assert [found.value for found in verdict.gates if found.name == "failed_takes"] == (
        [] if limit is None else [4.0]
    )
    if not swaps:
        assert f"its number of failed takes is 4 (limit {limit})" in verdict.sentence.replace("f5's", "its")
    waiting = decide(
        evidence(
            manifest=committed, candidate=some_failed(4, 30), baseline=takes(30),
            ratings=UNRATED.model_copy(update={"utterances": [f"u{n:02d}" for n in range(5, 15)]}),
        )
    )  # fmt: skip
    shown = [(found.value, found.passed) for found in waiting.gates if found.name == "failed_takes"]
    assert shown == ([] if limit is None else [(4.0, swaps)])
    assert ("number of failed takes is 4" in waiting.sentence) is not swaps


def test_the_rules_two_conditions_stay_two() -> None:
    """Stalls of 21 s and speech five times too slow fail nothing unless the rule file says so."""
    verdict = decide(evidence(candidate=takes(**LATE), preflight_warnings=["The baseline is far away."]))
    assert verdict.decision == "swap_candidate"
    assert verdict.warnings[1:] == ["The baseline is far away."]
    assert not {found.name for found in verdict.gates} & {
        "rtf_p50",
        "stall_ms",
        "ttfa_audible_p50_ms",
        "failed_takes",
    }
    assert verdict.warnings[0] == (
        "Playing f5 as it comes: 10 of 10 takes are slower than speech (real-time factor p50 5.2); 10 of 10 stall when "
        "played as they come (p50 21000 ms, most 21000 ms); a start buffer of 20500 ms would avoid every stall; the "
        "p50 of the first audible sample is 470 ms."
    )
    assert not any(text.startswith("Playing") for text in decide(evidence()).warnings)


def test_a_median_of_takes_that_were_never_heard_is_not_said_to_be_unknown() -> None:
    verdict = of_many(some_failed(20, 30, **LATE), 30)
    assert stored(verdict)["playability"]["candidate"]["rtf_p50"] is None
    (said,) = [text for text in verdict.warnings if text.startswith("Playing")]
    assert "real-time factor p50 infinite, for so many takes were never heard" in said
    unknown = decide(evidence(candidate=takes(**LATE | {"ttfa_audible_ms": None})))
    assert unknown.warnings[0].endswith("the p50 of the first audible sample is not known.")


def test_playability_of_both_sides_is_beside_the_gates() -> None:
    rows = takes()
    rows[3] = take(3, rtf=1.5, stalls=1, stall_ms=300.0, start_buffer_ms=250.0)
    found = stored(decide(evidence(candidate=rows)))["playability"]
    assert set(found) == {"candidate", "baseline"}
    assert found["candidate"] == {
        "takes": 10, "never_heard": 0, "rtf_p50": 0.4, "slower_than_speech": 1, "stalled": 1, "stall_ms_p50": 0.0,
        "stall_ms_most": 300.0, "start_buffer_ms_most": 250.0, "ttfa_audible_ms_p50": 355.5,
    }  # fmt: skip
    assert found["baseline"]["slower_than_speech"] == 0


@pytest.mark.parametrize(
    ("key", "limit", "name", "value", "changes"),
    [
        ("rtf_limit", 1.0, "rtf_p50", 5.2, {"rtf": 5.2}),
        ("rtf_limit", 1.0, "rtf_p50", None, {"rtf": None}),
        ("stall_ms_limit", 0.0, "stall_ms", 21000.0, {"stall_ms": 21000.0}),
        ("stall_ms_limit", 20.0, "stall_ms", None, {"stall_ms": None}),
        ("ttfa_audible_p50_limit_ms", 500.0, "ttfa_audible_p50_ms", 500.5, {"ttfa_audible_ms": 500.5}),
    ],
)
def test_a_rule_file_may_make_each_a_gate(
    key: str, limit: float, name: str, value: float | None, changes: dict[str, Any]
) -> None:
    committed = manifest(rule=Rule.model_validate({key: limit}))
    passed = decide(evidence(manifest=committed))
    assert (passed.decision, gate(passed, name).passed) == ("swap_candidate", True)
    failed = decide(evidence(manifest=committed, candidate=takes(**changes)))
    assert (failed.decision, failed.reason) == ("keep_baseline_try_next", "rule")
    assert (gate(failed, name).value, gate(failed, name).limit, gate(failed, name).passed) == (
        value,
        limit,
        False,
    )
    assert f"(limit {limit:g}" in failed.sentence
    waiting = decide(evidence(manifest=committed, candidate=takes(**changes), ratings=UNRATED))
    assert (gate(waiting, name).value, gate(waiting, name).passed) == (None, False)


def test_one_take_that_stalls_fails_the_gate_of_stalls_and_no_median_hides_it() -> None:
    rows = takes()
    rows[-1] = take(10, stall_ms=900.0)
    verdict = decide(evidence(manifest=manifest(rule=Rule(stall_ms_limit=800.0)), candidate=rows))
    assert verdict.decision == "keep_baseline_try_next"


def test_the_other_profiles_are_not_named_where_another_gate_failed_too() -> None:
    entry = {"name": "f5", "title": "F5-TTS", "profiles": {"upstream": {}, "quick": {}}}
    for rule, named in ((Rule(), True), (Rule(rtf_limit=0.1), False)):
        found = decide(evidence(manifest=manifest(entry=entry, rule=rule), candidate=takes(ttfa_ms=900.0)))
        assert any("only the TTFA gate failed" in text for text in found.warnings) is named


def test_nothing_of_playability_before_every_rater_has_finished() -> None:
    found = decide(evidence(candidate=takes(**LATE), ratings=UNRATED))
    assert found.playability == {}
    assert "21000" not in verdict_bytes(found).decode() and "20500" not in verdict_bytes(found).decode()


def test_a_limit_within_an_interval_that_reaches_infinity_is_warned_of() -> None:
    rows = [failed_take(n) if n <= 9 else take(n, ttfa_ms=480.0) for n in range(1, 20)]
    verdict = of_many(rows, 19)
    assert gate(verdict, "ttfa_p50_ms").value == 480.0
    assert any("(480.0 to inf ms)" in text for text in verdict.warnings)


def test_a_run_of_method_3_takes_the_median_of_the_valid_takes_as_before() -> None:
    verdict = of_many(
        some_failed(26, 36, **LATE), 36, manifest=manifest(utterances=36, methodology_version=3)
    )
    assert verdict.decision == "swap_candidate"
    assert gate(verdict, "ttfa_p50_ms").value == 331.5
    assert "playability" not in stored(verdict)
    assert not any(text.startswith("Playing") for text in verdict.warnings)
