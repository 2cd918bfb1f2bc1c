"""Steps of an installation: kept with their words, within one limit, and never longer than their controller."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bench.errors import AuditionError
from bench.install import provision
from bench.install.install import install
from bench.install.provision import InstallFailed, Provisioner, is_complete
from bench.install.spec import InstallSpec
from bench.jobs.archive import pack
from bench.jobs.control import Cancelled
from bench.jobs.spec import JobSpec
from bench.records.run import Install, InstallStep
from tests.support import entries
from tests.support.pace import limit

pytestmark = pytest.mark.slow


def _provisioner(limit_s: float = 60.0, stopped: Callable[[], str | None] = lambda: None) -> Provisioner:
    return Provisioner(limit_s, lambda _: None, stopped=stopped)


def _shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def _sleepers(mark: str) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]


def _all_end(mark: str) -> bool:
    """Whether they end soon: what is killed is in the list of processes for a moment still."""
    end = time.monotonic() + 10
    while _sleepers(mark) and time.monotonic() < end:
        time.sleep(0.05)
    return not _sleepers(mark)


@pytest.fixture
def mark() -> Iterator[str]:
    """An odd number of seconds to sleep, by which this test's processes are known; none is left."""
    odd = f"{300 + time.time_ns() % 10**6 / 10**6:.6f}"
    yield odd
    for process in _sleepers(odd):
        process.kill()


def test_a_step_that_fails_keeps_its_last_words_its_retries_and_its_source_builds() -> None:
    script = (
        "echo 'Building wheel for encodec (setup.py)'; echo 'WARNING: Retrying (Retry(total=4)) after x';"
        "echo 'ERROR: no matching distribution' >&2; exit 3"
    )
    provisioner = _provisioner()
    with pytest.raises(InstallFailed, match=r"packages ended with 3: [\s\S]*no matching distribution$"):
        provisioner.run("packages", _shell(script))
    (step,) = provisioner.steps
    assert (step.retries, step.source_builds) == (1, ["encodec"])


def test_how_far_a_long_step_is_is_said_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "_TELL_EVERY_S", 0.5)
    said: list[str] = []
    script = (
        "echo 'Collecting torch==2.11.0 (from -r lock.txt (line 3))'; echo '  Link requires a different Python';"
        "sleep 1.5; echo '  Downloading torch-2.11.0-cp312.whl (873.2 MB)'; sleep 1.5; echo 'Collecting last'"
    )
    Provisioner(60.0, said.append).run("packages", _shell(script))
    # The last line may be read before the step has ended, or with its end.
    assert said[:3] == [
        "install | packages",
        "install | packages | Collecting torch==2.11.0",
        "install | packages | Downloading torch-2.11.0-cp312.whl",
    ]


def test_a_full_disk_is_the_hosts_and_no_finding_about_the_model() -> None:
    with pytest.raises(AuditionError, match="free some space") as full:
        _provisioner().run("packages", _shell("head -c 9 /dev/zero > /dev/full"))
    assert not isinstance(full.value, InstallFailed)


