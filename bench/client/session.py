"""A server, a dialect and a voice, settled: what every take of a pass has in common."""

import asyncio
import email.utils
import ssl
import time
from dataclasses import dataclass, field

from bench.client.bodies import Pcm, decode
from bench.client.dialects import Dialect, Say
from bench.client.ends import is_proved
from bench.client.faults import TakeFault
from bench.client.figures import begin_earlier, check_audio, measure
from bench.client.replies import error_text
from bench.client.samples import Samples
from bench.client.speech import count_syllables, shortest_s
from bench.client.target import Target, Voice
from bench.client.timing import Exchange, HttpRequest, send_once
from bench.errors import BadInput
from bench.records.run import Utterance
from bench.records.take import Take

CACHED_HEADER = "x-reference-cached"
"""Our own engine server says `true` or `false` of a reference that came with the request."""


@dataclass(slots=True)
class Habits:
    """What a server did in its answers so far, by which later ones are judged."""

    ends: set[str] = field(default_factory=set)
    """The forms (`sse`, `ogg`) of which an answer said that it was over: one that does not say so has broken off."""

    def learn(self, pcm: Pcm) -> None:
        """Note what an answer shows."""
        if pcm.end_said:
            self.ends.add(pcm.container)


@dataclass(frozen=True)
class Session:
    """Made once a pass by `open_session`; reading a voice or TLS files happens here, not between takes."""

    target: Target
    dialect: Dialect
    model: str | None
    voice: Voice
    inline: bool
    reference_cached: bool | None
    tls: ssl.SSLContext | None
    registration_ms: float | None = None
    """What registering the reference took: the cold cost that cached takes do not show."""
    habits: Habits = field(default_factory=Habits, compare=False)


@dataclass(slots=True)
class Fetched:
    """One take as it came: not yet decoded. `note` says if it was asked for twice."""

    exchange: Exchange | None
    fault: TakeFault | None = None
    note: str | None = None
    begun_ns: int | None = None
    """When the first request of the take left, where the exchange is that of the second."""


async def open_session(
    target: Target, dialect: Dialect, model: str | None, voice: Voice, timeout_s: float
) -> Session:
    """Settle how the voice travels, and register it where that is the way.

    Raises:
        BadInput: the dialect can neither register nor carry a reference, or not in the way asked for.
        TakeFault: the registration failed.
    """
    tls = target.tls()
    if voice.reference is None:
        return Session(target, dialect, model, voice, False, None, tls)
    # A server that caches may hold a reference that came with an earlier request: then nobody can tell.
    cached_inline = None if dialect.caches_reference else False
    register = voice.how == "register" or (voice.how == "auto" and dialect.can_register)
    if register and not dialect.can_register:
        raise BadInput(
            f"dialect '{dialect.name}' cannot register a voice; send the reference with each request."
        )
    if not register and not dialect.can_inline:
        raise BadInput(
            f"dialect '{dialect.name}' cannot take a reference with "
            f"{'a request; register it' if dialect.can_register else 'it; name a voice the server has'}."
        )
    if not register:
        return Session(target, dialect, model, voice, True, cached_inline, tls)
    begun = time.perf_counter()
    exchange = await send_once(dialect.register(target, voice), tls, timeout_s)
    if exchange.fault is not None:
        raise exchange.fault
    status = exchange.status or 0
    if status in {404, 405} and voice.how == "auto" and dialect.can_inline:
        return Session(target, dialect, model, voice, True, cached_inline, tls)
    # 409: the name is taken. Ours carries a hash of clip and transcript, so it is this very voice.
    if status >= 300 and not (status == 409 and voice.label.startswith("audition-")):
        raise TakeFault(
            f"http_{status}",
            f"registering the voice: {error_text(exchange.content(), target.scrub)}",
        )
    took = (time.perf_counter() - begun) * 1e3
    return Session(target, dialect, model, voice, False, dialect.caches_reference, tls, took)


def request_for(session: Session, text: str, seed: int | None) -> HttpRequest:
    """Return the request that says `text`."""
    say = Say(text, session.voice, session.inline, seed, session.model)
    return session.dialect.speak(session.target, say)


async def fetch(session: Session, request: HttpRequest, timeout_s: float) -> Fetched:
    """Send a speech request and gather the answer; never raises for what the server does.

    A 429 or 5xx that states Retry-After is asked for once more after that time, if the take's time limit
    allows. The clock started with the first request: whoever listens has waited since then. `note` says so.
    """
    deadline = time.perf_counter() + timeout_s
    note: str | None = None
    begun_ns: int | None = None
    while True:
        try:
            exchange = await send_once(request, session.tls, max(0.001, deadline - time.perf_counter()))
        except TakeFault as unconnected:
            return Fetched(None, unconnected, note, begun_ns)
        fault = exchange.fault or _status_fault(session.target, request, exchange)
        if fault is None or fault.retry_after_s is None or note is not None:
            return Fetched(exchange, fault, note, begun_ns)
        begun_ns = exchange.sent_ns
        wait = fault.retry_after_s
        if time.perf_counter() + wait >= deadline:
            fault.message += f" (Retry-After of {wait:g} s is past the take's time limit)"
            return Fetched(exchange, fault, note, begun_ns)
        note = f"asked again after {fault.kind} and Retry-After of {wait:g} s"
        await asyncio.sleep(wait)


