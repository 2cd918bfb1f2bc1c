"""Whole sessions in a real browser: sound is decoded and played, and the server counts what was heard."""

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from bench.listening import results
from bench.listening.raters import invite, withdraw
from bench.listening.score import seal
from benchmarks.listening_run import WORDS
from tests.browser.conftest import OpenPage
from tests.support.chromium import axe_finds
from tests.support.listening_fixtures import Live, ask_a_second_question
from tests.support.listening_fixtures import start as start_server
from tests.support.rated import invite_who_hears
from tests.support.rating_page import (
    HEARS,
    READY,
    begin,
    listen_by_mouse,
    next_pair,
    score,
    title,
    to_the_end,
)

pytestmark = pytest.mark.timeout(900)


def test_a_whole_session_by_mouse(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("[data-question]").first).to_have_text(live.book.sealed.question)
    begin(page)
    total = int(title(page).split(" of ")[1])
    for number in range(1, total + 1):
        assert title(page) == f"Pair {number} of {total}"
        listen_by_mouse(page)
        score(page, 2, 4)
        if number == 1:
            page.click("#comparison label:nth-child(6)")
            page.click("#note-box summary")
            page.fill("#note", "a hiss ✓")
        next_pair(page, lambda: page.click("#save"))
    page.wait_for_selector("#review:not([hidden])")
    page.click("#review-list li:nth-child(2) button")
    page.wait_for_selector(READY)
    page.click("#score-a label:nth-child(5)")
    next_pair(page, lambda: page.click("#save"))
    assert page.locator("#review-list li:nth-child(2)").inner_text().startswith("Pair 2")
    page.click("#submit")
    page.wait_for_selector("#results:not([hidden])")
    assert "eSpeak NG" in page.inner_text("#means") and "Flite" in page.inner_text("#means")
    found = results.read_ratings(live.run_dir)
    assert found.raters == {"ann": "finished"} and len(found.answers) == total
    first = found.answers[0]
    assert first.note == "a hiss ✓"
    assert first.comparison == (-2 if first.candidate_side == "A" else 2)
    changed = found.answers[1]
    assert (changed.candidate, changed.baseline) == ((5, 4) if changed.candidate_side == "A" else (4, 5))
    page.reload()
    page.wait_for_selector("#results:not([hidden])")


def test_a_whole_session_by_keyboard_alone(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector("#start:visible")
    for _ in range(12):
        if page.evaluate("document.activeElement.id") == "start":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)
    total = int(title(page).split(" of ")[1])
    page.keyboard.press("Enter")
    assert title(page).startswith("Pair 1 "), "a key obeys the same rule as the button"
    expect(page.locator("#said")).to_contain_text("Not saved")
    for number in range(1, total + 1):
        page.keyboard.press("a")
        page.keyboard.press("2")
        to_the_end(page, "a")
        page.keyboard.press("b")
        page.keyboard.press("5")
        to_the_end(page, "b")
        if number == 1:
            page.keyboard.press("]")
            page.keyboard.press("]")
            page.keyboard.press("n")
            page.keyboard.type("b is 3 times better")
            next_pair(page, lambda: page.keyboard.press("Control+Enter"))
        else:
            next_pair(page, lambda: page.keyboard.press("Enter"))
    page.wait_for_selector("#review:not([hidden])")
    for _ in range(2 * total + 10):
        if page.evaluate("document.activeElement.id") == "submit":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results:not([hidden])")
    answers = results.read_ratings(live.run_dir).answers
    on_a = [answer.candidate if answer.candidate_side == "A" else answer.baseline for answer in answers]
    assert set(on_a) == {2} and len(answers) == total
    assert answers[0].note == "b is 3 times better"
    assert answers[0].comparison == (2 if answers[0].candidate_side == "B" else -2)


