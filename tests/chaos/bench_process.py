"""The benchmarking process of a case: borrows the GPU, runs an engine, makes takes. `... bench_process CASE`.

It stands for the job that a playbook starts on the host, and uses the very `borrow` that the job uses. With
the lease switched off it does what a careful script would: stop, work, start again in `finally`.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from bench.client.chat import measure_chat
from bench.docker_host.host import RUN_LABEL, DockerHost
from bench.neighbour.container import Neighbour
from bench.neighbour.lease import Grant, LeaseRequest, borrow
from bench.neighbour.proof import Proof
from bench.records.neighbour import ChatLatency, NeighbourRecord
from bench.storage.record_file import save_record
from tests.chaos.config import STEP_LIMIT_S, TTL_S, Case

TAKES_BEFORE = 4
"""How many takes come before the middle of the benchmark."""
SERVER = """
import http.server
class Speak(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *given): pass
import sys
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Speak).serve_forever()
"""
HUNG = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(3600)
"""
"""Takes connections and never answers."""


class TaskFailed(RuntimeError):
    """The injected failure of the task."""


class Run:
    """One attempt."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.grant: Grant | None = None
        self.progressed = time.monotonic()
        self.speaking = False

    def alive(self) -> bool:
        """Whether the controller's heartbeat is fresh and the step within its time."""
        age = time.time() - self.case.heartbeat.stat().st_mtime
        stuck = self.speaking and time.monotonic() - self.progressed > STEP_LIMIT_S
        return age < self.case.heartbeat_limit_s and not stuck

    def gate(self, moment: str) -> None:
        """Wait here until the fault is in, when this is where it is to be."""
        if self.case.gate != moment:
            return
        self.case.reached.touch()
        end = time.monotonic() + 30.0
        while not self.case.injected.exists() and time.monotonic() < end:
            self.progressed = time.monotonic()
            if self.grant is not None:
                self.grant.check()
            time.sleep(0.05)

    def work(self) -> None:
        """Start the engine and make the takes."""
        self.gate("just after stop")
        docker_host = DockerHost(self.case.docker_host)
        self.start_engine(docker_host)
        url = f"http://127.0.0.1:{self.case.engine_port}/"
        self.speaking, self.progressed = True, time.monotonic()
        with httpx.Client(timeout=30.0) as client:
            end = time.monotonic() + 15.0
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    client.get(url)
                    break
                self.progressed = time.monotonic()  # not there yet; one that is there and hangs is stuck
                if time.monotonic() > end:
                    raise RuntimeError("the engine did not become ready")
                self.check()
                time.sleep(0.1)
            self.speaking, self.progressed = True, time.monotonic()
            for _ in range(TAKES_BEFORE):
                self.take(client, url)
            self.gate("mid-benchmark")
            end = time.monotonic() + self.case.speak_s
            while time.monotonic() < end:
                self.take(client, url)
            self.speaking = False
        docker_host.remove_run(self.case.run_id)

    def take(self, client: httpx.Client, url: str) -> None:
        client.get(url)
        self.progressed = time.monotonic()
        self.check()
        time.sleep(0.1)

    def check(self) -> None:
        if self.grant is not None:
            self.grant.check()

    def start_engine(self, docker_host: DockerHost) -> None:
        program = HUNG if self.case.engine_hangs.exists() else SERVER
        docker_host.containers.run(
            self.case.engine_image,
            ["python3", "-c", program, str(self.case.engine_port), self.case.run_id],
            detach=True,
            network_mode="host",
            labels={RUN_LABEL: self.case.run_id},
        )

    def saved(self, record: NeighbourRecord) -> None:
        save_record(record, Path(self.case.run_dir))
        if record.state == "held":
            self.gate("before stop")

    def with_lease(self) -> None:
        case = self.case
        request = LeaseRequest(
            container=case.container,
            run_id=case.run_id,
            url=case.url,
            ttl_s=TTL_S,
            hard_limit_s=120.0,
            watch_bytes=case.watch_bytes,
            lease_dir=Path(case.lease_dir),
            watcher_base=case.watcher_base,
            boot_id_file=Path(case.boot_id_file),
            ready_limit_s=60.0,
            ratio_limit=1000.0,  # speed is not what is under test here
        )
        # An interrupted attempt's; not later: what a fault has put there is the lease's to end.
        DockerHost(case.docker_host).remove_run(case.run_id)
        proof = Proof(measure=few_samples, min_samples=3, ready_limit_s=60.0, settle_s=0.0)
        with borrow(
            request, self.alive, docker_host=DockerHost(case.docker_host), save=self.saved, proof=proof
        ) as self.grant:
            self.work()

    def without_lease(self) -> None:
        docker_host = DockerHost(self.case.docker_host)
        docker_host.remove_run(self.case.run_id)
        neighbour = Neighbour(docker_host, self.case.container)
        self.gate("before stop")
        neighbour.stop(timeout_s=5)
        try:
            self.work()
        finally:
            docker_host.remove_run(self.case.run_id)
            if self.case.gate == "during restore":
                self.gate("during restore")
            neighbour.start()


def few_samples(url: str) -> ChatLatency:
    return measure_chat(url, n=3, discard=1)


@contextlib.contextmanager
def result(case: Case) -> Iterator[None]:
    """Leave in the run directory how the attempt ended."""
    outcome: dict[str, Any] = {"done": False, "error": "the attempt was cut off"}
    path = Path(case.run_dir) / "result.json"
    path.write_text(json.dumps(outcome))
    try:
        yield
        outcome = {"done": True, "error": None}
    except BaseException as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        path.write_text(json.dumps(outcome))


def main() -> None:
    case = Case.load(Path(sys.argv[1]))
    run = Run(case)

    def fail(_signal: int, _frame: object) -> None:
        raise TaskFailed("injected")

    signal.signal(signal.SIGUSR1, fail)
    (Path(case.directory) / "bench.pid").write_text(str(os.getpid()))  # Ansible's controller knows it not
    with result(case):
        run.with_lease() if case.with_lease else run.without_lease()


if __name__ == "__main__":
    main()
