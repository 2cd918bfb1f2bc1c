"""Which takes count, and the latency figures that the rule and the verdict take from them.

What counts is said here alone: sealing rates the pairs that `rateable` chooses, and the verdict is of the same.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.listening import Unusable
from bench.records.take import Summary, Take
from bench.records.verdict import (
    AnyLatency,
    BlindLatency,
    BlindStreamedLatency,
    FailedTake,
    Failures,
    Latency,
    LatencyCounts,
    NotedTake,
)
from bench.summaries.summary import summarise

NAMED_AT_MOST = 5
"""Of a pass of 10,000 a message names the first few."""


def taken(value: float | None) -> bool:
    """Whether a figure could be taken: neither null, NaN nor infinite."""
    return value is not None and math.isfinite(value)


def is_valid(take: Take) -> bool:
    """Whether a take is timed speech: no error, no warm-up, a file with its hash, a length above zero."""
    return (
        take.error is None
        and not take.warmup
        and take.wav is not None
        and take.sha256 is not None
        and take.audio_s is not None
        and math.isfinite(take.audio_s)
        and take.audio_s > 0
    )


def valid_takes(takes: Sequence[Take] | None) -> list[Take]:
    """Return the takes that count, in order."""
    return [take for take in takes or [] if is_valid(take)]


def utterance_ids(takes: Sequence[Take]) -> list[str]:
    """Return the utterances that `takes` speak, each once, in order."""
    return list(dict.fromkeys(take.utterance_id for take in takes))


@dataclass(frozen=True, slots=True)
class Rateable:
    """The utterances that are rated, and which could not be."""

    spoken: list[str]
    """Those with a valid candidate take."""
    paired: list[str]
    """Those with a valid take on both sides."""
    rated: list[str]
    """The first `pairs` of these; fewer where there are no more."""
    passed_over: list[str]
    """Those that came before the last one rated and have no valid pair."""


def rateable(
    candidate: Sequence[Take] | None,
    baseline: Sequence[Take] | None,
    unusable: Iterable[Unusable],
    pairs: int,
) -> Rateable:
    """Choose what is rated: the first `pairs` utterances, in the candidate's order, valid on both sides."""
    out = {(each.side, each.utterance_id) for each in unusable}
    spoken = [name for name in utterance_ids(valid_takes(candidate)) if ("candidate", name) not in out]
    answered = {name for name in utterance_ids(valid_takes(baseline)) if ("baseline", name) not in out}
    paired = [name for name in spoken if name in answered]
    rated = paired[:pairs]
    order = utterance_ids([take for take in candidate or [] if not take.warmup])
    before = order[: order.index(rated[-1])] if rated else []
    kept = set(rated)
    return Rateable(spoken, paired, rated, [name for name in before if name not in kept])


def named(names: Sequence[str]) -> str:
    """List names for a message: the first few, and how many more."""
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Heard:
    """A pass's timed takes, as far as anybody could hear them."""

    takes: list[Take]
    """The valid ones that are speech."""
    never: int = 0
    """The others: those that failed, and those that were not made because the pass ended early."""

    def figure(self, name: str, *, never_is_infinite: bool = False) -> Summary | None:
        """Summarise one figure; null where any take that was heard lacks it, or there are none.

        A median over only those takes that could be timed would be of other takes than the rule names; and so would
        one over only those that were heard, where the figure says how long a listener waits.
        """
        values = [getattr(take, name) for take in self.takes]
        if not values or not all(taken(value) for value in values):
            return None
        return summarise(values, never=self.never if never_is_infinite else 0)


def hear(takes: Sequence[Take] | None, unusable: Iterable[Unusable], *, asked_for: int) -> Heard:
    """Part a pass's timed takes into those that were heard and those that never were.

    `unusable` are this side's; `asked_for` is how many utterances the pass was to speak.
    """
    timed = [take for take in takes or [] if not take.warmup]
    silent = {each.utterance_id for each in unusable}
    heard = [take for take in valid_takes(timed) if take.utterance_id not in silent]
    return Heard(heard, max(len(timed), asked_for) - len(heard))


WAITED_FOR = ("ttfa_ms", "ttfa_audible_ms")
"""Figures of how long a listener waits: of a take that was never heard they are infinite."""


def latency_of(heard: Heard, *, revealed: bool) -> AnyLatency:
    """Return a side's latency figures, as far as they may be known.

    Until raters are done (when only the candidate's are asked for), nothing that gives a clip's length away:
    audible TTFA holds the leading silence, total time over RTF is the length, and so is TTFA over RTF for a take
    that was not streamed. What is left is sorted, so that no value belongs to a sentence.
    """
    kept = heard.takes
    streamed = bool(kept) and all(take.streamed for take in kept)
    kind = Latency if revealed else BlindStreamedLatency if streamed else BlindLatency
    figures: dict[str, Summary | None] = {}
    for name in kind.model_fields.keys() - LatencyCounts.model_fields.keys():
        summary = heard.figure(name, never_is_infinite=name in WAITED_FOR)
        if summary is not None and not revealed:
            summary = summary.model_copy(update={"values": sorted(summary.values)})
        figures[name] = summary
    counts: dict[str, Any] = {
        "takes": len(kept),
        "streamed": sum(take.streamed is True for take in kept),
        "reference_not_cached": sum(take.reference_cached is False for take in kept),
    }
    return kind.model_validate(counts | figures)


def failures_of(
    takes: Sequence[Take] | None,
    error: str | None = None,
    unusable: Iterable[Unusable] = (),
    *,
    asked_for: int | None = None,
) -> Failures | None:
    """Count and name a side's failed takes, and those with a note (asked for again, say).

    `unusable` are those of this side. `asked_for`: how many utterances the pass was to speak, where those that were
    not made are to be counted. None where the pass was not made and nothing says why.
    """
    if takes is None and error is None:
        return None
    timed = [take for take in takes or [] if not take.warmup]
    reasons = {each.utterance_id: each.reason for each in unusable}
    failed = []
    for take in timed:
        if take.error is not None:
            kind, message = take.error.kind, take.error.message
        elif not is_valid(take):
            kind, message = "no_audio", "the take has no audio of any length"
        elif take.utterance_id in reasons:
            kind, message = "unusable", reasons[take.utterance_id]
        else:
            continue
        failed.append(FailedTake(utterance_id=take.utterance_id, kind=kind, message=message))
    return Failures(
        made=len(timed),
        valid=len(timed) - len(failed),
        failed=failed,
        noted=[NotedTake(utterance_id=take.utterance_id, note=take.note) for take in timed if take.note],
        pass_error=error,
        never_made=None if asked_for is None else max(0, asked_for - len(timed)),
    )
