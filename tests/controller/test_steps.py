"""How a phase's end is noted, whose fault a failure is, and what check mode checks."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.audio.wav import read_mono, write_wav_16bit
from bench.controller import run as runs
from bench.controller.run import Run, open_or_create
from bench.controller.steps import run_step
from bench.errors import AuditionError, BadInput, DiskFull
from bench.records.run import Install
from bench.storage.digests import sha256_file
from tests.controller.conftest import Asked

HOST = {"state_dir": "/var/lib/audition", "install_timeout_s": 90}


@pytest.fixture
def run(asked: Asked) -> Run:
    return open_or_create(asked(), Path("/"))[0]


def step(asked: Asked, phase: str, state: str, *, check: bool = False, **given: Any) -> dict[str, Any]:
    """The module as a play calls it; the request's own changes are in `changes`."""
    request = asked(**given.pop("changes", {})).model_dump(mode="json")
    arguments = {"run": request, "host": HOST, "failure": {}, "task": ""} | given
    return run_step(phase=phase, state=state, check=check, **arguments)  # type: ignore[arg-type]


# Whose fault


def test_packages_out_of_reach_say_nothing_of_the_model(asked: Asked, run: Run) -> None:
    with pytest.raises(AuditionError, match=r"Install the system packages: .*No package matching 'nosuch'"):
        step(
            asked,
            "install",
            "failed",
            failure={"msg": "No package matching 'nosuch' is available"},
            task="Install the system packages",
        )
    assert (run.phases()["install"].status, run.phases()["install"].fault) == ("failed", "host")
    assert not (run.path / Install.file_name).exists()
    assert run.ended_early() is None, "the installation can be tried again"


def test_a_command_that_complains_on_stdout_is_heard(asked: Asked, run: Run) -> None:
    failure = {"msg": "non-zero return code", "rc": 1, "stderr": "", "stdout": "one requires two"}
    with pytest.raises(AuditionError, match="Check: non-zero return code one requires two"):
        step(asked, "preflight", "failed", failure=failure, task="Check")
    assert run.phases()["preflight"].error == "Check: non-zero return code one requires two"


def test_an_engine_that_failed_is_part_of_the_verdict(asked: Asked, run: Run) -> None:
    failed: dict[str, Any] = {"failure": {"msg": "it hangs", "fault": "candidate"}, "task": "Speak"}
    assert step(asked, "benchmark", "failed", **failed)["changed"]
    noted = run.phases()["benchmark"]
    assert (noted.status, noted.fault, noted.error) == ("failed", "candidate", "Speak: it hangs")
    assert run.ended_early() == "its benchmark failed"


def test_weights_that_were_not_to_be_had_are_the_hosts_fault(asked: Asked, run: Run) -> None:
    failed: dict[str, Any] = {"failure": {"msg": "full", "fault": "host"}}
    with pytest.raises(AuditionError, match="full"):
        step(asked, "install", "failed", **failed)
    assert run.phases()["install"].fault == "host"


def test_check_mode_fails_by_the_host_and_notes_nothing(asked: Asked, run: Run) -> None:
    with pytest.raises(AuditionError, match="no room"):
        step(asked, "install", "failed", check=True, failure={"msg": "no room"})
    failed: dict[str, Any] = {"failure": {"msg": "it hangs", "fault": "candidate"}}
    assert step(asked, "benchmark", "failed", check=True, **failed)["changed"]
    assert run.phases() == {}


# Ends


def test_a_phase_that_failed_and_then_went_well_is_done(asked: Asked, run: Run) -> None:
    with pytest.raises(AuditionError, match="the neighbour is not back"):
        step(asked, "teardown", "failed", failure={"msg": "the neighbour is not back"})
    assert run.phases()["teardown"].status == "failed"
    assert step(asked, "teardown", "done", check=True)["changed"]
    assert run.phases()["teardown"].status == "failed", "check mode notes nothing"
    assert step(asked, "teardown", "done")["changed"]
    assert (run.phases()["teardown"].status, run.phases()["teardown"].error) == ("done", None)
    noted = run.phases()["teardown"]
    assert not step(asked, "teardown", "done")["changed"]
    assert run.phases()["teardown"] == noted


