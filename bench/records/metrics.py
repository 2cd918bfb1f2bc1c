"""Acoustic metrics of takes (`metrics.jsonl`), and of both sides beside each other (`metrics.json`)."""

from typing import ClassVar, Literal

from bench.records.base import FileRecord, Record, optional_key
from bench.records.take import TakeSide


class TakeMetrics(Record):
    """What was measured of one take. Null: could not be taken; `reasons` says why.

    Units are in the names: s seconds, hz hertz, dbfs decibels relative to full scale, lufs loudness units,
    wps words per second; fractions, rates and cosines are plain numbers.
    """

    utterance_id: str
    wav: str
    """File name."""
    audio_s: float | None = None
    sample_rate_hz: int | None = None
    f0_median_hz: float | None = None
    f0_drift_semitones: float | None = None
    """Against the reference; null without a reference."""
    reference_cosine: float | None = None
    """Speaker similarity to the reference: only ever reported as candidate minus baseline."""
    word_error_rate: float | None = None
    """Only ever read as candidate minus baseline."""
    heard: str | None = None
    """What the recogniser made of it."""
    recogniser: str | None = None
    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
    rms_dbfs: float | None = None
    leading_silence_s: float | None = None
    trailing_silence_s: float | None = None
    pauses_s: float | None = None
    longest_pause_s: float | None = optional_key()
    """The longest of the pauses that `pauses_s` sums; 0 where there is none."""
    sounding_s: float | None = None
    clipped_fraction: float | None = None
    words: int | None = None
    speaking_rate_wps: float | None = None
    reasons: dict[str, str] = {}
    """Field to the reason why it is null."""
    error: str | None = None
    """The take could not be measured at all."""


class PairedDifference(Record):
    """Differences over the utterances that both sides have a figure for; in the unit of the metric."""

    by_utterance: dict[str, float]
    n: int
    mean: float | None
    median: float | None
    lowest: float | None
    highest: float | None
    left_out: list[str]
    """Utterances without a figure on one side or both."""


class Alarm(Record):
    """Something to listen to. `value` and `limit` are in the unit that `kind` implies."""

    kind: Literal["not_measured", "voice_drift", "unintelligible", "clipping", "silence", "quiet", "duration"]
    side: TakeSide
    utterance_id: str | None
    """Null: of the whole pass."""
    value: float | None
    limit: float | None
    message: str


class MetricsComparison(Record):
    """Candidate and baseline over the same utterances. Differences are candidate minus baseline.

    Similarity and word error rate of one side alone mean nothing and are given as differences only.
    """

    pairs: int
    """Utterances that both sides have a measured take of."""
    unpaired: list[str]
    f0_semitones: PairedDifference
    """Of the drift from the reference; without a reference, of the medians themselves."""
    similarity: PairedDifference
    """Cosine to the reference; empty without Resemblyzer."""
    similarity_reason: str | None
    """Why there is no similarity; null where there is."""
    word_error_rate: PairedDifference
    loudness_lufs: PairedDifference
    leading_silence_s: PairedDifference
    trailing_silence_s: PairedDifference
    pauses_s: PairedDifference
    longest_pause_s: PairedDifference | None = optional_key()
    """Null where no utterance has one on both sides, as of takes that 0.1.0 measured."""
    speaking_rate_wps: PairedDifference
    clipped_fraction: PairedDifference
    duration_ratios: dict[str, float]
    """Candidate over baseline, from first sound to last."""
    duration_ratio_median: float | None
    candidate_f0_drift_median_semitones: float | None
    baseline_f0_drift_median_semitones: float | None
    alarms: list[Alarm]


class MetricsFile(FileRecord):
    """`metrics.json`: the acoustic metrics of both sides, and their comparison."""

    file_name: ClassVar[str] = "metrics.json"

    candidate: list[TakeMetrics]
    baseline: list[TakeMetrics]
    comparison: MetricsComparison
