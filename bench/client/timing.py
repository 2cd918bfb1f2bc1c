"""Raw timing of one HTTP exchange: every arrival is stamped before anything looks at it.

`time.perf_counter_ns()` (CLOCK_MONOTONIC) is read as the first statement of `data_received`; the HTTP framing
is taken apart by h11 after that, and nothing else happens while the answer is on its way: audio is decoded
and judged afterwards. The reason is measured: on one identical stream common client idioms report a "TTFA"
between 0.006 and 0.90 s, because they buffer, count the header, or read the whole body
(`python -m benchmarks.client` shows them side by side).

The clock starts when the request's first byte is handed to a connection that already stands. What connecting
costs is `connect_ms`, apart; proxies named in the environment are not used.
"""

import asyncio
import contextlib
import gc
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11
import httpx

from bench.client.faults import TakeFault

MAX_BODY_BYTES = 256 * 1024 * 1024
CONNECT_TIMEOUT_S = 10.0

Arrival = tuple[int, bytes]
"""When (perf_counter_ns) some bytes of the body arrived, and the bytes; framing removed."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request, ready to be sent. Headers and body stay out of the repr: they may hold a token."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


def build_request(
    method: str, url: str, headers: Mapping[str, str] | None = None, **content: Any
) -> HttpRequest:
    """Return a request whose body httpx encoded from `json=`, or from `data=` and `files=`.

    It takes no compressed answer: what a decompressor holds back, nobody has stamped.
    """
    built = httpx.Request(
        method, url, headers={"Accept-Encoding": "identity", **dict(headers or {})}, **content
    )
    body = built.read()
    return HttpRequest(method, url, tuple(built.headers.items()), body)


@dataclass(slots=True)
class Exchange:
    """What one request brought, as it came. Stamps are perf_counter_ns; None: it never happened."""

    sent_ns: int
    connect_ms: float | None = None
    """Connecting, TLS included; None on a connection used before."""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    head_ns: int | None = None
    body: list[Arrival] = field(default_factory=list)
    end_ns: int | None = None
    """When the last byte of a complete answer arrived."""
    fault: TakeFault | None = None
    """How the exchange itself failed: timeout, aborted, truncated, protocol_error, too_large, stopped."""

    def content(self) -> bytes:
        """Return the body, whole."""
        return b"".join(data for _, data in self.body)


class _Wire(asyncio.Protocol):
    """Stamps arrivals and feeds h11; one exchange at a time."""

    def __init__(self) -> None:
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.done: asyncio.Future[None] | None = None
        self.unread: list[Arrival] = []
        self.bytes_kept = 0
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        # Taken apart in the loop's next round: everything that became readable together is stamped first, so
        # at concurrency 64 no connection waits for the parsing of the others.
        self.unread.append((now, data))
        if len(self.unread) == 1:
            asyncio.get_running_loop().call_soon(self._read)

    def eof_received(self) -> None:
        now = time.perf_counter_ns()
        self._read()
        self._closed(now, None)

    def connection_lost(self, exc: Exception | None) -> None:
        now = time.perf_counter_ns()
        self.gone = True
        self._read()
        self._closed(now, exc)

    def _read(self) -> None:
        pieces, self.unread = self.unread, []
        for now, data in pieces:
            if self.exchange is None or self.done is None or self.done.done():
                return
            try:
                self.http.receive_data(data)
                self._events(now)
            except h11.RemoteProtocolError as error:
                self._finish(TakeFault("protocol_error", f"the answer is not HTTP/1.1: {error}"))

    def _events(self, now: int) -> None:
        exchange = self.exchange
        assert exchange is not None
        while True:
            event = self.http.next_event()
            if isinstance(event, h11.Data):
                self.bytes_kept += len(event.data)
                if self.bytes_kept > MAX_BODY_BYTES:
                    self._finish(TakeFault("too_large", f"the body passed {MAX_BODY_BYTES} bytes"))
                    return
                exchange.body.append((now, bytes(event.data)))
            elif isinstance(event, h11.Response):
                exchange.status = event.status_code
                exchange.head_ns = now
                exchange.headers = _join_headers(event.headers)
                if (
                    int(exchange.headers.get("content-length", 0)) > MAX_BODY_BYTES
                ):  # h11 has seen to the digits
                    self._finish(TakeFault("too_large", f"the body is to be over {MAX_BODY_BYTES} bytes"))
                    return
            elif isinstance(event, h11.EndOfMessage):
                exchange.end_ns = now
                self._finish(None)
                return
            elif isinstance(event, h11.ConnectionClosed):
                self._finish(TakeFault("aborted", "the server closed the connection without an answer"))
                return
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return

    def _closed(self, now: int, exc: Exception | None) -> None:
        exchange = self.exchange
        if exchange is None or self.done is None or self.done.done():
            return
        if exc is None:
            # An answer without a declared length ends where the connection ends: h11 knows which it was.
            try:
                self.http.receive_data(b"")
                self._events(now)
                return
            except h11.RemoteProtocolError:
                pass
        got = sum(len(data) for _, data in exchange.body)
        declared = exchange.headers.get("content-length")
        how = "reset" if exc is not None else "closed"
        if exchange.status is None and exc is None and self.http.trailing_data[0]:
            fault = TakeFault(
                "protocol_error", "what the server sent does not begin as an HTTP/1.1 answer does"
            )
        elif exchange.status is None:
            fault = TakeFault("aborted", f"the server {how} the connection before any answer")
        elif exc is None and declared is not None:
            fault = TakeFault("truncated", f"{got} of the {declared} bytes that were declared arrived")
        else:
            fault = TakeFault("aborted", f"the connection was {how} in mid-stream, after {got} bytes of body")
        self._finish(fault)

    def _finish(self, fault: TakeFault | None) -> None:
        if self.exchange is not None:
            self.exchange.fault = fault
        if self.done is not None and not self.done.done():
            self.done.set_result(None)


def _join_headers(received: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name in lower case; what came twice and differs is joined by commas (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in received:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        before = joined.get(name)
        joined[name] = value if before in (None, value) else f"{before}, {value}"
    return joined


class Connection:
    """One TCP (or TLS) connection to a server, used for one exchange after another."""

    def __init__(self, wire: _Wire, transport: asyncio.Transport, connect_ms: float) -> None:
        """Take over an open transport; `open` makes one."""
        self._wire = wire
        self._transport = transport
        self._connect_ms: float | None = connect_ms
        self.connect_ms = connect_ms

    @classmethod
    async def open(cls, url: str, tls: ssl.SSLContext | None, timeout_s: float) -> "Connection":
        """Connect to the host of `url`.

        Raises:
            TakeFault: `connection_refused`, `connect_failed` or `timeout`.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        begun = time.perf_counter_ns()
        try:
            async with asyncio.timeout(min(timeout_s, CONNECT_TIMEOUT_S)):
                transport, wire = await asyncio.get_running_loop().create_connection(
                    _Wire, host, port, ssl=tls
                )
        except TimeoutError as error:
            raise TakeFault("timeout", f"no connection to {host}:{port} in time") from error
        except ConnectionRefusedError as error:
            raise TakeFault("connection_refused", f"nothing listens at {host}:{port}") from error
        except (OSError, ssl.SSLError) as error:
            raise TakeFault("connect_failed", f"{host}:{port}: {error}") from error
        return cls(wire, transport, (time.perf_counter_ns() - begun) / 1e6)

    @property
    def reusable(self) -> bool:
        """Whether another exchange can use this connection."""
        http = self._wire.http
        return (
            not self._wire.gone
            and not self._transport.is_closing()
            and http.our_state in {h11.DONE, h11.IDLE}
            and http.their_state in {h11.DONE, h11.IDLE}
        )

    @property
    def local_address(self) -> str:
        """Return the address of our end."""
        return str(self._transport.get_extra_info("sockname")[0])

    @property
    def remote_address(self) -> str:
        """Return the address that answered."""
        return str(self._transport.get_extra_info("peername")[0])

    async def exchange(self, request: HttpRequest, timeout_s: float) -> Exchange:
        """Send `request` and gather the whole answer; faults are in the result, never raised.

        Cancelling it gives up the connection.
        """
        wire = self._wire
        if wire.http.our_state is h11.DONE:
            wire.http.start_next_cycle()
        parts = urlsplit(request.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = h11.Request(method=request.method, target=path, headers=list(request.headers))
        payload = wire.http.send(head) or b""
        if request.body:
            payload += wire.http.send(h11.Data(data=request.body)) or b""
        payload += wire.http.send(h11.EndOfMessage()) or b""

        wire.bytes_kept = 0
        wire.done = asyncio.get_running_loop().create_future()
        result = Exchange(sent_ns=time.perf_counter_ns(), connect_ms=self._connect_ms)
        wire.exchange = result
        self._connect_ms = None
        self._transport.write(payload)
        try:
            async with asyncio.timeout(timeout_s):
                await wire.done
        except TimeoutError:
            result.fault = TakeFault("timeout", f"the answer was not complete after {timeout_s:g} s")
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            wire.exchange = None
            wire.done = None
        return result

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._transport.close()
        await asyncio.sleep(0)


async def send_once(request: HttpRequest, tls: ssl.SSLContext | None, timeout_s: float) -> Exchange:
    """Send `request` over a fresh connection of its own.

    A fresh connection for each take: then no take gains from the one before it, and a server that closes idle
    connections costs none.

    Raises:
        TakeFault: no connection could be made.
    """
    begun = time.perf_counter()
    connection = await Connection.open(request.url, tls, timeout_s)
    try:
        return await connection.exchange(request, max(0.001, timeout_s - (time.perf_counter() - begun)))
    finally:
        await connection.close()


def host_name() -> str:
    """Return the name of the host that measures."""
    return socket.gethostname()


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep what is alive now out of the garbage collector's sight while timing.

    A full collection over the heap that numpy, scipy and pydantic make takes tens of milliseconds, in the
    middle of a take; frozen, it costs nothing. What was frozen before stays so.
    """
    before = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()
