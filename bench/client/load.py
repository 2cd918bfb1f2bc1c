"""The same server under load: a fixed number of askers, or arrivals that do not wait for answers.

Takes are kept as they arrived and judged when the load is over, so that decoding one never delays the stamp
of another; memory therefore grows with `n`, and `MAX_TAKES` bounds it. Open-loop arrivals are Poisson and
leave at their scheduled time whatever is still under way: a server that falls behind cannot slow its own
examination (Schroeder, Wierman and Harchol-Balter 2006, "Open versus closed").
"""

import asyncio
import itertools
import math
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from bench.client.alarms import Watch
from bench.client.probe import settle
from bench.client.session import Fetched, Session, fetch, judge, request_for
from bench.client.takes import WARMUP
from bench.client.target import Target, Voice
from bench.client.timing import host_name, quiet_gc
from bench.errors import BadInput
from bench.records.base import Record
from bench.records.passes import Detection, PassAlarm
from bench.records.run import Utterance
from bench.records.take import Summary, Take
from bench.summaries.summary import summarise

MAX_TAKES = 2000


class LoadResult(Record):
    """One level of load. Summaries are over the takes that did not fail."""

    mode: str
    """`closed` or `open`."""
    concurrency: int | None
    """Closed: requests under way at any time."""
    rate_per_s: float | None
    """Open: mean arrivals a second."""
    measured_from: str
    detection: Detection
    takes: list[Take]
    """In order of leaving; the audio is not kept."""
    left_s: list[float]
    """When each request left, seconds from the start."""
    late_ms: Summary | None
    """Open: how far behind its schedule each request left. Beyond a few ms it is this host that is slow."""
    failed: dict[str, int]
    wall_s: float
    audio_s_per_s: float | None
    """Seconds of audio made a second of wall time, all requests together."""
    most_under_way: int
    ttfb_ms: Summary
    ttfa_ms: Summary
    ttfa_audible_ms: Summary
    total_ms: Summary
    rtf: Summary
    rtf_after_first: Summary
    stall_ms: Summary
    start_buffer_ms: Summary
    cold: bool = False
    """Whether each take came with a reference that the server had never seen."""
    alarms: list[PassAlarm] = []


def closed_loop(
    target: Target,
    utterances: Sequence[Utterance],
    voice: Voice,
    *,
    concurrency: int,
    n: int,
    warmups: int = 1,
    timeout_s: float = 120.0,
    cold: bool = False,
) -> LoadResult:
    """Keep `concurrency` requests under way until `n` takes are done, going round the utterances.

    `cold` sends each take a reference of its own: the clip with a little more silence at its end, which nobody can
    have encoded before. The texts come round again; a server that keeps what it said will be flattered.

    Raises:
        BadInput: nothing to say, more takes than `MAX_TAKES`, no request at a time, or cold and no readable reference
            that goes with the request.
        ServerUnusable: see `bench.client.probe`.
    """
    _check(utterances, n)
    if concurrency < 1:
        raise BadInput(f"a closed loop keeps at least 1 request under way; {concurrency} asked for.")

    async def drive(run: _Load) -> None:
        numbers = iter(range(n))

        async def asker() -> None:
            for index in numbers:
                await run.take_one(index)

        await asyncio.gather(*(asker() for _ in range(concurrency)))

    load = asyncio.run(_load(target, utterances, voice, n, warmups, timeout_s, cold, drive))
    return load.result("closed", concurrency, None)


def open_loop(
    target: Target,
    utterances: Sequence[Utterance],
    voice: Voice,
    *,
    rate_per_s: float,
    n: int,
    arrivals_seed: int = 1,
    warmups: int = 1,
    timeout_s: float = 120.0,
    cold: bool = False,
) -> LoadResult:
    """Send `n` requests at Poisson arrivals of `rate_per_s`; the same `arrivals_seed` gives the same
    schedule. `cold` as in `closed_loop`.

    Raises:
        BadInput: as `closed_loop`, or a rate that is not a positive number.
        ServerUnusable: see `bench.client.probe`.
    """
    _check(utterances, n)
    if not 0 < rate_per_s < math.inf:
        raise BadInput(f"arrivals need a rate above 0 a second; {rate_per_s:g} asked for.")
    schedule = arrivals(rate_per_s, n, arrivals_seed)

    async def drive(run: _Load) -> None:
        async def arrive(index: int, at: float) -> None:
            await asyncio.sleep(max(0.0, run.begun + at - time.perf_counter()))
            run.late_ms.append((time.perf_counter() - run.begun - at) * 1e3)
            await run.take_one(index)

        await asyncio.gather(*(arrive(index, at) for index, at in enumerate(schedule)))

    load = asyncio.run(_load(target, utterances, voice, n, warmups, timeout_s, cold, drive))
    return load.result("open", None, rate_per_s)


def arrivals(rate_per_s: float, n: int, seed: int) -> list[float]:
    """Return the times of `n` Poisson arrivals, seconds from the start, ascending."""
    gaps = np.random.default_rng(seed).exponential(1.0 / rate_per_s, n)
    return [float(at) for at in np.cumsum(gaps)]


