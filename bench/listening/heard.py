"""What a rater has heard of a clip: ranges in seconds, their union, and whether they could have been heard.

Pure functions. A listener hears one clip at a time at its own speed, so the seconds newly covered, over all
clips and all tabs of a rater, can never exceed the seconds that passed. `Listening` holds that account.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Range = tuple[float, float]

UNHEARD_S = 0.15
"""Seconds of a clip that may be missing: switching fades and the audio clock's grain leave gaps."""
OVERHANG_S = 0.1
"""Seconds beyond a clip's end that a report may reach (a browser resamples, and rounds up)."""
SLACK_S = 0.3
"""Seconds by which a report may be ahead of the clock: the clip's own way to the ear is shorter than that."""
MAX_RANGES = 64
"""Ranges in one report, and ranges kept of one clip."""


def check_ranges(ranges: object, length_s: float) -> list[Range]:
    """Return a report's ranges, cut to the clip of `length_s`, or raise.

    Raises:
        ValueError: not a list of at most `MAX_RANGES` pairs of numbers, each in order and within the clip (NaN
            is not, nor is an integer too large for a float).
    """
    if not isinstance(ranges, list) or len(ranges) > MAX_RANGES:
        raise ValueError(f"ranges must be a list of at most {MAX_RANGES} pairs")
    out: list[Range] = []
    for item in ranges:
        if not isinstance(item, list) or len(item) != 2:
            raise ValueError("a range must be a pair of numbers")
        start, end = item
        if any(isinstance(x, bool) or not isinstance(x, int | float) for x in item):
            raise ValueError("a range must be a pair of numbers")
        if not 0 <= start <= end <= length_s + OVERHANG_S:
            raise ValueError("a range must lie in the clip, its start before its end")
        if start < min(end, length_s):
            out.append((float(start), min(float(end), length_s)))
    return out


def join_ranges(ranges: Iterable[Range]) -> list[Range]:
    """Return the same seconds as ranges in order that do not touch, rounded to a millisecond."""
    merged: list[Range] = []
    for start, end in sorted((round(start, 3), round(end, 3)) for start, end in ranges):
        if merged and start <= merged[-1][1] + 0.001:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def covered_s(ranges: Sequence[Range]) -> float:
    """Return the seconds in a union."""
    return sum(end - start for start, end in ranges)


def in_full(ranges: Sequence[Range], length_s: float) -> bool:
    """Return True when all of a clip but `UNHEARD_S` is covered. A clip shorter than that must be begun."""
    return covered_s(ranges) >= max(length_s - UNHEARD_S, min(length_s, UNHEARD_S) / 2)


@dataclass(slots=True)
class Listening:
    """The account of a rater's listening time on CLOCK_BOOTTIME, which setting the clock does not change.

    `spent_until_s` is the moment up to which their time is accounted for.
    """

    spent_until_s: float = 0.0

    def claim(self, seconds: float, opened_s: float, now_s: float) -> bool:
        """Account for `seconds` newly heard of clips opened at `opened_s`; False, and nothing, if
        impossible."""
        until = max(self.spent_until_s, opened_s) + seconds
        if until > now_s + SLACK_S:
            return False
        self.spent_until_s = until
        return True
