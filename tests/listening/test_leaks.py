"""The blindness contract of bench/listening/server.py, attacked with all that a browser receives but the sound."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.listening.conftest import Live
from tests.listening.leaks import (
    Get,
    Seen,
    accuracy,
    beside_the_sound,
    chance_interval,
    record,
    stays_at_chance,
)
from tests.listening.planted import leaking

__all__ = ["leaking"]


def over_http(live: Live) -> Callable[[str], tuple[Get, Callable[[], None]]]:
    def connect(token: str) -> tuple[Get, Callable[[], None]]:
        client = httpx.Client(base_url=live.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

        def get(method: str, path: str, body: Any) -> Seen:
            began = time.perf_counter()
            found = client.request(method, path, json=body)
            seconds = time.perf_counter() - began
            text = beside_the_sound(found.content) if path.startswith("/api/clips") else found.text
            return Seen(
                path, found.status_code, found.headers.multi_items(), len(found.content), seconds, text
            )

        return get, client.close

    return connect


@pytest.mark.timeout(600)
def test_nothing_but_the_sound_tells_the_sides_apart(patient: None, live: Live) -> None:
    stays_at_chance(live, 16, over_http(live), trials=208)


@pytest.mark.timeout(600)
def test_a_leak_put_in_on_purpose_is_found(leaking: Live) -> None:
    found = accuracy(record(leaking, range(8), over_http(leaking)))
    assert max(found.values()) > 0.9, found


def test_the_interval_of_chance_is_what_it_says() -> None:
    low, high = chance_interval(208, 0.99)
    assert 0.40 < low < 0.42 and 0.58 < high < 0.60


def test_what_is_not_sound_is_all_of_a_file_but_its_samples() -> None:
    head = b"RIFF\0\0\0\0WAVEfmt \2\0\0\0xxLIST\4\0\0\0who?data\6\0\0\0"
    assert beside_the_sound(head + b"sound!" + b"id3 ") == (head + b"id3 ").decode("latin-1")
