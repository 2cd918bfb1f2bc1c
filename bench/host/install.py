"""The install phase on a host: the model's environment, one smoke sentence, a receipt.

The receipt is the hash of all that the sentence proves. While it holds, nothing is installed and nothing is
said again.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.audio.wav import read_mono
from bench.client.takes import TAKES_FILE
from bench.errors import AuditionError
from bench.host.install_spec import InstallSpec
from bench.host.job import run_job
from bench.host.job_records import JobResult, JobSpec
from bench.host.neighbour_job import room_beside
from bench.host.provision import InstallFailed, Provisioner
from bench.records import Install, InstallStep, Take, utc_now, write_atomically


def kept(state_dir: Path, model: str, profile: str, receipt: str) -> Install | None:
    """Return the installation that `receipt` names, if this host has proved it before."""
    path = _path(state_dir, model, profile)
    try:
        found = Install.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.ok and found.receipt == receipt else None


def install(job_dir: Path, state_dir: Path, say: Any) -> Install:
    """Install and say the sentence; the record is what `install.json` of the run will hold.

    Raises:
        AuditionError: the host failed (a taken port, a silent Docker), which says nothing of the model.
    """
    spec = InstallSpec.model_validate_json((job_dir / "install.json").read_bytes())
    job = JobSpec.model_validate_json((job_dir / "job.json").read_bytes())
    started = time.monotonic()
    provisioner = Provisioner(spec.limit_s - sum(step.seconds for step in spec.before), say)
    record = Install(
        ok=False,
        steps=spec.before,
        total_s=0.0,
        limit_s=spec.limit_s,
        asked={"version": job.entry.version.asked or job.entry.version.pin, "install": job.install},
    )
    try:
        if job.install == "venv":
            assert job.lock and spec.wheel and job.engine_python
            target = Path(job.engine_python).parent.parent
            provisioner.venv(target, job_dir / job.lock, job_dir / spec.wheel)
        elif job.install == "container":
            assert job.lock
            provisioner.image(job.entry.name, job_dir / job.lock, job.image_base)
        if job.install == "http":
            record.receipt = spec.receipt
        elif (why := room_beside(job.neighbour)) is not None:
            step = InstallStep(
                name="smoke sentence", seconds=0.0, detail=f"moved into the benchmark's pause: {why}"
            )
            provisioner.steps.append(step)
        else:
            _smoke(job_dir, job, provisioner, record)
            record.receipt = spec.receipt
        record.ok = True
    except InstallFailed as error:
        record.error = str(error)
    record.steps = [*spec.before, *provisioner.steps]
    record.total_s = round(sum(s.seconds for s in spec.before) + time.monotonic() - started, 3)
    if record.receipt is not None:
        path = _path(state_dir, job.entry.name, job.profile)
        write_atomically(path, record.model_dump_json(indent=1).encode())
    return record


def _smoke(job_dir: Path, job: JobSpec, provisioner: Provisioner, record: Install) -> None:
    """Say one sentence in the model's own preset voice and look at what came out."""
    started = time.monotonic()
    said = run_job(job_dir)
    error = said.error
    if said.fault == "host":  # it says nothing of the candidate, and can be done again
        raise AuditionError(f"smoke sentence: {error}")
    if error is None:
        record.smoke = _take(job_dir / "out" / "smoke" / TAKES_FILE)
        error = _fault(record.smoke, job_dir)
    provisioner.steps.append(
        InstallStep(name="smoke sentence", seconds=round(time.monotonic() - started, 3), detail=error or "")
    )
    record.settings = said.health.get("profile") or {}
    record.ran = _ran(job, said)
    if error is not None:
        raise InstallFailed(f"smoke sentence: {error}", provisioner.steps)
    shutil.rmtree(job_dir / "out", ignore_errors=True)


def _take(path: Path) -> Take | None:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return Take.model_validate_json(lines[-1]) if lines else None


def _fault(take: Take | None, job_dir: Path) -> str | None:
    if take is None:
        return "nothing was said"
    if take.error is not None:
        return f"{take.error.kind}: {take.error.message}"
    samples, _ = read_mono(job_dir / "out" / "smoke" / str(take.wav))
    loud = float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0
    return None if loud > 1e-4 else "the sentence is silent"


def _ran(job: JobSpec, said: JobResult) -> dict[str, Any]:
    return {
        "version": said.health.get("revision"),
        "device": said.health.get("device"),
        "install": job.install,
        "utc": utc_now(),
    }


def _path(state_dir: Path, model: str, profile: str) -> Path:
    return state_dir / "receipts" / f"{model}-{profile}.json"
