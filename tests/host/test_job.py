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
from bench.engines import launch
from bench.errors import AuditionError
from bench.host import job
from bench.host.archive import pack, unpack
from bench.host.follow import follow, process_of, sign
from bench.host.heartbeat import heartbeat_time
from bench.host.job_records import JobResult, JobSpec
from bench.host.lease import Grant, LeaseRequest
from bench.host.memory import settle_baseline
from bench.host.neighbour_job import borrowed, drop_caches, reserve_bytes
from bench.host.neighbour_record import NeighbourRecord
from bench.host.neighbour_spec import NeighbourSpec
from bench.host.remote import do_job, remove
from bench.inputs.demo_reference import make
from bench.records import NeighbourMode, Take, TakeError
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


def test_an_engine_that_hangs_ends_the_job_after_one_take(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_END_S", 0.5)  # it does not hear SIGTERM either
    folder = _job(tmp_path, voice, entries.faulty("Hung"), take_timeout_s=8.0, passes=["candidate", "preset"])
    with _followed(folder):
        result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "candidate")
    assert "the engine hangs: no take within 8 s" in str(result.error)
    assert [error.kind for error in _errors(folder, "candidate")] == ["timeout"]
    assert "preset" not in result.passes and _engines() == []


def test_what_stops_a_job_ends_an_engine_that_is_still_loading(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "HEARTBEAT_LIMIT_S", 2.0)
    began = time.monotonic()
    result = job.run_job(_job(tmp_path, voice, entries.faulty("Loading", **{"run.start_timeout_s": 300})))
    assert time.monotonic() - began < 60.0
    assert (result.ok, result.fault) == (False, "host")
    assert "benchmark was stopped: the controller has not been heard of" in str(result.error)
    assert _engines() == []


@pytest.mark.parametrize("mode", ["pause", "parallel"])
def test_memory_is_watched_in_every_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: NeighbourMode
) -> None:
    asked: list[LeaseRequest] = []

    @contextlib.contextmanager
    def borrow(request: LeaseRequest, alive: Any, **_: Any) -> Iterator[Grant]:
        asked.append(request)
        record = NeighbourRecord(mode=mode, name="vllm", url=None, run_id="r")
        yield Grant(record, None)

    monkeypatch.setattr("bench.host.lease.borrow", borrow)
    spec = NeighbourSpec(mode=mode, container="vllm", url="http://127.0.0.1:1", floor_bytes=8 * 2**30)
    with borrowed(spec, "r", lambda: True, lambda _: None, tmp_path) as held:
        pass
    wanted = spec.floor_bytes if mode == "parallel" else reserve_bytes()
    assert asked[0].watch_bytes == held.floor_bytes == wanted
    assert 0 < reserve_bytes() <= 2 * 2**30


def test_the_page_cache_is_dropped_where_the_kernel_lets_it(tmp_path: Path) -> None:
    knob = tmp_path / "drop_caches"
    knob.touch()
    assert drop_caches(knob) and knob.read_text() == "1"
    assert not drop_caches(tmp_path / "none" / "drop_caches")


def test_what_comes_late_is_stopped_at_once(tmp_path: Path) -> None:
    control = job.Control(tmp_path, 60.0)
    control.stop("only 1 MiB was left")
    ended: list[str] = []
    control.on_stop(lambda: ended.append("engine"))
    assert ended == ["engine"]


def test_a_baseline_without_room_beside_the_neighbour_is_not_started(tmp_path: Path, voice: Path) -> None:
    crowded = NeighbourSpec(container="vllm", engine_bytes=2**60)
    folder = _job(
        tmp_path, voice, entries.raw("espeak"), phase="baseline", passes=["baseline"], neighbour=crowded
    )
    result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "host")
    assert "no room for the baseline beside the neighbour" in str(result.error)
    assert not (folder / "out/engine.log").exists()


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
    sign(tmp_path)
    progress.write_text('{"text": "one"}\n{"text": "tw')
    seen = follow(tmp_path, 0)
    assert (seen["lines"], seen["running"]) == (["one"], True)
    assert heartbeat_time(tmp_path) == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=30)
    with progress.open("a") as stream:
        stream.write('o"}\n')
    assert follow(tmp_path, seen["offset"])["lines"] == ["two"]


def test_a_job_runs_until_it_is_done_or_its_process_is_gone(tmp_path: Path) -> None:
    gone = subprocess.Popen(["sleep", "60"])
    sign(tmp_path, gone.pid)
    assert follow(tmp_path, 0)["running"]
    gone.kill()
    gone.wait()
    assert not follow(tmp_path, 0)["running"]
    _pid, born, boot = (tmp_path / "pid").read_text().split()
    (tmp_path / "pid").write_text(f"{os.getpid()} {born} {boot}")
    assert not follow(tmp_path, 0)["running"], "a reused number is another process"
    sign(tmp_path)
    assert follow(tmp_path, 0)["running"]
    (tmp_path / "done").touch()
    assert not follow(tmp_path, 0)["running"]


def test_a_job_that_never_begins_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "job.tar").touch()
    assert follow(tmp_path, 0)["running"]
    os.utime(tmp_path / "job.tar", (1e9, 1e9))
    assert follow(tmp_path, 0)["running"], "the wall clock decides nothing: it may have been set"
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    (tmp_path / "followed").write_text(f"{now - 61}")
    assert not follow(tmp_path, 0)["running"]
    (tmp_path / "followed").write_text(f"{now + 61}")
    assert not follow(tmp_path, 0)["running"], "it was waited for in another boot"


def test_a_clock_that_is_set_does_not_lose_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = subprocess.Popen(["sleep", "60"])
    try:
        sign(tmp_path, running.pid)
        # What psutil reads of a process's start moves with the wall clock: set it back an hour for everybody.
        boot, real = psutil.boot_time(), time.time
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot - 3600.0)
        monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
        assert process_of(tmp_path) == running.pid and follow(tmp_path, 0)["running"]
    finally:
        running.kill()
        running.wait()


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
