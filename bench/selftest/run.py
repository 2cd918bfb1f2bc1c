"""Driving the client through every case."""

import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bench.client.load import LoadResult, closed_loop
from bench.client.probe import ServerUnusable
from bench.client.target import Target, Voice
from bench.client.voicecheck import check_voice
from bench.records.run import Utterance
from bench.selftest import sounds
from bench.selftest.cases import FAULTS, PROBED, TIMED, Case
from bench.selftest.compare import Row, SelftestReport, dialect_rows, fault_rows, timed_rows
from bench.selftest.process import Running, running
from bench.selftest.routes import NAME

ATTEMPTS = 5
NO_RETRY_AFTER_S = 40.0
"""From then on no case is measured again: the whole takes less than a minute, on a busy host too."""
GIVE_UP_AFTER = 3
"""Once this many cases have failed every attempt it is the harness: the rest get one attempt each."""


def run_selftest(
    concurrencies: Sequence[int] = (1, 8),
    cases: Sequence[Case] = (*TIMED, *PROBED, *FAULTS),
    say: Callable[[str], None] = lambda _line: None,
) -> SelftestReport:
    """Measure the scripted instrument in every dialect and with every fault, and compare.

    A case outside its tolerance is measured again, four times at most, because a shared host may be held up
    for a moment; the last result counts and its rows say which attempt they are. A harness that is wrong is
    wrong each time. Less than a minute. `say` is told what is measured next.
    """
    begun = time.perf_counter()
    rows: list[Row] = []
    with running() as instrument, tempfile.TemporaryDirectory(prefix="audition-selftest-") as scratch:
        reference = Path(scratch) / "reference.wav"
        voice = sounds.pcm(sounds.tone(500))
        reference.write_bytes(sounds.header(len(voice)) + voice)
        _measure_once(instrument, TIMED[0], 1, reference)  # warms both processes; its rows are dropped
        for concurrency in concurrencies:
            say(f"measuring a scripted server, {concurrency} at once")
            for case in cases:
                if case.error is None and case not in PROBED:
                    late = time.perf_counter() - begun > NO_RETRY_AFTER_S
                    hopeless = late or len({row.case for row in rows if not row.ok}) >= GIVE_UP_AFTER
                    rows += _measure_settled(
                        instrument, case, concurrency, reference, 1 if hopeless else ATTEMPTS
                    )
        # A fault or a dialect has a name and no time: shown once, and several beside one another to be quick.
        named = [case for case in cases if case.error is not None or case in PROBED]
        say("measuring faults and dialects")
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(
                lambda case: _measure_settled(instrument, case, max(concurrencies), reference, ATTEMPTS),
                named,
            ):
                rows += found
        rows += [_refused(), _no_tls(instrument), _default_voice(instrument)]
    return SelftestReport(ok=all(row.ok for row in rows), rows=rows, wall_s=time.perf_counter() - begun)


def _measure_settled(
    instrument: Running, case: Case, concurrency: int, reference: Path, attempts: int
) -> list[Row]:
    for attempt in range(1, attempts + 1):
        found = _measure_once(instrument, case, concurrency, reference)
        if all(row.ok for row in found):
            break
        time.sleep(0.2 * attempt)
    return [row.model_copy(update={"attempt": attempt}) for row in found]


def _measure_once(instrument: Running, case: Case, concurrency: int, reference: Path) -> list[Row]:
    if case in PROBED:
        try:
            load = measure_case(instrument, case, concurrency, reference, n=concurrency)
        except ServerUnusable as error:
            return dialect_rows(case, concurrency, f"{error.kind}: {error}", [])
        return dialect_rows(case, concurrency, load.detection.dialect, load.takes)
    if case.error is None:
        instrument.log()
    takes = measure_case(instrument, case, concurrency, reference, n=_count(case, concurrency)).takes
    if case.error is not None:
        errors = [(take.error.kind, take.error.message) if take.error else None for take in takes]
        return fault_rows(case, concurrency, errors)
    return timed_rows(case, concurrency, takes, _by_take(instrument.log()))


def _by_take(log: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the instrument's notes by take: of one that was asked for twice, the first arrival and the last answer."""
    notes: dict[str, dict[str, Any]] = {}
    for note in log:
        arrived_ns = notes.get(note["take"], note)["arrived_ns"]
        notes[note["take"]] = {**note, "arrived_ns": arrived_ns}
    return notes


def _count(case: Case, concurrency: int) -> int:
    if case.error is not None or case.noted:
        return concurrency
    return 3 if concurrency == 1 else concurrency


def measure_case(instrument: Running, case: Case, concurrency: int, reference: Path, *, n: int) -> LoadResult:
    """Return `n` takes of a case; the text of each is the word by which the instrument notes it."""
    batch = secrets.randbelow(10**8)  # digits: it shall be a word of one syllable, as short as the sounds are
    voice = Voice.clone(reference, "a tone", how=case.clone) if case.clone else Voice.by_name(NAME)
    target = Target(
        instrument.url(case.script, case.family or case.dialect),
        dialect=case.dialect,
        sample_rate_hz=case.rate_hz,
        token=SecretStr(case.token) if case.token else None,
    )
    said = [Utterance(id=f"u{index}", text=f"take-{batch}-{index}") for index in range(n)]
    return closed_loop(target, said, voice, concurrency=concurrency, n=n, warmups=0, timeout_s=case.timeout_s)


def _refused() -> Row:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return _unconnected(Case("nothing listens", error="connection_refused"), f"http://127.0.0.1:{port}")


def _no_tls(instrument: Running) -> Row:
    """A server that does not speak the https of its URL."""
    url = instrument.url("pcm").replace("http:", "https:")
    return _unconnected(Case("no TLS there", error="connect_failed"), url)


def _unconnected(case: Case, url: str) -> Row:
    said = [Utterance(id="u0", text="nobody there")]
    try:
        load = closed_loop(Target(url, dialect="openai"), said, Voice.by_name("x"), concurrency=1, n=1)
        errors = [(take.error.kind, take.error.message) if take.error else None for take in load.takes]
    except ServerUnusable as error:
        errors = [(error.kind, str(error))]
    return fault_rows(case, 1, errors)[0]


def _default_voice(instrument: Running) -> Row:
    """The instrument answers every voice alike: a server that silently speaks with its default."""
    target = Target(instrument.url("one_voice"), dialect="openai")
    check = check_voice(target, Voice.by_name("somebody"), takes=1)
    case = Case("one voice for every name", error="substituted")
    return fault_rows(case, 1, [(check.verdict, "; ".join(check.evidence))])[0]
