"""A phase's work for a host, packed on the controller; and what comes back, taken into the run directory."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.catalog import Entry
from bench.catalog.entry import EngineRun, HttpRun
from bench.controller.run import Run, explain_full_disk, note_phase
from bench.controller.wheel import REPO, Wheel, build
from bench.errors import AuditionError, BadInput
from bench.host.archive import pack, unpack
from bench.host.install_spec import InstallSpec
from bench.host.job_records import JobResult, JobSpec, PassName
from bench.host.neighbour_spec import NeighbourSpec
from bench.records import Install, InstallStep, Record, canonical_json, sha256_bytes, sha256_file, utc_now
from bench.verdict.collect import read_takes

JobPhase = Literal["install", "benchmark", "baseline"]
PASSES: dict[JobPhase, list[PassName]] = {
    "install": ["smoke"],
    "benchmark": ["preset", "candidate"],
    "baseline": ["baseline"],
}


class HostSettings(Record):
    """What the inventory says of a host, as far as a job needs it (docs/variables.md)."""

    state_dir: str
    engine_install: Literal["auto", "system", "venv", "container"] = "auto"
    engine_port: int = 0
    engine_image_base: str = "python:3.12-slim"
    take_timeout_s: float = 120.0
    pass_timeout_s: float = 3600.0
    install_timeout_s: float = 3600.0
    warmups: int = 2
    baseline_token_env: str = ""
    """Variable of the controller's environment with the baseline's bearer token; the token itself is in no task."""
    model_token_env: str = ""
    neighbour: NeighbourSpec = NeighbourSpec()

    @classmethod
    def of(cls, raw: object) -> "HostSettings":
        """Read the settings as the inventory gives them.

        Raises:
            BadInput: one is missing or wrong; the message names it.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(f"{faults}. docs/variables.md lists every variable.") from error

    def token(self, side: Literal["model", "baseline"], entry: Entry) -> str | None:
        """Return the bearer token for a side's server: from the inventory's variable, else from the entry's.

        Raises:
            BadInput: the inventory names a variable of the environment that is not set.
        """
        if not isinstance(entry.run, HttpRun):
            return None
        named = self.model_token_env if side == "model" else self.baseline_token_env
        if named and not os.environ.get(named):
            raise BadInput(
                f"{side}_token_env names {named}, which is not set in this environment; export it, or set "
                f"{side}_token_env to an empty string."
            )
        return os.environ.get(named or entry.run.auth_env or "") or None

    def job_dir(self, run_id: str, phase: str) -> str:
        """Return where a new attempt at a job lives on the host; each attempt has its own directory."""
        return f"{self.state_dir}/jobs/{run_id}/{phase}-{time.time_ns()}"


def way(entry: Entry, host: HostSettings) -> Literal["system", "venv", "container", "http"]:
    """Return how an entry's engine runs on this host.

    Raises:
        BadInput: the inventory asks for a way that the entry does not have, or that a neighbour forbids.
    """
    if entry.run.kind == "http":
        return "http"
    neighbour = host.neighbour.mode != "none"
    if neighbour and entry.run.gpu and host.engine_install in ("system", "venv"):
        raise BadInput(
            f"{entry.name} shares the GPU with a neighbour, so it must run as a container, which the watcher can end; "
            "set engine_install to auto or container."
        )
    if host.engine_install == "auto":
        if neighbour and "container" in entry.run.install:
            return "container"
        return entry.run.install[0]
    if host.engine_install not in entry.run.install:
        raise BadInput(
            f"engine_install is {host.engine_install}, and {entry.name} can be installed as: "
            f"{', '.join(entry.run.install)}."
        )
    return host.engine_install


