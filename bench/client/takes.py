"""A pass: many utterances through one voice of one server, one after another, each take kept as it was
made."""

import asyncio
import hashlib
import io
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import soundfile

from bench.client.alarms import Watch
from bench.client.faults import TakeFault
from bench.client.figures import as_float
from bench.client.probe import settle
from bench.client.samples import Samples
from bench.client.session import Fetched, Spoken, fetch, judge, request_for
from bench.client.target import Target, Voice
from bench.client.timing import host_name, quiet_gc
from bench.errors import BadInput
from bench.records.passes import PassResult
from bench.records.run import Utterance
from bench.records.take import Take
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.storage.private import FILE, make_private

TAKES_FILE = "takes.jsonl"
STOP_POLL_S = 0.2
WARMUP = Utterance(
    id="warmup", text="Before anything is measured, this sentence is said once or twice and then forgotten."
)
"""Not of the set: a server that caches what it has said must not have said the first timed text."""


def run_takes(
    target: Target,
    utterances: Iterable[Utterance],
    voice: Voice,
    out: Path,
    *,
    warmups: int = 1,
    timeout_s: float = 120.0,
    seed: int | None = None,
    on_take: Callable[[Take], None] | None = None,
    stop: Callable[[], str | None] | None = None,
    timed: AbstractContextManager[object] | None = None,
) -> PassResult:
    """Speak every utterance once and write each take into `out`.

    `<utterance_id>.wav` (16-bit mono at the rate received) appears whole or not at all, then its line is
    appended to `takes.jsonl`. A failed take has a line with `error`, null figures and no wav, and the pass
    goes on. Warm-ups say `WARMUP` and leave lines with `warmup: true`. Memory does not grow with
    the number of utterances. It runs an event loop of its own: call it from a thread without one.

    Args:
        target: the server.
        utterances: may be a generator; consumed one at a time.
        voice: a name the server knows, or a reference to register or send along.
        out: a directory without takes; made if missing.
        warmups: takes before the first timed one.
        timeout_s: limit of each take, connecting and a Retry-After included.
        seed: sent with each request where the dialect has one.
        on_take: called after each line is on disk, warm-ups too.
        stop: asked between takes and every 0.2 s during one (from another thread); a string ends the pass.
        timed: entered when the warm-ups are over and left with the last take.

    Raises:
        ServerUnusable: out of reach, no dialect fits, or the voice was refused.
        BadInput: `out` already holds takes, an utterance id occurs twice, or the dialect cannot carry the
            voice.
        OSError: the disk is full.
    """
    make_private(out)
    lines = out / TAKES_FILE
    if lines.exists() and lines.stat().st_size:
        raise BadInput(
            f"{lines} already holds takes, and takes are never overwritten; give another directory."
        )
    lines.touch(FILE)
    return asyncio.run(
        _run_pass(
            target, utterances, voice, out, warmups, timeout_s, seed, on_take or (lambda _: None), stop, timed
        )
    )


async def _run_pass(
    target: Target,
    utterances: Iterable[Utterance],
    voice: Voice,
    out: Path,
    warmups: int,
    timeout_s: float,
    seed: int | None,
    on_take: Callable[[Take], None],
    stop: Callable[[], str | None] | None,
    timed: AbstractContextManager[object] | None,
) -> PassResult:
    begun = time.perf_counter()
    started = utc_now()
    detection, session = await settle(target, voice, timeout_s)
    result = PassResult(
        voice=voice.label,
        detection=detection,
        measured_from=host_name(),
        reference_cached=session.reference_cached,
        registration_ms=session.registration_ms,
        sample_rate_hz=None,
        started_utc=started,
    )
    failed: Counter[str] = Counter()
    watch = Watch()
    pending = iter(utterances)
    first = next(pending, None)
    ahead = [] if first is None else [(WARMUP, True)] * warmups + [(first, False)]
    with quiet_gc(), ExitStack() as opened, (out / TAKES_FILE).open("a", encoding="utf-8") as lines:
        for utterance, warmup in itertools.chain(ahead, ((each, False) for each in pending)):
            if utterance is first and timed is not None:
                opened.enter_context(timed)
            reason = stop() if stop is not None else None
            if reason is None:
                request = request_for(session, utterance.text, seed)
                fetched, reason = await _run_unless(stop, fetch(session, request, timeout_s))
                spoken = judge(session, utterance, fetched, warmup=warmup, rate_hz=result.sample_rate_hz)
                if not warmup:
                    watch.look(spoken)
                take = _keep(spoken, warmup, result, out)
                _count(take, result, failed)
                lines.write(json.dumps(take.model_dump(mode="json"), ensure_ascii=False) + "\n")
                lines.flush()
                on_take(take)
            if reason is not None:
                result.stopped = reason
                break
    result.failed = dict(failed)
    result.alarms = watch.alarms()
    result.ended_utc = utc_now()
    result.wall_s = time.perf_counter() - begun
    return result


def _keep(spoken: Spoken, warmup: bool, result: PassResult, out: Path) -> Take:
    take = spoken.take
    if spoken.samples is None or take.sample_rate_hz is None:
        return take
    result.sample_rate_hz = take.sample_rate_hz
    if warmup:
        return take
    wav = out / f"{take.utterance_id}.wav"
    if wav.exists():
        raise BadInput(
            f"two utterances are called '{take.utterance_id}'; ids name the takes, so each must differ."
        )
    data = wav_bytes(spoken.samples, take.sample_rate_hz)
    write_atomically(wav, data, FILE)
    return take.model_copy(update={"wav": wav.name, "sha256": hashlib.sha256(data).hexdigest()})


def _count(take: Take, result: PassResult, failed: Counter[str]) -> None:
    if take.note is not None:
        result.noted += 1
    if take.warmup:
        result.warmups += 1
        result.warmups_failed += take.error is not None
        return
    result.takes += 1
    if take.error is None:
        result.ok += 1
    else:
        failed[take.error.kind] += 1


async def _run_unless(
    stop: Callable[[], str | None] | None, work: Coroutine[None, None, Fetched]
) -> tuple[Fetched, str | None]:
    """Return what `work` brings, or give it up when `stop` says why."""
    if stop is None:
        return await work, None
    task = asyncio.create_task(work)
    while True:
        done, _ = await asyncio.wait({task}, timeout=STOP_POLL_S)
        if done:
            return task.result(), None
        # In a thread: what the caller looks at may be slow, and the loop must stay free to stamp arrivals.
        reason = await asyncio.to_thread(stop)
        if reason is not None:
            # Where the reason is an engine that has died, the connection says so too, a moment later.
            done, _ = await asyncio.wait({task}, timeout=STOP_POLL_S)
            if done:
                return task.result(), reason
            task.cancel()
            await asyncio.wait({task})
            return Fetched(None, TakeFault("stopped", reason)), reason


def wav_bytes(samples: Samples, rate_hz: int) -> bytes:
    """Return a 16-bit mono WAV file; int16 samples are kept bit for bit, float ones rounded and limited."""
    if samples.dtype != np.int16:
        scaled = np.rint(as_float(samples).astype(np.float64) * 32768.0)
        samples = np.clip(scaled, -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
