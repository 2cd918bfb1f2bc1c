"""What the neighbour's clients felt while the engine spoke beside it (parallel mode)."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from bench.client.chat import PROMPT
from bench.neighbour.readiness import find_root, make_direct_client
from bench.records.neighbour import Felt, NeighbourRecord
from bench.summaries.summary import summarise


@contextmanager
def felt_latency(record: NeighbourRecord, *, every_s: float = 1.0, max_tokens: int = 32) -> Iterator[None]:
    """Ask the neighbour one small question after another while the block runs, and enter what it took.

    Enter it around the takes alone, once for each pass; what was felt in all of them is put together. One
    request at a time with `every_s` between, so that the probe itself is a light client; a slow answer is
    waited for, since a client would. Errors are counted, not timed.
    """
    if record.url is None:
        yield
        return
    values: list[float] = []
    errors = [0]
    done = threading.Event()
    model = record.before.readiness.model if record.before.readiness else None
    url = f"{find_root(record.url)}/v1/chat/completions"

    def ask() -> None:
        with make_direct_client(120.0) as client:
            while not done.is_set():
                question = {"role": "user", "content": f"[{secrets.token_hex(8)}] {PROMPT}"}
                body = {"model": model, "messages": [question], "max_tokens": max_tokens, "temperature": 0}
                began = time.perf_counter()
                try:
                    client.post(url, json=body).raise_for_status()
                    values.append(1000.0 * (time.perf_counter() - began))
                except httpx.HTTPError:
                    errors[0] += 1
                done.wait(every_s)

    thread = threading.Thread(target=ask, name="neighbour's latency", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=130.0)
        earlier = record.felt or Felt(values_ms=[], errors=0, p50_ms=None, p95_ms=None)
        record.felt = summarise_felt(earlier.values_ms + values, earlier.errors + errors[0])


def summarise_felt(values_ms: list[float], errors: int) -> Felt:
    """Return the median and the 95th percentile; None of nothing."""
    found = summarise(values_ms)
    return Felt(values_ms=found.values, errors=errors, p50_ms=found.p50, p95_ms=found.p95)
