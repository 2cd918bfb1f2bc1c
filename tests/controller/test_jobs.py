"""What goes to a host as a job, and what comes back into the run."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.loader import load
from bench.controller import host_settings, incoming, outgoing
from bench.controller.host_settings import HostSettings
from bench.controller.run import Run, note_phase, open_or_create
from bench.controller.steps import list_needs
from bench.errors import AuditionError, BadInput, DiskFull
from bench.jobs.archive import pack, unpack
from bench.jobs.spec import ENGINE_CODE, HEARD, JobResult, JobSpec, OtherSide
from bench.records.neighbour import NeighbourRecord
from bench.records.run import Install
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record, save_record
from tests.controller.conftest import Asked
from tests.support import entries
from tests.support.made_evidence import take

HOST = HostSettings(state_dir="/var/lib/audition")


@pytest.fixture
def run(asked: Asked) -> Run:
    found, _ = open_or_create(asked(), Path("/"))
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=2.0, smoke=take(1)), found.path)
    return found


def _came_back(
    folder: Path, phase: str, *, ok: bool = True, failed: int = 0, size: int = 10, smoke: bool = False,
    neighbour: NeighbourRecord | None = None, **more: Any,
) -> Path:  # fmt: skip
    """The tar of a pass with three takes, `failed` of them failed."""
    name = "baseline" if phase == "baseline" else "candidate"
    out = folder / f"out-{len(list(folder.iterdir()))}"
    (out / name).mkdir(parents=True)
    error = {"kind": "timeout", "message": "too late"}
    takes = [take(n, **({"error": error, "wav": None} if n <= failed else {})) for n in (1, 2, 3)]
    (out / name / "takes.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in takes))
    (out / name / "u03.wav").write_bytes(os.urandom(size))
    if smoke:
        (out / "smoke").mkdir()
        (out / "smoke" / "takes.jsonl").write_text(take(1).model_dump_json() + "\n")
    made = {
        "voice": "v", "detection": {"dialect": "openai", "chosen_by": "entry"}, "measured_from": "here",
        "reference_cached": True, "registration_ms": 1.0, "sample_rate_hz": 16000, "takes": 3, "ok": 3 - failed,
        "failed": {"timeout": failed} if failed else {}, "started_utc": utc_now(),
    }  # fmt: skip
    result = {"phase": phase, "ok": ok, "passes": {name: made}, "seconds": 1.0} | more
    (out / "result.json").write_text(json.dumps(result))
    if neighbour is not None:
        save_record(neighbour, out)
    pack(out, out.with_suffix(".tar"))
    return out.with_suffix(".tar")


def _accept(run: Run, phase: outgoing.JobPhase, tar: Path) -> JobResult:
    return incoming.accept(run, phase, tar, utc_now())


# What goes


@pytest.mark.parametrize(
    ("model", "wanted", "neighbour", "found"),
    [
        ("espeak", "auto", "none", "system"),
        ("f5", "auto", "none", "venv"),
        ("f5", "auto", "pause", "container"),
        ("f5", "container", "none", "container"),
        ("chatterbox", "auto", "pause", "container"),
        ("voxtral4b", "auto", "pause", "http"),
    ],
)
def test_how_an_engine_runs_on_a_host(model: str, wanted: Any, neighbour: Any, found: str) -> None:
    spec = HOST.neighbour.model_copy(update={"mode": neighbour})
    host = HOST.model_copy(update={"engine_install": wanted, "neighbour": spec})
    assert host_settings.choose_way(load(model), host) == found


def test_a_way_that_the_entry_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match="espeak can be installed as: system"):
        host_settings.choose_way(load("espeak"), HOST.model_copy(update={"engine_install": "container"}))


def test_how_the_candidate_is_installed_says_nothing_of_the_baseline(asked: Asked) -> None:
    found, _ = open_or_create(asked(model="f5"), Path("/"))
    host = HOST.model_copy(update={"engine_install": "venv"})
    assert outgoing.make_job_spec(found, "install", host).install == "venv"
    assert outgoing.make_job_spec(found, "baseline", host).install == "system"


def test_the_job_is_of_the_committed_entry_and_not_of_todays_file(asked: Asked, tmp_path: Path) -> None:
    catalog = entries.write(tmp_path / "catalog", entries.raw("mine"))
    found, _ = open_or_create(asked(model="mine", catalog_dir=catalog), Path("/"))
    entries.write(catalog, entries.raw("mine", **{"profiles.upstream.words_per_minute": 90}))
    assert (
        outgoing.make_job_spec(found, "install", HOST).entry.profiles["upstream"]["words_per_minute"] == 175
    )


def test_a_whisper_model_is_fetched_by_its_name_or_lies_where_the_inventory_says(run: Run) -> None:
    entry, baseline = run.entry(), run.baseline_entry()
    assert outgoing.make_job_spec(run, "benchmark", HOST).whisper_model is None
    assert list_needs(entry, baseline, HOST)["weights"] == []
    named = HostSettings.of({"state_dir": "/srv", "whisper_model": "tiny.en"})
    store = Path("/srv/weights/Systran--faster-whisper-tiny.en/0d3d19a32d3338f10357c0889762bd8d64bbdeba")
    assert outgoing.make_job_spec(run, "benchmark", named).whisper_model == store
    wanted = list_needs(entry, baseline, named)["weights"]
    assert {file["path"] for file in wanted} == {
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.txt",
    }
    own = HostSettings.of({"state_dir": "/srv", "whisper_model": "/models/small"})
    assert outgoing.make_job_spec(run, "benchmark", own).whisper_model == Path("/models/small")
    assert list_needs(entry, baseline, own)["weights"] == []
    with pytest.raises(BadInput, match=r"'small' must be one of tiny\.en, base\.en, or the absolute path"):
        HostSettings.of({"state_dir": "/srv", "whisper_model": "small"})


def test_a_benchmark_takes_along_what_the_baselines_voice_is_looked_at_with(
    asked: Asked, tmp_path: Path
) -> None:
    served = entries.raw("served", run={"kind": "http", "voice": None}, preset=None)
    catalog = entries.write(tmp_path / "catalog", served, entries.raw("mine"))
    found, _ = open_or_create(
        asked(model="mine", baseline="served", baseline_url="http://panda:8772", catalog_dir=catalog),
        Path("/"),
    )
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=2.0, smoke=take(1)), found.path)
    host = HOST.model_copy(update={"baseline_voice_accepted": "heard by A"})
    spec = outgoing.make_job_spec(found, "benchmark", host)
    assert spec.other_side is not None and spec.other_side.entry.name == "served"
    assert (spec.other_side.url, spec.other_side.voice_accepted) == ("http://panda:8772", "heard by A")
    with outgoing.pack_job(found, spec) as tar:
        unpack(tar, tmp_path / "sent")
    for suffix in (".wav", ".txt"):
        sent = (tmp_path / "sent" / OtherSide.REFERENCE).with_suffix(suffix)
        assert sent.read_bytes() == (found.path / f"reference-baseline/reference{suffix}").read_bytes()
    assert outgoing.make_job_spec(found, "baseline", host).other_side is None
    note_phase(found, "baseline", utc_now())
    assert outgoing.make_job_spec(found, "benchmark", host).other_side is None, "it has been made"


def test_each_phase_has_its_passes_and_only_the_benchmark_the_neighbour(run: Run) -> None:
    spec = HOST.neighbour.model_copy(update={"mode": "pause", "container": "vllm"})
    host = HOST.model_copy(update={"neighbour": spec, "engine_port": 8000})
    found = {phase: outgoing.make_job_spec(run, phase, host) for phase in outgoing.PASSES}
    assert {phase: spec.passes for phase, spec in found.items()} == {
        "install": ["smoke"],
        "benchmark": ["preset", "candidate"],
        "baseline": ["baseline"],
    }
    assert {phase: spec.neighbour.mode for phase, spec in found.items()} == {
        "install": "parallel",  # every engine of ours is watched, and only one may pause
        "benchmark": "pause",
        "baseline": "parallel",
    }
    assert [phase for phase, spec in found.items() if spec.neighbour.measure] == ["benchmark"]
    alone = {phase: outgoing.make_job_spec(run, phase, HOST).neighbour.mode for phase in outgoing.PASSES}
    assert set(alone.values()) == {"none"}
    assert {phase: spec.entry.name for phase, spec in found.items()} == {
        "install": "espeak",
        "benchmark": "espeak",
        "baseline": "flite",
    }


@pytest.mark.parametrize(
    ("name", "install"),
    [("flite", None), ("hibari", "venv"), ("f5", "container"), ("chatterbox", "container")],
)
def test_a_baseline_is_installed_unless_it_comes_from_system_packages(
    asked: Asked, name: str, install: str | None
) -> None:
    host = HOST if install != "container" else HOST.model_copy(
        update={"neighbour": HOST.neighbour.model_copy(update={"mode": "pause"}), "engine_install": "system"}
    )  # fmt: skip
    run, _ = open_or_create(asked(baseline=name), Path("/"))
    spec = outgoing.make_baseline_install(run, host)
    assert (spec and spec.install) == install
    if spec is None:
        return
    assert (spec.phase, spec.passes, spec.entry.name) == ("install", ["smoke"], name)
    assert (spec.engine_python is not None, spec.image is not None) == (
        install == "venv",
        install == "container",
    )
    assert outgoing.make_job_spec(run, "install", HOST).entry.name == "espeak"
    spoken = outgoing.make_job_spec(run, "baseline", host)
    assert (spoken.install, spoken.engine_python, spoken.image) == (install, spec.engine_python, spec.image)
    needs = list_needs(run.entry(), run.baseline_entry(), host)
    assert [file["repo"] for file in needs["weights"]] == [file.repo for file in load(name).weights]


def test_a_pause_of_a_killed_attempt_is_told_of_at_the_next_contact(run: Run) -> None:
    lease: dict[str, Any] = {
        "lease_id": "a", "stopped": True, "reason": "no renewal for 61.0 s", "seconds": 75.0, "start_attempts": 1,
        "engines_ended": ["engine"], "watcher_starts": 1, "floor_reached": True, "events": [],
    }  # fmt: skip
    incoming.tell_of_pauses(run, HOST, [{**lease, "lease_id": "b", "stopped": False}])
    assert not (run.path / "neighbour.json").exists()
    incoming.tell_of_pauses(run, HOST, [lease])
    told = load_record(NeighbourRecord, run.path)
    assert (told.pauses, told.down_s, told.state) == (1, 75.0, "held")
    assert "no renewal for 61.0 s" in told.verdict
    before = (run.path / "neighbour.json").read_bytes()
    incoming.tell_of_pauses(run, HOST, [lease])
    assert (run.path / "neighbour.json").read_bytes() == before


def test_a_sentence_that_had_no_room_beside_the_neighbour_is_said_in_the_benchmark(run: Run) -> None:
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=2.0, smoke=None), run.path)
    assert outgoing.make_job_spec(run, "benchmark", HOST).passes == ["smoke", "preset", "candidate"]


def test_the_tar_holds_the_job_its_words_and_the_reference_cut_for_that_model(
    run: Run, tmp_path: Path
) -> None:
    cuts: dict[outgoing.JobPhase, str] = {"benchmark": "reference", "baseline": "reference-baseline"}
    for phase, cut in cuts.items():
        with outgoing.pack_job(run, outgoing.make_job_spec(run, phase, HOST)) as tar:
            unpack(tar, tmp_path / phase)
        assert {path.name for path in (tmp_path / phase).iterdir()} == {
            "job.json", "utterances.txt", "reference.wav", "reference.txt", ENGINE_CODE,
            *([HEARD] if phase == "baseline" else []),
        }  # fmt: skip
        sent = (tmp_path / phase / "reference.wav").read_bytes()
        assert sent == (run.path / cut / "reference.wav").read_bytes()
        judged = tmp_path / phase / (HEARD if phase == "baseline" else "reference.wav")
        assert judged.read_bytes() == (run.path / "reference" / "reference.wav").read_bytes()
        assert JobSpec.model_validate_json((tmp_path / phase / "job.json").read_bytes()).phase == phase


def test_a_receipt_holds_for_what_was_proved_and_nothing_else(run: Run) -> None:
    spec = outgoing.make_job_spec(run, "install", HOST)
    proved = outgoing.hash_receipt(spec)
    assert outgoing.hash_receipt(spec.model_copy(update={"run_id": "another", "port": 9})) == proved
    assert outgoing.hash_receipt(spec.model_copy(update={"profile": "fast"})) != proved
    other = spec.entry.model_copy(update={"profiles": {"upstream": {"voice": "en-gb"}}})
    assert outgoing.hash_receipt(spec.model_copy(update={"entry": other})) != proved


# What comes back


@pytest.mark.parametrize("said", [None, b"", b"\xff", b"[" * 2000, b'{"phase": "benchmark"}'])
def test_what_comes_back_without_a_jobs_word_is_refused(run: Run, tmp_path: Path, said: bytes | None) -> None:
    (tmp_path / "out").mkdir()
    if said is not None:
        (tmp_path / "out/result.json").write_bytes(said)
    pack(tmp_path / "out", tmp_path / "out.tar")
    with pytest.raises(AuditionError, match=r"no result\.json of a job"):
        _accept(run, "benchmark", tmp_path / "out.tar")
    assert not list(run.path.glob(".incoming-*"))


def test_takes_are_sealed_once(run: Run, tmp_path: Path) -> None:
    assert _accept(run, "benchmark", _came_back(tmp_path, "benchmark")).ok
    before = (run.path / "candidate/takes.jsonl").read_bytes()
    assert run.phases()["benchmark"].status == "done"
    with pytest.raises(AuditionError, match="sealed already"):
        _accept(run, "benchmark", _came_back(tmp_path, "benchmark"))
    assert (run.path / "candidate/takes.jsonl").read_bytes() == before
    assert not list(run.path.glob(".incoming-*"))


def test_a_sentence_said_in_the_pause_says_what_ran(run: Run, tmp_path: Path) -> None:
    asked = {"version": "1.0", "install": "container"}
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=2.0, asked=asked), run.path)
    health = {"revision": "1.1", "device": "cuda:0", "profile": {"voice": "en-us"}}
    tar = _came_back(tmp_path, "benchmark", smoke=True, health=health)
    assert _accept(run, "benchmark", tar).ok
    proved = load_record(Install, run.path)
    assert proved.smoke is not None and proved.settings == {"voice": "en-us"}
    assert {key: proved.ran[key] for key in ("version", "device", "install")} == {
        "version": "1.1", "device": "cuda:0", "install": "container",
    }  # fmt: skip
    assert proved.asked == asked


def test_weights_are_steps_of_the_installation(run: Run, tmp_path: Path) -> None:
    file = {"repo": "a/b", "path": "w", "status": "resumed", "bytes_fetched": 5, "seconds": 30.0}
    before = outgoing.list_earlier_steps(40.0, {"files": [file]})
    assert [(step.name, step.seconds, step.waited_s) for step in before.steps] == [
        ("system packages", 10.0, 10.0),
        ("weights a/b/w", 30.0, 30.0),
    ]
    assert before.weights == [file]


def test_the_engine_reads_the_store_that_the_role_fills(asked: Asked) -> None:
    found, _ = open_or_create(asked(model="f5"), Path("/"))
    host = HOST.model_copy(update={"weights_store": "/mnt/large"})
    assert outgoing.make_job_spec(found, "install", host).weights == Path("/mnt/large")
    assert outgoing.make_job_spec(found, "install", HOST).weights == Path("/var/lib/audition/weights")


def test_what_the_host_spoilt_is_kept_aside_and_may_be_made_again(run: Run, tmp_path: Path) -> None:
    slower = NeighbourRecord(mode="pause", name="vllm", url=None, run_id=run.run_id, state="slower")
    spoilt = _came_back(
        tmp_path, "benchmark", ok=False, fault="host", error="the disk is full", neighbour=slower
    )
    assert not _accept(run, "benchmark", spoilt).ok
    assert not (run.path / "candidate").exists()
    assert len(list(run.path.glob("attempts/benchmark-*/candidate/takes.jsonl"))) == 1
    assert (
        load_record(NeighbourRecord, run.path) == slower
    )  # the run itself says what became of the neighbour
    assert (run.phases()["benchmark"].fault, run.ended_early()) == ("host", None)
    assert _accept(run, "benchmark", _came_back(tmp_path, "benchmark")).ok
    assert run.phases()["benchmark"].status == "done"


def test_what_the_candidate_spoilt_is_evidence(run: Run, tmp_path: Path) -> None:
    spoilt = _came_back(tmp_path, "benchmark", ok=False, fault="candidate", error="it did not start")
    _accept(run, "benchmark", spoilt)
    assert (run.path / "candidate/takes.jsonl").is_file()
    assert run.ended_early() == "its benchmark failed"


def test_a_baseline_with_a_failed_take_is_none_and_can_be_made_again(run: Run, tmp_path: Path) -> None:
    result = _accept(run, "baseline", _came_back(tmp_path, "baseline", failed=1))
    assert result.error == "the baseline failed 1 of 3 takes: u01 (timeout)"
    assert not (run.path / "baseline").exists()
    assert run.phases()["baseline"].status == "failed"
    assert _accept(run, "baseline", _came_back(tmp_path, "baseline")).ok
    assert (run.path / "baseline/takes.jsonl").is_file()


def test_a_disk_that_fills_up_while_takes_come_back_leaves_none_of_them(
    asked: Asked, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.controller.run.MINIMUM_FREE_BYTES", 0)
    run, _ = open_or_create(asked(runs_dir=small_disk / "runs"), Path("/"))
    (tmp_path / "tars").mkdir()
    with pytest.raises(DiskFull, match="free some space and run the same command again"):
        _accept(run, "benchmark", _came_back(tmp_path / "tars", "benchmark", size=4_000_000))
    assert not (run.path / "candidate").exists()
    assert not list(run.path.glob(".incoming-*"))
    assert "benchmark" not in run.phases()
    assert _accept(run, "benchmark", _came_back(tmp_path / "tars", "benchmark")).ok, "once there is room"


# Who may read it


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_reference_transcript_and_takes_are_for_their_owner_alone(
    asked: Asked, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        found, _ = open_or_create(asked(), Path("/"))
        save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=2.0, smoke=take(1)), found.path)
        (tmp_path / "far").mkdir()
        _accept(found, "benchmark", _came_back(tmp_path / "far", "benchmark"))
        _accept(found, "baseline", _came_back(tmp_path / "far", "baseline", ok=False, fault="host"))
        with outgoing.pack_job(found, outgoing.make_job_spec(found, "baseline", HOST)) as tar:
            unpack(tar, tmp_path / "job", tar.stat().st_size)
    finally:
        os.umask(before)
    assert _mode(found.path) == 0o700
    kept = next((found.path / "attempts").iterdir())
    for folder in ("reference", "reference-baseline", "candidate", kept, kept / "baseline", tmp_path / "job"):
        inside = [path for path in (found.path / folder).iterdir() if path.is_file()]
        assert inside and _mode(found.path / folder) == 0o700, folder
        assert {_mode(path) for path in inside} == {0o600}, folder
    assert (found.path / "reference/reference.wav").is_file() and (tmp_path / "job" / HEARD).is_file()


def test_a_tar_of_another_size_than_the_host_says_is_not_taken(run: Run, tmp_path: Path) -> None:
    tar = _came_back(tmp_path, "benchmark")
    with pytest.raises(AuditionError, match=r"did not arrive whole .* were sent"):
        incoming.accept(run, "benchmark", tar, utc_now(), tar.stat().st_size + 512)
    assert not (run.path / "candidate").exists()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
