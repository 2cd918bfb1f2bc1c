"""A whole pass of takes, measured on all cores, in memory that does not grow with the pass.

Each worker is a fresh interpreter running this module (`python -m bench.metrics.measure`) that reads one JSON
line a take and answers with one. A pool of `multiprocessing` would import the caller's main module, which in
an Ansible module or a script on stdin cannot be relied on; its workers outlive a parent that was killed,
where these end at the end of their input; and a crash in a native library would break the pool, where here it
costs that one take.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from bench.audio.wav import read_mono
from bench.errors import BadInput
from bench.metrics.take import measure_take, reference_f0_hz
from bench.records.metrics import TakeMetrics

Job = tuple[str, Path, str]
"""Utterance id, the take's file, the text it was asked to say."""


def measure_pass(
    jobs: Iterable[Job],
    reference: Path | None,
    *,
    workers: int | None = None,
    whisper_model: Path | None = None,
    python: str = sys.executable,
) -> Iterator[TakeMetrics]:
    """Yield the metrics of each take, in the order of `jobs`, which is read as far ahead as the workers need.

    Args:
        jobs: utterance id, WAV file and known text of each take.
        reference: the reference clip, for drift and similarity; None leaves both out.
        workers: processes; by default the cores this process may use.
        whisper_model: directory of a faster-whisper model; None leaves out the word error rate.
        python: the interpreter of the workers; one with Resemblyzer gives speaker similarity. What it lacks,
            bench among it, it takes from this interpreter's packages.

    A take that cannot be read or that crashes its worker comes back with `error` set; the pass goes on.

    Raises:
        BadInput: the reference cannot be read, or a worker cannot be started with `python`.
    """
    if reference is not None:
        read_mono(reference)
    shared = {
        "reference": None if reference is None else str(reference),
        "whisper_model": None if whisper_model is None else str(whisper_model),
    }
    count = workers or len(os.sched_getaffinity(0))
    crew = _Crew(python)
    waiting: deque[Future[TakeMetrics]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix="metrics")
    try:
        for utterance_id, wav, text in jobs:
            job = {"utterance_id": utterance_id, "wav": str(wav.absolute()), "text": text, **shared}
            waiting.append(pool.submit(crew.measure, job))
            if len(waiting) >= 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        crew.end()
        pool.shutdown(wait=True, cancel_futures=True)


class _Crew:
    """One worker process for each thread of the pool that asks, started when it first does."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._own = threading.local()
        self._complaints: dict[subprocess.Popen[str], IO[bytes]] = {}
        """Every worker that was not buried, and what it says on stderr."""
        self._lock = threading.Lock()
        self._ended = False

    def measure(self, job: dict[str, Any]) -> TakeMetrics:
        worker = self._worker()
        answer = ""
        try:
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write(json.dumps(job) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except OSError:
            pass
        if not answer:
            self._own.worker = None
            return _failed(job, f"the metrics' process ended with {worker.wait()}{self._bury(worker)}")
        return TakeMetrics.model_validate_json(answer)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            for worker in self._complaints:
                worker.kill()
            for worker in [*self._complaints]:
                worker.wait()
                self._close(worker)

    def _bury(self, worker: "subprocess.Popen[str]") -> str:
        """Return the last words of a worker that ended by itself, and keep no file of it open."""
        with self._lock:
            if worker not in self._complaints:  # `end` was quicker
                return ""
            complaints = self._complaints[worker]
            complaints.seek(0)
            lines = complaints.read().decode(errors="replace").split("\n")
            self._close(worker)
        said = [line for line in lines if line.strip()]
        return f": {said[-1].strip()}" if said else ""

    def _close(self, worker: "subprocess.Popen[str]") -> None:
        for stream in (worker.stdin, worker.stdout, self._complaints.pop(worker)):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was still to be written to a pipe without a reader
                    stream.close()

    def _worker(self) -> "subprocess.Popen[str]":
        worker: subprocess.Popen[str] | None = getattr(self._own, "worker", None)
        if worker is None:
            with self._lock:
                if self._ended:
                    raise BadInput("The pass was stopped.")
                complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its worker
                worker = _start(self._python, complaints)
                self._complaints[worker] = complaints
            self._own.worker = worker
        return worker


def _start(python: str, complaints: IO[bytes]) -> "subprocess.Popen[str]":
    # One take a process at a time: threads within a numerical library would fight over the same cores.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Last on the path: another environment's own packages come first, ours fill what it lacks.
    ours = [str(Path(__file__).parents[2]), *(path for path in sys.path if "site-packages" in path)]
    code = f"import runpy, sys; sys.path += {ours!r}; runpy.run_module('bench.metrics.measure', run_name='__main__')"
    try:
        return subprocess.Popen(
            [python, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
            env={**os.environ, **single},
        )
    except OSError as error:
        raise BadInput(f"No worker for the metrics could be started with {python!r} ({error}).") from error


def _failed(job: dict[str, Any], message: str) -> TakeMetrics:
    return TakeMetrics(utterance_id=job["utterance_id"], wav=Path(job["wav"]).name, error=message)


def _measure(job: dict[str, Any]) -> TakeMetrics:
    reference = None if job["reference"] is None else Path(job["reference"])
    model = None if job["whisper_model"] is None else Path(job["whisper_model"])
    try:
        return measure_take(
            Path(job["wav"]),
            job["text"],
            None if reference is None else reference_f0_hz(reference),
            utterance_id=job["utterance_id"],
            reference=reference,
            whisper_model=model,
        )
    except BadInput as error:
        return _failed(job, str(error))
    except Exception as error:  # noqa: BLE001 - one odd take must not end the pass; the record says what it was
        return _failed(job, f"{type(error).__name__}: {error}")


def _serve() -> None:
    # Native libraries may print; only answers may go where answers are read.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(_measure(json.loads(line)).model_dump_json() + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
