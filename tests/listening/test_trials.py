import secrets
from collections import Counter

import pytest

from bench.listening.trials import MIN_GAP, Trial, plan

TEN = [f"u{n:02d}" for n in range(10)]


def session(rater: str = "r", utterances: list[str] = TEN, anchor: str | None = "u03") -> list[Trial]:
    return plan(b"k" * 32, rater, utterances, ["full"], anchor)


def pairs(trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.kind == "pair"]


def test_ten_pairs_have_exactly_five_candidates_on_each_side_for_every_rater() -> None:
    for rater in range(200):
        sides = Counter(trial.candidate_side for trial in pairs(session(str(rater))))
        assert sides == {"A": 5, "B": 5}


def test_every_utterance_is_rated_once_and_extras_are_named_for_what_they_are() -> None:
    trials = session()
    assert sorted(trial.utterance_id for trial in pairs(trials)) == TEN
    kinds = Counter(trial.kind for trial in trials)
    assert kinds == {"pair": 10, "repeat": 3, "identical": 1, "anchor": 1}
    assert len({trial.trial_id for trial in trials}) == len(trials)


def test_a_repeat_swaps_the_sides_and_comes_well_after_its_pair() -> None:
    for rater in range(100):
        trials = session(str(rater))
        place = {trial.trial_id: index for index, trial in enumerate(trials)}
        for repeat in (trial for trial in trials if trial.kind == "repeat"):
            first = next(trial for trial in pairs(trials) if trial.utterance_id == repeat.utterance_id)
            assert repeat.candidate_side != first.candidate_side
            assert place[repeat.trial_id] - place[first.trial_id] >= MIN_GAP


def test_identical_pair_has_one_clip_on_both_sides_and_the_anchor_has_the_reference() -> None:
    trials = session()
    same = next(trial for trial in trials if trial.kind == "identical")
    assert same.source("A") == same.source("B")
    anchor = next(trial for trial in trials if trial.kind == "anchor")
    assert anchor.source(anchor.candidate_side) == "reference"


def test_what_stands_beside_the_hidden_reference_does_not_say_which_voice_it_is() -> None:
    """Whoever hears the reference knows which trial this is; the other voice must stay as unknown as any."""
    anchors = [t for rater in range(400) for t in session(str(rater)) if t.kind == "anchor"]
    takes = Counter((anchor.baseline_source, anchor.candidate_side) for anchor in anchors)
    assert set(takes) == {(take, side) for take in ("candidate", "baseline") for side in ("A", "B")}
    assert all(60 < count < 140 for count in takes.values()), (
        takes
    )  # 100 +- 2.3 standard deviations times two


def test_a_seal_with_the_baselines_take_alone_beside_the_reference_keeps_its_plan() -> None:
    for rater in map(str, range(20)):
        old = plan(b"k" * 32, rater, TEN, ["full"], "u03", ["baseline"])
        assert {t.baseline_source for t in old if t.kind == "anchor"} == {"baseline"}
        now = session(rater)
        assert [(t.trial_id, t.candidate_side) for t in old] == [(t.trial_id, t.candidate_side) for t in now]


def test_without_a_reference_there_is_no_anchor() -> None:
    assert not [trial for trial in session(anchor=None) if trial.kind == "anchor"]


def test_orders_and_sides_differ_between_raters() -> None:
    plans = {tuple(session(str(rater))) for rater in range(50)}
    assert len(plans) == 50
    firsts = Counter(session(str(rater))[0].utterance_id for rater in range(400))
    assert len(firsts) == 10


def test_sides_of_an_utterance_are_independent_of_its_place_and_of_other_raters() -> None:
    first_sides = Counter(session(str(rater))[0].candidate_side for rater in range(400))
    assert 150 < first_sides["A"] < 250  # 200 +- 2.5 standard deviations times two; fixed seed


def test_a_further_channel_comes_after_the_rules_with_its_pairs_alone_balanced_by_itself() -> None:
    trials = plan(b"k" * 32, "r", TEN, ["narrowband", "full"], "u03")
    channels = [trial.channel for trial in trials]
    assert channels == ["narrowband"] * 15 + ["full"] * 10
    full = [trial for trial in trials if trial.channel == "full"]
    assert {trial.kind for trial in full} == {"pair"}
    assert Counter(trial.candidate_side for trial in full) == {"A": 5, "B": 5}


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_small_and_odd_sessions_are_as_balanced_as_can_be(count: int) -> None:
    trials = session(utterances=TEN[:count], anchor=None)
    sides = Counter(trial.candidate_side for trial in pairs(trials))
    assert abs(sides["A"] - sides["B"]) == count % 2
    assert sum(trial.kind == "repeat" for trial in trials) == min(count, 2)


def test_the_odd_pair_falls_on_either_side() -> None:
    sides = {session(str(rater), TEN[:1], None)[0].candidate_side for rater in range(40)}
    assert sides == {"A", "B"}


def test_another_seed_gives_another_plan() -> None:
    seeds = [secrets.token_bytes(32) for _ in range(20)]
    assert len({tuple(plan(seed, "r", TEN, ["full"], None)) for seed in seeds}) == 20


def test_practice_comes_first_is_not_counted_and_changes_no_draw() -> None:
    firsts = Counter[str]()
    for rater in range(200):
        plain = session(str(rater))
        first, *rest = plan(b"k" * 32, str(rater), TEN, ["full", "wideband"], "u03", practice=True)
        assert first.kind == "practice" and rest[: len(plain)] == plain
        assert [trial.kind for trial in rest].count("practice") == 0
        last = [trial for trial in plain if trial.kind == "pair"][-1]
        assert first.utterance_id == last.utterance_id
        assert (first.candidate_source, first.baseline_source) == ("candidate", "baseline")
        firsts[first.candidate_side] += 1
    assert min(firsts.values()) > 70
