"""Debian's Chromium with a running audio clock, and what axe-core finds in a page."""

from playwright.sync_api import Page, Request, expect

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
]  # fmt: skip
"""Without a sound card Chromium plays into a sink of its own that keeps time, so clips really run."""

NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
expect.set_options(timeout=30_000)  # five seconds are little beside everything else that a test machine does


def arrive(page: Page, url: str) -> None:
    """Open a page; again where the machine's network changed meanwhile, as it does when a container starts: Chromium
    then drops what it was loading."""
    dropped: list[str] = []

    def note(request: Request) -> None:
        if NETWORK_CHANGED in (request.failure or ""):
            dropped.append(request.url)

    page.on("requestfailed", note)
    page.goto(url)
    for _ in range(5):
        if not dropped:
            break
        dropped.clear()
        page.reload()
    page.remove_listener("requestfailed", note)


def axe_finds(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}"
        for one in found["violations"]
    ]
