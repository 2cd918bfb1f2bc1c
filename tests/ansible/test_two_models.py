"""The chain `f5, cosyvoice2` through `audition survey`, both real packages with tiny weights: each way it can go.

Weights come from a local hub, packages from locks for a CPU, CosyVoice's code from a git repository; all else is what
a host without a neighbour gets: role weights, the provisioner with hashes and `pip check`, the GPU check, our servers.
What is dear is made once: F5's run up to its ratings, interrupted on the way, and CosyVoice 2's after it. Where only
the ratings differ, the runs are copied before them; the same inputs find them there. What is measured decides nothing
here: the limit of latency is either far above or far below it.
"""

import hashlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from bench.controller.run import Run
from bench.records.base import PHASES
from bench.records.run import Install, Manifest, Preflight
from bench.records.survey import Survey
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import locked_state_dir
from tests.support import entries, git_server, make_cosyvoice2_venv, two_models
from tests.support.chromium import CHROMIUM, FLAGS, arrive, axe_finds
from tests.support.hub import Hub
from tests.support.listening_fixtures import start
from tests.support.play import REPO, STATE_DIR, inventory, lines, play
from tests.support.rated import invite_who_hears, rate_everything
from tests.support.rating_page import HEARS, begin, listen_by_mouse, next_pair, score

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SAYS = ("Good morning.", "Good evening.")
CHAIN = ("f5", "cosyvoice2")
LOW, HIGH = {"candidate": 2, "baseline": 4}, {"candidate": 5, "baseline": 2}
HOST = "spark"
F5_FILES = ("F5TTS_v1_Base/model_1250000.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class World:
    """A host that has everything both models need, and where runs may lie."""

    root: Path
    hosts_file: Path
    environ: Mapping[str, str]
    hub: Hub

    def survey(self, name: str, **given: Any) -> str:
        """Run the survey on the runs `name` and return what it said."""
        process = self._start(name, given)
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, said[-8000:]
        return said

    def interrupt(self, name: str, model: str, phase: str, after: str = "", **given: Any) -> None:
        """Run the survey and press Ctrl-C in a model's phase, once it has said `after` if that is given."""
        process = self._start(name, given)
        assert process.stdout is not None
        said, awaited = [], f"{HOST} | {model} | {phase}\n"
        for line in process.stdout:
            said.append(line)
            if awaited in line:
                if awaited == after or not after:
                    break
                awaited = after
        time.sleep(0.0 if after else 0.3)  # ansible-playbook is under way by then
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=300)
        assert process.returncode == 130, ("".join(said) + rest)[-8000:]
        assert f"interrupted in {phase}" in rest

    def _start(self, name: str, given: Mapping[str, Any]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "bench.commands.cli", "survey", "-i", str(self.hosts_file),
             "--runs-dir", str(self.runs(name)), "-e", json.dumps(self.asked() | dict(given))],
            cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **self.environ, "PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    def asked(self) -> dict[str, Any]:
        """What each survey asks for."""
        return {
            "chain": list(CHAIN),
            "catalog_dir": str(self.root / "catalog"),
            "rule_file": str(self.root / "rule.yml"),
        }

    def runs(self, name: str) -> Path:
        return self.root / name

    def copy(self, name: str, to: str) -> None:
        """Let another survey go on from where this one is."""
        shutil.copytree(self.runs(name), self.runs(to), symlinks=True)

    def of(self, name: str, model: str) -> Path:
        """The one run of a model."""
        (found,) = self.runs(name).glob(f"{model}-*Z")
        return found

    def verdict(self, name: str, model: str) -> Verdict:
        return load_record(Verdict, self.of(name, model))

    def record(self, name: str) -> tuple[Survey, str, str]:
        """The survey's record and its report, as a page and as Markdown: there is one."""
        (folder,) = (self.runs(name) / "surveys").iterdir()
        assert {path.name for path in folder.iterdir()} == {"survey.json", "survey.html", "survey.md"}
        page, text = html.unescape((folder / "survey.html").read_text()), (folder / "survey.md").read_text()
        return load_record(Survey, folder), page, text

    def catalog(self, name: str, broken: str) -> str:
        """A catalog in which a model's lock lacks what its package needs."""
        lock = self.root / "short.txt"
        (httpx,) = re.findall(
            r"^httpx==(?:.*\\\n)*.*\n", make_cosyvoice2_venv.LOCK.read_text(), flags=re.MULTILINE
        )
        lock.write_text(httpx)
        trees = [json.loads((self.root / f"{model}.json").read_text()) for model in CHAIN]
        for tree in trees:
            if tree["name"] == broken:
                tree["run"]["requirements"] = str(lock)
        return str(entries.write(self.root / name, *trees))


