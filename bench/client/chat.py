"""The neighbour's latency, taken the same way before and after: is it as well as it was?

The protocol (vLLM's prefix cache and first-request compilation are why; docs.nvidia.com/aiperf, "warmup"):
a pinned prompt with a nonce at its start, so that no prefix is cached on either side; temperature 0 and a
fixed number of tokens (`max_tokens` with `ignore_eos`), so that both sides do the same work; not streamed;
one at a time over ONE keep-alive connection; warm-ups discarded; every sample kept. The p50 of the first five
samples, which the owner's contract names, stands beside the p50 of all: alone it is fragile.
"""

import asyncio
import secrets
from typing import Any

from pydantic import SecretStr

from bench.client.faults import TakeFault
from bench.client.replies import error_text, parse_json
from bench.client.target import Target
from bench.client.timing import Connection, Exchange, HttpRequest, build_request, host_name, quiet_gc
from bench.records.base import Record
from bench.records.neighbour import ChatLatency
from bench.records.settings import P50_RATIO_LIMIT
from bench.storage.clock import utc_now
from bench.summaries.summary import intervals_differ, summarise

PROMPT = "List the days of the week in order, one per line, each with one short sentence about it."
"""Pinned: changing it makes earlier figures incomparable."""
CONTRACT_SAMPLES = 5
MIN_SAMPLES = 20
"""Fewer prove nothing."""


class ChatComparison(Record):
    """Before against after. `ratio` null: one of the two has no p50, and null never passes."""

    ratio: float | None
    ratio_of_5: float | None
    """The same by the p50 of five."""
    limit: float
    passed: bool
    significant: bool | None
    """Whether the intervals of the two medians do not overlap; null where there are none."""
    detail: str


def measure_chat(
    url: str,
    *,
    model: str | None = None,
    n: int = 20,
    discard: int = 5,
    max_tokens: int = 32,
    timeout_s: float = 60.0,
    token: str | None = None,
) -> ChatLatency:
    """Measure an OpenAI-compatible chat server at `url` (its root, or with `/v1`).

    Never raises for what the server does: `error` says it, and figures that could not be taken are null.

    Args:
        url: for instance `http://host:8003`.
        model: read from `/v1/models` when None.
        n: samples kept.
        discard: warm-ups before them.
        max_tokens: length of each answer.
        timeout_s: of each request.
        token: bearer token, never recorded.
    """
    base = url.rstrip("/").removesuffix("/v1")

    target = Target(base, token=SecretStr(token) if token else None)
    return asyncio.run(_measure(target, model, n, discard, max_tokens, timeout_s))


def shortfall(latency: ChatLatency, min_samples: int = MIN_SAMPLES) -> str | None:
    """Return why a measurement proves nothing, or None. Pure."""
    if latency.total_ms.p50 is None:
        return latency.error or "no sample"
    if latency.error is not None:
        return f"it broke off after {latency.n} samples: {latency.error}"
    if latency.n < min_samples:
        return f"{latency.n} samples, and {min_samples} are needed"
    if latency.fixed_length is False:
        found = sorted({count for count in latency.completion_tokens if count is not None})
        return f"answers of {found} tokens where each should have {latency.max_tokens}: not the same work each time"
    return None


def compare(
    before: ChatLatency,
    after: ChatLatency,
    limit: float = P50_RATIO_LIMIT,
    min_samples: int = MIN_SAMPLES,
) -> ChatComparison:
    """Say whether the neighbour is as fast as it was: p50 after at most `limit` times p50 before, both whole and
    taken alike. Pure."""
    ratio = _ratio(before.total_ms.p50, after.total_ms.p50)
    five = _ratio(before.p50_of_5_ms, after.p50_of_5_ms)
    apart = intervals_differ(before.total_ms, after.total_ms)
    faults = [
        f"{side}: {fault}"
        for side, latency in (("before", before), ("after", after))
        if (fault := shortfall(latency, min_samples)) is not None
    ]
    if not faults and (unlike := _name_differences(before, after)):
        faults = [f"the two were not taken alike ({unlike})"]
    said = []
    if ratio is not None:
        said = [
            f"p50 {before.total_ms.p50:.0f} ms before, {after.total_ms.p50:.0f} ms after: {ratio:.2f} times, "
            f"limit {limit:g}"
        ]
    return ChatComparison(
        ratio=ratio,
        ratio_of_5=five,
        limit=limit,
        passed=ratio is not None and ratio <= limit and not faults,
        significant=apart,
        detail="; ".join(said + faults),
    )


