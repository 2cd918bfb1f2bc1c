"""The objective metrics as rows of a table: differences only, since one side's figure alone means little."""

from collections.abc import Mapping
from typing import Any

_ROWS = (
    ("f0_semitones", "Pitch drift from the reference", "semitones"),
    ("similarity", "Speaker similarity (cosine)", ""),
    ("word_error_rate", "Word error rate", ""),
    ("loudness_lufs", "Loudness", "LU"),
    ("speaking_rate_wps", "Speaking rate", "words/s"),
    ("pauses_s", "Pauses", "s"),
    ("leading_silence_s", "Leading silence", "s"),
    ("trailing_silence_s", "Trailing silence", "s"),
    ("clipped_fraction", "Clipped samples", ""),
)


def objective_rows(metrics: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return label, unit, median, lowest, highest and n of each paired difference that was taken."""
    record = (metrics or {}).get("comparison", metrics)
    if not isinstance(record, Mapping):
        return []
    rows = []
    for name, label, unit in _ROWS:
        found = record.get(name)
        if isinstance(found, Mapping) and found.get("n"):
            figures = {key: found.get(key) for key in ("median", "lowest", "highest", "n")}
            rows.append({"label": label, "unit": unit, **figures})
    return rows


def alarms(metrics: Mapping[str, Any] | None) -> list[str]:
    """Return the alarms' messages, in order."""
    record = (metrics or {}).get("comparison", metrics)
    found = record.get("alarms") if isinstance(record, Mapping) else None
    return [
        str(alarm["message"]) for alarm in found or [] if isinstance(alarm, Mapping) and "message" in alarm
    ]