def test_a_step_that_is_ended_leaves_nothing_it_had_put_aside(tmp_path: Path, mark: str) -> None:
    hurried = Provisioner(1.0, lambda _: None, scratch=tmp_path)
    with pytest.raises(InstallFailed, match="not done within 1 s"):
        hurried.run(
            "packages",
            _shell(f'echo wheel > "$TMPDIR/torch.whl"; cp "$TMPDIR/torch.whl" {tmp_path}/kept; sleep {mark}'),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_a_library_says_after_the_gpu_check_hides_nothing() -> None:
    provisioner = _provisioner()
    said = """echo '{"summary": "torch 2"}'; echo 'warning: a semaphore leaked' >&2"""
    assert provisioner.gpu_check(_shell(said)) == {"summary": "torch 2"}
    assert provisioner.steps[0].detail == "torch 2"
    said += """; echo "{'a': 1}"; echo '{}'; echo '["summary"]'"""
    assert provisioner.gpu_check(_shell(said)) == {"summary": "torch 2"}
    with pytest.raises(InstallFailed, match="gpu check said nothing: only this"):
        provisioner.gpu_check(_shell("echo only this"))


def test_a_step_past_the_limit_is_killed_with_all_that_it_started(mark: str) -> None:
    provisioner = _provisioner(1.5)
    with pytest.raises(InstallFailed, match=r"packages: not done within 2 s \(install_timeout_s\)"):
        provisioner.run("packages", _shell(f"sleep {mark} & echo begun; sleep {mark}"))
    assert _all_end(mark)
    assert [(step.name, step.detail) for step in provisioner.steps] == [("packages", "begun")]
    with pytest.raises(InstallFailed, match="pip check: not done within"):
        provisioner.run("pip check", ["true"])


def test_a_step_whose_job_must_stop_is_killed_and_is_nobodys_finding(mark: str) -> None:
    until = time.monotonic() + 1.0
    gone = _provisioner(stopped=lambda: "the controller is gone" if time.monotonic() > until else None)
    with pytest.raises(Cancelled, match="install was stopped: the controller is gone"):
        gone.run("packages", _shell(f"sleep {mark} & sleep {mark}"))
    assert _all_end(mark)


def test_a_new_venv_takes_the_models_older_ones_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    engines = tmp_path / "engines"
    for name in ("f5-old", "f5-running", "f5x-old", "other-old"):
        (engines / name / "bin").mkdir(parents=True)
    (engines / "f5-running/bin/sleep").symlink_to("/bin/sleep")
    packages = engines / "f5-new/lib/python3.11/site-packages"
    monkeypatch.setattr(Provisioner, "run", lambda *_, **__: packages.mkdir(parents=True, exist_ok=True))
    (tmp_path / "code/bench/serving").mkdir(parents=True)
    (tmp_path / "code/bench/serving/server.py").write_text("served")
    pack(tmp_path / "code", code := tmp_path / "engine.tar")
    running = psutil.Popen([str(engines / "f5-running/bin/sleep"), mark])
    try:
        # Popen returns in the midst of exec, when the kernel has no arguments to show yet.
        while running.cmdline() != [str(engines / "f5-running/bin/sleep"), mark]:
            time.sleep(0.01)
        assert _provisioner().venv(engines / "f5-new", tmp_path / "lock", code)
    finally:
        running.kill()
        running.wait()
    assert is_complete(engines / "f5-new")
    assert {path.name for path in engines.iterdir()} == {"f5-new", "f5-running", "f5x-old", "other-old"}
    assert (engines / "f5-new/lib/python3.11/site-packages/bench/serving/server.py").read_text() == "served"
    assert not _provisioner().venv(engines / "f5-new", tmp_path / "lock", code)


# The whole installation


def _job(folder: Path, limit_s: float, before_s: float = 0.0, **changes: object) -> Path:
    folder.mkdir()
    spec = JobSpec(
        run_id="mine-here-20261122T101500Z",
        phase="install",
        passes=["smoke"],
        entry=entries.entry(entries.faulty("NeverReady", **{"run.start_timeout_s": 600})),
        profile="upstream",
        install="system",
    ).model_copy(update=changes)
    before = [
        InstallStep(name="weights", seconds=5000.0, waited_s=5000.0),
        InstallStep(name="a build", seconds=before_s),
    ]
    (folder / "job.json").write_text(spec.model_dump_json())
    (folder / "install.json").write_text(
        InstallSpec(receipt="r", limit_s=limit_s, before=before).model_dump_json()
    )
    (folder / "utterances.txt").write_text("Yes.\n")
    return folder


def _install(folder: Path, tmp_path: Path) -> Install:
    return install(folder, tmp_path / "state", lambda _: None)


def test_the_sentence_has_what_is_left_of_the_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(entries.FAULTY))
    begun = time.monotonic()
    record = _install(_job(tmp_path / "job", limit_s=1006.0, before_s=1000.0), tmp_path)
    assert time.monotonic() - begun < limit(60), "not the start limit of 600 s, nor the pass limit of 3600 s"
    assert not record.ok and record.receipt is None
    assert record.error is not None and "what was left of install_timeout_s" in record.error
    assert [step.name for step in record.steps] == ["weights", "a build", "smoke sentence"]
    assert record.total_s > 6005, "what was downloaded is told of, and left out of the hour"
    spent = _install(_job(tmp_path / "late", limit_s=1000.0, before_s=1001.0), tmp_path)
    assert spent.error == "smoke sentence: not done within 1000 s (install_timeout_s)"


def test_an_installation_ends_with_its_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    slow_pip = tmp_path / "python"
    slow_pip.write_text(f"#!/bin/sh\nsleep {mark} &\nsleep {mark}\n")
    slow_pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow_pip))
    monkeypatch.setattr("bench.jobs.control.HEARTBEAT_LIMIT_S", 2.0)
    folder = _job(
        tmp_path / "job",
        3600.0,
        install="venv",
        lock="lock.txt",
        engine_python=str(tmp_path / "v/bin/python"),
    )
    with pytest.raises(Cancelled, match="the controller has not been heard of"):
        _install(folder, tmp_path)
    assert _all_end(mark)
