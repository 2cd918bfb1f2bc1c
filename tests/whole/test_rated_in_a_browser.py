"""The last mile of a run: `audition rate`, a person in Chromium who rates every pair, `audition verdict`."""

import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from bench.listening import results
from bench.listening.raters import OWNER
from tests.support.chromium import CHROMIUM, FLAGS, arrive
from tests.support.rated import invite_who_hears
from tests.support.rating_page import HEARS, begin, listen_by_mouse, next_pair, score, title
from tests.support.whole_run import until_sealed

AUDITION = [sys.executable, "-m", "bench.commands.cli"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return until_sealed(tmp_path_factory.mktemp("whole")).path


@pytest.fixture
def link(run_dir: Path) -> Iterator[str]:
    """Serve the page through the command line and return the rater's link that it prints."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*AUDITION, "rate", str(run_dir), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = next(m for line in process.stdout if (m := re.search(r"http://\S+", line)))
        yield found.group(0)
        process.terminate()


@pytest.fixture
def page(needs_chromium: None) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def conclude(run_dir: Path) -> dict[str, object]:
    done = subprocess.run([*AUDITION, "verdict", str(run_dir)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, object] = json.loads((run_dir / "verdict.json").read_text())
    assert str(verdict["label"]) in done.stdout
    return verdict


@pytest.mark.needs("espeak-ng")
@pytest.mark.timeout(600)
def test_a_person_rates_every_pair_and_gets_the_verdict(run_dir: Path, link: str, page: Page) -> None:
    assert conclude(run_dir)["decision"] == "awaiting_ratings"
    silent = (run_dir / "report.html").read_text()
    assert "<audio" not in silent
    invite_who_hears(run_dir, OWNER)
    page.context.add_init_script(HEARS)
    arrive(page, link)
    begin(page)
    assert title(page) == "Practice pair, not counted"
    for number in range(16):
        listen_by_mouse(page)
        score(page, 2 + number % 2, 4)
        next_pair(page, lambda: page.click("#save"))
    page.wait_for_selector("#review:not([hidden])")
    page.click("#submit")
    page.wait_for_selector("#results:not([hidden])")
    kinds = Counter(answer.kind for answer in results.read_ratings(run_dir).answers)
    assert kinds == {"practice": 1, "pair": 10, "repeat": 3, "identical": 1, "anchor": 1}
    verdict = conclude(run_dir)
    assert verdict["decision"] in ("swap_candidate", "keep_baseline_survey_complete")
    assert verdict["reason"] == "rule"
    before = (run_dir / "verdict.json").read_bytes(), (run_dir / "report.html").read_bytes()
    conclude(run_dir)
    assert before == ((run_dir / "verdict.json").read_bytes(), (run_dir / "report.html").read_bytes())
    assert (run_dir / "report.html").read_text().count("<audio") >= 20
