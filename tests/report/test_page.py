"""The page: whole in itself, the same each time, and deaf to what files would have it do."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import sync_playwright

from bench.records.run import Phases, PhaseState, Preflight
from bench.records.verdict import RatingsResult, Verdict
from bench.report import ReportView, as_json, build, render, write_markdown
from bench.report import __file__ as report_package
from bench.report.objective import objective_rows
from bench.report.record import escape_md
from bench.report.tiles import make_tiles
from bench.report.words import gib, number
from bench.storage.record_file import save_record
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide
from tests.report.build import alarm, speak
from tests.support.chromium import axe_finds
from tests.support.records import comparison

HOSTILE = (
    "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'`|*_[a](http://x)&@all"
)


class Page(HTMLParser):
    """Tags, ids and every address of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.addresses.append(value or "")


@pytest.fixture(scope="session")
def page(view: ReportView) -> str:
    return render(view)


@pytest.mark.slow
def test_the_same_view_gives_the_same_bytes(view: ReportView, page: str) -> None:
    assert render(view) == page


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert all(address.startswith(("data:audio/", "#")) for address in Page(page).addresses)
    assert not re.search(r"@import|url\((?!#)", page)


def test_ids_are_unique_and_headings_in_order(page: str) -> None:
    found = Page(page)
    assert len(found.ids) == len(set(found.ids))
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    steps = zip(found.headings, found.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)


def test_the_page_can_be_mailed(page: str) -> None:
    assert len(page.encode()) < 16 * 1024 * 1024


