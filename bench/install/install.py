"""The install phase on a host: the model's environment, one smoke sentence, a receipt.

The receipt is the hash of all that the sentence proves. While it holds, nothing is installed and nothing is
said again.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.audio.wav import read_mono
from bench.client.takes import TAKES_FILE
from bench.errors import AuditionError
from bench.install.provision import InstallFailed, Provisioner, Wanted
from bench.install.receipts import name_receipt
from bench.install.spec import InstallSpec, describe_asked, describe_ran
from bench.jobs.control import Control, stop_on_signals
from bench.jobs.job import run_job
from bench.jobs.spec import ENGINE_CODE, JobSpec
from bench.memory.nvml import read_gpu_names
from bench.neighbour.borrowed import explain_no_room
from bench.records.run import Install, InstallStep
from bench.records.take import Take
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now

_CONTEXT_BYTES = 2**30
"""What the GPU check needs beside a neighbour: the CUDA context and torch."""


def install(job_dir: Path, state_dir: Path, say: Any) -> Install:
    """Install and say the sentence; the record is what `install.json` of the run will hold.

    Raises:
        AuditionError: the host failed (a taken port, a silent Docker), which says nothing of the model.
    """
    spec = InstallSpec.model_validate_json((job_dir / "install.json").read_bytes())
    job = JobSpec.model_validate_json((job_dir / "job.json").read_bytes())
    started = time.monotonic()
    spent_s = sum(step.seconds for step in spec.before)
    waited_s = sum(step.waited_s or 0.0 for step in spec.before)
    # The provisioner keeps the limit; this one notices a controller that is gone, or a signal.
    control = Control(job_dir, float("inf"))
    provisioner = Provisioner(
        spec.limit_s, say, spent_s=spent_s - waited_s, stopped=control.reason, scratch=job_dir.absolute()
    )
    record = Install(
        ok=False,
        steps=spec.before,
        total_s=0.0,
        limit_s=spec.limit_s,
        asked=describe_asked(job.entry, job.install),
        weights=spec.weights,
    )
    try:
        with stop_on_signals(control), control.watching():
            if provide(job_dir, job, provisioner, spec.sources_mirror, record):
                # Making a model's environment removes its older ones, and with them what its receipts prove.
                for receipt in (state_dir / "receipts").glob(f"{job.entry.name}-*.json"):
                    receipt.unlink()
            record.gpu_check = _gpu_check(job, provisioner)
        if job.install == "http":
            record.receipt = spec.receipt
        elif (why := explain_no_room(job.neighbour)) is not None:
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
    record.total_s = round(spent_s + time.monotonic() - started, 3)
    if record.receipt is not None:
        path = name_receipt(state_dir, job.entry.name, job.profile)
        write_atomically(path, record.model_dump_json(indent=1).encode())
    return record


def provide(job_dir: Path, job: JobSpec, provisioner: Provisioner, mirror: str, record: Install) -> bool:
    """Make the model's environment, or have its image; returns whether an environment was not there before.

    `mirror` is where the code of a model that is no package is fetched from, in place of where its entry says. What is
    known of an image goes into `record`.
    """
    sources, ours = None, job.entry.ours
    unmet = ours.unmet if ours is not None else None
    if ours is not None and ours.sources:
        sources = Wanted(job_dir / "job.json", job_dir / "sources", mirror)
    if job.install == "venv":
        assert job.lock and job.engine_python
        target = Path(job.engine_python).parent.parent
        return provisioner.venv(target, job_dir / job.lock, job_dir / ENGINE_CODE, sources, unmet)
    if job.install == "container":
        assert job.lock and job.image
        code = job_dir / ENGINE_CODE
        return provisioner.image(job.image, job_dir / job.lock, code, job.image_base, sources, unmet)
    if job.install == "image":
        record.image = provisioner.pull(job.entry)
    return False


def _gpu_check(job: JobSpec, provisioner: Provisioner) -> dict[str, Any]:
    """See that the environment works on this host's GPU; returns nothing where there is no such thing to see."""
    run = job.entry.ours
    if run is None or not run.gpu or job.lock is None:
        return {}
    small = job.neighbour.model_copy(update={"engine_bytes": _CONTEXT_BYTES})
    if (why := explain_no_room(small)) is not None:
        provisioner.steps.append(InstallStep(name="gpu check", seconds=0.0, detail=f"not made: {why}"))
        return {}
    if job.install == "container":
        command = [sys.executable, "-m", "bench.engines.image.check", str(job.image), job.run_id, run.adapter]
    else:
        command = [str(job.engine_python), "-P", "-m", "bench.serving.gpu_check", run.adapter]
    names = read_gpu_names()
    return provisioner.gpu_check([*command, *(["--gpu", names[0]] if names else [])])


def _smoke(job_dir: Path, job: JobSpec, provisioner: Provisioner, record: Install) -> None:
    """Say one sentence in the model's own preset voice and look at what came out."""
    started = time.monotonic()
    said = run_job(job_dir, left_s=provisioner.left_s("smoke sentence"))
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
    record.ran = describe_ran(said.health, job.install, utc_now())
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
