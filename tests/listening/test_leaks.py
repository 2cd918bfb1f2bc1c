"""The blindness contract of bench/listening/server.py, attacked with all that a browser receives but the sound."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.flac_parts import beside_the_sound
from tests.support.leaks import (
    Get,
    Seen,
    accuracy,
    beyond_chance,
    features,
    record,
    stays_at_chance,
)
from tests.support.listening_fixtures import Live

pytestmark = pytest.mark.slow


def over_http(live: Live) -> Callable[[str], tuple[Get, Callable[[], None]]]:
    def connect(token: str) -> tuple[Get, Callable[[], None]]:
        client = httpx.Client(base_url=live.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

        def get(method: str, path: str, body: Any) -> Seen:
            began = time.perf_counter()
            found = client.request(method, path, json=body)
            seconds = time.perf_counter() - began
            text = (
                beside_the_sound(found.content).decode("latin-1")
                if path.startswith("/api/clips")
                else found.text
            )
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
    seen = record(leaking, range(16), over_http(leaking))
    assert max(accuracy(seen).values()) > 0.9, accuracy(seen)
    assert beyond_chance(*features(seen))


def test_guessing_is_beyond_chance_no_oftener_than_it_says() -> None:
    """Sessions of three pairs and two swapped repeats, known by their place: a classifier is right or wrong of most of
    a rater's trials together, which coins for each trial would take for a leak."""
    rng = np.random.default_rng(7)
    raters = np.repeat(np.arange(24), 5)
    alarms = 0
    for _ in range(60):
        x = np.hstack((np.tile(np.eye(5), (24, 1)), rng.normal(size=(120, 2))))
        coins = rng.integers(0, 2, 24).astype(bool)[:, None]
        y = (np.tile([True, True, False, False, True], (24, 1)) ^ coins).ravel()
        alarms += beyond_chance(x, y, raters)
    assert alarms <= 4  # 0.6 are expected; five or more come once in 2,500 times


def test_every_clip_of_every_pair_is_alike_in_all_that_is_not_sound(live: Live) -> None:
    sealed = live.book.sealed
    ann = live.client()
    of = live.book.rater_of(ann.token)
    session = ann.session()["trials"]
    told = 0
    for listed, trial in zip(session, of.trials, strict=True):
        a, b = (ann.get(f"/api/clips/{listed[side]}").content for side in ("a", "b"))
        assert beside_the_sound(a) == beside_the_sound(b)
        told += (a == b) != (trial.kind == "identical")
    assert told == 0 and len(sealed.clips) > 20
