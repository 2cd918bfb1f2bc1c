"""A phase's work for a host, packed on the controller; and what comes back, taken into the run directory."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from bench.catalog import Entry
from bench.catalog.entry import EngineRun, HttpRun
from bench.controller.run import Run, explain_full_disk, note_phase
from bench.controller.wheel import REPO, Wheel, build
from bench.engines.image.context import tag
from bench.errors import AuditionError, BadInput
from bench.install.spec import InstallSpec, ran
from bench.jobs.archive import pack, unpack
from bench.jobs.spec import HEARD, JobResult, JobSpec, PassName
from bench.listening.mapping import REFERENCE
from bench.neighbour.spec import NeighbourSpec
from bench.records.base import Record
from bench.records.run import Install, InstallStep
from bench.storage.clock import utc_now
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import read_takes
from bench.verdict.takes import failures_of, named

JobPhase = Literal["install", "benchmark", "baseline"]
Way = Literal["system", "venv", "container"]
PASSES: dict[JobPhase, list[PassName]] = {
    "install": ["smoke"],
    "benchmark": ["preset", "candidate"],
    "baseline": ["baseline"],
}


def _absolute(given: str) -> str:
    if given and not given.startswith("/"):
        raise ValueError(f"'{given}' must be an absolute path on the host")
    return given


def _spaceless(given: str) -> str:
    if any(character.isspace() for character in given):
        raise ValueError(f"'{given}' must have no space in it: Ansible starts the host's Python by this path")
    return given


HostPath = Annotated[str, AfterValidator(_absolute)]


class HostSettings(Record):
    """What the inventory says of a host, as far as a job needs it (docs/variables.md)."""

    state_dir: Annotated[HostPath, AfterValidator(_spaceless)]
    engine_install: Literal["auto", Way] = "auto"
    engine_port: int = Field(default=0, ge=0, le=65535)
    engine_image_base: str = "python:3.12-slim"
    weights_store: HostPath = ""
    """Empty: `weights` under `state_dir`."""
    weights_endpoint: str = ""
    weights_token_file: str = ""
    # Bounded here, for an engine that has no time to speak would be out by its own fault.
    take_timeout_s: float = Field(default=120.0, gt=0)
    pass_timeout_s: float = Field(default=3600.0, gt=0)
    install_timeout_s: float = Field(default=3600.0, gt=0)
    warmups: int = Field(default=2, ge=0)
    baseline_token_env: str = ""
    """Variable of the controller's environment with the baseline's bearer token; the token itself is in no task."""
    model_token_env: str = ""
    baseline_voice_accepted: str = ""
    """Who heard that a server which the voice check left `unclear` speaks in the voice asked for; recorded."""
    model_voice_accepted: str = ""
    similarity_python: str = ""
    """Interpreter on the host with Resemblyzer; empty: no speaker similarity."""
    whisper_model: str = ""
    """Directory on the host of a faster-whisper model; empty: pocketsphinx."""
    neighbour: NeighbourSpec = NeighbourSpec()

    @classmethod
    def of(cls, raw: object) -> "HostSettings":
        """Read the settings as the inventory gives them.

        Raises:
            BadInput: one is missing or wrong; the message names it.
        """
        try:
            settings = cls.model_validate(raw)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(f"{faults}. docs/variables.md lists every variable.") from error
        neighbour = settings.neighbour
        if neighbour.mode != "none" and not (neighbour.container and neighbour.url):
            raise BadInput(
                f"neighbour_mode is {neighbour.mode}: name the container in neighbour_container, and its API in "
                "neighbour_url, which proves that it is back."
            )
        return settings

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

    def store(self) -> Path:
        """Return the folder of weights on the host."""
        return Path(self.weights_store or f"{self.state_dir}/weights")

    def job_dir(self, run_id: str, phase: str) -> str:
        """Return where a new attempt at a job lives on the host; each attempt has its own directory."""
        return f"{self.state_dir}/jobs/{run_id}/{phase}-{time.time_ns()}"


def way(entry: Entry, host: HostSettings) -> Literal[Way, "http"]:
    """Return how a candidate's engine runs on this host.

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
        # A container is what the watcher can end; without a neighbour a venv needs no Docker.
        first: tuple[Way, ...] = ("container",) if neighbour else ("system", "venv")
        return next((name for name in first if name in entry.run.install), entry.run.install[0])
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
    # `engine_install` is about the candidate; a baseline of ours comes from system packages (request.py).
    how = way(entry, host) if candidate or entry.run.kind == "http" else "system"
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
        weights=host.store() if entry.weights else None,
        port=host.engine_port or None,
        take_timeout_s=host.take_timeout_s,
        pass_timeout_s=host.pass_timeout_s,
        warmups=host.warmups,
        voice_accepted=(host.model_voice_accepted if candidate else host.baseline_voice_accepted) or None,
        similarity_python=host.similarity_python or None,
        whisper_model=Path(host.whisper_model) if host.whisper_model else None,
        neighbour=_neighbour(phase, entry, host),
    )


def _passes(run: Run, phase: JobPhase, entry: Entry) -> list[PassName]:
    passes = [name for name in PASSES[phase] if name != "preset" or entry.preset is not None]
    if phase == "benchmark" and entry.run.kind == "engine" and load_record(Install, run.path).smoke is None:
        # There was no room beside the neighbour; the sentence is said within the one pause.
        passes.insert(0, "smoke")
    return passes


