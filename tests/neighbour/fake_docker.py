"""A stand-in for Docker's socket, for answers that a real engine gives only on its worst day; and the real
watcher on it, as a process."""

import contextlib
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.neighbour.lease_files import LeaseDirectory, Terms, WatcherStatus, boottime_s
from bench.neighbour.watcher_container import WATCHER_CONTEXT
from tests.support.pace import limit

NEIGHBOUR, ENGINE, WATCHER = "neighbour-id", "engine-id", "watcher-id"
RUN = "run-1"
Answer = tuple[int, Any]


@dataclass
class FakeDocker:
    """One neighbour, perhaps one engine, and `odd`: answers in place of the usual ones."""

    socket: Path
    running: bool = True
    policy: str = "no"
    starts: int = 1
    engine: bool = False
    calls: list[str] = field(default_factory=list)
    odd: Callable[[str, str], Answer | None] = lambda _method, _path: None
    """Asked first, with method and path; may sleep."""

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """Do what Docker does."""
        self.calls.append(f"{method} {path.partition('?')[0]}")
        odd = self.odd(method, path)
        if odd is not None:
            return odd
        if path.startswith("/containers/json"):
            names = {"Id": ENGINE, "Names": ["/engine"], "Labels": {"audition.run": RUN}}
            return 200, [names] if self.engine else []
        if method == "DELETE":
            self.engine = self.engine and ENGINE not in path
            return 204, None
        if path.startswith(f"/containers/{NEIGHBOUR}/"):
            return self._neighbour(path.rpartition("/")[2].partition("?")[0], body)
        return 200, {}

    def _neighbour(self, what: str, body: Any) -> Answer:
        match what:
            case "stop":
                self.running = False
            case "start":
                self.running, self.starts = True, self.starts + 1
            case "update":
                self.policy = body["RestartPolicy"]["Name"]
            case "json":
                state = {"Running": self.running, "Restarting": False, "StartedAt": f"start {self.starts}"}
                host = {"RestartPolicy": {"Name": self.policy, "MaximumRetryCount": 0}}
                return 200, {"State": state, "RestartCount": 0, "HostConfig": host}
        return 204, None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeDocker

    def _do(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, value = self.fake.answer(self.command, self.path, json.loads(raw) if raw else None)
        data = b"" if value is None else json.dumps(value).encode()
        with contextlib.suppress(OSError):  # the caller may have been killed
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _do  # noqa: N815 (the names that http.server calls)

    def log_message(self, format: str, *args: Any) -> None:
        return


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        return self.socket.accept()[0], ("docker", 0)


@contextlib.contextmanager
def fake_docker(folder: Path) -> Iterator[FakeDocker]:
    """Serve a fake Docker on a socket in `folder`."""
    fake = FakeDocker(folder / "docker.sock")
    server = _Server(str(fake.socket), type("Handler", (_Handler,), {"fake": fake}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


class Lease:
    """A lease on the fake's neighbour, renewed, and its watcher as a process of this machine."""

    def __init__(self, fake: FakeDocker, folder: Path, **changes: Any) -> None:
        self.fake = fake
        self.directory = LeaseDirectory(folder / "lease")
        self.directory.prepare()
        given: dict[str, Any] = {
            "lease_id": uuid.uuid4().hex, "run_id": RUN, "mode": "pause", "container": "neighbour",
            "container_id": NEIGHBOUR, "policy": {"Name": "no", "MaximumRetryCount": 0}, "watcher_name": WATCHER,
            "boot_id": self.directory.boot_id(), "agreed_utc": "", "until_utc": "",
            "hard_deadline_boottime_s": boottime_s() + 600, "hard_limit_s": 600.0, "ttl_s": 5.0, "floor_bytes": 0,
            "floor_wait_s": 3.0, "watch_bytes": 0, "stop_timeout_s": 10.0, "stay_up_s": 0.3, "ready_wait_s": 5.0,
            "health_url": None, "holder": "a test",
        }  # fmt: skip
        self.terms = Terms(**{**given, **changes})
        self.directory.agree(self.terms)
        self.process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._renew, daemon=True).start()

    def _renew(self) -> None:
        while not self._ended.wait(0.5):
            if (self.directory.path / "lease.json").exists():
                self.directory.renew(self.terms)

    def watch(self) -> None:
        """Start the watcher, or start it again as Docker does."""
        self.process = subprocess.Popen(
            [sys.executable, str(WATCHER_CONTEXT / "watcher.py")],
            env={
                **os.environ,
                "AUDITION_LEASE": self.terms.model_dump_json(),
                "AUDITION_DOCKER_SOCKET": str(self.fake.socket),
                "AUDITION_LEASE_DIR": str(self.directory.path),
            },
        )

    def freeze(self) -> None:
        """Renew no more, as a holder that is stopped does not."""
        self._ended.set()

    def kill(self) -> None:
        """SIGKILL the watcher."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def status(self) -> WatcherStatus | None:
        """Return what the watcher last recorded."""
        return self.directory.status()

    def is_at(self, state: str) -> bool:
        """Tell whether the watcher is in a state."""
        status = self.status()
        return status is not None and status.state == state

    def exit_code(self, limit_s: float = 30.0) -> int:
        """Wait for the watcher to end."""
        assert self.process is not None
        return self.process.wait(limit_s)

    def end(self) -> None:
        """End what is left."""
        self._ended.set()
        if self.process is not None and self.process.poll() is None:
            self.kill()


@contextlib.contextmanager
def lease_on(fake: FakeDocker, folder: Path, *, hold: bool = True, **changes: Any) -> Iterator[Lease]:
    """Agree on a lease and start its watcher; with `hold`, ask for the stop and wait until it is held."""
    lease = Lease(fake, folder, **changes)
    try:
        lease.watch()
        if hold:
            reach(lease, "armed")
            lease.directory.ask(lease.terms, "stop")
            reach(lease, "held")
        yield lease
    finally:
        lease.end()


def reach(lease: Lease, state: str, limit_s: float = 20.0) -> None:
    """Wait until the watcher is in a state."""
    end = time.monotonic() + limit(limit_s)
    while not lease.is_at(state):
        assert time.monotonic() < end, f"the watcher did not come to {state!r}: {lease.status()}"
        time.sleep(0.02)
