"""The two sides' metrics beside each other, and the alarms that follow. Nothing here decides anything."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Literal

from bench.errors import BadInput
from bench.metrics import clipping, f0, intelligibility
from bench.metrics.duration import duration_ratio
from bench.metrics.paired import paired_difference
from bench.records.metrics import Alarm, MetricsComparison, PairedDifference, TakeMetrics
from bench.records.take import TakeSide

SILENCE_ALARM_S = 1.0
"""Leading or trailing silence above this."""
QUIET_ALARM_LUFS = -45.0
DURATION_ALARM_RATIO = 2.0
"""Twice as long as the baseline's take, or half as long: words were repeated or left out."""
PASS_DURATION_ALARM_RATIO = 1.6
"""In the median of a pass: two people differ by less, and a side that says everything twice by more."""
_FEWEST = 3


def compare_sides(candidate: Sequence[TakeMetrics], baseline: Sequence[TakeMetrics]) -> MetricsComparison:
    """Return the paired differences of two passes, and every alarm; pairs go by utterance id.

    Raises:
        BadInput: an utterance occurs twice on one side.
    """
    ours, theirs = _by_id(candidate, "candidate"), _by_id(baseline, "baseline")
    both = [utterance_id for utterance_id in ours if utterance_id in theirs]
    measured = [u for u in both if ours[u].error is None and theirs[u].error is None]

    def paired(pick: Callable[[TakeMetrics], float | None]) -> PairedDifference:
        return paired_difference({u: pick(ours[u]) for u in ours}, {u: pick(theirs[u]) for u in theirs})

    ratios = {
        u: ratio
        for u in both
        if (ratio := duration_ratio(ours[u].sounding_s, theirs[u].sounding_s)) is not None
    }
    similarity = paired(lambda take: take.reference_cosine)
    # Two recognisers mishear differently; a run of an earlier version may have had another one.
    alike = {u for u in both if ours[u].recogniser == theirs[u].recogniser}
    words = paired(lambda take: take.word_error_rate if take.utterance_id in alike else None)
    longest_pause = paired(lambda take: take.longest_pause_s)
    return MetricsComparison(
        pairs=len(measured),
        unpaired=sorted((set(ours) | set(theirs)) - set(measured)),
        f0_semitones=paired(_pitch),
        similarity=similarity,
        similarity_reason=_why_no_similarity([*candidate, *baseline]) if similarity.n == 0 else None,
        word_error_rate=words,
        loudness_lufs=paired(lambda take: take.loudness_lufs),
        leading_silence_s=paired(lambda take: take.leading_silence_s),
        trailing_silence_s=paired(lambda take: take.trailing_silence_s),
        pauses_s=paired(lambda take: take.pauses_s),
        longest_pause_s=longest_pause if longest_pause.n else None,
        speaking_rate_wps=paired(lambda take: take.speaking_rate_wps),
        clipped_fraction=paired(lambda take: take.clipped_fraction),
        duration_ratios=ratios,
        duration_ratio_median=median(ratios.values()) if ratios else None,
        candidate_f0_drift_median_semitones=_median_drift(candidate),
        baseline_f0_drift_median_semitones=_median_drift(baseline),
        alarms=[
            *side_alarms(candidate, "candidate"),
            *side_alarms(baseline, "baseline"),
            *_word_alarms(words),
            *_duration_alarms(ratios),
        ],
    )


def side_alarms(takes: Sequence[TakeMetrics], side: TakeSide) -> list[Alarm]:
    """Return the alarms that one side raises by itself; of use before the baseline's takes exist."""
    alarms: list[Alarm] = []
    for take in takes:
        alarms += _take_alarms(take, side)
    drift = _median_drift(takes)
    if f0.voice_drifts(drift, f0.PASS_ALARM_SEMITONES) and drift is not None:
        message = (
            f"the {side}'s takes are {drift:+.1f} semitones from the reference in the median: another voice?"
        )
        alarms.append(_alarm("voice_drift", side, None, drift, f0.PASS_ALARM_SEMITONES, message))
    return alarms


