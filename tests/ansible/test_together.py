"""Four candidates side by side, `together: true`: hibari, a neural server in an image from a registry, espeak-ng, and a
model whose licence forbids the use; rated in Chromium by one rater in one sitting, every clip heard to its end."""

import html
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from bench.docker_host.host import DockerHost
from bench.engines.published import find_platform
from bench.listening.raters import OWNER
from bench.listening.results import read_ratings
from bench.listening.seal_sitting import PAIRS_BESIDE
from bench.listening.sitting import Sitting
from bench.records.run import Manifest
from bench.records.survey import Survey
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.support import entries, stranger_image
from tests.support.chromium import CHROMIUM, FLAGS, arrive
from tests.support.docker import DockerEnv
from tests.support.play import REPO
from tests.support.rated import invite_who_hears
from tests.support.rating_page import HEARS, begin, listen_by_mouse, next_pair, score, title
from tests.support.registry import Registry

pytestmark = [pytest.mark.chain, pytest.mark.needs("docker-registry"), pytest.mark.timeout(2400)]

CHAIN = ("f5", "espeak", "hibari", "neural")
AUDITION = [sys.executable, "-m", "bench.commands.cli"]
SENTENCES = ("Yes, of course.", "Not today, thanks.", "It is open.", "Call me later.", "I will be there.",
             "That is all right.", "Turn left here.", "Two for me.", "Close the door.", "See you soon.")  # fmt: skip
LIKED = {"espeak": 2, "flite": 3, "hibari": 4, "neural": 5}
"""What this rater gives a voice, whatever stands beside it."""


