"""The independent evidence: Docker's own events, and what an onlooker sees of the neighbour.

Nothing here reads a file that the lease or the run wrote.
"""

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests

from bench.docker_host.host import ROLE_LABEL, RUN_LABEL
from bench.neighbour.container import read_policy
from tests.support.docker import DockerEnv

GRACE_S = 15.0
"""The neighbour has to be back within TTL + this of the fault, or of Docker's return after it."""
SILENT = (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError)


class EventLog:
    """Docker's events from now on, as it sends them, one JSON line each; it reconnects after a restart."""

    def __init__(self, env: DockerEnv, path: Path) -> None:
        self.env = env
        self.path = path
        self.events: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._began_ns = time.time_ns()
        self._last = int(time.time()) - 1  # Docker takes whole seconds
        self._client: Any = None
        self._thread = threading.Thread(target=self._follow, name="docker events", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        seen: set[tuple[int, str, str]] = set()
        with self.path.open("a") as log:
            while not self._ended.is_set():
                try:
                    self._client = self.env.client(timeout_s=3600)
                    for event in self._client.events(since=self._last, decode=True):
                        key = (event["timeNano"], event.get("id", ""), event["Action"])
                        if key not in seen and int(event["timeNano"]) > self._began_ns:
                            seen.add(key)
                            self.events.append(event)
                            self._last = int(event["time"])
                            log.write(json.dumps(event) + "\n")
                            log.flush()
                        if self._ended.is_set():
                            return
                except (*SILENT, AttributeError):  # the daemon is down, or went down in mid-line
                    pass
                finally:
                    with contextlib.suppress(*SILENT):
                        self._client.close()
                self._ended.wait(0.1)

    def of(self, container: str) -> list[dict[str, Any]]:
        """Return the container's events, oldest first."""
        found = [e for e in list(self.events) if e["Type"] == "container" and e["Actor"]["ID"] == container]
        return sorted(found, key=lambda each: int(each["timeNano"]))

    def back_at(self, container: str, run_id: str, since: float) -> float | None:
        """Return when (wall clock) the last thing was done to the neighbour or to an engine of the run.

        That is its last start, the last change of its policy, and the end of the run's last engine. None:
        nothing was, after `since`.
        """
        done = [e for e in self.of(container) if e["Action"] in ("start", "update")]
        done += [e for e in self.of_run(run_id) if e["Action"] == "destroy"]
        times = [int(each["timeNano"]) / 1e9 for each in done]
        return max((each for each in times if each > since), default=None)

    def lent_at(self, container: str, at: float) -> bool:
        """Tell whether at a moment (wall clock) it had been stopped, and not yet started with its policy put back."""
        before = [e["Action"] for e in self.of(container) if int(e["timeNano"]) / 1e9 <= at]
        told = [each for each in before if each in ("die", "start", "update")]
        return "die" in told and told[-2:] != ["start", "update"]

    def down_s(self, container: str) -> float:
        """Return for how long it was down in all, each time from its end to its next start."""
        total, since = 0.0, None
        for event in self.of(container):
            at = int(event["timeNano"]) / 1e9
            if event["Action"] == "die" and since is None:
                since = at
            elif event["Action"] == "start" and since is not None:
                total, since = total + at - since, None
        return total

    def of_run(self, run_id: str) -> list[dict[str, Any]]:
        """Return the events of the run's engines, oldest first."""
        return [
            e for e in list(self.events)
            if e["Type"] == "container"
            and e["Actor"]["Attributes"].get(RUN_LABEL) == run_id
            and e["Actor"]["Attributes"].get(ROLE_LABEL) != "watcher"
        ]  # fmt: skip

    def end(self) -> None:
        """Stop following."""
        self._ended.set()


@dataclass(slots=True)
class Look:
    """One look at the neighbour from outside."""

    at: float
    docker: bool
    """Docker answers."""
    well: bool
    """The neighbour runs, with its own id and policy, and no engine of the run is left."""
    what: str


@dataclass
class Onlooker:
    """Looks at the neighbour ten times a second and keeps every change."""

    env: DockerEnv
    container: str
    container_id: str
    policy: str
    run_id: str
    changes: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="onlooker", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        client: Any = None
        while not self._ended.is_set():
            try:
                client = client or docker.DockerClient(base_url=self.env.host, timeout=20)
                look = self._look(client)
            except SILENT as error:
                client = None
                look = Look(time.monotonic(), False, False, f"Docker: {type(error).__name__}")
            if not self.changes or self.changes[-1].what != look.what:
                self.changes.append(look)
            self._ended.wait(0.1)

    def _look(self, client: Any) -> Look:
        try:
            found = client.api.inspect_container(self.container)
        except docker.errors.NotFound:
            return Look(time.monotonic(), True, False, "absent")
        engines = [
            each["State"] for each in client.api.containers(all=True, filters={"label": f"{RUN_LABEL}={self.run_id}"})
            if each["Labels"].get(ROLE_LABEL) != "watcher"
        ]  # fmt: skip
        policy = read_policy(found).name
        process = marked_process(self.run_id)
        state = found["State"]["Status"]
        same = found["Id"] == self.container_id
        well = found["State"]["Running"] and state == "running" and same and policy == self.policy
        what = f"{state}, policy {policy}, engines {engines}, process {process}{'' if same else ', ANOTHER'}"
        return Look(time.monotonic(), True, bool(well and not engines and not process), what)

    @property
    def last(self) -> Look | None:
        """The present state."""
        return self.changes[-1] if self.changes else None

    def back_since(self) -> float | None:
        """Return when the neighbour last became well, None when it is not."""
        return self.changes[-1].at if self.changes and self.changes[-1].well else None

    def docker_since(self) -> float | None:
        """Return when Docker last began to answer again after a silence, None when it never was silent."""
        silent = False
        since = None
        for look in list(self.changes):
            if not look.docker:
                silent, since = True, None
            elif silent and since is None:
                since = look.at
        return since

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join(timeout=30.0)


def marked_process(run_id: str) -> str | None:
    """Return an engine's process of the run on this machine, whatever Docker knows of it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                if run_id.encode() in argv and b"-c" in argv:
                    return entry.name
    return None


def complaints(log: EventLog, container_id: str, run_id: str) -> list[str]:
    """Return what Docker's events hold against the outcome: remade neighbour, or one not started again."""
    found = []
    own = log.of(container_id)
    actions = [each["Action"] for each in own]
    found += [
        f"the neighbour had a {word!r} event" for word in ("create", "destroy", "rename") if word in actions
    ]
    ups_and_downs = [each for each in actions if each in ("start", "die")]
    if ups_and_downs and ups_and_downs[-1] != "start":
        found.append("the neighbour's last event is its end")
    started = {e["Actor"]["ID"] for e in log.of_run(run_id) if e["Action"] == "start"}
    gone = {e["Actor"]["ID"] for e in log.of_run(run_id) if e["Action"] == "destroy"}
    found += [f"engine {each[:12]} was never removed" for each in started - gone]
    return found
