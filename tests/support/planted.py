"""The real server with a leak put in on purpose, for the tests that must find it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.listening import server
from tests.support.listening_fixtures import Live, start


class Planted:
    """A leak put in on purpose, in front of the real server."""

    def __init__(self, app: Any, leak: str, sources: Callable[[str, str], str | None]) -> None:
        self.app, self.leak, self.sources = app, leak, sources

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        token = dict(scope.get("headers", [])).get(b"authorization", b"").decode().removeprefix("Bearer ")
        candidate = self.sources(token, scope.get("path", "")) == "candidate"
        if self.leak == "time" and candidate:
            await asyncio.sleep(0.15)  # a busy machine is as late as 60 ms by itself

        async def tell(message: Any) -> None:
            if candidate and message["type"] == "http.response.start":
                headers = message["headers"]
                if self.leak == "header":
                    headers = [*headers, (b"x-take", b"1")]
                if self.leak == "size":
                    headers = [
                        (k, str(int(v) + 2).encode() if k == b"content-length" else v) for k, v in headers
                    ]
                message = message | {"headers": headers}
            if candidate and message["type"] == "http.response.body" and message["body"]:
                body = message["body"]
                if self.leak == "size":
                    body += b"\0\0"
                if self.leak == "file":
                    at = 30  # in STREAMINFO's checksum of the sound, which no player asks for
                    body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
                message = message | {"body": body}
            await send(message)

        await self.app(scope, receive, tell)


@pytest.fixture(params=["header", "size", "file", "time", "ticket"])
def leaking(
    request: pytest.FixtureRequest, patient: None, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Live]:
    real = server.create_app
    if request.param == "ticket":
        from bench.listening.book import Rater

        honest = Rater.ticket_of

        def telling(self: Rater, trial: Any, side: Any) -> str:
            name = honest(self, trial, side)
            return ("A" if trial.source(side) == "candidate" else "z") + name[1:]

        monkeypatch.setattr(Rater, "ticket_of", telling)

    def with_leak(path: Path) -> Any:
        app = real(path)

        def sources(token: str, url: str) -> str | None:
            rater = app.state.book.rater_of(token) if token else None
            found = rater.clips.get(url.rsplit("/", 1)[-1]) if rater else None
            if not found or found[0] is None:
                return None
            clip = next(clip for clip in app.state.book.sealed.clips if clip.file == found[1])
            return str(clip.source)

        app.add_middleware(Planted, leak=request.param, sources=sources)
        return app

    monkeypatch.setattr("tests.support.listening_fixtures.create_app", with_leak)
    live, stop = start(run_dir)
    yield live
    stop()
