"""Phases one by one, hosts one by one, check mode, and starting in the middle."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.controller.run import Run
from bench.records.base import Phase
from bench.records.run import Phases
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from tests.ansible.conftest import Demo
from tests.support.play import TEN_WORDS, Played, inventory, lines, play
from tests.support.strangers import obliging

pytestmark = pytest.mark.timeout(1800)

ONE_BY_ONE: tuple[Phase, ...] = (
    "preflight",
    "install",
    "benchmark",
    "baseline",
    "teardown",
    "score",
    "verdict",
)


@dataclass(frozen=True, slots=True)
class Stepped:
    """A run made phase by phase on one of two hosts, and what was refused on the way."""

    runs_dir: Path
    run_id: str
    steps: dict[str, Played]
    noted: dict[str, set[str]]
    """Which phases the run had noted as done after each step."""
    too_early: dict[str, Played]


@pytest.fixture(scope="module")
def stepped(
    state_dir: Path, demo: Demo, private: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Stepped:
    del demo  # the host's venv is made by then
    root = tmp_path_factory.mktemp("steps")
    hosts_file = inventory(
        root / "hosts.yml",
        {"first": {}, "second": {}},
        state_dir=str(state_dir),
        runs_dir=str(root / "runs"),
        utterances_file=str(lines(root / "ten.txt", TEN_WORDS)),
    )

    def tagged(phase: str, extra: dict[str, Any]) -> Played:
        return play(private(), extra, "--tags", phase, "--limit", "first", inventory=hosts_file)

    too_early = {"score": tagged("score", {})}
    steps: dict[str, Played] = {}
    noted: dict[str, set[str]] = {}
    named: dict[str, Any] = {}
    for phase in ONE_BY_ONE:
        steps[phase] = tagged(phase, named)
        assert steps[phase].rc == 0, steps[phase].text[-4000:]
        run_dir = (root / "runs" / "latest").resolve()
        named = {"run_id": run_dir.name}
        noted[phase] = {
            name for name, state in load_record(Phases, run_dir).phases.items() if state.status == "done"
        }
        if phase == "preflight":
            too_early["benchmark"] = tagged("benchmark", named)
            too_early["verdict"] = tagged("verdict", named)
    return Stepped(root / "runs", named["run_id"], steps, noted, too_early)


@pytest.mark.parametrize("phase", ONE_BY_ONE)
def test_a_tag_runs_its_phase_alone(stepped: Stepped, phase: Phase) -> None:
    always = (
        "Validating arguments",
        "Refuse a tag that no phase has, and a variable that is misspelt",
    )  # every play looks at tags and variables
    own = [task for task in stepped.steps[phase].tasks if not task.name.startswith(always)]
    assert len({task.play for task in own}) == 1
    earlier = set(ONE_BY_ONE[: ONE_BY_ONE.index(phase)])
    assert stepped.noted[phase] == earlier | {phase}


def test_the_phases_one_by_one_come_to_the_same_as_all_at_once(stepped: Stepped, demo: Demo) -> None:
    run_dir = stepped.runs_dir / stepped.run_id
    assert load_record(Verdict, run_dir).decision == "awaiting_ratings"
    names = {path.name for path in run_dir.iterdir()}
    assert names == {path.name for path in demo.run_dir.iterdir()}


def test_a_limit_leaves_the_other_host_alone(stepped: Stepped) -> None:
    for played in stepped.steps.values():
        assert {task.host for task in played.tasks} == {"first"}
    assert [path.name for path in stepped.runs_dir.glob("*-second-*")] == []


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        ("score", "begin one with preflight (--tags preflight)"),
        ("benchmark", "benchmark needs install, which has not been done"),
        ("benchmark", "run it with --tags install"),
        ("verdict", "run the phase install first"),
    ],
)
def test_a_phase_whose_input_is_missing_names_the_phase_to_run(
    stepped: Stepped, phase: str, says: str
) -> None:
    played = stepped.too_early[phase]
    assert played.rc == 2
    assert says in played.why("first")


def test_check_mode_of_a_first_run_writes_nothing(private: Callable[[], Path], tmp_path: Path) -> None:
    given = {"state_dir": str(tmp_path / "state"), "runs_dir": str(tmp_path / "runs")}
    played = play(private(), given, "--check")
    assert played.rc == 0, played.text[-4000:]
    assert len(played.plays()) >= 7, "every phase says what it would do"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "task",
    [
        "Install the engine and let it say one sentence",
        "Speak every utterance in the preset and the cloned voice",
        "Remove the run's jobs and containers",
        "Decide",
    ],
)
def test_a_run_can_be_started_at_a_task(
    demo: Demo, copied: Path, state_dir: Path, private: Callable[[], Path], task: str
) -> None:
    given = {"state_dir": str(state_dir), "runs_dir": str(copied), "run_id": demo.run_id}
    played = play(private(), given, "--start-at-task", task)
    assert played.rc == 0, played.text[-4000:]
    assert played.tasks[0].name == task
    assert "Print the verdict and what to do next" in [one.name for one in played.tasks]
    assert [one.name for one in played.tasks if one.changed] == []


def test_a_receipt_that_is_gone_is_earned_again_by_the_same_run(
    demo: Demo, copied: Path, state_dir: Path, private: Callable[[], Path]
) -> None:
    (receipt,) = (state_dir / "receipts").glob("hibari-upstream.json")
    receipt.unlink()
    given = {"state_dir": str(state_dir), "runs_dir": str(copied), "run_id": demo.run_id}
    played = play(private(), given, "--tags", "preflight,install")
    assert played.rc == 0, played.text[-4000:]
    assert [task.name for task in played.tasks if task.changed] == [
        "Install the engine and let it say one sentence"
    ]
    assert receipt.is_file()


def test_a_taken_port_stops_preflight_though_its_server_says_yes(
    demo: Demo, state_dir: Path, private: Callable[[], Path], tmp_path: Path
) -> None:
    del demo  # the host's venv is made by then
    with obliging() as port:
        given = {"state_dir": str(state_dir), "runs_dir": str(tmp_path / "runs"), "engine_port": port}
        played = play(private(), given, "--tags", "preflight")
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200, "it was left alone"
    assert played.rc == 2
    assert f"port {port} is taken by another server" in played.why("local")
    assert "set engine_port to another" in played.why("local")
    run_dir = (tmp_path / "runs" / "latest").resolve()
    assert not (run_dir / "preflight.json").exists()
    phases = json.loads((run_dir / "phases.json").read_bytes())["phases"]
    assert (phases["preflight"]["status"], phases["preflight"]["fault"]) == ("failed", "host")


@pytest.mark.parametrize("phase", ["benchmark", "teardown"])
def test_a_second_play_leaves_alone_what_the_first_is_at_work_on(
    demo: Demo, copied: Path, state_dir: Path, private: Callable[[], Path], phase: Phase
) -> None:
    run = Run(copied / demo.run_id)
    phases = run.phases()
    del phases["benchmark"], phases["teardown"]
    save_record(Phases(phases=phases), run.path)
    job = state_dir / "jobs" / run.run_id / "benchmark-1"
    job.mkdir(parents=True)
    given = {"state_dir": str(state_dir), "runs_dir": str(copied), "run_id": run.run_id}
    try:
        with run.held():
            played = play(private(), given, "--tags", phase)
        assert played.rc == 2
        assert f"another play is at work on {run.run_id}; wait until it has ended" in played.why("local")
        assert job.is_dir(), "the first play's job is still there"
    finally:
        shutil.rmtree(job.parent)
