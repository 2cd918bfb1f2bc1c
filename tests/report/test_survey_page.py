"""A survey's report: all outcomes beside each other, safe from what files say, and within everybody's reach."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import sync_playwright

from bench.records.survey import SideFigures, Survey, Surveyed
from bench.records.verdict import Gate
from bench.report.survey import render_survey, write_survey_markdown
from bench.report.words import number
from tests.report.test_page import HOSTILE, Page
from tests.support.chromium import CHROMIUM, FLAGS, axe_finds

TTFA = Gate(name="ttfa_p50_ms", value=640.0, limit=500.0, passed=False)
MARGIN = Gate(name="rating_margin", value=0.7, limit=0.5, passed=True)


def side(ttfa_ms: float, score: float | None) -> SideFigures:
    return SideFigures(
        takes=3, ttfa_ms_p50=ttfa_ms, ttfa_ms=[ttfa_ms - 9, ttfa_ms, ttfa_ms + 9], rtf_p50=0.1, score=score
    )


def surveyed(model: str, **given: Any) -> Surveyed:
    """Return a model of a chain, to come unless told otherwise."""
    nothing = dict.fromkeys(Surveyed.model_fields)
    told = {"model": model, "title": model.upper(), "place": "to_come", "gates": []}
    return Surveyed.model_validate(nothing | told | given)


def made(summary: str, *models: Surveyed, **given: Any) -> Survey:
    record: dict[str, Any] = {
        "survey_id": "titan-20261122T101500Z",
        "host": "titan",
        "chain": [each.model for each in models],
        "baseline": "chatterbox",
        "baseline_title": "Chatterbox",
        "intended_use": "personal",
        "question": "Which?",
        "shared_sha256": "0" * 64,
        "complete": False,
        "decision": None,
        "label": None,
    }
    return Survey(**record | {"summary": summary, "models": list(models)} | given)


def judged(model: str, why: str, gates: list[Gate], decision: str, **given: Any) -> Surveyed:
    """Return a model with a verdict, decided and measured unless told otherwise."""
    found = {
        "place": "decided",
        "run_id": f"{model}-titan-20261122T101500Z",
        "profile": "upstream",
        "decision": decision,
        "label": decision,
        "reason": "rule",
        "sentence": why,
        "gates": gates,
        "candidate": side(640, 4.2),
        "baseline": side(300, 3.5),
        "difference": 0.7,
        "interval_95": (0.1, 1.3),
    }
    return surveyed(model, **found | given)


UNDER_WAY = made(
    "No decision yet: waiting for ann to finish rating.",
    judged("f5", "Keep chatterbox and try mine: it was slow.", [TTFA, MARGIN], "keep_baseline_try_next"),
    judged("mine", "No decision yet.", [TTFA], "awaiting_ratings", place="waits", reason=None, difference=None,
           interval_95=None, candidate=None, baseline=None),
    surveyed("third", place="under_way", run_id="third-titan-20261122T111500Z"),
    surveyed("last"),
)  # fmt: skip
SWAPPED = made(
    "Swap chatterbox for f5: all gates passed.",
    judged("f5", "Swap chatterbox for f5: all gates passed.", [MARGIN], "swap_candidate"),
    surveyed("mine", place="not_needed"),
    complete=True,
    decision="swap_candidate",
    label="swap_chatterbox_for_f5",
)
WHATEVER = made(
    HOSTILE,
    judged(
        "f5",
        HOSTILE,
        [MARGIN.model_copy(update={"value": HOSTILE})],
        "swap_candidate",
        title=HOSTILE,
        profile=HOSTILE,
    ),
    baseline=HOSTILE,
    baseline_title=HOSTILE,
    question=HOSTILE,
    label=HOSTILE,
)
ALL = {"under way": UNDER_WAY, "swapped": SWAPPED, "hostile": WHATEVER}


def test_each_model_says_where_it_is_and_what_its_rival_was() -> None:
    page, text = render_survey(UNDER_WAY), write_survey_markdown(UNDER_WAY)
    for shown in (page, text):
        assert all(
            word in shown
            for word in ("F5", "MINE", "THIRD", "LAST", "under way", "to come", "+0.7 (+0.1 to +1.3)")
        )
    assert f"{number(640.0, 'ms')} / {number(300.0, 'ms')}" in text
    assert "not needed" in render_survey(SWAPPED) and "to come" not in render_survey(SWAPPED)
    assert render_survey(UNDER_WAY) == page


@pytest.mark.parametrize("survey", ALL.values(), ids=ALL)
def test_the_page_is_whole_in_itself_and_text_stays_text(survey: Survey) -> None:
    found = Page(render_survey(survey))
    assert not {"script", "img", "iframe", "link"} & set(found.tags)
    runs = {f"../../{each.run_id}/report.html" for each in survey.models if each.run_id}
    assert {address for address in found.addresses if not address.startswith("#")} == runs
    assert len(found.ids) == len(set(found.ids))
    steps = zip(found.headings, found.headings[1:], strict=False)
    assert found.headings[0] == 1 and all(after <= before + 1 for before, after in steps)
    said = write_survey_markdown(survey)
    assert "<" not in said.replace("&lt;", "") and "[a](" not in said and "@all" not in said


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing(tmp_path: Path, axe: str, scheme: Literal["light", "dark"]) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            for name, survey in ALL.items():
                target = tmp_path / f"{name}.html"
                target.write_text(render_survey(survey), encoding="utf-8")
                tab = browser.new_page(viewport={"width": 320, "height": 700}, color_scheme=scheme)
                tab.goto(target.as_uri())
                assert axe_finds(tab, axe) == [], name
                assert tab.evaluate("document.documentElement.scrollWidth") <= 320, name
                assert tab.evaluate("window.pwned") is None
        finally:
            browser.close()