def _neighbour(phase: JobPhase, entry: Entry, host: HostSettings) -> NeighbourSpec:
    """Only the benchmark may pause the neighbour; every other engine is lent a place beside it, and watched."""
    gib = entry.run.memory_gib if isinstance(entry.run, EngineRun) else None
    update: dict[str, Any] = {"engine_bytes": int((gib or 0.0) * 2**30)}
    if phase != "benchmark":
        beside = host.neighbour.mode != "none" and isinstance(entry.run, EngineRun)
        update |= {"mode": "parallel" if beside else "none", "measure": False}
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


def engine_image(entry: Entry, host: HostSettings) -> str:
    """Return the name of the model's own image, which is the hash of what it is built from."""
    return tag(entry.name, engine_lock(entry), base=host.engine_image_base)


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


@dataclass(frozen=True, slots=True)
class Before:
    """What Ansible did before the engine's own installation."""

    steps: list[InstallStep]
    weights: list[dict[str, Any]]


def before(seconds: float, report: dict[str, Any]) -> Before:
    """Return the steps of the `seconds` before the installation; `report` is what `bench_weights` returned."""
    files = list(report.get("files", []))
    steps = [
        InstallStep(
            name=f"weights {file['repo']}/{file['path']}",
            seconds=file["seconds"],
            changed=file["status"] != "present",
            detail=f"{file['status']}, {file['bytes_fetched']} bytes fetched",
        )
        for file in files
    ]
    rest = max(seconds - sum(step.seconds for step in steps), 0.0)
    return Before([InstallStep(name="system packages", seconds=round(rest, 3)), *steps], files)


@contextlib.contextmanager
def packed_install(
    run: Run, spec: JobSpec, receipt: str, host: HostSettings, wheel: Wheel, before: Before
) -> Iterator[Path]:
    """Yield a tar with the job of the install phase: the sentence, and what to install before it is said."""
    wanted = InstallSpec(
        receipt=receipt,
        limit_s=host.install_timeout_s,
        wheel=wheel.path.name if spec.install == "venv" else None,
        before=before.steps,
        weights=before.weights,
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
            _judge_baseline(phase, result, scratch / "baseline")
            if result.ok or (result.fault == "candidate" and phase == "benchmark"):
                _seal(run, phase, scratch, result)
            else:
                _keep_attempt(run, phase, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    note_phase(run, phase, started_utc, result.error, fault=result.fault)
    return result


def _judge_baseline(phase: JobPhase, result: JobResult, takes: Path) -> None:
    """A baseline with a failed take is not a baseline: nothing is rated against nine clips."""
    made = result.passes.get("baseline")
    if phase != "baseline" or made is None or not result.ok or not (made.failed or made.stopped):
        return
    failed = (failures_of(read_takes(takes)) or {"failed": []})["failed"]
    which = [f"{each['utterance_id']} ({each['kind']})" for each in failed]
    result.ok, result.fault = False, "candidate"
    count = f"{sum(made.failed.values())} of {made.takes}"
    result.error = f"the baseline failed {count} takes: {named(which) or made.stopped}"


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
        proved = load_record(Install, run.path)
        proved.smoke = smoke[-1]
        proved.settings = result.health.get("profile") or {}
        proved.ran = ran(result.health, str(proved.asked.get("install")), utc_now())
        save_record(proved, run.path)
    for record in ("memory.json", "neighbour.json"):
        if phase == "benchmark" and (scratch / record).is_file():
            (scratch / record).replace(run.path / record)


def _keep_attempt(run: Run, phase: JobPhase, scratch: Path) -> None:
    kept = run.path / "attempts" / f"{phase}-{utc_now().replace(':', '').replace('-', '')}"
    kept.parent.mkdir(exist_ok=True)
    if phase == "benchmark" and (scratch / "neighbour.json").is_file():
        # The run says what became of the neighbour whether or not its takes are kept.
        shutil.copyfile(scratch / "neighbour.json", run.path / "neighbour.json")
    if not kept.exists():
        scratch.rename(kept)


def tell_of_pauses(run: Run, host: HostSettings, leases: list[dict[str, Any]]) -> None:
    """Enter into `neighbour.json` the pauses of attempts that were killed, as the host's history has them."""
    from bench.neighbour.record import LeaseAccount, NeighbourRecord

    try:
        record = load_record(NeighbourRecord, run.path)
    except FileNotFoundError:
        neighbour = host.neighbour
        record = NeighbourRecord(
            mode=neighbour.mode, name=neighbour.container, url=neighbour.url, run_id=run.run_id, state="held"
        )
    known = {each.lease_id for each in record.leases}
    paused = [each for each in map(LeaseAccount.model_validate, leases) if each.stopped]
    missing = [each for each in paused if each.lease_id not in known]
    if missing:
        record.account([*record.leases, *missing])
        record.verdict += (
            f" An attempt was cut off, and its watcher gave the neighbour back: {missing[-1].reason}."
        )
        record.verdict = record.verdict.strip()
        save_record(record, run.path)


def _reference_for(run: Run, spec: JobSpec, folder: Path) -> None:
    """Put the reference into the job: the candidate's stretch, or the one that suits the baseline's limits and beside
    it the candidate's, which raters hear: what both sides' metrics are held against is one clip."""
    cut = "reference-baseline" if spec.phase == "baseline" else "reference"
    for name in ("reference.wav", "reference.txt"):
        shutil.copyfile(run.path / cut / name, folder / name)
    if spec.phase == "baseline":
        shutil.copyfile(run.path / REFERENCE, folder / HEARD)