class World:
    """One host, its registry, and what is asked."""

    def __init__(self, state_dir: Path, folder: Path, docker_env: DockerEnv, image: str, digest: str) -> None:
        with DockerHost(docker_env.host) as docker_host:
            platforms: dict[str, str | None] = {find_platform(docker_host): digest}
        tree = entries.published(
            "neural", image, platforms, health={"path": "/ready"}, voice="heart", dialect="openai", memory_gib=0.5,
            start_timeout_s=120,
        )  # fmt: skip
        self.runs_dir = folder / "runs"
        (folder / "said.txt").write_text("\n".join(SENTENCES) + "\n")
        (folder / "rule.yml").write_text(
            "ttfa_p50_limit_ms: 600000\n"
        )  # a busy machine must not decide a test
        given = {
            "state_dir": str(state_dir), "catalog_dir": str(entries.write(folder / "catalog", tree)),
            "chain": list(CHAIN), "together": True, "intended_use": "commercial",
            "utterances_file": str(folder / "said.txt"), "rule_file": str(folder / "rule.yml"),
        }  # fmt: skip
        self.command = [*AUDITION, "survey", "--runs-dir", str(self.runs_dir), "-e", json.dumps(given)]
        self.environ = docker_env.environ() | {"PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}

    def survey(self) -> str:
        done = subprocess.run(
            self.command, cwd=REPO, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def run(self, model: str) -> Path:
        (found,) = (path for path in self.runs_dir.glob(f"{model}-*Z") if not path.is_symlink())
        return found

    def verdict(self, model: str) -> Verdict:
        return load_record(Verdict, self.run(model))


@pytest.fixture(scope="module")
def world(
    state_dir: Path, docker_env: DockerEnv, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("together")
    with Registry(folder / "registry") as registry:
        yield World(state_dir, folder, docker_env, *stranger_image.publish(docker_env, registry.port))


@pytest.fixture(scope="module")
def sealed(world: World) -> str:
    """What the survey said when all had spoken."""
    return world.survey()


def test_all_speak_before_anybody_rates_and_who_may_not_be_taken_is_told_first(
    world: World, sealed: str
) -> None:
    begun = [re.findall(r"^local \| (\w+) \| (\w+)$", line) for line in sealed.splitlines()]
    phases = [found[0] for found in begun if found]
    assert [model for model, phase in phases if phase == "preflight"][:4] == list(CHAIN)
    assert phases.index(("neural", "preflight")) < phases.index(("espeak", "install"))
    assert world.verdict("f5").reason == "licence"
    for model in ("espeak", "hibari", "neural"):
        assert world.verdict(model).decision == "awaiting_ratings"
    assert (
        f"espeak, hibari, neural are sealed for one sitting: 30 pairs with the baseline, {3 * PAIRS_BESIDE} of"
        in sealed
    )
    assert "One sitting for all of them" in sealed
    survey = load_record(Survey, next((world.runs_dir / "surveys").iterdir()))
    assert (survey.together, survey.complete, survey.passed) == (True, False, None)


@pytest.fixture
def page(needs_chromium: None) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.set_default_timeout(60_000)
        page.context.add_init_script(HEARS)
        yield page
        browser.close()


@pytest.fixture
def link(world: World, sealed: str) -> Iterator[str]:
    """Serve the page as the survey says to, but on a free port."""
    invite_who_hears(world.run("espeak"), OWNER)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (said,) = (line for line in sealed.splitlines() if " rate espeak-" in line)
    assert world.run("espeak").name in said
    command = [*AUDITION, "rate", str(world.run("espeak")), "--port", str(port)]
    with subprocess.Popen(command, cwd=REPO, env=world.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield next(m for line in process.stdout if (m := re.search(r"http://\S+", line))).group(0)
        process.terminate()


def liked(run_dir: Path) -> list[tuple[int, int]]:
    """Return the scores that the rater gives, in the order of their pairs: what a person's ears would tell them."""
    sitting = Sitting(run_dir)
    try:
        (seat,) = sitting.seats()
        scores = []
        for asked in seat.in_order():
            manifest = load_record(Manifest, asked.book.run_dir)
            voices = {
                "candidate": LIKED[manifest.model],
                "baseline": LIKED[manifest.inputs.baseline],
                "reference": 5,
            }
            scores.append((voices[asked.trial.source("A")], voices[asked.trial.source("B")]))
        return scores
    finally:
        sitting.close()


def test_one_sitting_decides_all_of_them(world: World, link: str, page: Page) -> None:
    scores = liked(world.run("espeak"))
    assert len(scores) == 3 * 15 + 1 + 3 * PAIRS_BESIDE
    arrive(page, link)
    begin(page)
    assert title(page) == "Practice pair, not counted"
    pauses = []
    for number, (a, b) in enumerate(scores):
        listen_by_mouse(page)
        score(page, a, b)
        if number == len(scores) - 1:
            page.click("#save")
        else:
            next_pair(page, lambda: page.click("#save"))
            if "a good moment for a pause" in page.inner_text("#banner"):
                pauses.append(number)
        assert read_ratings(world.run("espeak")).answers == []
    assert pauses == [20, 40], "the practice pair is not counted"
    page.wait_for_selector("#review:not([hidden])")
    page.click("#submit")
    page.wait_for_selector("#results:not([hidden])")
    assert page.locator("#means strong").count() == 12
    page.close()

    said = world.survey()
    decided = {model: world.verdict(model) for model in CHAIN}
    assert {model: (each.decision, each.reason) for model, each in decided.items()} == {
        "f5": ("keep_baseline_survey_complete", "licence"),
        "espeak": ("keep_baseline_survey_complete", "rule"),
        "hibari": ("swap_candidate", "rule"),
        "neural": ("swap_candidate", "rule"),
    }
    assert decided["espeak"].sentence.startswith("Keep flite rather than espeak: ")
    folder = next((world.runs_dir / "surveys").iterdir())
    survey = load_record(Survey, folder)
    assert survey.complete and survey.passed == ["hibari", "neural"] and survey.chosen is None
    assert [each.difference for each in survey.models] == [None, -1.0, 1.0, 2.0]
    assert survey.false_pass_at_most is not None and 0 < survey.false_pass_at_most < 1
    head = "Each of hibari, neural may take flite's place: no choice was committed to beforehand."
    assert head in said and head in html.unescape((folder / "survey.html").read_text())
    assert world.survey().count("| espeak | verdict") == 0, "nothing is left to do"
    if place := os.environ.get("AUDITION_SHOW_SURVEY"):
        Path(place).write_text(
            (folder / "survey.md").read_text() + "\n" + (folder / "survey.html").read_text()
        )
