"""The line beside the verdict: what it would be without raters who failed a control."""

from collections.abc import Sequence
from typing import Any

import pytest

from bench.records.listening import Answer
from bench.records.run import Rule
from bench.records.verdict import RatingsResult, Verdict
from bench.verdict.controls import failed_controls, spell_controls
from bench.verdict.rule import decide
from tests.support.made_evidence import answer, evidence, manifest, ratings, takes
from tests.verdict.test_rule import UNRATED, gate, stored


def controls(rater: str, *, same: tuple[int, int] = (3, 3), known: tuple[int, int] = (5, 2)) -> list[Answer]:
    return [answer(1, *same, rater=rater, kind="identical"), answer(2, *known, rater=rater, kind="anchor")]


def rated(rows: dict[str, Sequence[int]], *extra: Answer, **changes: Any) -> Verdict:
    return decide(evidence(ratings=ratings(rows, extra=extra), **changes))


def found_of(verdict: Verdict) -> Any:
    assert isinstance(verdict.ratings, RatingsResult) and verdict.ratings.controls is not None
    return verdict.ratings.controls


@pytest.mark.parametrize(
    ("same", "known", "fails"),
    [
        ((3, 3), (5, 2), 0), ((4, 3), (5, 2), 1), ((1, 5), (4, 2), 1), ((3, 3), (5, 5), 0), ((3, 3), (4, 4), 1),
        ((3, 3), (2, 4), 1), ((3, 3), (4, 5), 1), ((2, 3), (1, 1), 2),
    ],
)  # fmt: skip
def test_which_answers_are_wrong(same: tuple[int, int], known: tuple[int, int], fails: int) -> None:
    wrong = failed_controls(controls("ann", same=same, known=known))
    assert sum(map(len, wrong.values())) == fails


def test_pairs_and_repeats_have_no_right_answer() -> None:
    assert failed_controls([answer(1, 1, 5), answer(1, 5, 1, kind="repeat")]) == {}


def test_a_swap_that_hangs_on_one_who_tells_the_same_clip_apart_is_said_and_stays() -> None:
    rows: dict[str, Sequence[int]] = {"ann": [0] * 10, "bob": [2] * 10}
    verdict = rated(rows, *controls("ann"), *controls("bob", same=(5, 2)))
    assert verdict.decision == "swap_candidate"
    found = found_of(verdict)
    assert (found.decision, found.n, found.mean_difference, found.asked) == (
        "keep_baseline_try_next",
        10,
        0.0,
        4,
    )
    assert (
        "Without bob, who failed the controls, the verdict would be keep_baseline_try_next (mean difference +0 over "
        "10 ratings): bob scored the same clip 5 and 2." in verdict.warnings
    )


def test_the_other_way_round_and_where_it_would_be_the_same() -> None:
    rows: dict[str, Sequence[int]] = {"ann": [1] * 10, "bob": [-2] * 10}
    assert (
        found_of(rated(rows, *controls("ann"), *controls("bob", known=(1, 4)))).decision == "swap_candidate"
    )
    alike: dict[str, Sequence[int]] = {"ann": [1] * 10, "bob": [1] * 10}
    assert found_of(rated(alike, *controls("bob", same=(1, 2)))).decision == "swap_candidate"


def test_nobody_failed() -> None:
    verdict = rated({"ann": [1] * 10}, *controls("ann"))
    found = found_of(verdict)
    assert (found.failed, found.n, found.decision) == ({}, 10, "swap_candidate")
    assert spell_controls(found) == "No rater failed a control (2 were asked)."
    assert not any("controls" in text for text in verdict.warnings)
    assert spell_controls(found_of(rated({"ann": [1] * 10}))) == "No control was asked."


def test_everybody_failed_or_too_few_are_left() -> None:
    nobody = found_of(rated({"ann": [1] * 10}, *controls("ann", same=(1, 2))))
    assert (nobody.n, nobody.mean_difference, nobody.decision) == (0, None, "awaiting_ratings")
    assert "nothing would be left" in spell_controls(nobody)
    two = rated(
        {"ann": [1] * 10, "bob": [1] * 10},
        *controls("bob", same=(1, 2)),
        manifest=manifest(rule=Rule(minimum_raters=2)),
    )
    assert (two.decision, found_of(two).decision) == ("swap_candidate", "awaiting_ratings")


def test_the_other_gates_are_as_they_are() -> None:
    rows: dict[str, Sequence[int]] = {"ann": [1] * 10, "bob": [-1] * 10}
    verdict = rated(rows, *controls("bob", same=(1, 2)), candidate=takes(ttfa_ms=900.0))
    assert found_of(verdict).decision == "keep_baseline_try_next"
    last = manifest(chain=("f5",))
    assert (
        found_of(rated(rows, *controls("ann", same=(1, 2)), manifest=last)).decision
        == "keep_baseline_survey_complete"
    )


def test_before_the_reveal_and_by_method_3_there_is_no_such_line() -> None:
    assert "controls" not in stored(decide(evidence(ratings=UNRATED)))["ratings"]
    old = rated({"ann": [1] * 10}, *controls("ann", same=(1, 2)), manifest=manifest(methodology_version=3))
    assert "controls" not in stored(old)["ratings"]
    assert gate(old, "rating_margin").passed
