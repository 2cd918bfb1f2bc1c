"""Which part of a clip serves a model best as a reference: the search over stretches of whole cues.

A stretch begins and ends where a sentence does, and there the clip must be quiet, so that no word is cut and
the text is exactly what is heard. Where no sentence fits the model's limits, ends of clauses are tried, and
then the ends of any cues. Among the stretches that fit, the score is the seconds of speech in it, less half a
second for each dB by which its signal-to-noise ratio misses 20 dB, less a third of the silence that must be
added to it. Equal scores: the earlier.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.catalog.entry import ReferenceLimits
from bench.inputs.track import LevelTrack
from bench.inputs.transcript import Cue, join
from bench.text.abbreviations import ends_in_abbreviation

CLEAN_SNR_DB = 20.0
LOWEST_SNR_DB = 10.0

Boundary = Literal["sentence", "clause", "cue"]
TIERS: tuple[Boundary, ...] = ("sentence", "clause", "cue")

_TOLERANCE_S = 0.3
"""How far the speech may begin or end from where its cue says; subtitles are made by hand and eye."""
_MIN_PAUSE_S = 0.12
"""A shorter quiet stretch may be the closure of a stop consonant within a word."""
_LEAD_S, _TAIL_S = 0.15, 0.25
"""Of the pause, what is kept before and after the speech: soft first and last sounds lie there."""
_UNTRANSCRIBED_S = 0.15
_FASTEST_CPS = 35.0
_ABOVE_NOISE_DB = 3.0
_DB_COST_S = 0.5
_PADDING_COST = 1 / 3

_SENTENCE_END = re.compile(r"[.!?…。！？]['\")\]”’»]*$")
_CLAUSE_END = re.compile(r"[,;:،、，；：–—-]['\")\]”’»]*$")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the clip that could serve. Times in seconds; `padding_s` of silence follows it."""

    start_s: float
    end_s: float
    cues: tuple[int, int]
    """First cue, and the one past the last."""
    text: str
    speech_s: float
    snr_db: float
    noise_dbfs: float
    padding_s: float
    score: float

    def facts(self) -> dict[str, float | str]:
        """Return what a reader needs to compare it with another."""
        return {
            "start_s": round(self.start_s, 2),
            "end_s": round(self.end_s, 2),
            "speech_s": round(self.speech_s, 2),
            "snr_db": round(self.snr_db, 1),
            "noise_dbfs": round(self.noise_dbfs, 1),
            "padding_s": round(self.padding_s, 2),
            "score": round(self.score, 2),
            "text": self.text,
        }