def _name_differences(before: ChatLatency, after: ChatLatency) -> str:
    """Name what differs between two measurements that should be alike."""
    sides = {
        "model": (before.model, after.model),
        "max_tokens": (before.max_tokens, after.max_tokens),
        "protocol": (before.protocol_version, after.protocol_version),
        "samples": (before.n, after.n),
        "ignore_eos": (before.ignore_eos, after.ignore_eos),
        "tokens counted": (before.fixed_length, after.fixed_length),
        "connection kept": (before.reconnects == 0, after.reconnects == 0),
    }
    return "; ".join(f"{name}: {a} before, {b} after" for name, (a, b) in sides.items() if a != b)


def needs_retry(first: ChatComparison, attempts: int) -> bool:
    """Say whether to let the neighbour settle and measure once more before a failure is declared. Pure."""
    return not first.passed and attempts < 2


def _ratio(before: float | None, after: float | None) -> float | None:
    return after / before if before and after is not None else None


class _Keeper:
    """One keep-alive connection, and how often it had to be made anew."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.target, self.timeout_s, self.tls = target, timeout_s, target.tls()
        self.connection: Connection | None = None
        self.opened = 0

    async def send(self, request: HttpRequest) -> Exchange:
        if self.connection is None or not self.connection.reusable:
            self.connection = await Connection.open(request.url, self.tls, self.timeout_s)
            self.opened += 1
        answer = await self.connection.exchange(request, self.timeout_s)
        if answer.fault is not None:
            raise answer.fault
        return answer

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()


async def _measure(
    target: Target, model: str | None, n: int, discard: int, max_tokens: int, timeout_s: float
) -> ChatLatency:
    keeper = _Keeper(target, timeout_s)
    times: list[float] = []
    counts: list[int | None] = []
    ignore_eos, error = True, None
    try:
        with quiet_gc():
            model = model or await _model(keeper)
            while len(times) < discard + n:
                request = _request(target, model, max_tokens, ignore_eos)
                answer = await keeper.send(request)
                if answer.status in {400, 422} and ignore_eos and not times:
                    ignore_eos = False
                    continue
                if answer.status != 200:
                    raise TakeFault(f"http_{answer.status}", error_text(answer.content(), target.scrub))
                assert answer.end_ns is not None
                times.append((answer.end_ns - answer.sent_ns) / 1e6)
                counts.append(_tokens(answer.content()))
    except TakeFault as fault:
        error = str(fault.scrub(target.scrub))
    finally:
        await keeper.close()
    kept, tokens = times[discard:], counts[discard:]
    known = [count for count in tokens if count is not None]
    return ChatLatency(
        url=target.base_url,
        model=None if model is None else target.scrub(model),
        measured_from=host_name(),
        taken_utc=utc_now(),
        n=len(kept),
        discarded_ms=times[:discard],
        total_ms=summarise(kept, spreads=True),
        p50_of_5_ms=summarise(kept[:CONTRACT_SAMPLES]).p50 if len(kept) >= CONTRACT_SAMPLES else None,
        max_tokens=max_tokens,
        completion_tokens=tokens,
        fixed_length=all(count == max_tokens for count in known)
        if len(known) == len(tokens) and known
        else None,
        ignore_eos=ignore_eos,
        reconnects=max(0, keeper.opened - 1),
        error=error,
    )


async def _model(keeper: _Keeper) -> str:
    answer = await keeper.send(build_request("GET", keeper.target.url("/v1/models"), keeper.target.auth()))
    try:
        return str(parse_json(answer.content())["data"][0]["id"])
    except (ValueError, LookupError, TypeError) as error:
        raise TakeFault(f"http_{answer.status}", "/v1/models names no model; give one") from error


def _request(target: Target, model: str, max_tokens: int, ignore_eos: bool) -> HttpRequest:
    nonce = secrets.token_hex(8)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": f"[{nonce}] {PROMPT}"}],
        "temperature": 0,
        "max_tokens": max_tokens,
        "stream": False,
    }
    if ignore_eos:
        body["ignore_eos"] = True
    return build_request("POST", target.url("/v1/chat/completions"), target.auth(), json=body)


def _tokens(body: bytes) -> int | None:
    try:
        count = parse_json(body)["usage"]["completion_tokens"]
    except (ValueError, LookupError, TypeError):
        return None
    return count if isinstance(count, int) else None