@pytest.fixture(scope="module")
def state_dir(needs_venv: None) -> Iterator[Path]:
    """A host of this file's own, so that another process can have it meanwhile (tests/support/tiers.py)."""
    with locked_state_dir(STATE_DIR.with_name("test-state-of-two")) as found:
        yield found


@pytest.fixture(scope="module")
def world(state_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("two")
    made = [
        two_models.make_f5(root / "f5"),
        two_models.make_cosyvoice2(root / "cosyvoice2", root / "git", SAYS),
    ]
    entries.write(root / "catalog", *(tiny.entry for tiny in made))
    for tiny in made:
        (root / f"{tiny.entry['name']}.json").write_text(json.dumps(tiny.entry))
    lines(root / "rule.yml", ["pairs: 1", "ttfa_p50_limit_ms: 20000"])
    lines(root / "fast.yml", ["pairs: 1", "ttfa_p50_limit_ms: 0.1"])
    with Hub(made[0].files | made[1].files) as hub:
        hosts_file = inventory(
            root / "hosts.yml",
            {HOST: {}},
            profile="{{ {'cosyvoice2': 'graphed_fp32'}[model] | default('upstream') }}",
            state_dir=str(state_dir),
            weights_store=str(root / "store"),
            utterances_file=str(lines(root / "says.txt", SAYS)),
            sources_mirror=str(root / "git"),
            warmups=0,  # a sentence of its own, half a minute of speech for the tiny CosyVoice 2
        )
        yield World(root, hosts_file, two_models.ENVIRON | {"HF_ENDPOINT": hub.url}, hub)


@pytest.fixture(scope="module")
def f5_waits(world: World) -> str:
    """F5 has been measured, interrupted in half of its phases, and waits for raters."""
    world.interrupt("first", "f5", "preflight")
    world.interrupt("first", "f5", "benchmark", after="| f5 | candidate | 1/2 |")
    world.interrupt("first", "f5", "teardown")
    world.interrupt("first", "f5", "verdict")
    world.survey("first")
    return "first"


@pytest.fixture(scope="module")
def both_wait(world: World, f5_waits: str) -> str:
    """F5 was rated too low, so CosyVoice 2 has been measured, interrupted in the others, and waits for raters."""
    world.copy(f5_waits, "second")
    rate_everything(world.of("second", "f5"), "ann", **LOW)
    world.interrupt("second", "cosyvoice2", "install")
    world.interrupt("second", "cosyvoice2", "baseline")
    world.interrupt("second", "cosyvoice2", "score")
    world.survey("second")
    return "second"


def spoken(run_dir: Path) -> dict[str, list[Any]]:
    """The timed takes of each side: what went wrong with each."""
    return {
        side: [
            take.error
            for take in map(
                Take.model_validate_json, (run_dir / side / "takes.jsonl").read_text().splitlines()
            )
            if not take.warmup
        ]
        for side in ("preset", "candidate", "baseline")
    }


def outcomes(survey: Survey) -> list[tuple[str, str, str | None]]:
    return [(each.model, each.place, each.reason) for each in survey.models]


def test_f5_is_gone_on_with_after_each_interruption_and_waits(world: World, f5_waits: str) -> None:
    assert world.verdict(f5_waits, "f5").decision == "awaiting_ratings"
    assert spoken(world.of(f5_waits, "f5")) == {
        "preset": [None] * 2,
        "candidate": [None] * 2,
        "baseline": [None] * 2,
    }
    found, _, _ = world.record(f5_waits)
    assert outcomes(found) == [("f5", "waits", None), ("cosyvoice2", "to_come", None)]
    assert not found.complete
    assert (found.models[0].baseline, found.models[0].difference) == (None, None), (
        "sealed until all have rated"
    )


def test_the_card_was_read_and_each_file_fetched_once_over_all_interruptions(
    world: World, f5_waits: str
) -> None:
    asked = [asked.path for asked in world.hub.requests if asked.method == "GET" and asked.status == 200]
    files = [path for path in F5_FILES if path in asked]
    assert [(path, asked.count(path)) for path in files] == [(path, 1) for path in F5_FILES]
    checks = {check.name: check for check in load_record(Preflight, world.of(f5_waits, "f5")).checks}
    assert checks["model_card"].value["sha256"] == hashlib.sha256(two_models.CARD).hexdigest()
    assert checks["clone_encoder"].ok


def test_the_record_says_what_was_installed_and_how_long_each_step_took(world: World, f5_waits: str) -> None:
    record = load_record(Install, world.of(f5_waits, "f5"))
    assert (record.ok, record.error) == (True, None)
    names = [step.name for step in record.steps]
    assert names[0] == "system packages"
    assert names[-5:] == ["venv", "packages", "pip check", "gpu check", "smoke sentence"]
    assert record.total_s == pytest.approx(sum(step.seconds for step in record.steps), abs=5)
    assert (record.asked, record.ran["install"]) == ({"version": "1.1.18", "install": "venv"}, "venv")
    assert record.ran["version"].startswith("f5-tts 1.1.22")
    assert record.settings["nfe_step"] == 4
    assert {one["path"]: one["first_sight"] for one in record.weights} == dict.fromkeys(F5_FILES, False)
    assert record.gpu_check["error"] is None
    assert record.gpu_check["torchaudio"].startswith("2.11.0")
    assert record.smoke is not None and record.smoke.audio_s


def test_again_changes_nothing_and_asks_no_hub(
    world: World, f5_waits: str, private: Callable[[], Path]
) -> None:
    before = len(world.hub.requests)
    given = world.asked() | {"model": "f5", "runs_dir": str(world.runs(f5_waits))}
    again = play(private(), given, inventory=world.hosts_file, environ=world.environ)
    assert again.rc == 0, again.text[-4000:]
    assert {Path(each).name for each in world.runs(f5_waits).glob("f5-*Z")} == {world.of(f5_waits, "f5").name}
    assert [(task.play, task.name) for task in again.tasks if task.changed] == []
    assert len(world.hub.requests) == before


def test_a_swap_at_the_first_ends_the_chain(world: World, f5_waits: str) -> None:
    world.copy(f5_waits, "swap")
    rate_everything(world.of("swap", "f5"), "ann", **HIGH)
    said = world.survey("swap")
    assert f"{HOST} | f5 | swap_flite_for_f5" in said
    found, _, _ = world.record("swap")
    assert outcomes(found) == [("f5", "decided", "rule"), ("cosyvoice2", "not_needed", None)]
    assert (found.complete, found.decision) == (True, "swap_candidate")
    assert not list(world.runs("swap").glob("cosyvoice2-*"))


@pytest.mark.chain
def test_rated_too_low_the_chain_goes_on_to_cosyvoice_2(world: World, both_wait: str) -> None:
    first = world.verdict(both_wait, "f5")
    assert (first.decision, first.reason, first.next.model) == (
        "keep_baseline_try_next",
        "rule",
        "cosyvoice2",
    )
    run_dir = world.of(both_wait, "cosyvoice2")
    assert load_record(Verdict, run_dir).decision == "awaiting_ratings"
    assert spoken(run_dir) == {"preset": [None] * 2, "candidate": [None] * 2, "baseline": [None] * 2}
    record = load_record(Install, run_dir)
    names = [step.name for step in record.steps]
    assert names[-6:] == ["venv", "packages", "pip check", "sources", "gpu check", "smoke sentence"]
    assert record.settings["solver"] == "graphed"
    carried = load_record(Manifest, run_dir).carried or []
    assert [(each.model, each.run_id) for each in carried] == [("f5", world.of(both_wait, "f5").name)]
    assert outcomes(world.record(both_wait)[0]) == [("f5", "decided", "rule"), ("cosyvoice2", "waits", None)]


def rate_in_a_browser(run_dir: Path, candidate: int, baseline: int) -> None:
    """Hear every pair to its end in Chromium, and click the two scores."""
    live, stop = start(run_dir)
    try:
        link = live.url + invite_who_hears(run_dir, "ben")
        live.book.refresh()
        (rater,) = live.book.raters.values()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1000, "height": 900})
            page.context.add_init_script(HEARS)
            arrive(page, link)
            begin(page)
            for trial in rater.trials:
                listen_by_mouse(page)
                score(
                    page, *((candidate, baseline) if trial.candidate_side == "A" else (baseline, candidate))
                )
                next_pair(page, lambda: page.click("#save"))
            page.wait_for_selector("#review:not([hidden])")
            page.click("#submit")
            page.wait_for_selector("#results:not([hidden])")
            browser.close()
    finally:
        stop()


