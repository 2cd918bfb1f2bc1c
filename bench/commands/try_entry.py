"""`audition try ENTRY --text ...`: one sentence of one model on this machine, without a run: the way to write an entry.

What the install phase and a job do is done here in their order: weights and environment or image, an engine that is
watched as every other, one sentence; then the engine is gone and the sentence is kept.
"""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.catalog.entry import Entry
from bench.catalog.loader import load
from bench.client.takes import TAKES_FILE
from bench.controller.host_settings import (
    HostSettings,
    choose_way,
    find_engine_lock,
    find_part,
    name_engine_image,
    name_engine_python,
)
from bench.controller.parts import pack_part
from bench.controller.request import refuse_unpinned
from bench.errors import AuditionError, BadInput
from bench.install.install import provide
from bench.install.module import list_packages_lacking
from bench.install.provision import Provisioner
from bench.jobs.containers import remove_containers
from bench.jobs.follow import follow
from bench.jobs.job import run_job
from bench.jobs.spec import ENGINE_CODE, JobResult, JobSpec
from bench.neighbour.borrowed import explain_no_room
from bench.neighbour.spec import NeighbourSpec
from bench.records.memory import MemoryReport
from bench.records.run import Install
from bench.records.settings import GIB
from bench.records.take import Take
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record
from bench.weights.store import ensure, spell_size

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is tried, and where."""

    entry: str
    text: str
    profile: str
    catalog_dir: Path | None
    url: str | None
    """Where somebody else serves it; null: Audition starts it."""
    reference: Path | None
    transcript: str | None
    state_dir: Path
    neighbour: NeighbourSpec
    out: Path


def try_entry(wanted: Attempt, say: Say) -> int:
    """Fetch, start, speak, stop; return 0 where the sentence was said, and 1 where it was not.

    Raises:
        BadInput: what was given cannot be used; nothing was fetched or started.
        AuditionError: this host could not do it, which says nothing of the model.
    """
    entry = load(wanted.entry, wanted.catalog_dir).at(wanted.url)
    spec = _make_spec(wanted, entry)
    _check(wanted, entry, spec)
    job_dir = wanted.state_dir / "jobs" / spec.run_id
    job_dir.mkdir(parents=True)
    try:
        _fill(job_dir, wanted, entry, spec)
        with _followed(job_dir, say):
            made = _fetch(job_dir, entry, spec, wanted, say)
            result = run_job(job_dir)
        return _tell(job_dir, wanted, spec, made, result, say)
    finally:
        remove_containers(spec.run_id)
        shutil.rmtree(job_dir, ignore_errors=True)
        with contextlib.suppress(OSError):  # others' jobs are there
            job_dir.parent.rmdir()


def _make_spec(wanted: Attempt, entry: Entry) -> JobSpec:
    host = HostSettings.of(
        {"state_dir": str(wanted.state_dir), "neighbour": wanted.neighbour.model_dump(mode="json")}
    )
    if wanted.profile not in entry.profiles:
        known = ", ".join(entry.profiles)
        raise BadInput(f"{entry.name} has no profile '{wanted.profile}'; it has: {known}.")
    way = choose_way(entry, host)
    if way == "http" and wanted.url is None:
        raise BadInput(f"{entry.name} is served by somebody else: say where in --url.")
    gib = entry.started.memory_gib if entry.started else None
    neighbour = wanted.neighbour.model_copy(
        update={"engine_bytes": int((gib or 0.0) * GIB), "measure": False}
    )
    return JobSpec(
        run_id=f"try-{entry.name}-{time.time_ns()}",
        phase="install",
        passes=["smoke"],
        entry=entry,
        profile=wanted.profile,
        install=way,
        engine_python=name_engine_python(entry, host) if way == "venv" else None,
        lock=find_engine_lock(entry).name if way in ("venv", "container") else None,
        image=name_engine_image(entry, host) if way == "container" else None,
        weights=host.store() if entry.weights else None,
        url=wanted.url,
        smoke_text=wanted.text,
        neighbour=neighbour,
    )


def _check(wanted: Attempt, entry: Entry, spec: JobSpec) -> None:
    """Find out before anything is fetched what cannot be done."""
    refuse_unpinned(entry)
    if lacking := list_packages_lacking(entry.ours.system_packages if entry.ours else []):
        raise BadInput(f"{entry.name} needs {', '.join(lacking)}: apt-get install {' '.join(lacking)}.")
    if (why := explain_no_room(spec.neighbour)) is not None:
        raise BadInput(f"There is no room for {entry.name} beside the neighbour: {why}.")
    asked = entry.stranger
    has_voice = entry.preset is not None or (asked and (asked.voice is not None or asked.voices == "one"))
    if not has_voice and wanted.reference is None:
        raise BadInput(
            f"{entry.name} names no voice of its own: give --reference and --transcript to clone one."
        )
    if wanted.reference is not None and not wanted.reference.is_file():
        raise BadInput(f"no such reference file: {wanted.reference}.")
    if wanted.out.is_dir() or not wanted.out.absolute().parent.is_dir():
        raise BadInput(f"--out {wanted.out} cannot be written; give a file in a folder that is there.")


def _fill(job_dir: Path, wanted: Attempt, entry: Entry, spec: JobSpec) -> None:
    """Put into a job's folder what the controller sends otherwise."""
    (job_dir / "job.json").write_text(spec.model_dump_json(indent=1, by_alias=True), encoding="utf-8")
    (job_dir / "utterances.txt").write_text("Not said.\n", encoding="utf-8")
    if wanted.reference is not None:
        shutil.copyfile(wanted.reference, job_dir / "reference.wav")
        (job_dir / "reference.txt").write_text(wanted.transcript or "", encoding="utf-8")
    if spec.lock is not None:
        shutil.copyfile(find_engine_lock(entry), job_dir / spec.lock)
    if entry.ours is not None:
        (job_dir / ENGINE_CODE).write_bytes(pack_part(find_part(entry)))


