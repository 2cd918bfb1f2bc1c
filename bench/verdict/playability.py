"""Whether takes can be listened to while they come: beside the gates, and a gate each where the rule asks for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.records.run import Rule
from bench.records.take import Summary
from bench.records.verdict import Playability
from bench.verdict.takes import Heard


@dataclass(frozen=True, slots=True)
class Asked:
    """A gate that a rule file adds to the rule's two conditions."""

    name: str
    words: str
    value: float | None
    limit: float
    unit: str = ""
    of_sound: bool = True
    """False: it may be known before every rater has finished."""

    @property
    def passed(self) -> bool:
        """Whether the value is at most the limit; a null passes nothing."""
        return self.value is not None and self.value <= self.limit

    def __str__(self) -> str:
        """Return it as a verdict's sentence has it."""
        value = "not known" if self.value is None else f"{self.value:.4g}{self.unit}"
        return f"its {self.words} is {value} (limit {self.limit:g}{self.unit})"


def playability_of(heard: Heard) -> Playability:
    """Return the figures of one side's timed takes; one that any take that was heard lacks is null."""
    rtf, stalls = heard.figure("rtf"), heard.figure("stall_ms")
    return Playability(
        takes=len(heard.takes),
        never_heard=heard.never,
        rtf_p50=_p50(heard.figure("rtf", never_is_infinite=True)),
        slower_than_speech=None if rtf is None else sum(value > 1.0 for value in rtf.values),
        stalled=None if stalls is None else sum(value > 0.0 for value in stalls.values),
        stall_ms_p50=_p50(stalls),
        stall_ms_most=_most(stalls),
        start_buffer_ms_most=_most(heard.figure("start_buffer_ms")),
        ttfa_audible_ms_p50=_p50(heard.figure("ttfa_audible_ms", never_is_infinite=True)),
    )


def asked_gates(rule: Rule, found: Playability) -> Iterator[Asked]:
    """Yield the gates that the rule asks for beside its two conditions."""
    if rule.failed_takes_limit is not None:
        yield Asked(
            "failed_takes",
            "number of failed takes",
            found.never_heard,
            rule.failed_takes_limit,
            of_sound=False,
        )
    if rule.rtf_limit is not None:
        yield Asked("rtf_p50", "real-time factor p50", found.rtf_p50, rule.rtf_limit)
    if rule.stall_ms_limit is not None:
        yield Asked("stall_ms", "longest stall", found.stall_ms_most, rule.stall_ms_limit, " ms")
    if (limit := rule.ttfa_audible_p50_limit_ms) is not None:
        yield Asked("ttfa_audible_p50_ms", "audible TTFA p50", found.ttfa_audible_ms_p50, limit, " ms")


def warn_of_playing(name: str, found: Playability) -> list[str]:
    """Return the warning that a listener of `name` would have to wait, or nothing."""
    said = []
    endless = "infinite, for so many takes were never heard" if found.never_heard else "not known"
    if found.slower_than_speech:
        said.append(
            f"{found.slower_than_speech} of {found.takes} takes are slower than speech "
            f"(real-time factor p50 {endless if found.rtf_p50 is None else _spell(found.rtf_p50)})"
        )
    if found.stalled:
        said.append(
            f"{found.stalled} of {found.takes} stall when played as they come (p50 {_spell(found.stall_ms_p50)} ms, "
            f"most {_spell(found.stall_ms_most)} ms)"
        )
    if found.start_buffer_ms_most:
        said.append(f"a start buffer of {_spell(found.start_buffer_ms_most)} ms would avoid every stall")
    if not said:
        return []
    audible = found.ttfa_audible_ms_p50
    said.append(
        f"the p50 of the first audible sample is {endless if audible is None else f'{_spell(audible)} ms'}"
    )
    return [f"Playing {name} as it comes: {'; '.join(said)}."]


def _spell(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _p50(summary: Summary | None) -> float | None:
    return None if summary is None else summary.p50


def _most(summary: Summary | None) -> float | None:
    return None if summary is None else max(summary.values)
