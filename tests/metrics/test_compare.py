from typing import Any

import pytest

from bench.errors import BadInput
from bench.metrics.compare import compare_sides, side_alarms
from bench.records.metrics import TakeMetrics


def take(utterance_id: str, **changes: Any) -> TakeMetrics:
    plain: dict[str, Any] = {
        "audio_s": 2.0,
        "sample_rate_hz": 24000,
        "f0_median_hz": 200.0,
        "f0_drift_semitones": 0.5,
        "reference_cosine": 0.8,
        "word_error_rate": 0.2,
        "loudness_lufs": -20.0,
        "leading_silence_s": 0.1,
        "trailing_silence_s": 0.1,
        "pauses_s": 0.0,
        "longest_pause_s": 0.0,
        "sounding_s": 1.8,
        "clipped_fraction": 0.0,
        "speaking_rate_wps": 3.0,
    }
    return TakeMetrics(utterance_id=utterance_id, wav=f"{utterance_id}.wav", **{**plain, **changes})


def kinds(candidate: TakeMetrics, baseline: TakeMetrics | None = None) -> list[tuple[str, str]]:
    found = compare_sides([candidate], [baseline or take("u1")])
    return [(alarm.kind, alarm.side) for alarm in found.alarms]


def test_two_like_sides_differ_by_nothing_and_alarm_nobody() -> None:
    found = compare_sides([take("u1"), take("u2")], [take("u2"), take("u1")])
    assert found.pairs == 2 and found.unpaired == [] and found.alarms == []
    assert found.similarity.mean == 0.0 and found.similarity_reason is None
    assert found.duration_ratios == {"u1": 1.0, "u2": 1.0}


def test_differences_are_candidate_minus_baseline() -> None:
    found = compare_sides(
        [take("u1", reference_cosine=0.6, f0_drift_semitones=2.0, loudness_lufs=-18.0, sounding_s=2.7)],
        [take("u1")],
    )
    assert found.similarity.by_utterance == pytest.approx({"u1": -0.2})
    assert found.f0_semitones.mean == pytest.approx(1.5)
    assert found.loudness_lufs.mean == pytest.approx(2.0)
    assert found.duration_ratio_median == pytest.approx(1.5)
    assert found.candidate_f0_drift_median_semitones == pytest.approx(2.0)


def test_without_a_reference_pitches_are_compared_with_each_other() -> None:
    plain: dict[str, Any] = {"f0_drift_semitones": None, "reference_cosine": None}
    ours = take("u1", f0_median_hz=220.0, reasons={"reference_cosine": "no reference"}, **plain)
    found = compare_sides([ours], [take("u1", f0_median_hz=110.0, **plain)])
    assert found.f0_semitones.mean == pytest.approx(12.0)
    assert found.similarity.n == 0 and found.similarity_reason == "no reference"
    assert found.candidate_f0_drift_median_semitones is None and found.alarms == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"f0_drift_semitones": -9.0}, [("voice_drift", "candidate")] * 2),
        ({"f0_drift_semitones": 3.5}, [("voice_drift", "candidate")]),
        ({"f0_drift_semitones": 2.9}, []),
        ({"word_error_rate": 1.2}, [("unintelligible", "candidate")] * 2),
        ({"word_error_rate": 0.5}, [("unintelligible", "candidate")]),
        ({"word_error_rate": 0.4}, []),
        ({"clipped_fraction": 0.2}, [("clipping", "candidate")]),
        ({"leading_silence_s": 1.5, "trailing_silence_s": 4.0}, [("silence", "candidate")] * 2),
        ({"loudness_lufs": -55.0}, [("quiet", "candidate")]),
        ({"sounding_s": 4.0}, [("duration", "candidate")]),
        ({"sounding_s": 0.5}, [("duration", "candidate")]),
        ({"sounding_s": None, "loudness_lufs": None}, [("silence", "candidate")]),
    ],
)
def test_each_alarm_has_its_limit(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert kinds(take("u1", **changes)) == expected


@pytest.mark.parametrize(("sounding_s", "limit"), [(1.8 * 1.7, 1.6), (1.8 / 1.7, 1.6), (1.8 * 1.5, None)])
def test_a_side_that_takes_far_longer_over_all_is_an_alarm_of_the_pass(
    sounding_s: float, limit: float | None
) -> None:
    names = ("u1", "u2", "u3")
    found = compare_sides(
        [take(name, sounding_s=sounding_s) for name in names], [take(name) for name in names]
    )
    assert [(alarm.kind, alarm.utterance_id, alarm.limit) for alarm in found.alarms] == (
        [("duration", None, limit)] if limit else []
    )


def test_the_baselines_own_faults_are_named_as_its_own() -> None:
    assert kinds(take("u1"), take("u1", f0_drift_semitones=8.0)) == [("voice_drift", "baseline")] * 2
    assert kinds(take("u1"), take("u1", word_error_rate=1.4)) == []


def test_what_two_recognisers_heard_is_not_compared() -> None:
    old = take("u1", word_error_rate=0.1, recogniser="pocketsphinx en-us")
    found = compare_sides([take("u1", word_error_rate=1.4, recogniser="faster-whisper tiny.en")], [old])
    assert (found.word_error_rate.n, found.alarms) == (0, [])
    assert compare_sides([old.model_copy(update={"word_error_rate": 1.4})], [old]).word_error_rate.n == 1


def test_one_side_can_be_looked_at_alone() -> None:
    (alarm,) = side_alarms([take("u1", clipped_fraction=0.5), take("u2")], "baseline")
    assert (alarm.kind, alarm.side, alarm.utterance_id, alarm.value) == ("clipping", "baseline", "u1", 0.5)


def test_the_longest_pause_is_compared_and_left_out_of_a_run_from_before_it() -> None:
    found = compare_sides([take("u1", longest_pause_s=0.9)], [take("u1", longest_pause_s=0.3)])
    assert found.longest_pause_s is not None and found.longest_pause_s.mean == pytest.approx(0.6)
    before = take("u1", longest_pause_s=None)
    old = compare_sides([before], [before])
    assert "longest_pause_s" not in before.model_dump() and "longest_pause_s" not in old.model_dump()


def test_what_was_not_measured_is_no_pair_and_is_said() -> None:
    broken = TakeMetrics(utterance_id="u2", wav="u2.wav", error="cannot be read")
    found = compare_sides([take("u1"), broken, take("u3")], [take("u1"), take("u2"), take("u4")])
    assert found.pairs == 1 and found.unpaired == ["u2", "u3", "u4"]
    assert [(a.kind, a.utterance_id) for a in found.alarms] == [("not_measured", "u2")]
    assert found.loudness_lufs.n == 1 and "u2" in found.loudness_lufs.left_out


def test_two_takes_of_one_utterance_are_refused() -> None:
    with pytest.raises(BadInput, match="two takes of utterance 'u1'"):
        compare_sides([take("u1"), take("u1")], [take("u1")])
