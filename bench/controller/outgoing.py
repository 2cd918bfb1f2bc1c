"""A phase's work for a host, packed into one tar."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.catalog.entry import Entry
from bench.controller.host_settings import (
    HostSettings,
    choose_baseline_way,
    choose_way,
    find_engine_lock,
    find_part,
    name_engine_image,
    name_engine_python,
)
from bench.controller.parts import pack_part
from bench.controller.run import Run
from bench.controller.sharing import Lent, copy_takes
from bench.install.spec import InstallSpec
from bench.jobs.archive import pack
from bench.jobs.spec import ENGINE_CODE, HEARD, LENT, JobSpec, OtherSide, PassName
from bench.jobs.spec import JobPhase as JobPhase
from bench.listening.mapping import REFERENCE
from bench.neighbour.spec import NeighbourSpec
from bench.records.run import Install, InstallStep
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file
from bench.storage.record_file import load_record

PASSES: dict[JobPhase, list[PassName]] = {
    "install": ["smoke"],
    "benchmark": ["preset", "candidate"],
    "baseline": ["baseline"],
}


def make_baseline_install(run: Run, host: HostSettings) -> JobSpec | None:
    """Return the job that installs the baseline; None where it is served by somebody or comes from system packages."""
    if choose_baseline_way(run.baseline_entry(), host) in ("http", "system"):
        return None
    return make_job_spec(run, "install", host, side="baseline")


def make_job_spec(
    run: Run,
    phase: JobPhase,
    host: HostSettings,
    lent: Lent | None = None,
    *,
    side: Literal["candidate", "baseline"] | None = None,
) -> JobSpec:
    """Return the job of `phase`; the entry is the one the manifest committed to, not today's file.

    `side` is whose it is: the phase says, but for an installation, which is the candidate's unless told.
    """
    manifest = run.manifest()
    candidate = phase != "baseline" and side != "baseline"
    entry = run.entry() if candidate else run.baseline_entry()
    how = choose_way(entry, host) if candidate else choose_baseline_way(entry, host)
    return JobSpec(
        run_id=run.run_id,
        phase=phase,
        passes=_passes(run, phase, entry),
        entry=entry,
        profile=manifest.profile if candidate else manifest.baseline_profile,
        lent_by=lent.run.run_id if lent else None,
        lent=lent.made if lent else None,
        url=manifest.model_url if candidate else manifest.baseline_url,
        install=how,
        engine_python=name_engine_python(entry, host) if how == "venv" else None,
        lock=find_engine_lock(entry).name if how in ("venv", "container") else None,
        image_base=host.engine_image_base,
        image=name_engine_image(entry, host) if how == "container" else None,
        weights=host.store() if entry.weights else None,
        port=host.engine_port or None,
        take_timeout_s=host.take_timeout_s,
        pass_timeout_s=host.pass_timeout_s,
        warmups=host.warmups,
        voice_accepted=(host.model_voice_accepted if candidate else host.baseline_voice_accepted) or None,
        other_side=_other_side(run, phase, host),
        similarity_python=host.similarity_python or None,
        whisper_model=host.whisper_folder(),
        neighbour=_neighbour(phase, entry, host),
    )


def _other_side(run: Run, phase: JobPhase, host: HostSettings) -> OtherSide | None:
    """Return the baseline whose voice a benchmark looks at first: one that somebody else serves, still to be made."""
    entry, manifest, made = run.baseline_entry(), run.manifest(), run.phases().get("baseline")
    if phase != "benchmark" or entry.started is not None or (made is not None and made.status == "done"):
        return None
    accepted = host.baseline_voice_accepted or None
    return OtherSide(entry=entry, url=manifest.baseline_url or "", voice_accepted=accepted)


def _passes(run: Run, phase: JobPhase, entry: Entry) -> list[PassName]:
    passes = [name for name in PASSES[phase] if name != "preset" or entry.preset is not None]
    if phase == "benchmark" and entry.started is not None and load_record(Install, run.path).smoke is None:
        # There was no room beside the neighbour; the sentence is said within the one pause.
        passes.insert(0, "smoke")
    return passes


def _neighbour(phase: JobPhase, entry: Entry, host: HostSettings) -> NeighbourSpec:
    """Only the benchmark may pause the neighbour; every other engine is lent a place beside it, and watched."""
    gib = entry.started.memory_gib if entry.started else None
    update: dict[str, Any] = {"engine_bytes": int((gib or 0.0) * 2**30)}
    if phase != "benchmark":
        beside = host.neighbour.mode != "none" and entry.started is not None
        update |= {"mode": "parallel" if beside else "none", "measure": False}
    return host.neighbour.model_copy(update={**update, "hard_limit_s": host.pass_timeout_s})


def hash_receipt(spec: JobSpec) -> str:
    """Return the hash of all that a smoke sentence proves: the engine's code, model, profile, and how it runs."""
    what = {
        "code": find_part(spec.entry).sha256 if spec.entry.ours else None,
        "entry": spec.entry.hashed(),
        "profile": spec.profile,
        "install": spec.install,
        "lock": sha256_file(find_engine_lock(spec.entry)) if spec.lock else None,
        "image_base": spec.image_base if spec.install == "container" else None,
    }
    return sha256_bytes(canonical_json(what))


