"""A rater's hands in a real browser: what they click on the rating page, and what they wait for."""

from typing import Any

from playwright.sync_api import Page, expect

HEARS = "try { sessionStorage.setItem('sound-checked', 'yes') } catch { /* of another origin */ }"
"""For a new context: what a tab keeps that has passed the sound check."""
READY = "#deck[aria-busy=false]"


def begin(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector(READY)


def title(page: Page) -> str:
    return page.inner_text("#trial-title")


def to_the_end(page: Page, side: str) -> None:
    """Wait until a side counts as heard and has stopped: it may count a moment before its end, and who then asks
    for the other side hears that one's last moment alone."""
    expect(page.locator(f"#state-{side}")).to_have_text("Heard", timeout=60_000)
    page.wait_for_function("() => !document.getElementById('play').classList.contains('on')")


def listen_by_mouse(page: Page) -> None:
    page.click("#side-a")
    to_the_end(page, "a")
    page.click("#side-b")
    to_the_end(page, "b")


def score(page: Page, a: int, b: int) -> None:
    page.click(f"#score-a label:nth-child({a})")
    page.click(f"#score-b label:nth-child({b})")


def next_pair(page: Page, press: Any) -> None:
    before = title(page)
    press()
    page.wait_for_function(
        "before => document.getElementById('trial-title').textContent !== before"
        " || !document.getElementById('review').hidden",
        arg=before,
    )
    if page.is_visible("#trial"):
        page.wait_for_selector(READY)