def test_a_reload_in_the_middle_keeps_answers_drafts_and_what_was_heard(
    live: Live, open_page: OpenPage
) -> None:
    page = open_page()
    begin(page)
    listen_by_mouse(page)
    score(page, 1, 2)
    next_pair(page, lambda: page.click("#save"))
    page.click("#side-b")
    expect(page.locator("#state-b")).to_have_text("Heard", timeout=60_000)
    page.click("#score-b label:nth-child(3)")
    page.reload()
    expect(page.locator("#start")).to_contain_text("Continue (1 of 7 rated)")
    begin(page)
    assert title(page).startswith("Pair 2 ")
    expect(page.locator("#state-b")).to_have_text("Heard")
    expect(page.locator("#score-b input").nth(2)).to_be_checked()
    expect(page.locator("#state-a")).to_have_text("Not yet heard in full")
    next_pair(page, lambda: page.click("#previous"))
    expect(page.locator("#score-a input").nth(0)).to_be_checked()


def test_nothing_is_chosen_beforehand_and_saving_waits_for_all_of_it(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    assert page.locator("#answer input:checked").count() == 0
    expect(page.locator("#missing")).to_contain_text("hear A and B to the end")
    score(page, 3, 3)
    page.click("#save")
    assert title(page).startswith("Pair 1 ")
    page.click("#side-a")
    expect(page.locator("#state-a")).to_have_text("Heard", timeout=60_000)
    expect(page.locator("#missing")).to_have_text("Still to do: hear B to the end.")


def test_skipping_to_the_end_is_not_listening(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    box = page.locator("#wave-a").bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.85 * box["width"], box["y"] + 10)
    page.wait_for_function("() => !document.getElementById('play').classList.contains('on')")
    expect(page.locator("#state-a")).to_have_text("Not yet heard in full")


def test_switching_keeps_the_place_and_each_side_counts_for_itself(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    page.click("#loop")
    page.click("#side-a")
    page.keyboard.press("x")
    assert page.get_attribute("#side-b", "aria-pressed") == "true"
    assert page.get_attribute("#play", "aria-label") == "Pause", "switching goes on playing"
    heard_both_by_switching(page)


def heard_both_by_switching(page: Page) -> None:
    """Looping, each side is heard in full by itself."""
    expect(page.locator("#state-b")).to_have_text("Heard", timeout=60_000)
    page.keyboard.press("x")
    expect(page.locator("#state-a")).to_have_text("Heard", timeout=60_000)
    assert page.get_attribute("#play", "aria-label") == "Pause", "and it loops"


def test_the_waveforms_tell_the_eye_nothing(patient: None, live: Live, open_page: OpenPage) -> None:
    """A and B are drawn as one shape: of two, the eye would see which pair is twice the same clip."""
    page = open_page()
    page.wait_for_selector("#start:visible")
    rater = live.client()
    trials = rater.session()["trials"]
    kinds = [trial.kind for trial in next(iter(live.book.raters.values())).trials]
    for trial in trials[: kinds.index("pair")]:
        rater.rate(trial)
    page.reload()
    begin(page)
    assert rater.get(f"/api/clips/{trials[kinds.index('pair')]['a']}").content != (
        rater.get(f"/api/clips/{trials[kinds.index('pair')]['b']}").content
    )
    drawn = "side => document.getElementById(`wave-${side}`).toDataURL()"
    a = page.evaluate(drawn, "a")  # the one that is heard is drawn darker
    page.keyboard.press("x")
    b = page.evaluate(drawn, "b")
    assert a == b
    assert a != page.evaluate(drawn, "a"), "and something is drawn"


def place(page: Page) -> int:
    return int(page.input_value("#position"))


def test_after_a_click_with_the_mouse_the_keys_mean_what_they_meant(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    page.click("#loop")
    page.click("#side-b")
    page.keyboard.press("Space")
    assert page.get_attribute("#play", "aria-label") == "Play", "Space pauses, it does not press B again"
    page.click("#again")
    page.click("#score-a label:nth-child(3)")
    page.keyboard.press("ArrowRight")
    step = place(page)
    assert step >= 50, "an arrow moves in the clip"
    expect(page.locator("#score-a input").nth(2)).to_be_checked()
    page.focus("#position")
    page.keyboard.press("ArrowRight")
    assert abs(place(page) - 2 * step) <= 1, "on the slider as well, and by the same step"
    page.keyboard.press("Home")
    assert place(page) == 0
    page.focus("#side-a")
    page.keyboard.press("Space")
    assert page.get_attribute("#side-a", "aria-pressed") == "true", (
        "a control with the focus is pressed by its keys"
    )


def slowly(route: Route) -> None:
    time.sleep(0.3)
    route.continue_()


def test_what_was_heard_goes_to_the_pair_that_was_played(live: Live, open_page: OpenPage) -> None:
    """Saving while it loops, going back while it plays; the server is slow, so reports are under way meanwhile."""
    page = open_page()
    refused: list[str] = []
    reports: list[str] = []
    page.on("response", lambda found: refused.append(found.url) if found.status >= 400 else None)
    page.on("request", lambda asked: reports.append(asked.url) if asked.url.endswith("/heard") else None)
    begin(page)
    rater = next(iter(live.book.raters.values()))
    first, second = (
        next(t for t, trial in rater.by_ticket.items() if trial is each) for each in rater.trials[:2]
    )
    score(page, 2, 4)
    page.click("#loop")
    page.click("#side-a")
    expect(page.locator("#state-a")).to_have_text("Heard", timeout=60_000)
    page.keyboard.press("x")
    expect(page.locator("#state-b")).to_have_text("Heard", timeout=60_000)
    page.route("**/heard", slowly)
    next_pair(page, lambda: page.click("#save"))  # still looping
    assert title(page).startswith("Pair 2 ")
    page.wait_for_timeout(1000)
    live.book.refresh()
    assert {trial for trial, _ in rater.ranges} == {rater.trials[0].trial_id}, "nothing of pair 2 was played"
    page.click("#loop")
    page.click("#side-b")
    page.wait_for_function("() => document.getElementById('position').value >= 250")
    before = len(reports)
    next_pair(page, lambda: page.click("#previous"))  # still looping
    assert title(page).startswith("Pair 1 ")
    page.wait_for_timeout(1000)
    assert reports[before:] and all(second in url for url in reports[before:])
    assert first in reports[0]
    end = time.monotonic() + 30
    while (rater.trials[1].trial_id, "B") not in rater.ranges and time.monotonic() < end:
        page.wait_for_timeout(100)
        live.book.refresh()
    (played,) = rater.ranges[rater.trials[1].trial_id, "B"]
    length = live.book.length_s(rater.trials[1])
    assert played[0] == 0 and played[1] > 0.2 * length, "what was played up to then is kept"
    assert not refused
    expect(page.locator("#banner")).to_be_hidden()


def test_keys_are_the_browsers_own_where_there_is_no_pair(
    patient: None, live: Live, open_page: OpenPage
) -> None:
    page = open_page()
    page.evaluate(
        "window.taken = []; addEventListener('keydown', e => taken.push([e.key, e.defaultPrevented]))"
    )

    def taken() -> list[str]:
        page.evaluate("taken.length = 0; document.activeElement.blur()")
        for key in ("Space", "Home", "ArrowLeft", "1", "b", "Control+Enter"):
            page.keyboard.press(key)
        found: list[str] = page.evaluate("taken.filter(([, prevented]) => prevented).map(([key]) => key)")
        return found

    page.wait_for_selector("#start:visible")
    assert taken() == []
    begin(page)
    assert taken() == [" ", "Home", "ArrowLeft", "1", "b", "Enter"]
    rater = live.client()
    for trial in rater.session()["trials"]:
        rater.rate(trial)
    page.reload()
    page.evaluate(
        "window.taken = []; addEventListener('keydown', e => taken.push([e.key, e.defaultPrevented]))"
    )
    page.click("#start")
    page.wait_for_selector("#review:not([hidden])")
    assert taken() == []
    page.click("#submit")
    page.wait_for_selector("#results:not([hidden])")
    assert taken() == []


def test_the_reference_and_the_pair_never_play_at_once(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    page.keyboard.press("r")
    assert page.get_attribute("#reference-play", "aria-label") == "Pause the reference"
    page.keyboard.press("Space")
    assert page.get_attribute("#reference-play", "aria-label") == "Play the reference"
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_a_second_tab_is_told_what_the_first_one_saved(live: Live, open_page: OpenPage) -> None:
    first, second = open_page(), open_page()
    begin(first)
    begin(second)
    listen_by_mouse(first)
    score(first, 1, 1)
    next_pair(first, lambda: first.click("#save"))
    score(second, 5, 5)
    second.reload()
    begin(second)
    assert title(second).startswith("Pair 2 ")
    next_pair(second, lambda: second.click("#previous"))
    # The draft of this tab was made before the answer: it is not what counts, and must not look like it.
    for side in ("a", "b"):
        expect(second.locator(f"#score-{side} input").nth(0)).to_be_checked()
    next_pair(second, lambda: second.click("#save"))
    (answer,) = next(iter(live.book.raters.values())).answers.values()
    assert (answer.a, answer.b) == (1, 1)


def test_a_stale_tab_does_not_overwrite(live: Live, open_page: OpenPage) -> None:
    first, second = open_page(), open_page()
    begin(first)
    begin(second)
    listen_by_mouse(first)
    score(first, 1, 1)
    next_pair(first, lambda: first.click("#save"))
    listen_by_mouse(second)  # it has been heard already: the server says so at once
    score(second, 5, 5)
    second.click("#save")
    expect(second.locator("#banner")).to_contain_text("rated meanwhile")
    expect(second.locator("#score-a input").nth(0)).to_be_checked()


def test_the_server_gone_and_back_loses_nothing(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    page.context.set_offline(True)
    page.click("#side-a")
    expect(page.locator("#banner")).to_contain_text("cannot be reached", timeout=60_000)
    page.wait_for_function("() => !document.getElementById('play').classList.contains('on')")
    page.context.set_offline(False)
    expect(page.locator("#state-a")).to_have_text("Heard", timeout=60_000)
    expect(page.locator("#banner")).to_be_hidden()


def test_saving_without_the_server_says_that_it_was_not_saved(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    listen_by_mouse(page)
    score(page, 2, 4)
    page.context.set_offline(True)
    page.click("#save")
    expect(page.locator("#banner")).to_contain_text("Not saved: your scores stay filled in")
    assert title(page).startswith("Pair 1 ")
    page.context.set_offline(False)
    next_pair(page, lambda: page.click("#save"))
    expect(page.locator("#banner")).to_be_hidden()


def with_short_tones(page: Page, live: Live) -> None:
    """The tones are a second each, and which is the softer one is known: the first."""
    script = httpx.get(f"{live.url}/headphones.js").text
    for name, value in (("TONE_S = 1.0", "TONE_S = 0.05"), ("PAUSE_S = 0.4", "PAUSE_S = 0.01")):
        assert name in script
        script = script.replace(name, value)
    page.add_init_script("Math.random = () => 0")
    page.route("**/headphones.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.reload()
    page.click("#headphones-open")


def judge_tones(page: Page, right: int) -> None:
    for number in range(6):
        expect(page.locator("#tones-legend")).to_contain_text(f"Round {number + 1} of 6")
        page.click("#tones-play")
        page.wait_for_selector("#tones button:not([disabled])")
        page.click(f"#tones button:nth-of-type({1 if number < right else 2})")


@pytest.mark.parametrize(("right", "result"), [(5, "passed"), (4, "failed")])
def test_the_headphone_check_asks_for_five_of_six(
    live: Live, open_page: OpenPage, right: int, result: str
) -> None:
    page = open_page()
    with_short_tones(page, live)
    held: list[Route] = []
    page.route("**/headphones", lambda route: held.append(route))
    judge_tones(page, right)
    words = {"passed": "sounds like headphones", "failed": "sounds like loudspeakers"}
    expect(page.locator("#tones-result")).to_contain_text(words[result])
    page.click("#headphones-close")
    page.wait_for_timeout(300)
    assert page.is_hidden("#start"), "it went on before the server knew how it went"
    held[0].continue_()
    page.wait_for_selector("#start:visible")
    live.book.refresh()
    assert next(iter(live.book.raters.values())).headphones == result


def test_the_headphone_check_can_be_skipped(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    page.click("#headphones-open")
    page.click("#headphones-close")
    page.wait_for_selector("#start:visible")
    live.book.refresh()
    assert next(iter(live.book.raters.values())).headphones == "skipped"


def test_a_link_without_its_token_or_with_a_wrong_one_says_so(live: Live, open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector("#start:visible")
    page.goto("about:blank")
    page.goto(live.url + "/")
    expect(page.locator("#problem-text")).to_contain_text("Part of the link is missing")
    page.goto(live.url + "/#wrong")
    expect(page.locator("#problem-text")).to_contain_text("not valid")


def test_single_keys_can_be_switched_off(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    page.keyboard.press("?")
    page.click("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    assert page.get_attribute("#side-b", "aria-pressed") == "false"


def test_after_a_damage_the_page_says_what_happened(run_dir: Path, browser: Any) -> None:
    live, stop = start_server(run_dir)
    live.client()
    stop()
    database = run_dir / "listening" / "ratings.sqlite3"
    data = bytearray(database.read_bytes())
    data[:20] = b"x" * 20
    database.write_bytes(data)
    live, stop = start_server(run_dir)
    page = browser.new_page()
    page.goto(live.url + "/#" + live.client().token)
    expect(page.locator("#banner")).to_contain_text("damaged")
    page.close()
    stop()


# ---------------------------------------------------------------- how it looks to everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
def test_axe_finds_nothing_on_any_screen(
    patient: None, live: Live, open_page: OpenPage, axe: str, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 720}, reduced_motion="reduce")
    page.wait_for_selector("#start:visible")
    page.click("#welcome details summary")
    assert axe_finds(page, axe) == []
    page.click("#headphones-open")
    assert axe_finds(page, axe) == []
    page.click("#headphones-close")
    begin(page)
    score(page, 2, 4)
    page.click("#comparison label:nth-child(4)")
    page.click("#note-box summary")
    assert axe_finds(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#help-open")
    assert axe_finds(page, axe) == []
    page.keyboard.press("Escape")
    rater = live.client()
    for trial in rater.session()["trials"]:
        rater.rate(trial)
    page.reload()
    page.click("#start")
    page.wait_for_selector("#review:not([hidden])")
    assert axe_finds(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#submit")
    page.wait_for_selector("#results:not([hidden])")
    assert axe_finds(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_focus_goes_through_the_pair_in_the_order_of_the_page(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    order = []
    for _ in range(24):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
    expected = ["reference-play", "side-a", "score-a", "side-b", "score-b", "comparison"]
    assert [name for name in order if name in expected][: len(expected)] == expected, order
    places = [order.index(name) for name in ("comparison", "again", "play", "loop", "position", "save")]
    assert places == sorted(places)


def test_what_has_the_focus_is_never_under_the_bar_with_save(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 1000, "height": 620})
    begin(page)
    under = """() => {
      const bar = document.querySelector(".actions");
      const on = document.activeElement.closest("label") ?? document.activeElement;
      const hidden = on.getBoundingClientRect().bottom > bar.getBoundingClientRect().top;
      return !bar.contains(on) && hidden;
    }"""
    seen = [""]
    while seen[-1] != "save":
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        assert not page.evaluate(under), seen
    assert "score-a" in seen and "comparison" in seen


def test_every_control_has_a_name_and_state_for_a_screen_reader(open_page: OpenPage) -> None:
    page = open_page()
    begin(page)
    tree = page.locator("#trial").aria_snapshot()
    for words in ("Listen to A", "Listen to B", "Play the reference", "Position in the clip", "Your score for A",
                  "1, Not at all", "5, Completely", "A sounds much more like it", "No difference", "Loop"):  # fmt: skip
        assert words in tree, tree


def test_the_whole_pair_works_on_a_phone(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    page.tap("#start")
    page.wait_for_selector(READY)
    page.tap("#side-a")
    to_the_end(page, "a")
    page.tap("#side-b")
    to_the_end(page, "b")
    page.tap("#score-a label:nth-child(2)")
    page.tap("#score-b label:nth-child(3)")
    small = page.evaluate(
        "[...document.querySelectorAll('#trial button, #trial label')].filter(e => e.offsetParent)"
        ".map(e => e.getBoundingClientRect()).filter(r => r.width > 1 && (r.width < 24 || r.height < 24)).length"
    )
    assert small == 0, "targets of at least 24 px"
    next_pair(page, lambda: page.tap("#save"))
    assert title(page).startswith("Pair 2 ")


def test_a_practice_pair_the_words_a_second_question_and_the_wait_for_others(
    spoken_once: Path, tmp_path: Path, browser: Browser
) -> None:
    run_dir = Path(shutil.copytree(spoken_once, tmp_path / "run"))
    ask_a_second_question(run_dir, "How natural does this sound?")
    seal(run_dir, channels=())
    live, stop = start_server(run_dir)
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    try:
        invite(run_dir, "Bo")
        context.add_init_script(HEARS)
        page = context.new_page()
        page.goto(live.url + invite_who_hears(run_dir, "ann"))
        expect(page.locator("#welcome-second")).to_have_text("How natural does this sound?")
        begin(page)
        assert title(page) == "Practice pair, not counted"
        said = set()
        for number in range(8):
            assert number == 0 or title(page) == f"Pair {number} of 7"
            said.add(page.inner_text("#words"))
            listen_by_mouse(page)
            score(page, 2, 4)
            expect(page.locator("#missing")).to_have_text(
                "Still to do: answer the second question for A and B."
            )
            page.click("#second-a label:nth-child(5)")
            page.click("#second-b label:nth-child(1)")
            expect(page.locator("#progress-text")).to_have_text(f"{max(0, number - 1)} of 7 rated")
            next_pair(page, lambda: page.click("#save"))
        assert said == {"The two say different words."} | {
            f"Both say: \u201c{text}\u201d" for text in WORDS[:3]
        }
        first = page.locator("#review-list li").first
        assert first.inner_text().startswith("Practice pair") and "A 2, 5" in first.inner_text()
        page.click("#submit")
        expect(page.locator("#waiting-text")).to_contain_text("once everybody has finished (1 of 2 so far)")
        page.reload()
        expect(page.locator("#waiting-text")).to_contain_text("1 of 2")
        withdraw(run_dir, "Bo", late=True)
        page.click("#waiting-retry")
        page.wait_for_selector("#results:not([hidden])")
        expect(page.locator("#results-sound")).to_contain_text("kHz and reaches")
        assert "Attention check" in page.inner_text("#results-body") and "Practice" in page.inner_text(
            "#results-body"
        )
        answers = results.read_ratings(run_dir).answers
        assert {(a.candidate_second, a.baseline_second) for a in answers if a.candidate_side == "A"} == {
            (5, 1)
        }
    finally:
        context.close()
        stop()