def job_spec(run: Run, phase: JobPhase, host: HostSettings) -> JobSpec:
    """Return the job of `phase`; the entry is the one the manifest committed to, not today's file."""
    manifest = run.manifest()
    candidate = phase != "baseline"
    entry = run.entry() if candidate else run.baseline_entry()
    how = way(entry, host)
    return JobSpec(
        run_id=run.run_id,
        phase=phase,
        passes=_passes(run, phase, entry),
        entry=entry,
        profile=manifest.profile if candidate else manifest.baseline_profile,
        url=manifest.model_url if candidate else manifest.baseline_url,
        install=how,
        engine_python=engine_python(entry, host) if how == "venv" else None,
        lock=engine_lock(entry).name if how in ("venv", "container") else None,
        image_base=host.engine_image_base,
        weights=Path(host.state_dir) / "weights" if entry.weights else None,
        port=host.engine_port or None,
        take_timeout_s=host.take_timeout_s,
        pass_timeout_s=host.pass_timeout_s,
        warmups=host.warmups,
        neighbour=_neighbour(phase, entry, host),
    )


def _passes(run: Run, phase: JobPhase, entry: Entry) -> list[PassName]:
    passes = [name for name in PASSES[phase] if name != "preset" or entry.preset is not None]
    if phase == "benchmark" and entry.run.kind == "engine" and Install.load(run.path).smoke is None:
        # There was no room beside the neighbour; the sentence is said within the one pause.
        passes.insert(0, "smoke")
    return passes


def _neighbour(phase: JobPhase, entry: Entry, host: HostSettings) -> NeighbourSpec:
    """Only the benchmark may pause the neighbour; everything else keeps the memory floor beside it."""
    gib = entry.run.memory_gib if isinstance(entry.run, EngineRun) else None
    update: dict[str, Any] = {"engine_bytes": int((gib or 0.0) * 2**30)}
    if phase != "benchmark":
        update["mode"] = "none"
    return host.neighbour.model_copy(update={**update, "hard_limit_s": host.pass_timeout_s})


def engine_lock(entry: Entry) -> Path:
    """Return the file of pins that a model's venv or image is made from."""
    if not isinstance(entry.run, EngineRun) or entry.run.requirements is None:
        raise BadInput(
            f"{entry.name} has no run.requirements, so it cannot be installed as venv or container."
        )
    return REPO / "requirements" / entry.run.requirements


def engine_python(entry: Entry, host: HostSettings) -> str:
    """Return the interpreter of the model's own venv on the host, named by what is in it."""
    key = sha256_bytes((sha256_file(engine_lock(entry)) + build(REPO).sha256).encode())[:16]
    return f"{host.state_dir}/engines/{entry.name}-{key}/bin/python"


def receipt(spec: JobSpec, venv_key: str) -> str:
    """Return the hash of all that a smoke sentence proves: code, model, profile, and how it runs."""
    what = {
        "bench": venv_key,
        "entry": spec.entry.model_dump(mode="json"),
        "profile": spec.profile,
        "install": spec.install,
        "lock": sha256_file(engine_lock(spec.entry)) if spec.lock else None,
        "image_base": spec.image_base if spec.install == "container" else None,
    }
    return sha256_bytes(canonical_json(what))


@contextlib.contextmanager
def packed(run: Run, spec: JobSpec, extra: Mapping[str, bytes] | None = None) -> Iterator[Path]:
    """Yield a tar with everything the job needs; `extra` are more files, by name."""
    with tempfile.TemporaryDirectory(prefix="audition-job-") as scratch:
        folder = Path(scratch) / "job"
        folder.mkdir()
        (folder / "job.json").write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        shutil.copyfile(run.path / "utterances.txt", folder / "utterances.txt")
        _reference_for(run, spec, folder)
        if spec.lock is not None:
            shutil.copyfile(engine_lock(spec.entry), folder / spec.lock)
        for name, data in (extra or {}).items():
            (folder / name).write_bytes(data)
        tar = Path(scratch) / "job.tar"
        pack(folder, tar)
        yield tar


