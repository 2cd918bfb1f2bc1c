"""Finding out how a server wants to be spoken to, and writing down what led to the answer.

8772 is nobody's default port, so nothing is assumed from an address: `/openapi.json` (FastAPI serves it),
`/health` and `/v1/models` are read, then one short sentence is asked for in each dialect that could fit until
one brings audio. The catalog entry may name the dialect instead.
"""

import ssl
from collections.abc import Sequence
from typing import Any

from bench.client.bodies import decode
from bench.client.dialects import DIALECTS, find_dialect
from bench.client.faults import TakeFault
from bench.client.replies import parse_json
from bench.client.session import Session, fetch, open_session, request_for
from bench.client.target import Target, Voice
from bench.client.timing import build_request, send_once
from bench.errors import AuditionError
from bench.records.passes import Detection

PROBE_TEXT = "Is anybody there?"
"""Not of the set, as the warm-up is not: a server that keeps what it has said must not have said a timed text."""
PROBE_TIMEOUT_S = 5.0


class ServerUnusable(AuditionError):
    """The server is out of reach, refuses the voice, or speaks no dialect we know."""

    def __init__(self, kind: str, message: str) -> None:
        """Name it by the `TakeFault` kind that every attempt met, or `no_dialect`."""
        super().__init__(message)
        self.kind = kind


async def settle(target: Target, voice: Voice, timeout_s: float) -> tuple[Detection, Session]:
    """Return the dialect and an open session with `voice`.

    Raises:
        ServerUnusable: see there; the message says what was tried.
        BadInput: the dialect the entry names does not exist, or cannot carry the voice.
    """
    tls = target.tls()
    evidence: list[str] = []
    try:
        model = target.request.get("model") or await _first_model(target, tls, evidence)
        if target.dialect != "auto":
            session = await open_session(target, find_dialect(target.dialect), model, voice, timeout_s)
            return Detection(
                dialect=target.dialect, chosen_by="entry", model=_shown(target, model), evidence=evidence
            ), session
        names = await _candidates(target, tls, evidence)
    except TakeFault as fault:
        raise ServerUnusable(fault.kind, f"{target.base_url}: {fault.scrub(target.scrub).message}") from fault
    kinds: set[str] = set()
    for name in names:
        try:
            session = await open_session(target, DIALECTS[name], model, voice, timeout_s)
            fetched = await fetch(session, request_for(session, PROBE_TEXT, None), timeout_s)
            if fetched.fault is not None:
                raise fetched.fault
            assert fetched.exchange is not None
            answer = fetched.exchange
            pcm = decode(answer.headers, answer.body, target.sample_rate_hz, target.container)
        except TakeFault as fault:
            evidence.append(f"{name}: {fault.scrub(target.scrub)}")
            kinds.add(fault.kind)
            if fault.kind in {"connection_refused", "connect_failed", "timeout"}:
                raise ServerUnusable(fault.kind, f"{target.base_url}: {evidence[-1]}") from fault
            continue
        except AuditionError as error:
            evidence.append(f"{name}: {error}")
            continue
        session.habits.learn(pcm)
        evidence.append(f"{name}: answered with {pcm.container} at {pcm.rate_hz} Hz")
        found = Detection(
            dialect=name,
            chosen_by="probe",
            model=_shown(target, model),
            container=pcm.container,
            sample_rate_hz=pcm.rate_hz,
            evidence=evidence,
        )
        return found, session
    raise ServerUnusable(
        kinds.pop() if len(kinds) == 1 else "no_dialect",
        f"{target.base_url} answered no known dialect with audio; name one as `dialect` in the catalog entry "
        f"or correct the voice. Tried: {'; '.join(evidence)}",
    )


def _shown(target: Target, model: str | None) -> str | None:
    """Return the name as it is recorded; asked for is the one that the server gave."""
    return None if model is None else target.scrub(model)


async def _get_json(target: Target, path: str, tls: ssl.SSLContext | None, evidence: list[str]) -> Any:
    """Return the JSON at `path`, or None; a server that refuses the connection is a fault."""
    request = build_request("GET", target.url(path), target.auth())
    try:
        exchange = await send_once(request, tls, PROBE_TIMEOUT_S)
    except TakeFault as fault:
        if fault.kind in {"connection_refused", "connect_failed"}:
            raise
        evidence.append(f"GET {path}: {fault.kind}")
        return None
    if exchange.fault is not None or exchange.status != 200:
        evidence.append(f"GET {path}: {exchange.fault.kind if exchange.fault else exchange.status}")
        return None
    try:
        value = parse_json(exchange.content())
    except ValueError:
        evidence.append(f"GET {path}: not JSON")
        return None
    evidence.append(f"GET {path}: 200")
    return value


async def _first_model(target: Target, tls: ssl.SSLContext | None, evidence: list[str]) -> str | None:
    value = await _get_json(target, "/v1/models", tls, evidence)
    models = value.get("data") if isinstance(value, dict) else None
    if isinstance(models, list) and models and isinstance(models[0], dict):
        name = models[0].get("id")
        return name if isinstance(name, str) else None
    return None


async def _candidates(target: Target, tls: ssl.SSLContext | None, evidence: list[str]) -> Sequence[str]:
    """Return the dialects worth trying, the likeliest first."""
    value = await _get_json(target, "/openapi.json", tls, evidence)
    paths = set(value.get("paths", {})) if isinstance(value, dict) else set()
    if "/upload_reference" in paths and "/tts" in paths:
        return ("devnen", "openai_file")
    if "/inference_zero_shot" in paths:
        return ("cosyvoice",)
    if "/v1/audio/speech/upload" in paths or "/audio/speech/upload" in paths:
        return ("travisvn_stream", "travisvn")
    openai = ("openai", "openai_wav", "openai_sse", "openai_file")
    if "/v1/audio/speech" in paths:
        return openai
    await _get_json(target, "/health", tls, evidence)
    return (*openai, "devnen", "cosyvoice")