def _take_alarms(take: TakeMetrics, side: TakeSide) -> Iterable[Alarm]:
    name, drift = take.utterance_id, take.f0_drift_semitones
    if take.error is not None:
        yield _alarm("not_measured", side, name, None, None, take.error)
        return
    if take.sounding_s is None:
        yield _alarm("silence", side, name, None, None, "the take is silent")
    if f0.voice_drifts(drift) and drift is not None:
        message = f"pitch is {drift:+.1f} semitones from the reference: another voice?"
        yield _alarm("voice_drift", side, name, drift, f0.TAKE_ALARM_SEMITONES, message)
    if (fraction := take.clipped_fraction) is not None and fraction > clipping.ALARM_FRACTION:
        message = f"{100 * fraction:.1f}% of the samples are clipped at full scale"
        yield _alarm("clipping", side, name, fraction, clipping.ALARM_FRACTION, message)
    for where, seconds in (("leading", take.leading_silence_s), ("trailing", take.trailing_silence_s)):
        if seconds is not None and seconds > SILENCE_ALARM_S:
            yield _alarm(
                "silence", side, name, seconds, SILENCE_ALARM_S, f"{seconds:.1f} s of {where} silence"
            )
    if (lufs := take.loudness_lufs) is not None and lufs < QUIET_ALARM_LUFS:
        yield _alarm("quiet", side, name, lufs, QUIET_ALARM_LUFS, f"only {lufs:.0f} LUFS")


def _word_alarms(words: PairedDifference) -> Iterable[Alarm]:
    advice = "listen whether the words can be made out"
    for name, difference in words.by_utterance.items():
        if difference > (limit := intelligibility.TAKE_ALARM_DIFFERENCE):
            message = f"word error rate {difference:+.2f} against the baseline's: {advice}"
            yield _alarm("unintelligible", "candidate", name, difference, limit, message)
    if words.mean is not None and words.mean > (limit := intelligibility.PASS_ALARM_DIFFERENCE):
        message = f"mean word error rate {words.mean:+.2f} against the baseline's: {advice}"
        yield _alarm("unintelligible", "candidate", None, words.mean, limit, message)


def _duration_alarms(ratios: dict[str, float]) -> Iterable[Alarm]:
    for name, ratio in ratios.items():
        if not 1 / DURATION_ALARM_RATIO <= ratio <= DURATION_ALARM_RATIO:
            message = f"{ratio:.1f} times as long as the baseline's: words repeated or left out?"
            yield _alarm("duration", "candidate", name, ratio, DURATION_ALARM_RATIO, message)
    if len(ratios) < _FEWEST:
        return
    middle, limit = median(ratios.values()), PASS_DURATION_ALARM_RATIO
    if not 1 / limit <= middle <= limit:
        message = f"{middle:.1f} times as long as the baseline's in the median: is everything said twice on one side?"
        yield _alarm("duration", "candidate", None, middle, limit, message)


def _alarm(
    kind: Literal[
        "not_measured", "voice_drift", "unintelligible", "clipping", "silence", "quiet", "duration"
    ],
    side: TakeSide,
    utterance_id: str | None,
    value: float | None,
    limit: float | None,
    message: str,
) -> Alarm:
    return Alarm(kind=kind, side=side, utterance_id=utterance_id, value=value, limit=limit, message=message)


def _by_id(takes: Sequence[TakeMetrics], side: TakeSide) -> dict[str, TakeMetrics]:
    found: dict[str, TakeMetrics] = {}
    for take in takes:
        if take.utterance_id in found:
            raise BadInput(f"The {side} has two takes of utterance {take.utterance_id!r}; measure each once.")
        found[take.utterance_id] = take
    return found


def _pitch(take: TakeMetrics) -> float | None:
    if take.f0_drift_semitones is not None:
        return take.f0_drift_semitones
    # Against any fixed pitch the difference of two takes is the same.
    return f0.drift_semitones(take.f0_median_hz, 100.0)


def _median_drift(takes: Sequence[TakeMetrics]) -> float | None:
    drifts = [take.f0_drift_semitones for take in takes if take.f0_drift_semitones is not None]
    return median(drifts) if drifts else None


def _why_no_similarity(takes: Sequence[TakeMetrics]) -> str:
    reasons = [reason for take in takes if (reason := take.reasons.get("reference_cosine"))]
    return reasons[0] if reasons else "no utterance has a figure on both sides"