@contextlib.contextmanager
def packed_install(
    run: Run, spec: JobSpec, receipt: str, host: HostSettings, wheel: Wheel, before_s: float
) -> Iterator[Path]:
    """Yield a tar with the job of the install phase: the sentence, and what to install before it is said."""
    wanted = InstallSpec(
        receipt=receipt,
        limit_s=host.install_timeout_s,
        wheel=wheel.path.name if spec.install == "venv" else None,
        before=[InstallStep(name="system packages and weights", seconds=round(before_s, 3))],
    )
    extra = {"install.json": wanted.model_dump_json(indent=1).encode()}
    if wanted.wheel is not None:
        extra[wanted.wheel] = wheel.path.read_bytes()
    with packed(run, spec, extra) as tar:
        yield tar


def accept(run: Run, phase: JobPhase, tar: Path, started_utc: str) -> JobResult:
    """Take a finished pass into the run directory, seal it and note how the phase ended.

    A pass that failed through the host's fault is kept under `attempts/` and may be done again; takes that are
    part of the evidence are moved into their place once and never touched again.
    """
    with explain_full_disk(run.path):
        scratch = Path(tempfile.mkdtemp(prefix=".incoming-", dir=run.path))
        try:
            unpack(tar, scratch)
            result = JobResult.model_validate_json((scratch / "result.json").read_bytes())
            _judge_baseline(phase, result)
            if result.ok or (result.fault == "candidate" and phase == "benchmark"):
                _seal(run, phase, scratch, result)
            else:
                _keep_attempt(run, phase, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    note_phase(run, phase, started_utc, result.error, fault=result.fault)
    return result


def _judge_baseline(phase: JobPhase, result: JobResult) -> None:
    """A baseline with a failed take is not a baseline: nothing is rated against nine clips."""
    made = result.passes.get("baseline")
    if phase != "baseline" or made is None or not result.ok or not (made.failed or made.stopped):
        return
    kinds = ", ".join(f"{n} x {kind}" for kind, n in sorted(made.failed.items()))
    result.ok, result.fault = False, "candidate"
    result.error = (
        f"the baseline failed {sum(made.failed.values())} of {made.takes} takes ({kinds or made.stopped})"
    )


def _seal(run: Run, phase: JobPhase, scratch: Path, result: JobResult) -> None:
    for name in PASSES[phase]:
        made, place = scratch / name, run.path / name
        if name == "smoke" or not made.is_dir():
            continue
        if place.exists():
            raise AuditionError(f"{place} is sealed already; takes are never made twice in one run.")
        facts = {
            "schema_version": 1,
            "pass": result.passes[name].model_dump(mode="json") if name in result.passes else None,
            "health": result.health_after.get(name, result.health),
            "fp32_retries": result.fp32_retries.get(name),
            "engine_start_s": result.engine_start_s,
            "reference_f0_hz": result.reference_f0_hz,
            "network": result.network.model_dump(mode="json") if result.network else None,
            "voice_check": result.voice_check.model_dump(mode="json") if result.voice_check else None,
        }
        (made / "pass.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        made.rename(place)
    if (smoke := read_takes(scratch / "smoke")) and phase == "benchmark":
        proved = Install.load(run.path)
        proved.smoke = smoke[-1]
        proved.save(run.path)
    for record in ("memory.json", "neighbour.json"):
        if phase == "benchmark" and (scratch / record).is_file():
            (scratch / record).replace(run.path / record)


def _keep_attempt(run: Run, phase: JobPhase, scratch: Path) -> None:
    kept = run.path / "attempts" / f"{phase}-{utc_now().replace(':', '').replace('-', '')}"
    kept.parent.mkdir(exist_ok=True)
    if not kept.exists():
        scratch.rename(kept)


def _reference_for(run: Run, spec: JobSpec, folder: Path) -> None:
    """Put the reference into the job: the candidate's stretch, or the one that suits the baseline's limits."""
    cut = "reference-baseline" if spec.phase == "baseline" else "reference"
    for name in ("reference.wav", "reference.txt"):
        shutil.copyfile(run.path / cut / name, folder / name)