def test_every_plot_follows_the_theme_and_says_what_it_shows(page: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 7, "two of them in the tiles"
    for plot in plots:
        assert re.search(r"<title id=.+?>.+?</title><desc id=.+?>.+?</desc>", plot)
        assert "var(--ink)" in plot or "var(--muted)" in plot
        assert set(re.findall(r"#[0-9a-f]{6}\b", plot)) <= {"#000000", "#ffffff"}


def hostile_evidence(whole: Evidence) -> Evidence:
    assert whole.ratings is not None and whole.candidate is not None
    manifest = whole.manifest.model_copy(
        update={
            "host": HOSTILE,
            "entry": {"title": HOSTILE, "licences": {"code": {"spdx": HOSTILE, "notice": HOSTILE}}},
            "reference": {"text": HOSTILE},
            "given": {"rights": {"speaker": HOSTILE}},
            "versions": {HOSTILE: HOSTILE},
            "question": HOSTILE,
        }
    )
    answers = [a.model_copy(update={"note": HOSTILE, "rater": HOSTILE}) for a in whole.ratings.answers]
    return whole.model_copy(
        update={
            "manifest": manifest,
            "candidate": [t.model_copy(update={"text": HOSTILE}) for t in whole.candidate],
            "ratings": whole.ratings.model_copy(update={"answers": answers, "raters": {HOSTILE: "finished"}}),
            "preflight_warnings": [HOSTILE],
            "metrics": comparison(alarms=[alarm("not_measured", HOSTILE, None, message=HOSTILE)]),
        }
    )


@pytest.fixture(scope="session")
def hostile(run_dir: Path, whole: Evidence) -> tuple[ReportView, str]:
    found = hostile_evidence(whole)
    view = build(run_dir, decide(found), found, True)
    return view, render(view)


def test_text_from_files_stays_text(hostile: tuple[ReportView, str]) -> None:
    view, page = hostile
    found = Page(page)
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    text = write_markdown(view)
    assert "<" not in text.replace("&lt;", "")
    assert "@all" not in text
    assert "[a](" not in text
    assert "://x" not in text
    assert json.loads(as_json(view))["host"] == HOSTILE


@pytest.mark.needs("chromium")
def test_in_a_browser(hostile: tuple[ReportView, str], tmp_path: Path) -> None:
    """No request leaves it, nothing hostile runs, sound decodes, and a phone of 320 px does not scroll sideways."""
    target = tmp_path / "report.html"
    target.write_text(hostile[1], encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": 320, "height": 700}, color_scheme="dark")
            tab = context.new_page()
            requests: list[str] = []
            errors: list[Any] = []
            tab.on("request", lambda request: requests.append(request.url))
            tab.on("pageerror", lambda error: errors.append(error))
            tab.goto(target.as_uri())
            seconds = tab.evaluate(
                """() => Promise.all([...document.querySelectorAll("audio")].map((player) =>
                  new Promise((done, fail) => {
                    player.onloadedmetadata = () => done(player.duration);
                    player.onerror = () => fail(new Error(player.error.message));
                    player.preload = "metadata"; player.load();
                  })))"""
            )
            assert tab.evaluate("window.pwned") is None
            assert tab.evaluate("document.documentElement.scrollWidth") <= 320
        finally:
            browser.close()
    assert len(seconds) == 20
    assert min(seconds) > 0.3
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert errors == []


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing(
    view: ReportView, tmp_path: Path, axe: str, scheme: Literal["light", "dark"]
) -> None:
    target = tmp_path / "report.html"
    target.write_text(render(view), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
            tab.goto(target.as_uri())
            assert axe_finds(tab, axe) == []
        finally:
            browser.close()


@pytest.mark.needs("chromium")
def test_on_paper_the_ink_is_dark_and_on_a_phone_no_gate_is_cut_off(view: ReportView, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text(render(view), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": 717, "height": 1000}, color_scheme="dark")
            tab.goto(target.as_uri())
            colour = "getComputedStyle(document.querySelector('h1')).color"
            assert tab.evaluate(colour) == "rgb(236, 234, 228)"
            tab.emulate_media(media="print")
            assert tab.evaluate(colour) == "rgb(29, 33, 38)", "a dark screen's ink cannot be read on paper"
            wider = """[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth)
              .map((e) => e.ariaLabel)"""
            assert tab.evaluate(wider) == [], "paper does not scroll"
            tab.emulate_media(media="screen")
            tab.set_viewport_size({"width": 320, "height": 700})
            seen = tab.evaluate(
                """[...document.querySelectorAll(".gates tr > :last-child")].map((cell) => {
                  const words = document.createRange();
                  words.selectNodeContents(cell);
                  return words.getBoundingClientRect().right;
                })"""
            )
            assert max(seen) < 320
        finally:
            browser.close()


def test_two_tiles_come_first_with_a_mean_and_never_a_sum(
    view: ReportView, decided: Verdict, page: str
) -> None:
    ratings = decided.ratings
    assert isinstance(ratings, RatingsResult)
    rating, first_audio = make_tiles(view)
    mean = number(round(ratings.mean_difference, 2), signed=True)
    assert (rating.value, rating.needed) == (f"{mean} on average", "+0.5 needed")
    limit = next(gate.limit for gate in decided.gates if gate.name == "ttfa_p50_ms")
    assert first_audio.needed == f"{number(float(str(limit)), 'ms')} at most"
    assert page.index(rating.value) < page.index(first_audio.value) < page.index('id="gates"')
    assert f"({ratings.sum_of_differences:+d} over" not in page + write_markdown(view)
    states = re.findall(r'class="state (failed|open|passed)">.', page[page.index("scroll gates") :])
    assert states == sorted(states, key=["failed", "open", "passed"].index)


def test_the_gate_that_failed_comes_first(run_dir: Path, whole: Evidence) -> None:
    slow = [take.model_copy(update={"ttfa_ms": 900.0}) for take in whole.candidate or []]
    late = whole.model_copy(update={"candidate": slow})
    page = render(build(run_dir, decide(late), late, True, with_clips=False))
    states = re.findall(r'class="state (failed|open|passed)">.', page[page.index("scroll gates") :])
    assert states[0] == "failed" and set(states[1:]) == {"passed"}, states
    assert re.search(r"All \d+ gates: \d+ passed, 1 failed", page)


def test_the_contents_lead_to_every_section_and_to_nothing_else(page: str) -> None:
    nav = page[page.index("<nav") : page.index("</nav>")]
    linked = re.findall(r'href="#(\w+)"', nav)
    assert linked == re.findall(r'<h2 id="(\w+)"', page)


def test_players_are_level_and_both_rates_are_named(view: ReportView, page: str) -> None:
    for pair in view.pairs:
        levels = {clip.side: clip.level for clip in pair.clips}
        assert max(levels.values()) == 1.0 and min(levels.values()) > 0.05
    assert any(clip.level < 1 for pair in view.pairs for clip in pair.clips)
    rates = {f"{clip.rate_hz / 1000:g} kHz" for pair in view.pairs for clip in pair.clips if clip.rate_hz}
    assert len(rates) == 2 and all(rate in page for rate in rates)


def test_the_reference_is_played_in_the_runs_own_report_alone(
    run_dir: Path, whole: Evidence, decided: Verdict, waiting: Evidence, page: str
) -> None:
    wav = run_dir / "reference" / "reference.wav"
    wav.parent.mkdir(exist_ok=True)
    speak("flite", "This is the reference.", wav)
    try:
        own = render(build(run_dir, decided, whole, True, with_reference=True))
        assert 'aria-label="The reference"' in own and 'aria-label="The reference"' not in page
        shared = build(run_dir, decided, whole, True, with_clips=False, with_reference=True)
        early = build(run_dir, decide(waiting), waiting, True, with_reference=True)
        assert shared.reference_clip is None and early.reference_clip is None
    finally:
        wav.unlink()


def test_hardware_dates_and_durations_are_told_but_not_how_long_takes_took_while_people_rate(
    run_dir: Path, whole: Evidence, decided: Verdict, waiting: Evidence
) -> None:
    host = {
        "hostname": "titan",
        "cpus": 20,
        "mem_total_bytes": 2**37,
        "gpu": {"names": ["GB10"], "driver": "580.95"},
    }
    save_record(Preflight(host=host, checks=[], forecast={}), run_dir)
    state = {"status": "done", "started_utc": "2026-11-22T10:00:00Z", "ended_utc": "2026-11-22T10:02:05Z"}
    save_record(
        Phases(
            phases={
                "install": PhaseState.model_validate(state),
                "benchmark": PhaseState.model_validate(state),
            }
        ),
        run_dir,
    )
    try:
        told = build(run_dir, decided, whole, True)
        assert told.hardware["GPU driver"] == "580.95" and told.hardware["Main memory"] == "128 GiB"
        assert [phase.seconds for phase in told.phases] == [125.0, 125.0]
        for text in (render(told), write_markdown(told)):
            assert "GB10" in text and "580.95" in text and "2026-11-22" in text and "125" in text
        silent = build(run_dir, decide(waiting), waiting, True)
        assert [phase.seconds for phase in silent.phases] == [125.0, None]
        assert {phase.ended_utc for phase in silent.phases} == {None}
    finally:
        for name in ("preflight.json", "phases.json"):
            (run_dir / name).unlink()


def test_markdown_stands_alone_with_all_facts_and_is_short(view: ReportView, page: str) -> None:
    """As the body of a pull request, whose readers open nothing else."""
    text = write_markdown(view)
    assert len(text) < 7000
    for words in ("Swap chatterbox for f5", "| Gate |", "### Ratings", "### Latency", "Memory, peak",
                  "**Neighbour (pause):**", "**Versions:**", "**Licences:**", "**Takes:** candidate 10 valid of 10",
                  "intended use personal", "(./verdict.json)"):  # fmt: skip
        assert words in text, words
    for name, value in view.commitments.items():
        assert value in page and f"{name.lower()} `{value}`" in text
    for pair in view.pairs:
        assert f"| {pair.utterance_id}: {escape_md(pair.text)} | {number(pair.candidate_score)} |" in text
    for row in objective_rows(view.metrics):
        assert f"| {row['label']} | {number(row['median'], row['unit'], True)} |" in text
    assert objective_rows(view.metrics), "else nothing was asserted"


def test_markdown_tells_no_score_and_no_figure_of_sound_early(run_dir: Path, waiting: Evidence) -> None:
    text = write_markdown(build(run_dir, decide(waiting), waiting, True))
    assert "Sentence, mean score" not in text and "decides nothing" not in text


def test_json_holds_the_verdict_and_no_sound(view: ReportView, decided: Verdict) -> None:
    record = json.loads(as_json(view))
    assert record["verdict"] == json.loads(json.dumps(decided.model_dump(mode="json")))
    assert record["pairs"][0]["clips"][0]["sha256"]
    assert "data" not in record["pairs"][0]["clips"][0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not taken"), (0, "0"), (0.0, "0"), (0.05249, "0.0525"), (305.52, "305.5"), (500, "500"),
     (-0.5, "\u22120.5"), (1e-9, "1e-09".replace("-", "\u2212"))],
)  # fmt: skip
def test_figures_are_spelt_without_turning_null_into_nought(value: float | None, text: str) -> None:
    assert number(value) == text


def test_bytes_are_spelt_in_gib() -> None:
    assert gib(None) == "not taken"
    assert gib(0) == "0\u00a0MiB"
    assert gib(3 * 2**30) == "3.00\u00a0GiB"


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_every_text_colour_has_the_contrast_that_wcag_asks_for(theme: int) -> None:
    style = (Path(report_package).parent / "page.css").read_text("utf-8")
    block = re.findall(r":root \{([^}]*--page[^}]*--open-back[^}]*)\}", style)[theme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    pairs = [
        (ink, ground)
        for ground in ("page", "surface")
        for ink in ("ink", "muted", "candidate", "baseline", "neighbour", "limit", "good", "bad", "open")
    ]
    pairs += [("good", "good-back"), ("bad", "bad-back"), ("open", "open-back")]
    for ink, ground in pairs:
        light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