def _fetch(job_dir: Path, entry: Entry, spec: JobSpec, wanted: Attempt, say: Say) -> Install:
    """Have what the model needs in place; return the record of it, which nobody keeps."""
    host = HostSettings(state_dir=str(wanted.state_dir))
    record = Install(ok=False, steps=[], total_s=0.0, limit_s=host.install_timeout_s)
    if entry.weights and spec.install != "http":
        ensure(entry.weights, host.store(), progress=_Shown(say))
    provisioner = Provisioner(host.install_timeout_s, say, scratch=job_dir.absolute())
    provide(job_dir, spec, provisioner, host.sources_mirror, record)
    record.steps = provisioner.steps
    return record


class _Shown:
    """Says how far a download of weights is, now and then."""

    def __init__(self, say: Say) -> None:
        self._say, self._said = say, 0.0

    def __call__(self, name: str, have: int, total: int | None) -> None:
        if have != total and time.monotonic() - self._said < 2.0:
            return
        self._said = time.monotonic()
        self._say(f"weights | {name} | {spell_size(have)}" + (f" of {spell_size(total)}" if total else ""))


@contextlib.contextmanager
def _followed(job_dir: Path, say: Say) -> Iterator[None]:
    """Look after the job as a controller does, and say its lines as they come."""
    done = threading.Event()

    def poll() -> None:
        offset, last = 0, False
        while not last:
            last = done.wait(0.5)
            seen = follow(job_dir, offset)
            offset = seen["offset"]
            for line in seen["lines"]:
                say(line)

    thread = threading.Thread(target=poll, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def _tell(job_dir: Path, wanted: Attempt, spec: JobSpec, made: Install, result: JobResult, say: Say) -> int:
    """Say how it went, and keep the sentence."""
    entry, folder = spec.entry, job_dir / "out" / "smoke"
    for step in made.steps:
        say(f"install | {step.name} | {step.seconds:.1f} s{f', {step.detail}' if step.detail else ''}")
    if result.engine_start_s is not None:
        say(f"{entry.name} | ready after {result.engine_start_s:.1f} s")
    for name in ("known", "unknown"):
        if name in result.health:
            say(f"{entry.name} | {name}: {json.dumps(result.health[name])}")
    say(_tell_memory(job_dir / "out"))
    if not result.ok and result.fault == "host":
        raise AuditionError(str(result.error))
    take = _read_take(folder / TAKES_FILE)
    if take is None or take.error is not None or take.wav is None:
        why = f"{take.error.kind}: {take.error.message}" if take and take.error else result.error
        say(f"{entry.name} | FAILED: {why}")
        return 1
    shutil.copyfile(folder / take.wav, wanted.out)
    say(
        f"{entry.name} | said {take.audio_s:.1f} s of speech at {take.sample_rate_hz} Hz in "
        f"{(take.total_ms or 0.0) / 1000:.2f} s, first audio after {take.ttfa_ms or 0.0:.0f} ms"
    )
    if not result.ok:
        say(f"{entry.name} | FAILED: {result.error}")
        return 1
    say(f"written: {wanted.out} ({utc_now()})")
    return 0


def _tell_memory(out: Path) -> str:
    """Return what the entry may say in `memory_gib`: the peaks, by witness."""
    if not (out / MemoryReport.file_name).is_file():
        return "memory | not measured"
    found = load_record(MemoryReport, out)
    figures: Sequence[tuple[str, Any]] = (
        ("on the GPU by NVML", found.gpu_process),
        ("of MemAvailable", found.available_dip),
        ("in the cgroup", found.cgroup),
        ("resident", found.rss),
    )
    said = [f"{each.bytes / GIB:.2f} GiB {where}" for where, each in figures if each.bytes is not None]
    return f"memory | at most {', '.join(said)}" if said else "memory | not measured"


def _read_take(path: Path) -> Take | None:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return Take.model_validate_json(lines[-1]) if lines else None
