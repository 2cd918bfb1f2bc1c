"""Debian's Chromium with a running audio clock."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from bench.listening.raters import invite
from benchmarks.listening_run import WORDS, build
from tests.support.chromium import CHROMIUM, FLAGS, NETWORK_CHANGED, arrive
from tests.support.listening_fixtures import Live, seal_copy
from tests.support.rating_page import HEARS


@pytest.fixture(scope="session")
def spoken_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three takes of each side: a session of seven pairs, which really play, takes seconds."""
    made = tmp_path_factory.mktemp("spoken") / "run"
    build(made, texts=WORDS[:3])
    return made


@pytest.fixture(scope="session")
def sealed_once(spoken_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those three, sealed; without practice, which would have to be heard in every test."""
    return seal_copy(spoken_once, tmp_path_factory.mktemp("sealed") / "run", practice=False)


@pytest.fixture(scope="package")
def browser(needs_chromium: None) -> Iterator[Browser]:
    """One Chromium for this folder. Playwright keeps an asyncio loop running in this thread until it is left, and
    while it does, no later test of the same process may call `asyncio.run`."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, live: Live) -> Iterator[OpenPage]:
    """Open a rater's link in a context of its own; an error in the page or its console fails the test."""
    contexts = []
    problems: list[str] = []

    def found(name: str = "ann", *, hears: bool = True, **options: Any) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1000, "height": 900}} | options))
        contexts.append(context)
        if hears:
            live.client(name)
            context.add_init_script(HEARS)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: foreign(request.url, live.url, problems))
        arrive(page, live.url + invite(live.run_dir, name))
        return page

    yield found
    for context in contexts:
        context.close()
    refusals = (
        NETWORK_CHANGED,
        "status of 409",
        "status of 401",
        "ERR_CONNECTION",
        "ERR_INTERNET_DISCONNECTED",
        "status of 507",
        "ERR_FAILED",
        "status of 429",
    )
    assert not [text for text in problems if not any(word in text for word in refusals)], problems


def foreign(url: str, home: str, problems: list[str]) -> None:
    if not url.startswith((home, "data:")):
        problems.append(f"the page asked for {url}")