@contextlib.contextmanager
def pack_job(
    run: Run, spec: JobSpec, extra: Mapping[str, bytes] | None = None, lent: Lent | None = None
) -> Iterator[Path]:
    """Yield a tar with everything the job needs; `extra` are more files, by name."""
    with tempfile.TemporaryDirectory(prefix="audition-job-") as scratch:
        folder = Path(scratch) / "job"
        folder.mkdir()
        (folder / "job.json").write_text(spec.model_dump_json(indent=1, by_alias=True), encoding="utf-8")
        shutil.copyfile(run.path / "utterances.txt", folder / "utterances.txt")
        _reference_for(run, spec, folder)
        if spec.lock is not None:
            shutil.copyfile(find_engine_lock(spec.entry), folder / spec.lock)
        if spec.entry.ours is not None:
            (folder / ENGINE_CODE).write_bytes(pack_part(find_part(spec.entry)))
        if lent is not None:
            copy_takes(lent, folder / LENT)
        for name, data in (extra or {}).items():
            (folder / name).write_bytes(data)
        tar = Path(scratch) / "job.tar"
        pack(folder, tar)
        yield tar


@dataclass(frozen=True, slots=True)
class Before:
    """What Ansible did before the engine's own installation."""

    steps: list[InstallStep]
    weights: list[dict[str, Any]]


def list_earlier_steps(seconds: float, report: dict[str, Any]) -> Before:
    """Return the steps of the `seconds` before the installation; `report` is what `bench_weights` returned.

    Downloads all of them, from a hub and from the distribution's mirror.
    """
    files = list(report.get("files", []))
    steps = [
        InstallStep(
            name=f"weights {file['repo']}/{file['path']}",
            seconds=file["seconds"],
            waited_s=file["seconds"],
            changed=file["status"] != "present",
            detail=f"{file['status']}, {file['bytes_fetched']} bytes fetched",
        )
        for file in files
    ]
    rest = max(seconds - sum(step.seconds for step in steps), 0.0)
    packages = InstallStep(name="system packages", seconds=round(rest, 3), waited_s=round(rest, 3))
    return Before([packages, *steps], files)


@contextlib.contextmanager
def pack_install(run: Run, spec: JobSpec, receipt: str, host: HostSettings, before: Before) -> Iterator[Path]:
    """Yield a tar with the job of the install phase: the sentence, and what to install before it is said."""
    wanted = InstallSpec(
        receipt=receipt,
        limit_s=host.install_timeout_s,
        sources_mirror=host.sources_mirror,
        before=before.steps,
        weights=before.weights,
    )
    with pack_job(run, spec, {"install.json": wanted.model_dump_json(indent=1).encode()}) as tar:
        yield tar


def _reference_for(run: Run, spec: JobSpec, folder: Path) -> None:
    """Put the reference into the job: the candidate's stretch, or the one that suits the baseline's limits and beside
    it the candidate's, which raters hear: what both sides' metrics are held against is one clip."""
    of_baseline = spec.phase == "baseline" or spec.entry.name == run.manifest().inputs.baseline
    cut = "reference-baseline" if of_baseline else "reference"
    for name in ("reference.wav", "reference.txt"):
        shutil.copyfile(run.path / cut / name, folder / name)
    if spec.other_side is not None:
        for name in ("reference.wav", "reference.txt"):
            there = (folder / OtherSide.REFERENCE).with_suffix(Path(name).suffix)
            shutil.copyfile(run.path / "reference-baseline" / name, there)
    if spec.phase == "baseline":
        shutil.copyfile(run.path / REFERENCE, folder / HEARD)
