"""Expected against measured: rows, tolerances, the table."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.records.base import Record
from bench.records.take import Take
from bench.selftest.cases import Case

WORST_TIMES = 20.0
"""No single take of a case may be off by more than this many tolerances, however good the median."""
TOLERANCE_MS = {1: 5.0, 8: 15.0}
"""Of the median error of a time, by concurrency. Both ends and the instrument's threads share this host's
cores, so this bounds the harness under ordinary load; `python -m benchmarks.client` reports the error's
distribution on a quiet host."""


class Row(Record):
    """One comparison."""

    case: str
    concurrency: int
    figure: str
    scripted: str
    expected: str
    """From the instrument's stamps, for a time; as scripted for the rest."""
    measured: str
    error_ms: float | None
    """Measured minus expected, the median over takes; null for what is not a time."""
    worst_ms: float | None = None
    """Of the take that is farthest off."""
    tolerance_ms: float | None
    ok: bool
    attempt: int = 1


class SelftestReport(Record):
    """All rows. `ok` decides the exit code."""

    ok: bool
    rows: list[Row]
    wall_s: float

    def table(self, *, failures_only: bool = False) -> str:
        """Return the rows as text, one line each, failures marked, and a last line that says how it went.

        `failures_only`: of the rows those that failed; nothing but the last line where none did.
        """
        head = (
            "case",
            "at once",
            "figure",
            "scripted",
            "expected",
            "measured",
            "error",
            "worst",
            "limit",
            "",
        )
        lines = [head]
        for row in self.rows:
            if failures_only and row.ok:
                continue
            error = "" if row.error_ms is None else f"{row.error_ms:+.2f} ms"
            worst = "" if row.worst_ms is None else f"{row.worst_ms:+.2f} ms"
            limit = "exact" if row.tolerance_ms is None else f"{row.tolerance_ms:g} ms"
            mark = "ok" if row.ok else "FAILED"
            mark += "" if row.attempt == 1 else f" (attempt {row.attempt})"
            lines.append(
                (row.case, str(row.concurrency), row.figure, row.scripted, row.expected, row.measured, error,
                 worst, limit, mark)
            )  # fmt: skip
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        failed = sum(not row.ok for row in self.rows)
        if failures_only and not failed:
            text = []
        text.append(
            f"{len(self.rows)} comparisons, {failed} failed, {self.wall_s:.1f} s: "
            f"{'the client measures right on this host' if self.ok else 'do not trust figures taken here'}"
        )
        return "\n".join(text)


def tolerance(concurrency: int) -> float:
    """Return the limit of the median error of a time, ms."""
    return TOLERANCE_MS[1] if concurrency == 1 else TOLERANCE_MS[8]


def fault_rows(case: Case, concurrency: int, errors: Sequence[tuple[str, str] | None]) -> list[Row]:
    """Compare the named failures of all takes of one case; each of `errors` is (kind, message) or None."""
    wanted = case.error or "none"
    got = sorted({error[0] if error else "none" for error in errors})
    says = all(case.error_says in (error[1] if error else "") for error in errors)
    measured = ", ".join(got) if says else f"{', '.join(got)} without '{case.error_says}'"
    return [_exact(case, concurrency, "failure", wanted, measured or "no take", got == [wanted] and says)]


def dialect_rows(case: Case, concurrency: int, found: str, takes: Sequence[Take]) -> list[Row]:
    """Compare the dialect that was found by asking with the family's own, and see that it speaks."""
    failed = sorted({take.error.kind for take in takes if take.error is not None})
    spoke = ", ".join(failed) or ("none" if takes else "no take")
    return [
        _exact(case, concurrency, "dialect", case.family, found, found == case.family),
        _exact(case, concurrency, "failure", "none", spoke, spoke == "none"),
    ]


