"""What the listening server takes from a client: so many requests a second, so many bytes in one."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
MAX_BODY_BYTES = 16 * 1024
MAX_CLIENTS = 10_000


class RateLimit:
    """A token bucket for each client: `burst` requests at once, `per_s` a second after that."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets. `clock`: seconds that never go back."""
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, client: str) -> bool:
        """Take one request of `client`; False when the bucket is empty. The longest unseen are forgotten."""
        with self._lock:
            now = self._clock()
            left, seen = self._buckets.pop(client, (float(self._burst), now))
            left = min(float(self._burst), left + (now - seen) * self._per_s)
            allowed = left >= 1.0
            self._buckets[client] = (left - 1.0 if allowed else left, now)
            if len(self._buckets) > MAX_CLIENTS:
                self._buckets.popitem(last=False)
            return allowed


class BodyLimit:
    """ASGI middleware: a request body over the limit is 413, by its header or, without one, as it arrives."""

    def __init__(self, app: Any, limit: int = MAX_BODY_BYTES) -> None:
        """Wrap `app`; `limit` in bytes."""
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request. The body is read whole here, at most the limit, before the app sees any of
        it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        stated = headers.get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > self._limit:
            await _refuse(send)
            return
        body = b""
        more = True
        while more:
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                await _refuse(send)
                return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                later: Message = await receive()
                return later
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _refuse(send: Any) -> None:
    body = b'{"error":"too_large","message":"The request is too large."}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
