"""The leak test of tests/listening on what a real browser gets, its own timings and sizes among it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.listening.conftest import Live
from tests.listening.leaks import Get, Seen, accuracy, chance_interval, record
from tests.listening.test_leaks import COVERAGE

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
    body: path.startsWith('/api/clips') ? '' : new TextDecoder().decode(data),
  };
}"""


@pytest.mark.timeout(900)
def test_what_chromium_receives_for_two_hundred_trials_is_at_chance(
    patient: None, live: Live, browser: Browser
) -> None:
    context = browser.new_context()
    page = context.new_page()

    def connect(token: str) -> tuple[Get, Callable[[], None]]:
        page.goto("about:blank")
        page.goto(f"{live.url}/#{token}")
        page.wait_for_selector("#start:visible")

        def get(method: str, path: str, body: Any) -> Seen:
            found = page.evaluate(FETCH, [method, path, body, token])
            headers = [(name, value) for name, value in found["headers"]]
            headers += [(f"size {number}", str(size)) for number, size in enumerate(found["sizes"])]
            return Seen(path, found["status"], headers, found["size"], found["seconds"], found["body"])

        return get, lambda: None

    trials = record(live, 40, connect)
    context.close()
    assert len(trials) == 200
    low, high = chance_interval(len(trials), COVERAGE)
    for name, share in accuracy(trials).items():
        assert low <= share <= high, (name, share, (low, high))
