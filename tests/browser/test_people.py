"""What goes wrong for people: a muted device, a slow or broken line, a closed tab, a small screen."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect

from bench.listening.server import create_app
from tests.browser.conftest import OpenPage
from tests.support.chromium import axe_finds
from tests.support.listening_fixtures import Live, start
from tests.support.rated import invite_who_hears
from tests.support.rating_page import HEARS, READY, begin, listen_by_mouse, next_pair, score, title

pytestmark = pytest.mark.timeout(600)


def rater_id(live: Live) -> str:
    live.book.refresh()
    (rater,) = live.book.raters.values()
    return str(rater.id)


def play_digits(page: Page, live: Live) -> str:
    with page.expect_response("**/api/sound-check"):
        page.click("#digits-play")
    expect(page.locator("#digits")).to_be_focused()
    told = live.sounds.told(rater_id(live))
    assert told
    return str(told)


# ---------------------------------------------------------------- silence


def test_who_hears_nothing_does_not_get_in_and_who_hears_does(live: Live, open_page: OpenPage) -> None:
    """A muted browser plays into nothing and knows no better; only the digits tell. (Here nobody listens at all: the
    test knows the right ones from the server, and what anybody else could type is wrong.)"""
    page = open_page(hears=False)
    page.click("#start")
    page.wait_for_selector("#sound:not([hidden])")
    page.fill("#digits", "123")
    page.click("#digits-check")
    expect(page.locator("#digits-said")).to_have_text("Play the digits first.")
    for number in range(3):
        told = play_digits(page, live)
        page.fill("#digits", "".join("1" if digit != "1" else "2" for digit in told))
        page.keyboard.press("Enter")
        expect(page.locator("#digits-said")).to_contain_text("Turn the sound up" if number == 0 else "muted")
    assert page.is_hidden("#trial") and page.is_hidden("#welcome")
    assert page.locator("#sound button:visible").count() == 2, "play and go on: there is no way past"
    ticket = next(iter(live.book.raters.values())).trials[0]
    assert ticket is not None
    trial = page.evaluate(
        """async () => {
          const headers = {Authorization: `Bearer ${location.hash.slice(1)}`, 'Content-Type': 'application/json'};
          const session = await (await fetch('/api/session', {headers})).json();
          const body = JSON.stringify({a: [[0, 0.1]], b: []});
          const path = `/api/trials/${session.trials[0].id}/heard`;
          return (await fetch(path, {method: 'POST', headers, body})).status;
        }"""
    )
    assert trial == 409, "nor does the server count anything"
    page.fill("#digits", play_digits(page, live))
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)
    assert title(page).startswith("Pair 1 ")
    page.reload()
    page.click("#start")
    page.wait_for_selector(READY)  # once for each tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_sound_check(open_page: OpenPage, axe: str, scheme: str) -> None:
    page = open_page(
        hears=False, color_scheme=scheme, viewport={"width": 390, "height": 844}, reduced_motion="reduce"
    )
    page.click("#start")
    page.click("#digits-check")
    expect(page.locator("#digits-said")).to_have_text("Play the digits first.")
    assert axe_finds(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_another_tab_checks_its_sound_again(live: Live, open_page: OpenPage) -> None:
    page = open_page(hears=False)
    live.client()  # checked before, on another device perhaps
    page.reload()
    page.click("#start")
    page.wait_for_selector("#sound:not([hidden])")


def test_a_suspended_context_stops_the_clock_and_says_so(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    page.click("#loop")
    page.click("#side-a")
    page.wait_for_function("() => document.getElementById('position').value > 100")
    page.evaluate("import('/player.js').then(player => player.context().suspend())")
    expect(page.locator("#banner")).to_contain_text("interrupted")
    assert page.get_attribute("#play", "aria-label") == "Play"
    place = page.input_value("#position")
    page.wait_for_timeout(1500)
    assert page.input_value("#position") == place
    live.book.refresh()
    (rater,) = live.book.raters.values()
    seconds = sum(end - start for ranges in rater.ranges.values() for start, end in ranges)
    length = live.book.length_s(rater.trials[0])
    assert seconds <= length, "a pause of 1.5 s and more counted for nothing"
    page.click("#play")
    page.wait_for_function("before => document.getElementById('position').value !== before", arg=place)


# ---------------------------------------------------------------- nothing that was typed is lost


def test_scores_and_note_survive_closing_the_tab(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    score(page, 2, 5)
    page.click("#note-box summary")
    page.fill("#note", "hum in B")
    page.close()
    page = page.context.new_page()
    page.goto(live.url + invite_who_hears(live.run_dir, "ann"))
    begin(page)
    expect(page.locator("#score-a input").nth(1)).to_be_checked()
    expect(page.locator("#score-b input").nth(4)).to_be_checked()
    expect(page.locator("#note")).to_have_value("hum in B")
    listen_by_mouse(page)
    next_pair(page, lambda: page.click("#save"))
    kept = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft/')).length")
    assert kept == 0, "what is saved is kept by the server alone"


BLOCKED = """for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, {
  get() { throw new DOMException('blocked', 'SecurityError'); }
});"""


def test_where_storage_is_blocked_it_says_so_goes_on_and_warns(live: Live, open_page: OpenPage) -> None:
    page = open_page(hears=False)
    page.context.add_init_script(BLOCKED)
    page.reload()
    expect(page.locator("#welcome [data-unkept]")).to_contain_text("lost if you close the page")
    page.click("#start")
    page.fill("#digits", play_digits(page, live))
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)
    dialogs: list[str] = []

    def stay(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    score(page, 2, 5)
    page.close(run_before_unload=True)
    page.wait_for_timeout(500)
    assert dialogs == ["beforeunload"] and not page.is_closed()
    listen_by_mouse(page)
    next_pair(page, lambda: page.click("#save"))
    page.close(run_before_unload=True)
    assert dialogs == ["beforeunload"], "what is saved can be left"


# ---------------------------------------------------------------- lines


def asked_for(page: Page) -> list[tuple[str, str]]:
    """Keep each request for a clip: its ticket, and from where."""
    found: list[tuple[str, str]] = []

    def note(request: Request) -> None:
        if "/api/clips/" in request.url:
            found.append((request.url.rsplit("/", 1)[1], request.headers.get("range", "")))

    page.on("request", note)
    return found


def test_the_reference_comes_once_and_the_next_pairs_while_one_listens(
    live: Live, open_page: OpenPage
) -> None:
    page = open_page()
    page.wait_for_selector("#start:visible")
    asked = asked_for(page)
    trials = live.client().session()["trials"]
    begin(page)
    wanted = [trials[0]["reference"], *(trial[side] for trial in trials[:3] for side in ("a", "b"))]
    page.wait_for_timeout(1500)
    assert [ticket for ticket, _ in asked] == wanted
    listen_by_mouse(page)
    score(page, 2, 4)
    next_pair(page, lambda: page.click("#save"))
    next_pair(page, lambda: page.click("#previous"))
    page.wait_for_timeout(500)
    assert len({ticket for ticket, _ in asked}) == len(asked), "nothing is fetched twice"
    assert {beginning for _, beginning in asked} == {"bytes=0-"}


class Breaking:
    """In front of the real server: the first answers with a clip end in their middle, as where a line breaks."""

    def __init__(self, app: Any, times: int) -> None:
        self.app, self.left = app, times

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        breaks = scope.get("path", "").startswith("/api/clips/") and self.left > 0
        self.left -= breaks

        async def cut(message: Any) -> None:
            if breaks and message["type"] == "http.response.body":
                half = message["body"][: len(message["body"]) // 2]
                await send({"type": "http.response.body", "body": half, "more_body": True})
                await asyncio.sleep(0.2)
                raise ConnectionAbortedError("the line breaks here")
            await send(message)

        await self.app(scope, receive, cut)


def test_a_line_that_breaks_goes_on_where_it_was_and_shows_how_far_it_is(
    run_dir: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_breaks(path: Path) -> Any:
        app = create_app(path)
        app.add_middleware(Breaking, times=4)
        return app

    monkeypatch.setattr("tests.support.listening_fixtures.create_app", with_breaks)
    live, stop = start(run_dir)
    context = browser.new_context()
    context.add_init_script(HEARS)
    try:
        page = context.new_page()
        page.goto(live.url + invite_who_hears(run_dir, "ann"))
        asked = asked_for(page)
        shown: list[str] = []
        page.expose_function("tell", lambda text: shown.append(text))
        page.evaluate(
            """() => { for (const id of ['banner', 'loading-text']) new MutationObserver(() =>
              window.tell(document.getElementById(id).textContent))
              .observe(document.getElementById(id), {childList: true, characterData: true}); }"""
        )
        begin(page)
        begun = [int(beginning.removeprefix("bytes=").removesuffix("-")) for _, beginning in asked]
        tickets = [ticket for ticket, _ in asked]
        assert [at > 0 for at in begun[:5]] == [False, True, True, True, True], begun
        assert begun[1:5] == sorted(set(begun[1:5])) and len(set(tickets[:5])) == 1, "on from where it was"
        assert any("Trying again" in text for text in shown)
        shares = [int(found[1]) for text in shown if (found := re.search(r"this pair: (\d+) %", text))]
        assert shares == sorted(shares) and len(set(shares)) > 3, shares
        expect(page.locator("#banner")).to_be_hidden()
        page.click("#side-a")
        expect(page.locator("#state-a")).to_have_text("Heard", timeout=60_000)
    finally:
        context.close()
        stop()


# ---------------------------------------------------------------- one screen, for fingers


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_a_pair_is_one_screen_with_targets_for_fingers(
    live: Live, open_page: OpenPage, width: int, height: int
) -> None:
    page = open_page(viewport={"width": width, "height": height}, has_touch=True)
    begin(page)
    score(page, 2, 4)
    page.click("#comparison label:nth-child(6)")
    page.wait_for_timeout(300)
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size[0] <= width and size[1] <= height, size
    outside = page.evaluate(
        """([width, height]) => [...document.querySelectorAll('#trial button, #trial label, #trial canvas, #missing')]
          .filter(e => e.offsetParent && !e.classList.contains('unseen'))
          .filter(e => { const r = e.getBoundingClientRect();
            return r.left < 0 || r.top < 0 || r.right > width || r.bottom > height; }).map(e => e.id)""",
        [width, height],
    )
    assert outside == []
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, #trial label, summary, input')]
          .filter(e => e.offsetParent && !e.classList.contains('unseen') && e.type !== 'radio')
          .map(e => [e.id || e.textContent.trim(), e.getBoundingClientRect()])
          .filter(([, r]) => r.width > 1 && (r.width < 43.9 || r.height < 43.9)).map(([id]) => id)"""
    )
    assert small == [], "44 px each way"
    covered = page.evaluate(
        """() => [...document.querySelectorAll('#trial button, #trial label')]
          .filter(e => e.offsetParent && !e.classList.contains('unseen'))
          .filter(e => { const r = e.getBoundingClientRect();
            const top = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
            return !e.contains(top); }).map(e => e.id || e.textContent)"""
    )
    assert covered == [], "and nothing lies over another"


def test_on_a_small_screen_the_player_stays(live: Live, open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 360, "height": 480})
    begin(page)
    for place in ("0", "document.body.scrollHeight"):
        page.evaluate(f"window.scrollTo(0, {place})")
        box = page.locator("#play").bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= 480


# ---------------------------------------------------------------- words for newcomers


def test_the_page_says_what_comes_what_is_kept_and_what_is_missing(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    minutes = live.client().session()["minutes"]
    expect(page.locator("#welcome-size")).to_have_text(f"7 pairs, about {minutes} minutes in all")
    expect(page.locator("#welcome-reference")).to_contain_text("a recording of the real speaker")
    page.click("#welcome details summary")
    expect(page.locator("#welcome details").first).to_contain_text("“ann”, your scores and")
    begin(page)
    labels = page.locator("#comparison label").all_inner_texts()
    assert labels[0] == "A sounds much more like it" and labels[6] == "B sounds much more like it"
    page.click("#save")
    expect(page.locator("#missing")).to_have_text(
        "Not saved yet. Still to do: hear A and B to the end, score A and B."
    )
    listen_by_mouse(page)
    score(page, 2, 4)
    next_pair(page, lambda: page.click("#save"))
    expect(page.locator("#said")).to_contain_text("You can close this page")
