"""`audition load URL`: a speech server under a rising number of askers, and under arrivals that do not wait."""

import errno
import json
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalog.entry import HttpRun
from bench.client.load import LoadResult, closed_loop, open_loop
from bench.client.target import Target, Voice
from bench.controller.prepare import DEFAULT_UTTERANCES
from bench.errors import BadInput
from bench.inputs import utterances
from bench.records.take import Summary
from bench.storage.atomic import write_atomically

OPEN_SHARES = (0.5, 0.9)
"""Of the takes a second that the best closed loop came to: arrivals a server should stand, and nearly not."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of which server."""

    url: str
    run: HttpRun
    voice: str | None
    reference: Path | None
    transcript: str | None
    cold: bool
    token_env: str | None
    utterances: Path | None
    concurrency: Sequence[int]
    rates: Sequence[float] | None
    """Arrivals a second; None: `OPEN_SHARES` of what the closed loops came to."""
    n: int
    timeout_s: float
    json: Path | None


def load(wanted: Load, say: Callable[[str], None]) -> int:
    """Run every level, say a line for each and write those done so far where asked; 1 when a take failed.

    Raises:
        BadInput: a number that is not above 0, neither or both of a voice and a reference, `--cold` without a
            reference, no such token, no level, or a `--json` that cannot be written.
        ServerUnusable: see `bench.client.probe`.
    """
    _check_numbers(wanted)
    target, voice = _target(wanted), _voice(wanted)
    if not wanted.concurrency and not wanted.rates:
        raise BadInput(
            "give --concurrency or --rate at least one level; without a closed loop no rate is known."
        )
    if wanted.json is not None:
        _check_writable(wanted.json)
    said = list(utterances.read(wanted.utterances or DEFAULT_UTTERANCES))
    results: list[LoadResult] = []

    def keep(result: LoadResult) -> None:
        if not results:
            say(_HEAD)
        results.append(result)
        say(spell_line(result))
        for line in _spell_faults(result):
            say(f"  {line}")
        # After each level: a server that goes away takes none of those before with it.
        if wanted.json is not None:
            body = {"schema_version": 1, "levels": [each.model_dump(mode="json") for each in results]}
            write_atomically(wanted.json, (json.dumps(body, indent=1) + "\n").encode())

    for concurrency in wanted.concurrency:
        keep(
            closed_loop(
                target,
                said,
                voice,
                concurrency=concurrency,
                n=wanted.n,
                timeout_s=wanted.timeout_s,
                cold=wanted.cold,
            )
        )
    for rate in wanted.rates if wanted.rates is not None else _rates(results):
        keep(
            open_loop(
                target, said, voice, rate_per_s=rate, n=wanted.n, timeout_s=wanted.timeout_s, cold=wanted.cold
            )
        )
    if wanted.json is not None:
        say(f"written: {wanted.json}")
    return 1 if any(result.failed for result in results) else 0


def _check_numbers(wanted: Load) -> None:
    """Refuse what no level can be measured with, before the first."""
    wrong = [
        f"{option} {value:g} asked for"
        for option, values in (
            ("--concurrency", wanted.concurrency),
            ("--rate", wanted.rates or ()),
            ("--takes", (wanted.n,)),
            ("--timeout", (wanted.timeout_s,)),
        )
        for value in values
        if not (value > 0 and math.isfinite(value))
    ]
    if wrong:
        raise BadInput(f"{', '.join(wrong)}; give numbers above 0. Nothing was measured.")


def _check_writable(path: Path) -> None:
    """Find out before anything is measured whether its figures can be kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise BadInput(
            f"--json {path} cannot be written ({error.strerror}); give a file elsewhere."
        ) from error


def _target(wanted: Load) -> Target:
    token = os.environ.get(wanted.token_env) if wanted.token_env else None
    if wanted.token_env and not token:
        raise BadInput(
            f"--token-env names {wanted.token_env}, which is not set in this environment; export it."
        )
    return Target.from_run(wanted.run, wanted.url, token)


def _voice(wanted: Load) -> Voice:
    if (wanted.voice is None) == (wanted.reference is None):
        raise BadInput(
            "give --voice for one that the server has, or --reference with a clip to clone; one of them."
        )
    if wanted.voice is not None:
        if wanted.cold:
            raise BadInput("--cold needs a --reference: a voice of the server's own has nothing to encode.")
        return Voice.by_name(wanted.voice)
    assert wanted.reference is not None
    return Voice.clone(wanted.reference, wanted.transcript, how="request" if wanted.cold else "auto")


def _rates(closed: Sequence[LoadResult]) -> list[float]:
    """Return arrivals a second as shares of the most that a closed loop brought."""
    most = max(
        ((len(result.takes) - sum(result.failed.values())) / result.wall_s for result in closed), default=0.0
    )
    return [round(share * most, 3) for share in OPEN_SHARES if round(share * most, 3) > 0]


_HEAD = (
    f"{'level':<16}{'takes':>6}{'failed':>7}{'TTFA p50':>10}{'p95':>9}{'audible p50':>12}{'total p50':>11}"
    f"{'RTF p50':>9}{'stalled':>9}{'audio-s/s':>11}  (ms)"
)


def spell_line(result: LoadResult) -> str:
    """Return one level as a line of the table."""
    level = f"{result.concurrency} at once" if result.mode == "closed" else f"{result.rate_per_s:g} a second"
    stalled = sum(1 for take in result.takes if take.stalls)
    per_s = "null" if result.audio_s_per_s is None else f"{result.audio_s_per_s:.2f}"
    text = (
        f"{level:<16}{len(result.takes):>6}{sum(result.failed.values()):>7}{_of(result.ttfa_ms):>10}"
        f"{_of(result.ttfa_ms, 'p95'):>9}{_of(result.ttfa_audible_ms):>12}{_of(result.total_ms):>11}"
        f"{_of(result.rtf, digits=3):>9}{stalled:>9}{per_s:>11}"
    )
    if result.late_ms is not None and (result.late_ms.p95 or 0.0) > 5.0:
        text += f"  this host was late, p95 {result.late_ms.p95:.0f} ms"
    return text + (f"  {result.failed}" if result.failed else "")


def _spell_faults(result: LoadResult) -> list[str]:
    """Return a line for each kind of failure, in the words of the first, and for what all takes show."""
    first = {take.error.kind: take.error.message for take in reversed(result.takes) if take.error is not None}
    return [f"{kind}: {message}" for kind, message in first.items()] + [
        f"ALARM: {alarm.message}" for alarm in result.alarms
    ]


def _of(summary: Summary, name: str = "p50", digits: int = 1) -> str:
    value = getattr(summary, name)
    return "null" if value is None else f"{value:.{digits}f}"
