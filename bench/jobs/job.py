"""One pass on a host: what a job says, and the one call that does it (design: "How a run flows", 2-4).

A job is a directory that the controller sends: `job.json`, `utterances.txt`, `reference.wav`,
`reference.txt`, and for a baseline `heard.wav`. The call leaves `out/` beside it, which goes back as one tar: a
directory of takes a pass, `memory.json`, `neighbour.json` and `result.json`. `progress.jsonl` and `heartbeat` are how
the controller follows it: a job whose heartbeat is stale ends itself, so a benchmark never outlives its controller.
"""

import contextlib
import json
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import httpx

from bench.audio.wav import read_mono
from bench.catalog.entry import EngineRun, HttpRun
from bench.client.network import measure_network
from bench.client.probe import ServerUnusable
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.client.voicecheck import check_voice
from bench.engines.image.context import tag
from bench.engines.launch import Engine, EngineFailed, LaunchSpec, launch
from bench.engines.readback import ReadBack
from bench.errors import AuditionError, BadInput
from bench.inputs import utterances
from bench.jobs.heartbeat import heartbeat_time, touch_heartbeat
from bench.jobs.spec import HEARD, JobResult, JobSpec, PassName
from bench.memory.sampler import MemoryReport, MemorySampler, settle_baseline
from bench.metrics.f0 import median_f0_hz
from bench.metrics.measure import Job as MetricsJob
from bench.metrics.measure import measure_pass
from bench.metrics.take import TakeMetrics
from bench.neighbour.borrowed import borrowed, room_beside
from bench.records.run import Utterance
from bench.records.take import Take
from bench.storage.atomic import write_atomically

HEARTBEAT_LIMIT_S = 30.0
"""The controller touches the heartbeat about once a second; this long without one and it is gone."""
SEED = 20_260_101
_SMOKE_TEXT = "This is one sentence, to hear that the model speaks."


class Cancelled(AuditionError):
    """The job was told to stop: its controller is gone, its time is up, or memory fell below the floor."""


