"""The blindness contract of bench/listening/server.py, attacked with all that a browser receives but the sound."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.listening import server
from tests.listening.conftest import Live, start
from tests.listening.leaks import Get, Seen, accuracy, chance_interval, record

COVERAGE = 0.9999
"""Guessing falls outside this interval once in ten thousand times, so the test does not cry wolf."""


def over_http(live: Live) -> Callable[[str], tuple[Get, Callable[[], None]]]:
    def connect(token: str) -> tuple[Get, Callable[[], None]]:
        client = httpx.Client(base_url=live.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

        def get(method: str, path: str, body: Any) -> Seen:
            began = time.perf_counter()
            found = client.request(method, path, json=body)
            seconds = time.perf_counter() - began
            text = "" if path.startswith("/api/clips") else found.text
            return Seen(
                path, found.status_code, found.headers.multi_items(), len(found.content), seconds, text
            )

        return get, client.close

    return connect


@pytest.mark.timeout(600)
def test_nothing_but_the_sound_tells_the_sides_apart(patient: None, live: Live) -> None:
    trials = record(live, 16, over_http(live))
    assert len(trials) == 208
    low, high = chance_interval(len(trials), COVERAGE)
    for name, found in accuracy(trials).items():
        assert low <= found <= high, (name, found, (low, high))


class Planted:
    """A leak put in on purpose, in front of the real server."""

    def __init__(self, app: Any, leak: str, sources: Callable[[str, str], str | None]) -> None:
        self.app, self.leak, self.sources = app, leak, sources

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        token = dict(scope.get("headers", [])).get(b"authorization", b"").decode().removeprefix("Bearer ")
        candidate = self.sources(token, scope.get("path", "")) == "candidate"
        if self.leak == "time" and candidate:
            await asyncio.sleep(0.06)

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
            if candidate and message["type"] == "http.response.body" and self.leak == "size":
                message = message | {"body": message["body"] + b"\0\0"}
            await send(message)

        await self.app(scope, receive, tell)


@pytest.fixture(params=["header", "size", "time", "ticket"])
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

    monkeypatch.setattr("tests.listening.conftest.create_app", with_leak)
    live, stop = start(run_dir)
    yield live
    stop()


@pytest.mark.timeout(600)
def test_a_leak_put_in_on_purpose_is_found(leaking: Live) -> None:
    found = accuracy(record(leaking, 8, over_http(leaking)))
    assert max(found.values()) > 0.9, found


def test_the_interval_of_chance_is_what_it_says() -> None:
    low, high = chance_interval(208, COVERAGE)
    assert 0.35 < low < 0.4 and 0.6 < high < 0.65