def timed_rows(
    case: Case, concurrency: int, takes: Sequence[Take], notes: dict[str, dict[str, Any]]
) -> list[Row]:
    """Compare every figure of one case.

    Args:
        case: what must come out.
        concurrency: of these takes.
        takes: as measured; the text of each carries the key into `notes`.
        notes: what the instrument noted, by take.
    """
    bad = [take.error for take in takes if take.error is not None]
    if bad or not takes:
        found = ", ".join(sorted({f"{error.kind} ({error.message})" for error in bad})) or "no take"
        return [_exact(case, concurrency, "failure", "none", found, False)]
    pairs = [(take, _truth(case, notes[take.text])) for take in takes]
    rows = [
        _time(case, concurrency, figure, pairs)
        for figure in ("ttfb_ms", "ttfa_ms", "ttfa_audible_ms", "total_ms")
        if pairs[0][1][figure] is not None
    ]
    for figure in ("stall_ms", "start_buffer_ms"):
        rows.append(_time(case, concurrency, figure, pairs, scripted=case.stall_ms, wider=2.0))
    rows += _exact_rows(case, concurrency, takes)
    return rows


def _exact_rows(case: Case, concurrency: int, takes: Sequence[Take]) -> list[Row]:
    audio = [take.audio_s or 0.0 for take in takes]
    off = max(abs(value - case.audio_s) for value in audio)
    rows = [
        _exact(case, concurrency, "audio_s", f"{case.audio_s:g}", f"{median(audio):g}",
               off <= case.audio_tolerance_s + 1e-9)
    ]  # fmt: skip
    for figure, wanted in (("chunks", case.chunks), ("streamed", case.streamed), ("stalls", case.stalls)):
        # Of many takes on a busy host one may see two pieces arrive together: the middle one decides.
        got = sorted(getattr(take, figure) for take in takes)[len(takes) // 2]
        rows.append(_exact(case, concurrency, figure, str(wanted), str(got), got == wanted))
    if case.noted:
        noted = all(take.note is not None for take in takes)
        rows.append(
            _exact(case, concurrency, "note", "asked again", "asked again" if noted else "none", noted)
        )
    return rows


def _truth(case: Case, note: dict[str, Any]) -> dict[str, float | None]:
    """Return the true figures of one take from the instrument's stamps, ms.

    The stall is found by another way than the client's player: the end of playback is the largest of arrival
    plus all audio from there on, and the pauses are what that exceeds start plus audio. Pieces that are zeros from
    end to end before the first other sample are no audio.
    """
    arrived = note["arrived_ns"]
    sent = [((at - arrived) / 1e6, audio) for at, audio in note["sent"]]
    audible = [(at, audio) for at, audio in sent if audio > 0]
    played, silent = audible[0][0], case.silent_ms or 0.0
    while silent >= audible[0][1] and len(audible) > 1:
        silent -= audible.pop(0)[1]
    first = audible[0][0]
    whole = sum(audio for _, audio in audible)
    end = max(at + sum(audio for _, audio in audible[index:]) for index, (at, _) in enumerate(audible))
    stall = end - first - whole
    return {
        "ttfb_ms": sent[0][0],
        "ttfa_ms": first,
        "ttfa_audible_ms": None if case.silent_ms is None else played + case.silent_ms,
        "total_ms": sent[-1][0],
        "stall_ms": stall,
        "start_buffer_ms": stall,
    }


def _time(
    case: Case,
    concurrency: int,
    figure: str,
    pairs: Sequence[tuple[Take, dict[str, float | None]]],
    *,
    scripted: float | None = None,
    wider: float = 1.0,
) -> Row:
    wanted = [truth[figure] or 0.0 for _, truth in pairs]
    got = [getattr(take, figure) for take, _ in pairs]
    limit = tolerance(concurrency) * wider
    if any(value is None for value in got):
        return _exact(case, concurrency, figure, f"{median(wanted):.1f} ms", "null", False)
    errors = [value - truth for value, truth in zip(got, wanted, strict=True)]
    error, worst = median(errors), max(errors, key=abs)
    return Row(
        case=case.name,
        concurrency=concurrency,
        figure=figure,
        scripted="" if scripted is None else f"{scripted:g} ms",
        expected=f"{median(wanted):.1f} ms",
        measured=f"{median(got):.1f} ms",
        error_ms=error,
        worst_ms=worst,
        tolerance_ms=limit,
        ok=abs(error) <= limit and abs(worst) <= WORST_TIMES * limit,
    )


def _exact(case: Case, concurrency: int, figure: str, wanted: str, got: str, ok: bool) -> Row:
    return Row(
        case=case.name, concurrency=concurrency, figure=figure, scripted=wanted, expected=wanted, measured=got,
        error_ms=None, tolerance_ms=None, ok=ok,
    )  # fmt: skip
