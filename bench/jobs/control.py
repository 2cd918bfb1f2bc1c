"""Why a job must stop: its controller is gone, its time is up, memory fell below the floor, or a signal came."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from bench.errors import AuditionError
from bench.jobs.heartbeat import read_heartbeat, touch_heartbeat

HEARTBEAT_LIMIT_S = 30.0
"""The controller touches the heartbeat about once a second; this long without one and it is gone."""
_LOOK_S = 0.05


class Cancelled(AuditionError):
    """The job was told to stop: its controller is gone, its time is up, or memory fell below the floor."""


def await_controller(job_dir: Path) -> None:
    """Wait until the controller says that it is there: who sent the job may be gone by the time it begins.

    Raises:
        Cancelled: nothing is heard of it. Nothing was begun.
    """
    since = time.clock_gettime(time.CLOCK_BOOTTIME)
    while read_heartbeat(job_dir) <= since:
        if time.clock_gettime(time.CLOCK_BOOTTIME) - since > HEARTBEAT_LIMIT_S:
            raise Cancelled("The controller was gone before the job began; nothing was done.")
        time.sleep(_LOOK_S)


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
            elif (age := now - read_heartbeat(self._heartbeat.parent)) > HEARTBEAT_LIMIT_S:
                self.stop(f"the controller has not been heard of for {age:.0f} s")
            for ask in self._asked:
                if (reason := ask()) is not None:
                    self.stop(reason)


@contextlib.contextmanager
def stop_on_signals(control: Control) -> Iterator[None]:
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
