"""What comes back from a host, taken into the run directory."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.controller.host_settings import HostSettings
from bench.controller.outgoing import PASSES, JobPhase
from bench.controller.run import Run, explain_full_disk, note_phase
from bench.errors import AuditionError
from bench.install.spec import describe_ran
from bench.jobs.archive import unpack
from bench.jobs.spec import JobResult
from bench.neighbour.record import enter_leases
from bench.records.memory import MemoryReport
from bench.records.neighbour import NeighbourRecord
from bench.records.passes import PassFile
from bench.records.run import Install
from bench.storage.clock import utc_now
from bench.storage.private import close_tree
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import read_takes
from bench.verdict.takes import failures_of, named


def accept(run: Run, phase: JobPhase, tar: Path, started_utc: str, tar_bytes: int | None = None) -> JobResult:
    """Take a finished pass into the run directory, seal it and note how the phase ended.

    A pass that failed through the host's fault is kept under `attempts/` and may be done again; takes that are
    part of the evidence are moved into their place once and never touched again. `tar_bytes` is how long the host says
    the tar is.
    """
    with explain_full_disk(run.path):
        scratch = Path(tempfile.mkdtemp(prefix=".incoming-", dir=run.path))
        try:
            unpack(tar, scratch, tar_bytes)
            result = _read_result(scratch / "result.json")
            _judge_baseline(phase, result, scratch / "baseline")
            if result.ok or (result.fault == "candidate" and phase == "benchmark"):
                _seal(run, phase, scratch, result)
            else:
                _keep_attempt(run, phase, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    note_phase(run, phase, started_utc, result.error, fault=result.fault)
    return result


def _read_result(path: Path) -> JobResult:
    """Return what a job says of itself.

    Raises:
        AuditionError: it says nothing, or something else.
    """
    try:
        return JobResult.model_validate_json(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise AuditionError(
            f"What came back from the host has no {path.name} of a job ({why}); run the same command again."
        ) from error


def _judge_baseline(phase: JobPhase, result: JobResult, takes: Path) -> None:
    """A baseline with a failed take is not a baseline: nothing is rated against nine clips."""
    made = result.passes.get("baseline")
    if phase != "baseline" or made is None or not result.ok or not (made.failed or made.stopped):
        return
    failures = failures_of(read_takes(takes))
    which = [f"{each.utterance_id} ({each.kind})" for each in (failures.failed if failures else [])]
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
        how = {
            "pass": result.passes.get(name),
            "health": result.health_after.get(name, result.health),
            "fp32_retries": result.fp32_retries.get(name),
            "engine_start_s": result.engine_start_s,
            "reference_f0_hz": result.reference_f0_hz,
            "network": result.network,
            "voice_check": result.voice_check,
            "machine": result.machine.get(name),
            "lent_by": result.lent_by,
        }
        save_record(PassFile.model_validate(how), made)
        close_tree(made)
        made.rename(place)
    if (smoke := read_takes(scratch / "smoke")) and phase == "benchmark":
        proved = load_record(Install, run.path)
        proved.smoke = smoke[-1]
        proved.settings = result.health.get("profile") or {}
        proved.ran = describe_ran(result.health, str(proved.asked.get("install")), utc_now())
        save_record(proved, run.path)
    for record in (MemoryReport, NeighbourRecord):
        if phase == "benchmark" and (scratch / record.file_name).is_file():
            (scratch / record.file_name).replace(run.path / record.file_name)


def _keep_attempt(run: Run, phase: JobPhase, scratch: Path) -> None:
    kept = run.path / "attempts" / f"{phase}-{utc_now().replace(':', '').replace('-', '')}"
    kept.parent.mkdir(exist_ok=True)
    if phase == "benchmark" and (scratch / NeighbourRecord.file_name).is_file():
        # The run says what became of the neighbour whether or not its takes are kept.
        shutil.copyfile(scratch / NeighbourRecord.file_name, run.path / NeighbourRecord.file_name)
    if not kept.exists():
        scratch.rename(kept)


def tell_of_pauses(run: Run, host: HostSettings, leases: list[dict[str, Any]]) -> None:
    """Enter into `neighbour.json` the pauses of attempts that were killed, as the host's history has them."""
    from bench.records.neighbour import LeaseAccount, NeighbourRecord

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
        enter_leases(record, [*record.leases, *missing])
        record.verdict += (
            f" An attempt was cut off, and its watcher gave the neighbour back: {missing[-1].reason}."
        )
        record.verdict = record.verdict.strip()
        save_record(record, run.path)
