"""From ratings that people gave over HTTP to a verdict, and to the same bytes again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.controller.run import Run
from bench.listening import results
from bench.listening import server as server_module
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support.listening_fixtures import start
from tests.support.play import Played, play

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def rated(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's runs in which one rater has rated all pairs through the server."""
    runs_dir = Path(shutil.copytree(demo.runs_dir, tmp_path_factory.mktemp("rated") / "runs", symlinks=True))
    with pytest.MonkeyPatch.context() as patience:  # nobody listens here for as long as the clips last
        patience.setattr("bench.listening.heard.SLACK_S", 1e9)
        patience.setattr(server_module, "RATER_LIMIT", (1e6, 1_000_000))
        patience.setattr(server_module, "ADDRESS_LIMIT", (1e6, 1_000_000))
        live, stop = start(runs_dir / demo.run_id)
        try:
            live.client("ann").rate_all()
        finally:
            stop()
    return runs_dir


@pytest.fixture(scope="module")
def decided(
    rated: Path, demo: Demo, state_dir: Path, private: Callable[[], Path]
) -> tuple[Played, bytes, Played, bytes]:
    """`--tags verdict`, twice."""
    given = {"state_dir": str(state_dir), "runs_dir": str(rated), "run_id": demo.run_id}
    verdict = rated / demo.run_id / "verdict.json"
    first = play(private(), given, "--tags", "verdict")
    bytes_first = verdict.read_bytes()
    again = play(private(), given, "--tags", "verdict")
    return first, bytes_first, again, verdict.read_bytes()


def test_a_whole_set_of_ratings_gives_a_decision_by_the_rule(
    rated: Path, demo: Demo, decided: tuple[Played, bytes, Played, bytes]
) -> None:
    assert decided[0].rc == 0, decided[0].text[-4000:]
    verdict = load_record(Verdict, rated / demo.run_id)
    found = results.read_ratings(rated / demo.run_id)
    counted = [a for a in found.answers if a.kind == "pair" and a.channel == "full"]
    assert len(counted) == 10 and found.raters == {"ann": "finished"}
    tenths = sum(a.candidate - a.baseline for a in counted)
    swap = tenths >= 5
    assert verdict.decision == ("swap_candidate" if swap else "keep_baseline_survey_complete")
    assert verdict.reason == "rule"
    margin = next(gate for gate in verdict.gates if gate.name == "rating_margin")
    assert margin.passed == swap and margin.value == pytest.approx(tenths / 10)
    assert not Run(rated / demo.run_id).undecided()


def test_the_verdict_again_is_the_same_bytes_and_no_change(
    decided: tuple[Played, bytes, Played, bytes],
) -> None:
    _, bytes_first, again, bytes_again = decided
    assert again.rc == 0
    assert bytes_again == bytes_first
    assert [task.name for task in again.tasks if task.changed] == []


def test_the_report_shows_the_players_once_everybody_has_rated(
    rated: Path, demo: Demo, decided: tuple[Played, bytes, Played, bytes]
) -> None:
    assert "<audio" in (rated / demo.run_id / "report.html").read_text(encoding="utf-8")
