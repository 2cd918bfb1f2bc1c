"""What a play passes on of its run: taken for the same request and unchanged files, else looked for again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.controller import conclude
from bench.controller.found import locate_once, pass_on, take
from bench.controller.preflight import check_gates, write_preflight
from bench.controller.request import RunRequest
from bench.controller.run import Run, locate, note_phase, open_or_create
from bench.controller.steps import run_step
from bench.errors import PhaseMissing
from bench.storage.clock import utc_now
from tests.controller.conftest import Asked
from tests.support import entries

Given = Callable[..., RunRequest]


@pytest.fixture
def given(asked: Asked, tmp_path: Path) -> Given:
    """A request whose files are all the test's own."""
    plain = asked()
    assert plain.reference_transcript and plain.reference_rights
    own: dict[str, Any] = {}
    for name, path in (
        ("reference_audio", plain.reference_audio),
        ("reference_transcript", plain.reference_transcript),
        ("reference_rights", plain.reference_rights),
        ("utterances_file", Path("bench/inputs/utterances.txt")),
        ("rule_file", Path("bench/inputs/rule.yml")),
    ):
        own[name] = Path(shutil.copy(path, tmp_path / path.name))
    catalog = entries.write(tmp_path / "catalog", entries.raw("mine"))
    return lambda **changes: asked(**own, **({"catalog_dir": catalog} | changes))


def begin(request: RunRequest) -> Run:
    return open_or_create(request, Path("/"))[0]


def newer(run: Run) -> Run:
    """The same run once more, begun a year later: what looking finds from now on."""
    stamp = run.run_id.rpartition("-")[2]
    later = run.path.with_name(run.run_id.replace(stamp, f"{int(stamp[:4]) + 1}{stamp[4:]}"))
    return Run(Path(shutil.copytree(run.path, later)))


def test_the_run_that_was_passed_on_is_gone_on_with_whatever_began_meanwhile(given: Given) -> None:
    run = begin(given())
    found = pass_on(given(), run)
    other = newer(run)
    assert locate(given()) == other
    assert locate_once(given(), found) == run
    assert locate_once(given(), {}) == other


def test_the_module_hands_on_what_it_opened_and_takes_it_again(given: Given) -> None:
    asked_for = given().model_dump(mode="json")
    common: dict[str, Any] = {"run": asked_for, "host": {}, "failure": {}, "task": "", "check": False}
    found = run_step(phase="preflight", state="opened", **common)["found"]
    run = Run(Path(found["run_dir"]))
    newer(run)
    done = run_step(phase="teardown", state="done", found=found, **common)
    assert (done["run_id"], done["changed"]) == (run.run_id, True)
    assert run.phases()["teardown"].status == "done"


def test_check_mode_hands_on_a_run_that_there_is_and_none_that_there_is_not(given: Given) -> None:
    common: dict[str, Any] = {"run": given().model_dump(mode="json"), "host": {}, "failure": {}, "task": ""}
    assert "found" not in run_step(phase="preflight", state="opened", check=True, **common)
    run = begin(given())
    opened = run_step(phase="preflight", state="opened", check=True, **common)
    assert (opened["found"]["run_dir"], opened["changed"]) == (str(run.path), False)


@pytest.mark.parametrize(
    "name", ["reference_audio", "reference_transcript", "reference_rights", "utterances_file", "rule_file"]
)
def test_a_file_that_changed_since_is_looked_at_again(given: Given, name: str) -> None:
    found = pass_on(given(), begin(given()))
    path = getattr(given(), name)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert take(given(), found) is None
    path.unlink()
    assert take(given(), found) is None


def test_another_catalog_entry_is_looked_at_again(given: Given) -> None:
    found = pass_on(given(), begin(given()))
    catalog = given().catalog_dir
    assert catalog is not None
    entries.write(catalog, entries.raw("another"))
    assert take(given(), found) is None


@pytest.mark.parametrize(
    "change",
    [{"question": "Which is better?"}, {"host": "there"}, {"baseline_profile": "other"}, {"catalog_dir": ""}],
)
def test_another_request_looks_for_itself(given: Given, change: dict[str, str]) -> None:
    found = pass_on(given(), begin(given()))
    assert take(given(), found) is not None
    assert take(given(**change), found) is None


def test_a_run_that_is_gone_is_looked_for(given: Given) -> None:
    run = begin(given())
    found = pass_on(given(), run)
    shutil.rmtree(run.path)
    with pytest.raises(PhaseMissing, match="begin one with preflight"):
        locate_once(given(), found)


def test_a_decided_run_is_gone_on_with_only_by_name_or_to_be_published(given: Given) -> None:
    request = given(model="voxtral4b")  # its clone encoder is withheld, which decides
    run = begin(request)
    found = pass_on(request, run)
    by_name = given(model="voxtral4b", run_id=run.run_id)
    found_by_name = pass_on(by_name, run)
    write_preflight(run, check_gates(run.entry(), request.intended_use), None)
    conclude.decide_run(run)
    assert not run.undecided()
    assert take(request, found) is None
    assert take(request, found, decided=True) == run
    assert take(by_name, found_by_name) == run


def test_only_takes_that_were_made_are_final(given: Given) -> None:
    run = begin(given())
    assert pass_on(given(), run)["final"] == []
    for phase in ("preflight", "install", "benchmark", "teardown"):
        note_phase(run, phase, utc_now())
    note_phase(run, "baseline", utc_now(), "out of reach", fault="candidate")
    assert pass_on(given(), run)["final"] == ["benchmark"]
