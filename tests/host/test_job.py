"""A job on its host: what it leaves, what ends it, and how it is followed."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.catalog import load
from bench.errors import AuditionError
from bench.host import job
from bench.host.archive import pack, unpack
from bench.host.follow import follow, write_pid
from bench.host.heartbeat import heartbeat_time
from bench.host.install_spec import InstallSpec
from bench.host.job_records import JobResult, JobSpec
from bench.host.memory import settle_baseline
from bench.host.remote import do_job, engine_step, remove
from bench.inputs.demo_reference import make
from bench.records import Take, TakeError
from tests.engines import entries
from tests.strangers import obliging

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("voice"))[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faulty engines can be imported, and nobody waits for a busy machine's memory to settle."""
    monkeypatch.setenv("PYTHONPATH", str(entries.FAULTY))
    monkeypatch.setattr(
        job, "settle_baseline", lambda timeout_s: settle_baseline(timeout_s=min(timeout_s, 0.2))
    )


def _job(folder: Path, voice: Path, tree: dict[str, Any], **changes: Any) -> Path:
    """A job's directory as it is on the host before it begins, the tar beside its contents."""
    made = folder / "made"
    made.mkdir(parents=True)
    spec = JobSpec(
        run_id="mine-here-20261122T101500Z",
        phase="benchmark",
        passes=["preset", "candidate"],
        entry=entries.entry(tree),
        profile="upstream",
        install="system",
        warmups=1,
    ).model_copy(update=changes)
    (made / "job.json").write_text(spec.model_dump_json())
    (made / "utterances.txt").write_text("Yes.\nNo, thanks.\nGo on.\n")
    shutil.copy(voice, made / "reference.wav")
    (made / "reference.txt").write_text("Every letter is read by two people.\n")
    pack(made, folder / "job.tar")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    shutil.rmtree(made)
    return folder


def _takes(folder: Path, side: str) -> list[Take]:
    lines = (folder / "out" / side / "takes.jsonl").read_text().splitlines()
    return [Take.model_validate_json(line) for line in lines]


def _errors(folder: Path, side: str) -> list[TakeError]:
    return [take.error for take in _takes(folder, side) if take.error is not None]


def _engines() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if "bench.engines.server" in p.cmdline()]


