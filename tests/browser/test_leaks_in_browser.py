"""The leak test of tests/listening on what a real browser gets, its own timings and sizes among it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.chromium import arrive
from tests.support.flac_parts import beside_the_sound
from tests.support.leaks import (
    Connect,
    Get,
    Seen,
    accuracy,
    beyond_chance,
    features,
    record,
    stays_at_chance,
)
from tests.support.listening_fixtures import Live

FETCH = """async ([method, path, body, token]) => {
  performance.clearResourceTimings();
  const response = await fetch(path, {
    method, cache: 'no-store', body: body === null ? undefined : JSON.stringify(body),
    headers: {Authorization: `Bearer ${token}`, ...(body === null ? {} : {'Content-Type': 'application/json'})},
  });
  const data = await response.arrayBuffer();
  const timing = performance.getEntriesByType('resource').at(-1);
  return {
    status: response.status, headers: [...response.headers.entries()], size: data.byteLength,
    sizes: [timing.transferSize, timing.encodedBodySize, timing.decodedBodySize], seconds: timing.duration / 1000,
    body: path.startsWith('/api/clips')
      ? Array.from(new Uint8Array(data), byte => String.fromCharCode(byte)).join('') : new TextDecoder().decode(data),
  };
}"""


def through(page: Page, live: Live) -> Connect:
    def connect(token: str) -> tuple[Get, Callable[[], None]]:
        page.goto("about:blank")
        arrive(page, f"{live.url}/#{token}")
        page.wait_for_selector("#start:visible")

        def get(method: str, path: str, body: Any) -> Seen:
            found = page.evaluate(FETCH, [method, path, body, token])
            headers = [(name, value) for name, value in found["headers"]]
            headers += [(f"size {number}", str(size)) for number, size in enumerate(found["sizes"])]
            body = found["body"]
            if path.startswith("/api/clips"):
                body = beside_the_sound(body.encode("latin-1")).decode("latin-1")
            return Seen(path, found["status"], headers, found["size"], found["seconds"], body)

        return get, lambda: None

    return connect


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(
        120_000
    )  # it loads for each rater anew, beside whatever else the machine does
    yield context.new_page()
    context.close()


@pytest.mark.timeout(900)
def test_what_chromium_receives_for_two_hundred_trials_is_at_chance(
    patient: None, live: Live, page: Page
) -> None:
    stays_at_chance(live, 40, through(page, live), trials=200)


@pytest.mark.parametrize("leaking", ["file", "time"], indirect=True)
def test_a_leak_put_in_on_purpose_is_found_through_chromium(leaking: Live, page: Page) -> None:
    seen = record(leaking, range(16), through(page, leaking))
    assert max(accuracy(seen).values()) > 0.9, accuracy(seen)
    assert beyond_chance(*features(seen))
