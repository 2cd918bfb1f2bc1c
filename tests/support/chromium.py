"""Debian's Chromium with a running audio clock, and what axe-core finds in a page."""

from playwright.sync_api import Page, expect

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
]  # fmt: skip
"""Without a sound card Chromium plays into a sink of its own that keeps time, so clips really run."""

expect.set_options(timeout=30_000)  # five seconds are little beside everything else that a test machine does


def axe_finds(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}"
        for one in found["violations"]
    ]