@dataclass(slots=True)
class Search:
    """What was found, best first, and why the rest was not: `rejected` counts reasons."""

    boundary: Boundary
    found: list[Stretch]
    rejected: Counter[str] = field(default_factory=Counter)
    lengths_s: list[float] = field(default_factory=list)
    """Of the stretches whose boundaries could be cut, whether or not they fitted."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """Where the clip may be cut between two cues: after the one (`end_s`), before the other (`start_s`)."""

    kind: Boundary
    end_s: float | None
    start_s: float | None
    crossable: bool


def whole_length_s(length_s: float, limits: ReferenceLimits) -> float:
    """Return the length of the finished reference for a stretch of `length_s`: with its trailing silence, and
    filled up to a whole second where the limits ask for that."""
    total = length_s + limits.trailing_silence_s
    return float(math.ceil(total - 1e-6)) if limits.whole_seconds else total


def search(
    cues: Sequence[Cue], track: LevelTrack, clipped_s: NDArray[np.float64], limits: ReferenceLimits
) -> Search:
    """Return the stretches of the first tier of boundaries that has any that fits the limits."""
    edges = [_edge(cues, index, track) for index in range(len(cues) + 1)]
    result = Search("sentence", [])
    for boundary in TIERS:
        result = _search(cues, edges, boundary, track, clipped_s, limits)
        if result.found:
            break
    result.found.sort(key=lambda one: (-round(one.score, 2), one.start_s))
    return result


def _search(
    cues: Sequence[Cue],
    edges: Sequence[_Edge],
    boundary: Boundary,
    track: LevelTrack,
    clipped_s: NDArray[np.float64],
    limits: ReferenceLimits,
) -> Search:
    result = Search(boundary, [])
    allowed = TIERS[: TIERS.index(boundary) + 1]
    for first in range(len(cues)):
        start_s = edges[first].start_s
        if edges[first].kind not in allowed or start_s is None:
            continue
        for past in range(first + 1, len(cues) + 1):
            if (why := _barrier(cues[past - 1])) or (past - 1 > first and not edges[past - 1].crossable):
                result.rejected[why or "speech that no cue covers"] += 1
                break
            end_s = edges[past].end_s
            if edges[past].kind not in allowed or end_s is None:
                continue
            result.lengths_s.append(end_s - start_s)
            total_s = whole_length_s(end_s - start_s, limits)
            if total_s > limits.max_s + 1e-6:
                result.rejected["too long"] += 1
                break
            if total_s < limits.min_s:
                result.rejected["too short"] += 1
            elif np.any((clipped_s >= start_s) & (clipped_s < end_s)):
                result.rejected["clipped"] += 1
            else:
                text = join(cue.text for cue in cues[first:past])
                stretch = measure(text, (first, past), start_s, end_s, total_s, track)
                if stretch.snr_db < LOWEST_SNR_DB:
                    result.rejected["noisy"] += 1
                else:
                    result.found.append(stretch)
    return result


def measure(
    text: str, cues: tuple[int, int], start_s: float, end_s: float, total_s: float, track: LevelTrack
) -> Stretch:
    """Return the stretch with its figures; `total_s` is the length of the finished reference."""
    noise_dbfs = track.noise_db(start_s, end_s)
    snr_db = track.loudest_db(start_s, end_s) - noise_dbfs
    speech_s = track.speech_s(start_s, end_s, above_db=noise_dbfs + _ABOVE_NOISE_DB)
    padding_s = total_s - (end_s - start_s)
    score = speech_s - _DB_COST_S * max(0.0, CLEAN_SNR_DB - snr_db) - _PADDING_COST * padding_s
    return Stretch(start_s, end_s, cues, text, speech_s, snr_db, noise_dbfs, padding_s, score)


def _barrier(cue: Cue) -> str | None:
    """Return why no stretch may hold this cue, or None."""
    if cue.annotated:
        return "a cue that describes a noise"
    if len(cue.text) / (cue.end_s - cue.start_s) > _FASTEST_CPS:
        return "a cue with more text than can be spoken in its time"
    return None


def _edge(cues: Sequence[Cue], index: int, track: LevelTrack) -> _Edge:
    """Find where the clip can be cut between cue `index - 1` and cue `index`."""
    before = cues[index - 1] if index > 0 else None
    after = cues[index] if index < len(cues) else None
    crossable = True
    if before and after and after.start_s - before.end_s > 2 * _TOLERANCE_S:
        gap = (before.end_s + _TOLERANCE_S, after.start_s - _TOLERANCE_S)
        crossable = track.speech_s(*gap) < _UNTRANSCRIBED_S
    return _Edge(
        kind=_kind(before),
        end_s=_cut(track, before.end_s, before, after, opening=False) if before else None,
        start_s=_cut(track, after.start_s, before, after, opening=True) if after else None,
        crossable=crossable,
    )


def _kind(before: Cue | None) -> Boundary:
    if before is None or not before.text:
        return "sentence"
    if _SENTENCE_END.search(before.text) and not ends_in_abbreviation(before.text):
        return "sentence"
    return "clause" if _CLAUSE_END.search(before.text) else "cue"


def _cut(
    track: LevelTrack, at_s: float, before: Cue | None, after: Cue | None, *, opening: bool
) -> float | None:
    """Return where to cut in the longest pause near `at_s`, or None where the speech runs on."""
    earliest = (before.start_s + before.end_s) / 2 if before else 0.0
    latest = (after.start_s + after.end_s) / 2 if after else track.length_s
    runs = track.quiet_runs(max(at_s - _TOLERANCE_S, earliest), min(at_s + _TOLERANCE_S, latest))
    pauses = [(start, end) for start, end in runs if end - start >= _MIN_PAUSE_S]
    if not pauses:
        # The clip's own edge will do: what was cut there was cut when the owner made the clip.
        if opening and at_s <= _TOLERANCE_S:
            return 0.0
        if not opening and at_s >= track.length_s - _TOLERANCE_S:
            return track.length_s
        return None
    start, end = max(pauses, key=lambda run: run[1] - run[0])
    if opening:
        return end - min(_LEAD_S, (end - start) / 2)
    return start + min(_TAIL_S, (end - start) / 2)