@contextlib.contextmanager
def _followed(folder: Path) -> Iterator[None]:
    """A controller that is there for as long as the job takes."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(1.0):
            follow(folder, 0)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_job_leaves_takes_metrics_memory_and_how_it_ended(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path, voice, entries.raw("espeak"))
    with _followed(folder):
        result = job.run_job(folder)
    assert (result.ok, result.error) == (True, None)
    assert JobResult.model_validate_json((folder / "out/result.json").read_bytes()) == result
    for side in ("preset", "candidate"):
        assert [take.warmup for take in _takes(folder, side)] == [True, False, False, False]
        assert result.passes[side].ok == 3
    assert len((folder / "out/candidate/metrics.jsonl").read_text().splitlines()) == 3
    assert json.loads((folder / "out/memory.json").read_bytes())["schema_version"] == 1
    assert result.health["profile"] == load("espeak").profiles["upstream"]
    assert result.reference_f0_hz is not None and 70 < result.reference_f0_hz < 200
    shown = [json.loads(line)["text"] for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert sum("espeak | candidate | " in line for line in shown) == 4
    assert any("candidate | 3/3 | u03 | TTFA" in line for line in shown)
    assert _engines() == []


def test_a_job_whose_controller_is_gone_ends_itself_and_its_engine(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "HEARTBEAT_LIMIT_S", 3.0)
    result = job.run_job(_job(tmp_path, voice, entries.faulty("Slow")))
    assert (result.ok, result.fault) == (False, "host")
    assert "the controller has not been heard of" in str(result.error)
    assert _engines() == []


def test_a_pass_past_its_limit_is_stopped(tmp_path: Path, voice: Path) -> None:
    result = job.run_job(_job(tmp_path, voice, entries.faulty("Slow"), pass_timeout_s=4.0))
    assert (result.ok, result.fault) == (False, "candidate")
    assert "not done within 4 s (pass_timeout_s)" in str(result.error)
    assert _engines() == []


def test_a_take_past_its_limit_fails_alone(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path, voice, entries.faulty("Slow"), take_timeout_s=0.5, passes=["preset"], warmups=0)
    assert job.run_job(folder).ok
    assert [error.kind for error in _errors(folder, "preset")] == ["timeout"] * 3
    assert all(take.rtf is None and take.total_ms != 0 for take in _takes(folder, "preset"))


def test_an_engine_that_dies_ends_its_pass_with_its_last_words(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path, voice, entries.faulty("Dying"), warmups=3)
    with _followed(folder):
        result = job.run_job(folder)
    assert result.passes["preset"].ok == 3
    stopped = result.passes["candidate"].stopped or ""
    assert "ended with code 9" in stopped and "out of memory, says the faulty engine" in stopped
    assert result.passes["candidate"].ok == 1
    assert _errors(folder, "candidate")[0].kind == "aborted"


def test_an_engine_that_speaks_silence_has_failed_each_take(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path, voice, entries.faulty("Silent"))
    assert job.run_job(folder).passes["candidate"].failed == {"silence": 3}
    assert [take.ttfa_audible_ms for take in _takes(folder, "candidate")] == [None] * 4


def test_a_take_that_breaks_off_is_no_take(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path, voice, entries.faulty("Cut"), passes=["preset"])
    assert job.run_job(folder).passes["preset"].failed == {"aborted": 3}
    assert list((folder / "out/preset").glob("*.wav")) == []


@pytest.mark.parametrize("kind", ["Unloadable", "Stillborn", "Disobedient"])
def test_an_engine_that_does_not_start_is_the_candidates_fault(
    tmp_path: Path, voice: Path, kind: str
) -> None:
    result = job.run_job(_job(tmp_path, voice, entries.faulty(kind)))
    assert (result.ok, result.fault, result.passes) == (False, "candidate", {})


def test_a_taken_port_is_the_hosts_fault(tmp_path: Path, voice: Path) -> None:
    with obliging() as port:
        result = job.run_job(_job(tmp_path, voice, entries.raw("espeak"), port=port))
    assert (result.ok, result.fault) == (False, "host")
    assert f"port {port} is already taken" in str(result.error)


def test_a_host_that_fails_under_the_smoke_sentence_says_nothing_of_the_model(
    tmp_path: Path, voice: Path
) -> None:
    wanted = InstallSpec(receipt="r", limit_s=60.0)
    with obliging() as port:
        folder = _job(
            tmp_path / "job", voice, entries.raw("espeak"), phase="install", passes=["smoke"], port=port
        )
        (folder / "install.json").write_text(wanted.model_dump_json())
        (folder / "job.tar").unlink()
        pack(folder, tmp_path / "job.tar")
        (tmp_path / "job.tar").replace(folder / "job.tar")
        done = engine_step(
            {"action": "install", "job_dir": str(folder), "state_dir": str(tmp_path / "state")}, check=False
        )
    assert (done["failed"], done["fault"]) == (True, "host")
    assert f"port {port} is already taken" in done["msg"]
    assert "install" not in done, "no record, so no verdict"


_DO = "import sys; from pathlib import Path; from bench.host.remote import do_job; print(do_job(Path(sys.argv[1])))"


def test_a_second_attempt_ends_the_first_that_an_interruption_left(tmp_path: Path, voice: Path) -> None:
    first = _job(tmp_path / "jobs" / "benchmark-1", voice, entries.faulty("Slow"))
    left = subprocess.Popen([sys.executable, "-c", _DO, str(first)], cwd=REPO, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (first / "out/preset/takes.jsonl").exists():
        assert time.monotonic() < end and left.poll() is None
        time.sleep(0.1)
    family = [psutil.Process(left.pid), *psutil.Process(left.pid).children(recursive=True)]
    second = _job(tmp_path / "jobs" / "benchmark-2", voice, entries.raw("espeak"), passes=["preset"])
    done = do_job(second)
    assert not done["failed"] and done["passes"]["preset"]["ok"] == 3
    left.wait(60)
    assert not any(process.is_running() for process in family)
    assert "signal SIGTERM" in json.loads((first / "out/result.json").read_bytes())["error"]


def test_what_a_job_made_goes_back_as_one_tar(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path / "job", voice, entries.raw("espeak"), passes=["preset"])
    done = do_job(folder)
    unpack(Path(done["tar"]), tmp_path / "back")
    names = {path.name for path in (tmp_path / "back").iterdir()}
    assert names >= {"preset", "result.json", "memory.json", "engine.log"}
    assert (folder / "done").exists()


@pytest.mark.parametrize("name", ["/etc/outside", "../outside", "a/../../outside"])
def test_a_tar_that_leads_out_of_its_folder_is_not_unpacked(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(AuditionError, match="no plain file"):
        unpack(tmp_path / "bad.tar", tmp_path / "in")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(AuditionError, match="no plain file"):
        unpack(tmp_path / "link.tar", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


def test_a_job_that_was_sent_broken_says_so(tmp_path: Path) -> None:
    (tmp_path / "job.tar").write_bytes(b"")
    done = do_job(tmp_path)
    assert done["failed"] and done["fault"] == "host"
    assert "job.tar did not arrive whole" in done["msg"]
    assert follow(tmp_path, 0)["running"] is False


# Following


def test_following_gives_whole_lines_once_and_touches_the_heartbeat(tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    (tmp_path / "pid").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    progress.write_text('{"text": "one"}\n{"text": "tw')
    seen = follow(tmp_path, 0)
    assert (seen["lines"], seen["running"]) == (["one"], True)
    assert heartbeat_time(tmp_path) == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=30)
    with progress.open("a") as stream:
        stream.write('o"}\n')
    assert follow(tmp_path, seen["offset"])["lines"] == ["two"]


def test_a_job_runs_until_it_is_done_or_its_process_is_gone(tmp_path: Path) -> None:
    gone = subprocess.Popen(["sleep", "60"])
    (tmp_path / "pid").write_text(f"{gone.pid} {psutil.Process(gone.pid).create_time()}")
    assert follow(tmp_path, 0)["running"]
    gone.kill()
    gone.wait()
    assert not follow(tmp_path, 0)["running"]
    (tmp_path / "pid").write_text(f"{os.getpid()} {psutil.Process().create_time() - 100}")
    assert not follow(tmp_path, 0)["running"], "a reused number is another process"
    (tmp_path / "pid").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    assert follow(tmp_path, 0)["running"]
    (tmp_path / "done").touch()
    assert not follow(tmp_path, 0)["running"]


def test_a_job_that_begins_between_two_looks_is_seen_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pid(tmp_path)  # its tar is unpacked and gone by then
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "pid" and exists(path))
    assert follow(tmp_path, 0)["running"]


def test_a_job_that_never_begins_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "job.tar").touch()
    assert follow(tmp_path, 0)["running"]
    os.utime(tmp_path / "job.tar", (1e9, 1e9))
    assert not follow(tmp_path, 0)["running"]


def test_a_heartbeat_is_read_whole_while_it_is_written(tmp_path: Path) -> None:
    stop = threading.Event()

    def touch() -> None:
        while not stop.is_set():
            follow(tmp_path, 0)

    (tmp_path / "job.tar").touch()
    follow(tmp_path, 0)
    thread = threading.Thread(target=touch)
    thread.start()
    try:
        assert all(heartbeat_time(tmp_path) > 0 for _ in range(2000))
    finally:
        stop.set()
        thread.join()


# Removing


def test_removing_takes_the_runs_jobs_and_nothing_else(tmp_path: Path) -> None:
    for kept in ("jobs/other/benchmark-1", "venvs/bench-1", "weights", "receipts"):
        (tmp_path / kept).mkdir(parents=True)
    (tmp_path / "jobs/mine/benchmark-1").mkdir(parents=True)
    assert remove(tmp_path, "mine", check=True)["changed"]
    assert (tmp_path / "jobs/mine").is_dir()
    assert remove(tmp_path, "mine")["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs", "receipts", "venvs", "weights"]
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["other"]
    assert not remove(tmp_path, "mine")["changed"]
