"""One pass of a job: the voice, the takes, what ends them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.client.network import measure_network
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.engines.launch import Engine, EngineFailed
from bench.engines.readback import ReadBack
from bench.errors import AuditionError
from bench.inputs import utterances
from bench.jobs.control import Control
from bench.jobs.machine import MachineWatch
from bench.jobs.progress import Progress
from bench.jobs.spec import JobResult, JobSpec, PassName
from bench.jobs.stranger import CLIPS, Stranger, choose_voice
from bench.memory.sampler import MemorySampler
from bench.records.passes import PassResult
from bench.records.run import Utterance
from bench.records.take import Take

SEED = 20_260_101


def speak_pass(
    spec: JobSpec, name: PassName, target: Target, engine: Engine | None, job_dir: Path, out: Path,
    control: Control, result: JobResult, progress: "Progress", sampler: MemorySampler,
) -> None:  # fmt: skip
    """Speak one pass of the job into `out/<name>`, and enter in `result` what it came to.

    Raises:
        EngineFailed: the engine hangs: each further take would keep the neighbour down for another time limit.
        ServerUnusable, AuditionError: as `bench.jobs.stranger.Stranger.judge`, of a server that is not ours.
    """
    text_file = job_dir / "utterances.txt"
    total = 1 if name == "smoke" else sum(1 for _ in utterances.read(text_file))
    spoken = (
        iter([Utterance(id="smoke", text=spec.smoke_text)]) if name == "smoke" else utterances.read(text_file)
    )
    voice = _voice(spec, name, job_dir)
    if result.network is None:
        result.network = measure_network(target, n=10)
    stranger = None
    if spec.entry.stranger is not None and name in ("candidate", "baseline"):
        stranger = Stranger(target, spec.entry, voice, spec.take_timeout_s, out / CLIPS)
        _look_at(stranger, spec, result)
    read_back = ReadBack(engine, spec.entry, spec.profile) if engine is not None else None
    progress.begin(spec.entry.name, name, total)

    hung: list[str] = []

    def stop() -> str | None:
        return control.reason() or (engine.died() if engine is not None else None) or next(iter(hung), None)

    def on_take(take: Take) -> None:
        progress.take(take)
        sampler.add_audio(take.audio_s or 0.0)
        if read_back is not None:
            read_back.take(take)
        late = take.error is not None and take.error.kind == "timeout"
        # Somebody else's server may be too busy for /health; it matters only while a neighbour waits for it.
        if late and (engine is not None or spec.neighbour.mode == "pause") and _silent(target):
            hung.append(
                f"the engine hangs: no take within {spec.take_timeout_s:.0f} s, and /health is silent"
            )

    # A server of somebody else's on this machine is busy for us, and cannot be told from what is not.
    ours_alone = engine is not None or not result.network.loopback
    machine = MachineWatch(engine.processes.pids if engine is not None else None, ours_alone=ours_alone)

    @contextlib.contextmanager
    def timed() -> Iterator[None]:
        with sampler.window(name), machine:
            yield
        result.machine[name] = machine.state()

    result.passes[name] = run_takes(
        target,
        spoken,
        voice,
        out / name,
        warmups=0 if name == "smoke" else spec.warmups,
        timeout_s=spec.take_timeout_s,
        seed=SEED,
        on_take=on_take,
        stop=stop,
        timed=timed(),
    )
    made = result.passes[name]
    if engine is not None and made.stopped is None and made.ok < made.takes:
        made.stopped = _last_words(engine)
    if read_back is not None:
        result.fp32_retries[name] = read_back.retries
    for alarm in made.alarms:
        progress.say(f"{spec.entry.name} | {name} | ALARM: {alarm.message}")
    if hung:  # each further take would keep the neighbour down for another time limit
        raise EngineFailed(f"{spec.entry.title}: {hung[0]}.")
    if read_back is not None and made.stopped is None:
        result.health_after[name] = read_back.after()
    _refuse_noise(spec, made)
    if stranger is not None and stranger.has_one_voice and made.stopped is None:
        _look_at(stranger, spec, result)  # at what it said before the pass, too


def _refuse_noise(spec: JobSpec, made: PassResult) -> None:
    """End a pass whose every take is noise: it says nothing of how a model sounds.

    Raises:
        EngineFailed: of an engine of ours, whose samples are read as it writes them: the model made the noise.
        AuditionError: of somebody else's server, whose samples we may have misread.
    """
    noise = next((alarm.message for alarm in made.alarms if alarm.kind == "noise"), None)
    if noise is None:
        return
    if spec.entry.stranger is None:
        raise EngineFailed(f"{spec.entry.title}: every take is noise at full scale.")
    raise AuditionError(f"{spec.entry.title}: {noise}.")


def _look_at(stranger: Stranger, spec: JobSpec, result: JobResult) -> None:
    """Check the voice of a server that is not ours; raises as `Stranger.judge`."""
    result.voice_check = stranger.listen()
    side = "baseline" if spec.phase == "baseline" else "model"
    stranger.judge(result.voice_check, spec.voice_accepted, f"{side}_voice_accepted")


def _silent(target: Target) -> bool:
    """Return whether a server gives no answer of any kind to `/health`, asked twice."""
    for _ in range(2):
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(target.url("/health"), timeout=5.0, verify=target.tls() or True, trust_env=False)
            return False
    return True


def _last_words(engine: Engine) -> str | None:
    """Return how the engine ended, or None; a process is gone from its sockets a moment before it is gone."""
    for _ in range(10):
        if (ended := engine.died()) is not None:
            return ended
        time.sleep(0.05)
    return None


def _voice(spec: JobSpec, name: PassName, job_dir: Path) -> Voice:
    preset = spec.entry.preset
    if name in ("smoke", "preset") and preset is not None:
        return Voice.by_name(preset.name)
    return choose_voice(spec.entry, job_dir / "reference.wav")