@pytest.mark.chain
@pytest.mark.needs("chromium")
def test_a_swap_at_the_second(world: World, both_wait: str) -> None:
    world.copy(both_wait, "second-swap")
    rate_in_a_browser(world.of("second-swap", "cosyvoice2"), **HIGH)
    world.survey("second-swap")
    found, page, text = world.record("second-swap")
    assert (found.complete, found.label) == (True, "swap_flite_for_cosyvoice2")
    assert [each.decision for each in found.models] == ["keep_baseline_try_next", "swap_candidate"]
    for shown in (page, text):
        assert all(
            figure in shown for figure in ("Mean score", "Time to first audio, median", "Installation")
        )


@pytest.mark.chain
@pytest.mark.needs("chromium")
def test_both_rated_too_low_end_the_survey_and_are_published(world: World, both_wait: str, axe: str) -> None:
    world.copy(both_wait, "low")
    rate_everything(world.of("low", "cosyvoice2"), "ben", **LOW)
    server, repo = git_server.make(world.root / "owner", {"SURVEY.md": "# Survey\n"})
    publish: dict[str, Any] = {
        "publish_repo": str(repo),
        "publish_remote": "origin",
        "publish_base": "main",
        "publish_pages": [{"path": "SURVEY.md", "template": "survey"}],
    }
    world.interrupt("low", "cosyvoice2", "publish", **publish)
    said = world.survey("low", **publish)
    assert f"{HOST} | cosyvoice2 | keep_flite_survey_complete" in said
    last, (found, page, text) = world.verdict("low", "cosyvoice2"), world.record("low")
    assert "Before it: " in last.sentence and "rating" in last.sentence.partition("Before it: ")[2]
    assert (found.complete, found.label, found.summary) == (True, "keep_flite_survey_complete", last.sentence)
    assert outcomes(found) == [("f5", "decided", "rule"), ("cosyvoice2", "decided", "rule")]
    assert all(each.title in page and each.title in text for each in found.models)
    for model in CHAIN:
        assert all(state.status == "done" for state in Run(world.of("low", model)).phases().values())
        assert set(Run(world.of("low", model)).phases()) == set(PHASES)

    names = {model: (world.of("low", model).name.rpartition("-")[2], shown) for model, shown in
             (("f5", "f5-tts"), ("cosyvoice2", "cosyvoice2"))}  # fmt: skip
    branches = git_server.git(server, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
    assert sorted(branches) == sorted(
        ["main", *(f"{shown}-bench-{stamp}" for stamp, shown in names.values())]
    )
    for stamp, shown in names.values():
        branch = f"{shown}-bench-{stamp}"
        listed = git_server.git(server, "diff", "--name-only", "main", branch).splitlines()
        assert f"docs/BENCHMARK-{shown.upper()}-{HOST.upper()}-{stamp}.json" in listed
        assert f"docs/RESEARCH-{shown.upper()}.md" in listed
        assert [name for name in listed if re.fullmatch(rf"docs/{shown}-bench-samples-{stamp}/.*\.wav", name)]
        assert ("SURVEY.md" in listed) == (shown == "cosyvoice2"), "by the run that ends the survey"
    axe_finds_nothing(world.runs("low"), axe)


def axe_finds_nothing(runs_dir: Path, axe: str) -> None:
    (report,) = runs_dir.glob("surveys/*/survey.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme=scheme)
            page.goto(report.as_uri())
            assert axe_finds(page, axe) == [], scheme
        browser.close()


def test_refused_by_its_licence_goes_on_and_the_next_cannot_be_installed(world: World) -> None:
    given = {"intended_use": "commercial", "catalog_dir": world.catalog("second-broken", "cosyvoice2")}
    said = world.survey("licence", **given)
    first, last = (world.verdict("licence", model) for model in CHAIN)
    assert (first.decision, first.reason) == ("keep_baseline_try_next", "licence")
    assert not (world.of("licence", "f5") / "candidate").exists()
    assert (last.label, last.reason) == ("keep_flite_survey_complete", "install_failed")
    assert f"{HOST} | packages ended with 1: " in said
    assert "Before it: f5's licence does not allow commercial use" in last.sentence
    found, page, _ = world.record("licence")
    assert outcomes(found) == [("f5", "decided", "licence"), ("cosyvoice2", "decided", "install_failed")]
    assert found.complete and last.sentence.partition("Before it: ")[2].rstrip(".") in page


@pytest.mark.chain
def test_an_installation_that_fails_goes_on_and_the_next_is_too_slow(world: World) -> None:
    given = {
        "rule_file": str(world.root / "fast.yml"),
        "catalog_dir": world.catalog("first-broken", "f5"),
    }
    said = world.survey("broken", **given)
    assert f"{HOST} | f5 | keep_flite_try_cosyvoice2" in said
    assert "The TTFA gate has already failed." in said
    record = load_record(Install, world.of("broken", "f5"))
    assert not record.ok and "packages ended with 1" in str(record.error)
    run_dir = world.of("broken", "cosyvoice2")
    assert spoken(run_dir)["candidate"] == [None] * 2
    rate_everything(run_dir, "ann", **HIGH)
    world.survey("broken", **given)
    last = world.verdict("broken", "cosyvoice2")
    assert (last.label, last.reason) == ("keep_flite_survey_complete", "rule")
    assert [gate.name for gate in last.gates if not gate.passed] == ["ttfa_p50_ms"]
    assert "Before it: f5 could not be installed" in last.sentence
    carried = load_record(Manifest, run_dir).carried or []
    assert [each.reason for each in carried] == ["install_failed"]
    assert outcomes(world.record("broken")[0]) == [
        ("f5", "decided", "install_failed"),
        ("cosyvoice2", "decided", "rule"),
    ]
