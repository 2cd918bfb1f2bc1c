"""The pictures of the screens: one for each, small, and shown; and the script that takes them does what it says."""

import io
import re
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.report.screens import IMAGES, SCREENS, VARIANTS, lay_out, open_page, shoot
from tests.support.chromium import CHROMIUM, FLAGS
from tests.support.play import REPO

PAGE_JS = REPO / "bench" / "listening" / "page" / "page.js"
WIDTH = sum(width // 2 for width, _, _ in VARIANTS) + 3 * 16


def test_every_screen_of_the_page_has_a_picture_and_no_other() -> None:
    (listed,) = re.findall(r"const SECTIONS = \[([^\]]+)\]", PAGE_JS.read_text("utf-8"))
    sections = set(re.findall(r'"(\w+)"', listed))
    assert sections - {"loading"} == SCREENS.keys() - {"help", "report"}
    assert {path.stem for path in IMAGES.glob("screen-*")} == {f"screen-{name}" for name in SCREENS}


@pytest.mark.parametrize("name", SCREENS)
def test_a_picture_is_small_has_both_widths_and_is_shown_with_its_words(name: str) -> None:
    path = IMAGES / f"screen-{name}.png"
    assert path.stat().st_size < 160 * 1024
    with Image.open(path) as image:
        assert image.width == WIDTH
    assert f"![{SCREENS[name]}](images/{path.name})" in (REPO / "docs" / "screens.md").read_text("utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.mark.needs("chromium")
def test_four_shots_of_a_page_become_one_picture(browser: Browser) -> None:
    dark = "@media (prefers-color-scheme: dark) { body { background: black } }"
    ground = f"<style>body {{ background: white }} {dark}</style>"
    shots = []
    for variant in VARIANTS:
        page = open_page(browser, variant)
        page.set_content(f"{ground}<div style='height: 900px'></div>")
        shots.append(shoot(page))
        page.context.close()
    assert [Image.open(io.BytesIO(shot)).width for shot in shots] == [1280, 1280, 390, 390]
    sheet = lay_out(shots).convert("RGB")
    assert sheet.size == (WIDTH, 458), "half of 900 and the margins"
    middles = [320, 640 + 16 + 320, 1280 + 32 + 97, 1280 + 195 + 48 + 97]
    assert [sheet.getpixel((x, 200)) for x in middles] == [(255,) * 3, (0,) * 3] * 2
