"""The objective metrics as rows of a table and as a few lines of alarms.

Differences only, since one side's figure alone means little; and one line a kind of alarm, because ten that differ in
a decimal are read by nobody.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from bench.records.metrics import Alarm, MetricsComparison, MetricsFile, PairedDifference
from bench.records.passes import PassFile
from bench.records.take import TakeSide, TimedPass
from bench.storage.record_file import Kept, load_record

_ROWS = (
    ("f0_semitones", "Pitch drift from the reference", "semitones"),
    ("similarity", "Speaker similarity (cosine)", ""),
    ("word_error_rate", "Word error rate", ""),
    ("loudness_lufs", "Loudness", "LU"),
    ("speaking_rate_wps", "Speaking rate", "words/s"),
    ("pauses_s", "Pauses", "s"),
    ("longest_pause_s", "Longest pause", "s"),
    ("leading_silence_s", "Leading silence", "s"),
    ("trailing_silence_s", "Trailing silence", "s"),
    ("clipped_fraction", "Clipped samples", ""),
)


_ALARMS: dict[str, tuple[str, float, str, str]] = {
    "voice_drift": ("pitch {} semitones from the reference", 1, "+.1f", ": another voice?"),
    "unintelligible": (
        "word error rate {} against {other}'s", 1, "+.2f",
        ": listen whether the words can be made out",
    ),
    "clipping": ("{} % of the samples are clipped at full scale", 100, ".1f", ""),
    "silence": ("{} s of silence at one end", 1, ".1f", ""),
    "quiet": ("only {} LUFS", 1, ".0f", ""),
    "duration": ("{} times as long as {other}'s", 1, ".1f", ": words repeated or left out?"),
}  # fmt: skip
"""Kind of an alarm to its words, what its value is multiplied by, how that is spelt, and the question it asks."""
_PASS_ALARMS = {
    "length": "A side's takes are not as long as speech of their words: is something said twice or left out, or read "
    "at another rate than its own?",
    "twice": "A side's takes hold the very same samples twice.",
    "unproved": "A side's answers ended where their connection did and stated no length: one that broke off would look "
    "whole.",
}
_NAMED_UP_TO = 3
"""Utterances named in an alarm; of more, their number."""


def objective_rows(comparison: MetricsComparison | None) -> list[dict[str, Any]]:
    """Return label, unit, median, lowest, highest and n of each paired difference that was taken."""
    rows = []
    for name, label, unit in _ROWS if comparison is not None else ():
        found: PairedDifference | None = getattr(comparison, name)
        if found is not None and found.n:
            figures = found.model_dump(include={"median", "lowest", "highest", "n"})
            rows.append({"label": label, "unit": unit, **figures})
    return rows


def spell_alarms(
    comparison: MetricsComparison | None, names: Mapping[TakeSide, str], takes: Mapping[TimedPass, int]
) -> list[str]:
    """Return a line a side and kind of alarm: from the lowest to the highest value, and in how many takes.

    Args:
        comparison: its alarms are read.
        names: of the models, by side.
        takes: valid takes, by side.
    """
    groups: dict[tuple[TakeSide, str], list[Alarm]] = defaultdict(list)
    for alarm in comparison.alarms if comparison is not None else ():
        # A take that is silent through and through has no value, and is another thing than a long pause.
        groups[alarm.side, alarm.kind if alarm.value is not None else alarm.message].append(alarm)
    return [
        f"{names[side]} ({side}): "
        + _spell_alarm(
            kind, found, takes.get(side, 0), names["baseline" if side == "candidate" else "candidate"]
        )
        for (side, kind), found in groups.items()
    ]


def spell_unnamed_alarms(
    comparison: MetricsComparison | None, passes: Mapping[TakeSide, PassFile]
) -> list[str]:
    """Return the alarms about the client or a server, in words that do not say which side it is.

    For those who are going to rate: that something is wrong must be known before anybody listens, and a clip must not
    be known by it.
    """
    found = []
    ratios = (
        [alarm for alarm in comparison.alarms if alarm.kind == "duration"] if comparison is not None else []
    )
    if comparison is not None and ratios:
        some = sum(alarm.utterance_id is not None for alarm in ratios)
        where = f"In {some} of {comparison.pairs} sentences" if some else "Over all sentences"
        found.append(
            f"{where} one side speaks far longer than the other: is something said twice, or left out?"
        )
    kinds = {alarm.kind for record in passes.values() if record.result for alarm in record.result.alarms}
    found += [words for kind, words in _PASS_ALARMS.items() if kind in kinds]
    if found:
        found.append(
            "Whoever looks into it finds the side in metrics.json and in each side's pass.json, and should not rate. "
            "What is wrong with a server or with how it is read is put right in a new run."
        )
    return found


def read_unnamed_alarms(run_dir: Path) -> list[str]:
    """Return `spell_unnamed_alarms` of a run as far as it has come.

    Raises:
        BadInput: a record is damaged.
    """
    sides: tuple[TakeSide, ...] = get_args(TakeSide)
    metrics = _load(MetricsFile, run_dir)
    passes = {side: found for side in sides if (found := _load(PassFile, run_dir / side)) is not None}
    return spell_unnamed_alarms(metrics.comparison if metrics else None, passes)


def _load(kind: type[Kept], folder: Path) -> Kept | None:
    try:
        return load_record(kind, folder)
    except FileNotFoundError:
        return None


def spell_pass_alarms(passes: Mapping[TakeSide, PassFile], names: Mapping[TakeSide, str]) -> list[str]:
    """Return what each side's pass as a whole said, with the side's name; for after the reveal."""
    return [
        f"{names[side]} ({side}): {alarm.message}"
        for side, record in passes.items()
        if record.result
        for alarm in record.result.alarms
    ]


def _spell_alarm(kind: str, found: Sequence[Alarm], takes: int, other: str) -> str:
    where = [alarm.utterance_id for alarm in found if alarm.utterance_id is not None]
    place = "" if not where else f" in {', '.join(where)}"
    if len(where) > _NAMED_UP_TO:
        place = f" in {len(where)} of {max(takes, len(where))} takes"
    if kind not in _ALARMS:
        return f"{kind}{place}"
    words, factor, form, question = _ALARMS[kind]

    def spelt(of_takes: bool) -> str:
        values = [
            factor * alarm.value
            for alarm in found
            if alarm.value is not None and (alarm.utterance_id is not None) is of_takes
        ]
        ends = dict.fromkeys(format(value, form) for value in (min(values), max(values))) if values else {}
        return " to ".join(ends).replace("-", "\u2212")

    said, whole = spelt(True), spelt(False)
    if not said:
        return f"{words.format(whole, other=other)} over all takes{question}"
    return f"{words.format(said, other=other)}{place}{f', {whole} over all takes' if whole else ''}{question}"
