"""The sample run, made once: its speech is real and costs a second or two."""

from pathlib import Path

import pytest

from bench.records.verdict import Verdict
from bench.report import ReportView
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide
from tests.report.build import whole_evidence


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="session")
def whole(run_dir: Path) -> Evidence:
    return whole_evidence(run_dir)


@pytest.fixture(scope="session")
def decided(whole: Evidence) -> Verdict:
    return decide(whole)


@pytest.fixture(scope="session")
def view(run_dir: Path, whole: Evidence, decided: Verdict) -> ReportView:
    from bench.report import build

    return build(run_dir, decided, whole, True)


@pytest.fixture(scope="session")
def waiting(whole: Evidence) -> Evidence:
    """The same run while its rater is still rating."""
    assert whole.ratings is not None
    half = whole.ratings.model_copy(update={"raters": {"owner": "started"}})
    return whole.model_copy(update={"ratings": half})