# Check mode


def _with_clip(folder: Path, asked: Asked, seconds: float) -> dict[str, Any]:
    given = asked()
    audio = folder / "short.wav"
    samples, rate_hz = read_mono(given.reference_audio)
    write_wav_16bit(audio, samples[: int(seconds * rate_hz)], rate_hz)
    (folder / "short.txt").write_text("A word.\n")
    assert given.reference_rights is not None
    rights = yaml.safe_load(given.reference_rights.read_text()) | {"sha256": sha256_file(audio)}
    (folder / "rights.yml").write_text(yaml.safe_dump(rights))
    names = {"audio": "short.wav", "transcript": "short.txt", "rights": "rights.yml"}
    return {f"reference_{name}": folder / file for name, file in names.items()}


@pytest.mark.parametrize("check", [False, True])
def test_a_clip_too_short_for_a_model_is_refused_in_both_modes(
    asked: Asked, tmp_path: Path, check: bool
) -> None:
    with pytest.raises(BadInput, match="of speech is too short; the model needs 3 s"):
        step(asked, "preflight", "opened", check=check, changes=_with_clip(tmp_path, asked, 1.3))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("check", [False, True])
def test_a_disk_with_too_little_room_is_refused_in_both_modes(
    asked: Asked, small_disk: Path, check: bool
) -> None:
    with pytest.raises(DiskFull, match=r"only \d MiB are free"):
        step(asked, "preflight", "opened", check=check, changes={"runs_dir": small_disk / "runs"})


@pytest.mark.parametrize("check", [False, True])
def test_a_way_that_the_entry_does_not_have_is_refused_in_both_modes(asked: Asked, check: bool) -> None:
    with pytest.raises(BadInput, match="espeak can be installed as: system"):
        step(asked, "preflight", "opened", check=check, host=HOST | {"engine_install": "venv"})


def test_a_phase_began_when_its_first_task_did(asked: Asked, run: Run) -> None:
    noon = 1_795_089_600.0
    with pytest.raises(AuditionError):
        step(asked, "install", "failed", failure={"msg": "no route", "at": noon}, task="Fetch")
    assert run.phases()["install"].started_utc == "2026-11-19T12:00:00Z"
    with pytest.raises(AuditionError):
        step(
            asked, "install", "failed", failure={"msg": "no route", "at": noon}, task="Fetch", since=noon - 90
        )
    assert run.phases()["install"].started_utc == "2026-11-19T11:58:30Z"
    step(asked, "teardown", "done", since=f"{noon - 60}")  # as a template gives it
    ended = run.phases()["teardown"]
    assert ended.started_utc == "2026-11-19T11:59:00Z" < ended.ended_utc


# A full disk


def test_a_full_disk_is_said_by_whatever_is_written_first(
    asked: Asked, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MINIMUM_FREE_BYTES", 0)
    at: dict[str, Any] = {"changes": {"runs_dir": small_disk / "runs"}}
    step(asked, "preflight", "opened", **at)
    _fill(small_disk)
    writes: list[tuple[str, str, dict[str, Any]]] = [
        ("teardown", "done", {}),
        ("benchmark", "failed", {"failure": {"msg": "it hangs", "fault": "candidate"}}),
    ]
    for phase, state, more in writes:
        with pytest.raises(DiskFull, match="free some space and run the same command again"):
            step(asked, phase, state, **at, **more)
    (small_disk / "ballast").unlink()
    assert step(asked, "teardown", "done", **at)["changed"]


def test_a_full_disk_when_a_run_goes_on_says_what_to_do(asked: Asked, run: Run, monkeypatch: Any) -> None:
    def full(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(DiskFull, match="free some space and run the same command again"):
        step(asked, "preflight", "opened")


def _fill(disk: Path) -> None:
    free = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize))