def _status_fault(target: Target, request: HttpRequest, exchange: Exchange) -> TakeFault | None:
    status = exchange.status or 0
    if 200 <= status < 300:
        return None
    after = exchange.headers.get("retry-after") if status == 429 or status >= 500 else None
    message = error_text(exchange.content(), target.scrub) or "no message"
    if 300 <= status < 400 and "location" in exchange.headers:
        message = (
            f"the server sends us on to {exchange.headers['location']}; give the URL of the server there"
        )
    if status in (404, 405):
        message += f" (asked: {request.method} {request.url})"
    return TakeFault(f"http_{status}", message, retry_after_s=_parse_retry_after(after) if after else None)


def _parse_retry_after(value: str) -> float | None:
    """Return Retry-After in seconds: a number, or an HTTP date (RFC 9110, 10.2.3); None for what is neither."""
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):  # a year beyond the calendar; a date cut short
        return None


@dataclass(slots=True)
class Spoken:
    """A judged take: the record, and the audio when it did not fail."""

    take: Take
    samples: Samples | None = None
    pcm: Pcm | None = None
    proved: bool = True
    """Whether anything shows that the answer came whole."""


def judge(
    session: Session,
    utterance: Utterance,
    fetched: Fetched,
    *,
    warmup: bool = False,
    rate_hz: int | None = None,
) -> Spoken:
    """Decode and measure a fetched take.

    Args:
        session: what it was asked of.
        utterance: what it should say.
        fetched: how it came.
        warmup: recorded with the take.
        rate_hz: the rate of the pass so far; another one is `wrong_rate`.
    """
    base = Take(
        utterance_id=utterance.id,
        text=utterance.text,
        voice=session.voice.label,
        warmup=warmup,
        reference_cached=session.reference_cached,
        note=fetched.note,
    )
    proved = True
    try:
        if fetched.fault is not None:
            raise fetched.fault
        exchange = fetched.exchange
        assert exchange is not None and exchange.end_ns is not None
        target = session.target
        said = exchange.headers.get(CACHED_HEADER)
        if base.reference_cached is None and said in ("true", "false"):
            base.reference_cached = said == "true"
        pcm = decode(exchange.headers, exchange.body, target.sample_rate_hz, target.container)
        _check_end(session.habits, pcm)
        proved = is_proved(exchange.headers, pcm.end_said)
        assert pcm.rate_hz is not None
        if rate_hz is not None and pcm.rate_hz != rate_hz:
            raise TakeFault("wrong_rate", f"this take is {pcm.rate_hz} Hz, those before it {rate_hz} Hz")
        samples = pcm.samples()
        check_audio(samples, pcm.rate_hz)
        _check_length(utterance.text, samples.size / pcm.rate_hz)
        figures = measure(exchange.sent_ns, [at for at, data in exchange.body if data], exchange.end_ns, pcm)
        if fetched.begun_ns is not None:
            figures = begin_earlier(figures, (exchange.sent_ns - fetched.begun_ns) / 1e6)
    except TakeFault as fault:
        return Spoken(base.model_copy(update={"error": fault.scrub(session.target.scrub).record()}))
    except Exception as bug:  # noqa: BLE001 - no answer of a server's may end a pass; the record says what it was
        broken = TakeFault("not_audio", f"the answer could not be read here ({type(bug).__name__}: {bug})")
        return Spoken(base.model_copy(update={"error": broken.scrub(session.target.scrub).record()}))
    take = base.model_copy(
        update={
            "sample_rate_hz": pcm.rate_hz,
            "audio_s": figures.audio_s,
            "ttfb_ms": figures.ttfb_ms,
            "ttfa_ms": figures.ttfa_ms,
            "ttfa_audible_ms": figures.ttfa_audible_ms,
            "total_ms": figures.total_ms,
            "rtf": figures.rtf,
            "rtf_after_first": figures.rtf_after_first,
            "streamed": figures.streamed,
            "chunks": figures.chunks,
            "stalls": figures.stalls,
            "stall_ms": figures.stall_ms,
            "start_buffer_ms": figures.start_buffer_ms,
        }
    )
    return Spoken(take, samples, pcm, proved)


def _check_end(habits: Habits, pcm: Pcm) -> None:
    """See that an answer said that it was over, if its form has to or others of this server's did.

    Raises:
        TakeFault: `truncated`.
    """
    if pcm.end_said is False and (pcm.must_end or pcm.container in habits.ends):
        raise TakeFault(
            "truncated", "the stream ends without the word that it is over, which others end with"
        )
    habits.learn(pcm)


def _check_length(text: str, audio_s: float) -> None:
    """See that a take is long enough to be speech of its words.

    Raises:
        TakeFault: `too_short`.
    """
    if audio_s < shortest_s(text):
        raise TakeFault(
            "too_short",
            f"{audio_s:.2f} s, and nobody says {count_syllables(text)} syllables in less than {shortest_s(text):.2f} s",
        )
