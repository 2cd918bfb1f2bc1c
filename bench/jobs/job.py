"""One pass on a host: what a job says, and the one call that does it (design: "How a run flows", 2-4).

A job is a directory that the controller sends: `job.json`, `utterances.txt`, `reference.wav`,
`reference.txt`, and for a baseline `heard.wav`. The call leaves `out/` beside it, which goes back as one tar: a
directory of takes a pass, `memory.json`, `neighbour.json` and `result.json`. `progress.jsonl` and `heartbeat` are how
the controller follows it: a job whose heartbeat is stale ends itself, so a benchmark never outlives its controller.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from bench.audio.wav import read_mono
from bench.client.probe import ServerUnusable
from bench.client.target import Target
from bench.engines.launch import Engine, EngineFailed, LaunchSpec, launch
from bench.errors import AuditionError, BadInput
from bench.jobs.archive import unpack
from bench.jobs.control import Cancelled, Control, stop_on_signals
from bench.jobs.metrics import measure_takes, try_metrics
from bench.jobs.progress import Progress
from bench.jobs.speak import speak_pass
from bench.jobs.spec import ENGINE_CODE, HEARD, LENT, JobResult, JobSpec
from bench.jobs.stranger import check_other_side
from bench.memory.meminfo import settle_baseline
from bench.memory.sampler import MemorySampler
from bench.metrics.f0 import median_f0_hz
from bench.neighbour import outage
from bench.neighbour.borrowed import borrow_for_job, explain_no_room
from bench.records.passes import PassFile
from bench.storage.atomic import write_atomically
from bench.storage.private import close_tree, make_private
from bench.storage.record_file import save_record


def run_job(
    job_dir: Path, *, token: str | None = None, other_token: str | None = None, left_s: float | None = None
) -> JobResult:
    """Do the job in `job_dir`; what it made is in `job_dir/out` when this returns.

    `token` is the bearer token of a server that wants one, `other_token` that of the other side's; they are written
    nowhere. `left_s` is what is left of an installation's limit, where the job is part of one.
    """
    spec = JobSpec.model_validate_json((job_dir / "job.json").read_bytes())
    out = job_dir / "out"
    shutil.rmtree(out, ignore_errors=True)
    make_private(out)
    started = time.monotonic()
    result = JobResult(phase=spec.phase, ok=False, seconds=0.0)
    control = Control(job_dir, spec.pass_timeout_s)
    if left_s is not None and left_s < spec.pass_timeout_s:
        control = Control(job_dir, left_s, "what was left of install_timeout_s")
        if spec.entry.started is not None and spec.entry.started.start_timeout_s > left_s:
            # A moment more, so that it is this limit that ends it.
            spec.entry.run = spec.entry.run.model_copy(update={"start_timeout_s": left_s + 2.0})
    with stop_on_signals(control), control.watching():
        try:
            check_other_side(spec, job_dir, other_token, Progress(job_dir / "progress.jsonl"))
            _do(spec, job_dir, out, control, result, token)
            result.ok = True
        except (EngineFailed, ServerUnusable) as error:
            result.error, result.fault = str(error), "candidate"
            if (stopped := control.reason()) is not None:
                # Whoever stopped the job ended the engine under it; that is nothing the candidate did.
                result.error, result.fault = f"{spec.phase} was stopped: {stopped}.", control.fault
        except Cancelled as error:
            result.error, result.fault = str(error), control.fault
        except (AuditionError, OSError) as error:
            result.error, result.fault = str(error), "host"
        result.seconds = round(time.monotonic() - started, 3)
    write_atomically(out / "result.json", (result.model_dump_json(indent=2) + "\n").encode())
    close_tree(out)
    return result


def _do(
    spec: JobSpec, job_dir: Path, out: Path, control: Control, result: JobResult, token: str | None
) -> None:
    progress = Progress(job_dir / "progress.jsonl")
    heard = next((clip for name in (HEARD, "reference.wav") if (clip := job_dir / name).is_file()), None)
    if heard is not None:
        result.reference_f0_hz = median_f0_hz(*read_mono(heard))
    if (
        spec.phase == "baseline"
        and spec.entry.started
        and (why := explain_no_room(spec.neighbour)) is not None
    ):
        raise BadInput(f"There is no room for the baseline beside the neighbour: {why}.")
    try_metrics(spec, heard)
    if spec.lent is not None:
        progress.say(f"{spec.entry.title} spoke in {spec.lent_by}, and nobody has heard it: the same takes")
        _take_lent(spec, spec.lent, job_dir, out, result)
        measure_takes(spec, out / "baseline", heard, progress.say)
        if control.reason() is not None:
            raise Cancelled(f"{spec.phase} was stopped: {control.reason()}.")
        return
    _need_image(spec)
    with borrow_for_job(spec.neighbour, spec.run_id, control.alive, progress.say, out) as held:
        held.mark(outage.BASELINE)
        baseline = settle_baseline(timeout_s=10.0)
        control.also(held.lost)
        sampler = MemorySampler(
            baseline=baseline,
            floor_bytes=held.floor_bytes,
            on_floor=lambda left: control.stop(f"only {left >> 20} MiB of memory were left, below the floor"),
        )
        held.mark(outage.LOADING)
        try:
            with (
                sampler,
                _target(spec, job_dir, sampler, control, result, progress, token) as (target, engine),
            ):
                for name in spec.passes:
                    if not control.alive():
                        break
                    held.mark(outage.SPEAKING)
                    with held.speaking():
                        speak_pass(
                            spec, name, target, engine, job_dir, out, control, result, progress, sampler
                        )
                    if engine is not None:
                        sampler.set_torch_peak(engine.health_now().get("memory"))
                held.mark(outage.ENDING)
            control.passes_are_over()
        finally:
            save_record(sampler.report(), out)
    # After the engine is gone and the neighbour is back: figures can wait, the neighbour cannot.
    for name in result.passes:
        if name in ("candidate", "baseline") and control.alive():
            progress.say(f"measuring the {name}'s takes: the metrics that stand beside the ear")
            measure_takes(spec, out / name, heard, progress.say)
    if control.reason() is not None:
        raise Cancelled(f"{spec.phase} was stopped: {control.reason()}.")


def _take_lent(spec: JobSpec, lent: PassFile, job_dir: Path, out: Path, result: JobResult) -> None:
    """Put another run's takes where this job's would be, with what is known of how they were made."""
    (job_dir / LENT).rename(out / "baseline")
    if lent.result is not None:
        result.passes["baseline"] = lent.result
    result.health, result.engine_start_s = lent.health, lent.engine_start_s
    result.fp32_retries["baseline"] = lent.fp32_retries
    if lent.machine is not None:
        result.machine["baseline"] = lent.machine
    result.network, result.voice_check, result.lent_by = lent.network, lent.voice_check, spec.lent_by


def _need_image(spec: JobSpec) -> None:
    """Check that the engine's image is there, before anything is paused for it: no container keeps it from a prune.

    Raises:
        BadInput: it is not.
    """
    if spec.install not in ("container", "image"):
        return
    from bench.docker_host.host import DockerHost
    from bench.engines.container import need_image
    from bench.engines.published import find_platform, name_reference

    with DockerHost() as docker_host:
        if spec.install == "image":
            need_image(docker_host, name_reference(spec.entry, find_platform(docker_host)))
        elif spec.image is not None:
            need_image(docker_host, spec.image)


@contextlib.contextmanager
def _target(
    spec: JobSpec, job_dir: Path, sampler: MemorySampler, control: Control, result: JobResult,
    progress: "Progress", token: str | None,
) -> Iterator[tuple[Target, Engine | None]]:  # fmt: skip
    """Yield where to speak: an engine started for this call, or a server that is already there."""
    stranger = spec.entry.stranger
    if spec.install == "http":
        assert stranger is not None
        yield Target.from_run(stranger, spec.url or "", token), None
        return
    progress.say(f"starting {spec.entry.title} ({spec.install}, profile {spec.profile})")
    launched = launch(
        LaunchSpec(
            entry=spec.entry,
            profile=spec.profile,
            run_id=spec.run_id,
            install=spec.install,
            log=job_dir / "out" / "engine.log",
            image=spec.image,
            code=_unpack_code(spec, job_dir),
            weights=spec.weights,
            port=spec.port,
            **({"python": spec.engine_python} if spec.engine_python else {}),
        ),
        started=control.on_stop,
    )
    with launched as engine:
        sampler.attach(engine.processes)
        result.health = engine.health
        result.engine_start_s = round(engine.start_s, 3)
        ours = Target(base_url=engine.url, dialect="openai")
        yield (ours if stranger is None else Target.from_run(stranger, engine.url)), engine
        sampler.attach(None)


def _unpack_code(spec: JobSpec, job_dir: Path) -> Path | None:
    """Return the folder that a system engine runs from; a venv and an image have the code in them."""
    if spec.install != "system" or not (job_dir / ENGINE_CODE).is_file():
        return None
    unpack(job_dir / ENGINE_CODE, job_dir / "engine")
    return job_dir / "engine"
