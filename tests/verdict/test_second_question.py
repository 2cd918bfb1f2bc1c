from typing import Any

import pytest

from bench.records.base import ServiceChannel
from bench.records.listening import Answer, Sound
from bench.records.run import Rule
from bench.records.verdict import RatingsResult
from bench.verdict.rule import decide, verdict_bytes
from tests.support.made_evidence import answer, evidence, manifest, ratings


def second(scores: tuple[int, int], **where: Any) -> Answer:
    made = answer(where.pop("number", 1), 3, 3, **where)
    return made.model_copy(update={"candidate_second": scores[0], "baseline_second": scores[1]})


def test_the_second_question_is_reported_and_the_rule_reads_the_first_alone() -> None:
    rated = ratings([1] * 10)
    plain = decide(evidence(ratings=rated))
    answers = [
        each.model_copy(update={"candidate_second": 1, "baseline_second": 5 if n < 9 else 1})
        for n, each in enumerate(rated.answers)
    ]
    answers.append(second((5, 1), kind="repeat"))
    answers.append(second((5, 1), kind="practice"))
    asked = ratings([1] * 10).model_copy(update={"answers": answers, "second_question": "How natural?"})
    found = decide(evidence(ratings=asked))
    assert found.decision == plain.decision == "swap_candidate" and found.gates == plain.gates
    assert isinstance(found.ratings, RatingsResult) and found.ratings.second_question is not None
    assert found.ratings.second_question.model_dump() == {
        "question": "How natural?", "n": 10, "candidate_mean": 1.0, "baseline_mean": 4.6, "mean_difference": -3.6,
        "wins": 0, "ties": 1, "losses": 9,
    }  # fmt: skip
    assert b"second_question" not in verdict_bytes(plain)


def test_a_practice_pair_does_not_count() -> None:
    with_practice = ratings([1] * 10, extra=[answer(2, 1, 5, kind="practice")])
    assert decide(evidence(ratings=with_practice)).gates == decide(evidence(ratings=ratings([1] * 10))).gates


WIDE, NARROW = Sound(rate_hz=24000, bandwidth_hz=12000), Sound(rate_hz=16000, bandwidth_hz=7500)


@pytest.mark.parametrize(
    ("candidate", "channel", "warned"),
    [(WIDE, "full", True), (NARROW, "full", False), (WIDE, "wideband", False), (WIDE, "narrowband", False)],
)
def test_where_raters_could_hear_one_side_by_its_treble_is_said(
    candidate: Sound, channel: ServiceChannel, warned: bool
) -> None:
    rated = ratings([1] * 10)
    rated.answers = [each.model_copy(update={"channel": channel}) for each in rated.answers]
    rated.sound = {"candidate": candidate, "baseline": NARROW}
    found = decide(evidence(manifest=manifest(rule=Rule(channel=channel)), ratings=rated))
    assert any("told apart by their treble" in text for text in found.warnings) == warned
    assert isinstance(found.ratings, RatingsResult) and found.ratings.sound == rated.sound
