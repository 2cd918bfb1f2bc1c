"""`python -m tests.report.screens`: every screen of the rating page, and the report, as docs/images/screen-*.png.

Each image has one screen four times: 1280 and 390 px wide, light and dark. The run is a real one of three pairs; only
how long a rater has to listen is waived.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from bench.listening import heard
from bench.listening.score import seal
from bench.report import build as build_view
from bench.report import render
from bench.verdict.rule import decide
from benchmarks.listening_run import SENTENCES, build
from tests.report.build import whole_evidence
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.listening_fixtures import Live, start
from tests.support.play import REPO
from tests.support.rating_page import READY, score

IMAGES = REPO / "docs" / "images"
SCREENS = {
    "problem": "A link that opens nothing",
    "welcome": "Before the test",
    "headphones": "The headphone check, which can be skipped",
    "sound": "The sound check, which cannot",
    "trial": "A pair",
    "help": "The keys",
    "review": "Everything is rated",
    "waiting": "Closed, while others still rate",
    "results": "When all have finished",
    "report": "The report of a run",
}
"""Name of a screen, which is the id of its part of the page, to what it is."""
VARIANTS: list[tuple[int, int, Literal["light", "dark"]]] = [
    (1280, 720, "light"), (1280, 720, "dark"), (390, 844, "light"), (390, 844, "dark"),
]  # fmt: skip
"""Width, height and colours."""
_SCALE, _GAP, _COLOURS, _TALLEST = 0.5, 16, 128, 1400
_WAIT_MS = 120_000

Shots = dict[str, list[bytes]]


def take_all() -> dict[str, Image.Image]:
    """Go through the whole test once a variant, and return an image a screen."""
    shots: Shots = {name: [] for name in SCREENS}
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        _rate(browser, Path(scratch) / "run", shots)
        _read(browser, Path(scratch) / "read", shots)
        browser.close()
    return {name: lay_out(found) for name, found in shots.items()}


def lay_out(shots: list[bytes]) -> Image.Image:
    """Put shots beside each other, half as large and in few colours."""
    images = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    small = [
        each.resize((round(each.width * _SCALE), round(each.height * _SCALE)), Image.Resampling.LANCZOS)
        for each in images
    ]
    size = sum(each.width for each in small) + _GAP * (len(small) - 1), max(each.height for each in small)
    sheet, left = Image.new("RGB", size, "#808080"), 0
    for each in small:
        sheet.paste(each, (left, 0))
        left += each.width + _GAP
    return sheet.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)


def _rate(browser: Browser, run_dir: Path, shots: Shots) -> None:
    texts = [f"{one} {other}" for one, other in zip(SENTENCES[:3], SENTENCES[3:6], strict=True)]
    build(run_dir, texts=texts, reference=" ".join(SENTENCES[:3]))
    seal(run_dir, channels=())
    before, heard.SLACK_S = heard.SLACK_S, 1e9
    live, stop = start(run_dir)
    try:
        raters = [live.client(f"Rater {number}", hears=False) for number in range(1, 1 + len(VARIANTS))]
        last = live.client("Rater 0")
        for rater, variant in zip(raters, VARIANTS, strict=True):
            page = open_page(browser, variant)
            page.goto(live.url)
            page.wait_for_selector("#problem:visible")
            shots["problem"].append(shoot(page))
            page.goto("about:blank")
            page.goto(f"{live.url}/#{rater.token}")
            _go_through(page, live, rater.token, shots)
            for trial in rater.session()["trials"]:
                rater.rate(trial)
            page.reload()
            page.click("#start")
            page.wait_for_selector("#review:visible")
            shots["review"].append(shoot(page))
            page.click("#submit")
            page.wait_for_selector("#waiting:visible")
            shots["waiting"].append(shoot(page))
            page.context.close()
        last.rate_all()
        for rater, variant in zip(raters, VARIANTS, strict=True):
            page = open_page(browser, variant)
            page.goto(f"{live.url}/#{rater.token}")
            page.wait_for_selector("#results:visible")
            shots["results"].append(shoot(page))
            page.context.close()
    finally:
        stop()
        heard.SLACK_S = before


def _go_through(page: Page, live: Live, token: str, shots: Shots) -> None:
    page.wait_for_selector("#start:visible")
    shots["welcome"].append(shoot(page))
    page.click("#headphones-open")
    page.wait_for_selector("#headphones:visible")
    shots["headphones"].append(shoot(page))
    page.click("#headphones-close")
    page.click("#start")
    page.wait_for_selector("#sound:visible")
    shots["sound"].append(shoot(page))
    page.click("#digits-play")
    page.wait_for_function("() => document.activeElement.id === 'digits'")
    page.fill("#digits", str(live.sounds.told(live.book.rater_of(token).id)))
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)
    score(page, 2, 4)
    page.click("#comparison label:nth-child(6)")
    page.click("#side-b")
    page.wait_for_timeout(1200)
    shots["trial"].append(shoot(page, whole=False))
    page.click("#play")
    page.click("#help-open")
    page.wait_for_selector("#help[open]")
    shots["help"].append(shoot(page, whole=False))


def _read(browser: Browser, run_dir: Path, shots: Shots) -> None:
    evidence = whole_evidence(run_dir)
    path = run_dir / "report.html"
    path.write_text(render(build_view(run_dir, decide(evidence), evidence, True)), encoding="utf-8")
    for variant in VARIANTS:
        page = open_page(browser, variant)
        page.goto(path.as_uri())
        shots["report"].append(shoot(page))
        page.context.close()


def open_page(browser: Browser, variant: tuple[int, int, Literal["light", "dark"]]) -> Page:
    """Open a page of that size in those colours."""
    width, height, scheme = variant
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.set_default_timeout(_WAIT_MS)
    return page


def shoot(page: Page, *, whole: bool = True) -> bytes:
    """Take the page as PNG: as much of it as fits an image, or what is on the screen."""
    page.evaluate("() => document.fonts.ready")
    page.wait_for_timeout(200)
    size = page.viewport_size
    assert size is not None
    tall = page.evaluate("() => document.documentElement.scrollHeight") if whole else size["height"]
    return page.screenshot(
        full_page=whole, animations="disabled",
        clip={"x": 0.0, "y": 0.0, "width": float(size["width"]), "height": float(min(tall, _TALLEST))},
    )  # fmt: skip


def main(say: Callable[[str], object] = print) -> None:
    """Write the images."""
    for name, image in take_all().items():
        path = IMAGES / f"screen-{name}.png"
        image.save(path, optimize=True)
        say(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