def _make_unseen(reference: Path, n: int, folder: Path) -> list[Path]:
    """Return `n` copies of a clip, each longer than the one before by a sample of silence: no two alike."""
    try:
        values, rate = soundfile.read(reference, dtype="int16", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise BadInput(f"the reference {reference} cannot be read: {error}.") from error
    start = secrets.randbelow(rate // 10) + 1  # another run's copies are others again
    made = []
    for index in range(n):
        silence = np.zeros((start + index, values.shape[1]), np.int16)
        made.append(folder / f"{index}.wav")
        soundfile.write(made[-1], np.concatenate([values, silence]), rate, subtype="PCM_16")
    return made


def _check(utterances: Sequence[Utterance], n: int) -> None:
    if not utterances:
        raise BadInput("a load needs at least one utterance to say.")
    if not 1 <= n <= MAX_TAKES:
        raise BadInput(f"a load runs 1 to {MAX_TAKES} takes, which it keeps until its end; {n} asked for.")


class _Load:
    """One level of load while it runs."""

    def __init__(
        self,
        session: Session,
        detection: Detection,
        utterances: Sequence[Utterance],
        n: int,
        timeout_s: float,
        references: Sequence[Path],
    ) -> None:
        self.session, self.detection, self.timeout_s = session, detection, timeout_s
        self.said = list(itertools.islice(itertools.cycle(utterances), n))
        self.cold = bool(references)
        sessions = [replace(session, voice=replace(session.voice, reference=each)) for each in references]
        self.requests = [
            request_for(each, utterance.text, None)
            for each, utterance in zip(sessions or [session] * n, self.said, strict=True)
        ]
        self.fetched: list[Fetched | None] = [None] * n
        self.left_s = [0.0] * n
        self.late_ms: list[float] = []
        self.begun = 0.0
        self.wall_s = 0.0
        self.under_way = self.most_under_way = 0

    async def take_one(self, index: int) -> None:
        self.left_s[index] = time.perf_counter() - self.begun
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.fetched[index] = await fetch(self.session, self.requests[index], self.timeout_s)
        self.under_way -= 1

    def result(self, mode: str, concurrency: int | None, rate_per_s: float | None) -> LoadResult:
        takes, watch = [], Watch()
        for utterance, fetched in zip(self.said, self.fetched, strict=True):
            if fetched is not None:
                spoken = judge(self.session, utterance, fetched)
                watch.look(spoken)
                takes.append(spoken.take)
        good = [take for take in takes if take.error is None]
        audio_s = sum(take.audio_s or 0.0 for take in good)
        return LoadResult(
            mode=mode,
            concurrency=concurrency,
            rate_per_s=rate_per_s,
            measured_from=host_name(),
            detection=self.detection,
            takes=takes,
            left_s=self.left_s,
            late_ms=summarise(self.late_ms, spreads=True) if self.late_ms else None,
            failed=dict(Counter(take.error.kind for take in takes if take.error is not None)),
            wall_s=self.wall_s,
            audio_s_per_s=audio_s / self.wall_s if good else None,
            most_under_way=self.most_under_way,
            ttfb_ms=summarise((take.ttfb_ms for take in good), spreads=True),
            ttfa_ms=summarise((take.ttfa_ms for take in good), spreads=True),
            ttfa_audible_ms=summarise((take.ttfa_audible_ms for take in good), spreads=True),
            total_ms=summarise((take.total_ms for take in good), spreads=True),
            rtf=summarise((take.rtf for take in good), spreads=True),
            rtf_after_first=summarise((take.rtf_after_first for take in good), spreads=True),
            stall_ms=summarise((take.stall_ms for take in good), spreads=True),
            start_buffer_ms=summarise((take.start_buffer_ms for take in good), spreads=True),
            cold=self.cold,
            alarms=watch.alarms(),
        )


async def _load(
    target: Target,
    utterances: Sequence[Utterance],
    voice: Voice,
    n: int,
    warmups: int,
    timeout_s: float,
    cold: bool,
    drive: Callable[[_Load], Awaitable[None]],
) -> _Load:
    detection, session = await settle(target, voice, timeout_s)
    for _ in range(warmups):
        judge(session, WARMUP, await fetch(session, request_for(session, WARMUP.text, None), timeout_s))
    with tempfile.TemporaryDirectory(prefix="audition-cold-") as scratch:
        references: list[Path] = []
        if cold:
            if voice.reference is None or not session.inline:
                raise BadInput("a cold load needs a reference that the dialect sends with each request.")
            references = _make_unseen(voice.reference, n, Path(scratch))
            session = replace(session, reference_cached=False)
        load = _Load(session, detection, utterances, n, timeout_s, references)
    with quiet_gc():
        load.begun = time.perf_counter()
        await drive(load)
        load.wall_s = time.perf_counter() - load.begun
    return load
