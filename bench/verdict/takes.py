"""Which takes count, and the latency figures that the rule and the verdict take from them."""

import math
from collections.abc import Sequence
from typing import Any

from bench.records import Summary, Take
from bench.verdict.statistics import summarise

LATENCY_FIGURES = ("ttfb_ms", "ttfa_ms", "ttfa_audible_ms", "total_ms", "rtf", "rtf_after_first", "stall_ms")


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


def figure(takes: Sequence[Take], name: str) -> Summary | None:
    """Summarise one figure over the valid takes; null where any of them lacks it, or there are none.

    A median over only those takes that could be timed would be of other takes than the rule names.
    """
    values = [getattr(take, name) for take in valid_takes(takes)]
    if not values or not all(taken(value) for value in values):
        return None
    return summarise(values)


def latency_of(takes: Sequence[Take] | None, *, revealed: bool) -> dict[str, Any] | None:
    """Return a side's latency figures as JSON values; None where the pass was not made.

    Until raters are done, nothing that gives a clip's length away: audible TTFA holds the leading silence,
    total time over RTF is the length, and so is TTFA over RTF for a take that was not streamed. What is left
    is sorted, so that no value belongs to a sentence.
    """
    if takes is None:
        return None
    kept = valid_takes(takes)
    streamed = bool(kept) and all(take.streamed for take in kept)
    names = LATENCY_FIGURES if revealed else (("ttfb_ms", "ttfa_ms", "rtf") if streamed else ("ttfa_ms",))
    result: dict[str, Any] = {
        "takes": len(kept),
        "streamed": sum(take.streamed is True for take in kept),
        "reference_not_cached": sum(take.reference_cached is False for take in kept),
    }
    for name in names:
        summary = figure(kept, name)
        if summary is not None and not revealed:
            summary = summary.model_copy(update={"values": sorted(summary.values)})
        result[name] = None if summary is None else summary.model_dump(mode="json")
    return result


def failures_of(takes: Sequence[Take] | None, error: str | None = None) -> dict[str, Any] | None:
    """Count and name a side's failed takes; None where the pass was not made and nothing says why."""
    if takes is None and error is None:
        return None
    timed = [take for take in takes or [] if not take.warmup]
    failed = [take for take in timed if not is_valid(take)]
    return {
        "made": len(timed),
        "valid": len(timed) - len(failed),
        "failed": [
            {
                "utterance_id": take.utterance_id,
                "kind": take.error.kind if take.error else "no_audio",
                "message": take.error.message if take.error else "the take has no audio of any length",
            }
            for take in failed
        ],
        "pass_error": error,
    }