class Control:
    """Why a job must stop, watched by one thread; asked by everything that could go on for long."""

    def __init__(self, job_dir: Path, limit_s: float, limit_name: str = "pass_timeout_s") -> None:
        self._heartbeat = job_dir / "heartbeat"
        self._deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + limit_s
        self._limit_s, self._limit_name = limit_s, limit_name
        self._reason: str | None = None
        self.fault: Literal["candidate", "host"] = "host"
        """Whose fault the reason is: an engine too slow for the limit is the candidate's."""
        self._done = threading.Event()
        self._on_stop: list[Callable[[], None]] = []
        self._asked: list[Callable[[], str | None]] = []

    def reason(self) -> str | None:
        """Return why the job must stop, or None."""
        return self._reason

    def alive(self) -> bool:
        """Return whether the job may go on; the lease is renewed by this."""
        return self._reason is None

    def stop(self, reason: str, fault: Literal["candidate", "host"] = "host") -> None:
        """Make the job stop; the first reason stays."""
        if self._reason is None:
            self._reason, self.fault = reason, fault
            for call in self._on_stop:
                with contextlib.suppress(Exception):
                    call()

    def passes_are_over(self) -> None:
        """Lift the limit: how long the neighbour takes to come back is nothing the candidate does."""
        self._deadline = math.inf

    def also(self, ask: Callable[[], str | None]) -> None:
        """Let `ask` say a reason to stop too; asked every second."""
        self._asked.append(ask)

    def on_stop(self, call: Callable[[], None]) -> None:
        """Call `call` when the job must stop: ends the engine at once, in mid-take or while it loads."""
        self._on_stop.append(call)
        if self._reason is not None:  # it came too late to be called by `stop`
            call()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch heartbeat and deadline while the block runs."""
        touch_heartbeat(self._heartbeat.parent)
        thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(5)

    def _watch(self) -> None:
        while not self._done.wait(1.0):
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            if now > self._deadline:
                self.stop(f"it was not done within {self._limit_s:.0f} s ({self._limit_name})", "candidate")
            elif (age := now - heartbeat_time(self._heartbeat.parent)) > HEARTBEAT_LIMIT_S:
                self.stop(f"the controller has not been heard of for {age:.0f} s")
            for ask in self._asked:
                if (reason := ask()) is not None:
                    self.stop(reason)


def run_job(job_dir: Path, *, token: str | None = None, left_s: float | None = None) -> JobResult:
    """Do the job in `job_dir`; what it made is in `job_dir/out` when this returns.

    `token` is the bearer token of a server that wants one; it is written nowhere. `left_s` is what is left of an
    installation's limit, where the job is part of one.
    """
    spec = JobSpec.model_validate_json((job_dir / "job.json").read_bytes())
    out = job_dir / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    started = time.monotonic()
    result = JobResult(phase=spec.phase, ok=False, seconds=0.0)
    control = Control(job_dir, spec.pass_timeout_s)
    if left_s is not None and left_s < spec.pass_timeout_s:
        control = Control(job_dir, left_s, "what was left of install_timeout_s")
        if isinstance(spec.entry.run, EngineRun) and spec.entry.run.start_timeout_s > left_s:
            # A moment more, so that it is this limit that ends it.
            spec.entry.run = spec.entry.run.model_copy(update={"start_timeout_s": left_s + 2.0})
    with sigterm_stops(control), control.watching():
        try:
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
    return result


def _do(
    spec: JobSpec, job_dir: Path, out: Path, control: Control, result: JobResult, token: str | None
) -> None:
    progress = _Progress(job_dir / "progress.jsonl")
    heard = next((clip for name in (HEARD, "reference.wav") if (clip := job_dir / name).is_file()), None)
    if heard is not None:
        result.reference_f0_hz = median_f0_hz(*read_mono(heard))
    ours = spec.phase == "baseline" and not isinstance(spec.entry.run, HttpRun)
    if ours and (why := room_beside(spec.neighbour)) is not None:
        raise BadInput(f"There is no room for the baseline beside the neighbour: {why}.")
    _try_metrics(spec, heard)
    _need_image(_image(spec, job_dir))
    with borrowed(spec.neighbour, spec.run_id, control.alive, progress.say, out) as held:
        baseline = settle_baseline(timeout_s=10.0)
        control.also(held.lost)
        sampler = MemorySampler(
            baseline=baseline,
            floor_bytes=held.floor_bytes,
            on_floor=lambda left: control.stop(f"only {left >> 20} MiB of memory were left, below the floor"),
        )
        try:
            with (
                sampler,
                _target(spec, job_dir, sampler, control, result, progress, token) as (target, engine),
            ):
                for name in spec.passes:
                    if not control.alive():
                        break
                    with held.speaking():
                        _speak(spec, name, target, engine, job_dir, out, control, result, progress, sampler)
                    if engine is not None:
                        sampler.set_torch_peak(engine.health_now().get("memory"))
            control.passes_are_over()
        finally:
            _write_memory(out / "memory.json", sampler.report())
    # After the engine is gone and the neighbour is back: figures can wait, the neighbour cannot.
    for name in result.passes:
        if name in ("candidate", "baseline") and control.alive():
            _measure(spec, out / name, heard)
    if control.reason() is not None:
        raise Cancelled(f"{spec.phase} was stopped: {control.reason()}.")


def _metrics(spec: JobSpec, jobs: Iterable[MetricsJob], reference: Path | None) -> Iterator[TakeMetrics]:
    return measure_pass(
        jobs,
        reference,
        whisper_model=spec.whisper_model,
        python=spec.similarity_python or sys.executable,
    )


def _try_metrics(spec: JobSpec, reference: Path | None) -> None:
    """Measure the reference itself with what the inventory asks for, before anything is paused for takes.

    Raises:
        BadInput: a model or package is missing, so every take's metrics would be.
    """
    if reference is None or not (spec.similarity_python or spec.whisper_model):
        return
    (found,) = _metrics(spec, [("reference", reference, "reference")], reference)
    missing = found.error or (found.reasons.get("reference_cosine") if spec.similarity_python else None)
    if missing is not None:
        raise BadInput(f"{missing} (similarity_python, whisper_model; docs/metrics.md)")


def _need_image(image: str | None) -> None:
    """Check that the engine's image is there, before anything is paused for it: no container keeps it from a prune.

    Raises:
        BadInput: it is not.
    """
    if image is None:
        return
    from bench.docker_host.host import DockerHost
    from bench.engines.container import need_image

    with DockerHost() as docker_host:
        need_image(docker_host, image)


def _measure(spec: JobSpec, folder: Path, reference: Path | None) -> None:
    """Write `metrics.jsonl` beside the takes of a pass."""
    takes = (Take.model_validate_json(line) for line in (folder / "takes.jsonl").open(encoding="utf-8"))
    jobs = ((t.utterance_id, folder / t.wav, t.text) for t in takes if t.wav is not None)
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as lines:
        for found in _metrics(spec, jobs, reference):
            lines.write(found.model_dump_json() + "\n")


def _write_memory(path: Path, report: MemoryReport) -> None:
    body = {"schema_version": 1, **report.model_dump(mode="json")}
    write_atomically(path, json.dumps(body, indent=1).encode() + b"\n")


@contextlib.contextmanager
def _target(
    spec: JobSpec, job_dir: Path, sampler: MemorySampler, control: Control, result: JobResult,
    progress: "_Progress", token: str | None,
) -> Iterator[tuple[Target, Engine | None]]:  # fmt: skip
    """Yield where to speak: an engine started for this call, or a server that is already there."""
    if isinstance(spec.entry.run, HttpRun):
        yield Target.of(spec.entry.run, spec.url or "", token), None
        return
    progress.say(f"starting {spec.entry.title} ({spec.install}, profile {spec.profile})")
    launched = launch(
        LaunchSpec(
            entry=spec.entry,
            profile=spec.profile,
            run_id=spec.run_id,
            install=spec.install if spec.install != "http" else "system",
            log=job_dir / "out" / "engine.log",
            image=_image(spec, job_dir),
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
        yield Target(base_url=engine.url, dialect="openai"), engine
        sampler.attach(None)


def _image(spec: JobSpec, job_dir: Path) -> str | None:
    """Return the name of the image, which is the hash of what it is built from."""
    if spec.install != "container":
        return None
    assert spec.lock is not None
    return tag(spec.entry.name, job_dir / spec.lock, base=spec.image_base)


def _speak(
    spec: JobSpec, name: PassName, target: Target, engine: Engine | None, job_dir: Path, out: Path,
    control: Control, result: JobResult, progress: "_Progress", sampler: MemorySampler,
) -> None:  # fmt: skip
    text_file = job_dir / "utterances.txt"
    total = 1 if name == "smoke" else sum(1 for _ in utterances.read(text_file))
    spoken = (
        iter([Utterance(id="smoke", text=_SMOKE_TEXT)]) if name == "smoke" else utterances.read(text_file)
    )
    voice = _voice(spec, name, job_dir)
    if result.network is None:
        result.network = measure_network(target, n=10)
    if engine is None and name in ("candidate", "baseline"):
        _check_stranger(target, voice, spec, result, out / "voicecheck")
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
        timed=sampler.window(name),
    )
    made = result.passes[name]
    if engine is not None and made.stopped is None and made.ok < made.takes:
        made.stopped = _last_words(engine)
    if read_back is not None:
        result.fp32_retries[name] = read_back.retries
    if hung:  # each further take would keep the neighbour down for another time limit
        raise EngineFailed(f"{spec.entry.title}: {hung[0]}.")
    if read_back is not None and made.stopped is None:
        result.health_after[name] = read_back.after()


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


def _check_stranger(target: Target, voice: Voice, spec: JobSpec, result: JobResult, clips: Path) -> None:
    """See that a server that is not ours speaks in the voice asked for, before anything is built on its takes.

    Raises:
        ServerUnusable: it answers in its default voice whatever it is asked for.
        AuditionError: that was not shown, and nobody has said that it is the voice all the same.
    """
    check = check_voice(target, voice, timeout_s=spec.take_timeout_s, keep=clips)
    result.voice_check = check
    if check.verdict == "honoured":
        return
    found = "; ".join(check.evidence)
    if check.verdict == "substituted":
        raise ServerUnusable(
            "voice_substituted", f"the server speaks in a voice of its own, whatever it is asked for: {found}"
        )
    if check.verdict == "not_checked":
        raise AuditionError(f"whether the server honours the voice could not be checked: {found}")
    if not spec.voice_accepted:
        side = "baseline" if spec.phase == "baseline" else "model"
        raise AuditionError(
            f"it is unclear whether the server honours the voice: {found}. Listen to voicecheck/asked.wav and "
            f"other.wav under the run's attempts/; if they are two voices, say who heard it in {side}_voice_accepted "
            "and start this phase again."
        )
    check.accepted = spec.voice_accepted


def _voice(spec: JobSpec, name: PassName, job_dir: Path) -> Voice:
    preset = spec.entry.preset
    if name in ("smoke", "preset") and preset is not None:
        return Voice.named(preset.name)
    if isinstance(spec.entry.run, HttpRun) and spec.entry.run.voice is not None:
        return Voice.named(spec.entry.run.voice)
    return Voice.clone(
        job_dir / "reference.wav", (job_dir / "reference.txt").read_text(encoding="utf-8").strip()
    )


class _Progress:
    """Lines for the person who waits: one a take, in `progress.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8", buffering=1)
        self._model = self._name = ""
        self._total = self._count = 0

    def say(self, text: str) -> None:
        """Write one line."""
        self._stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")

    def begin(self, model: str, name: str, total: int) -> None:
        """Begin counting the takes of a pass."""
        self._model, self._name, self._total, self._count = model, name, total, 0

    def take(self, take: Take) -> None:
        """Write the line of a take."""
        if take.warmup:
            self.say(f"{self._model} | {self._name} | warm-up | {_figures(take)}")
            return
        self._count += 1
        self.say(
            f"{self._model} | {self._name} | {self._count}/{self._total} | {take.utterance_id} | {_figures(take)}"
        )


def _figures(take: Take) -> str:
    if take.error is not None:
        return f"failed: {take.error.kind}"
    # No length and no RTF: who is going to rate may be looking, and both sides say the same sentence.
    return "no TTFA" if take.ttfa_ms is None else f"TTFA {take.ttfa_ms:.0f} ms"


@contextlib.contextmanager
def sigterm_stops(control: Control) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGHUP stop the job in order: the neighbour is given back on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, _: object) -> None:
        control.stop(f"signal {signal.Signals(number).name}")

    before = {
        number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
