"""Ctrl-C and TERM end a run in order: fixtures give back what they took, and the summary is printed.

By itself pytest does so on SIGINT alone; a shell that starts it in the background has SIGINT ignored; and pytest-xdist
interrupts its workers only after 5 s and kills them 10 s later, too soon for a fixture that ends containers.
"""

import contextlib
import signal
import time
from types import FrameType
from typing import Any

import psutil
import pytest

WORKERS_END_S = 120.0
"""How long the workers have to end the test that they are in and to take down their fixtures."""

AGAIN_S = 1.0
"""Signals that come closer than this are one."""


class Ending:
    """Raises KeyboardInterrupt on a signal. A worker is interrupted by the terminal and by its controller, again and
    again, because what is under test may swallow an interrupt; but never while its fixtures end."""

    def __init__(self, *, worker: bool) -> None:
        self.worker = worker
        self.asked = False
        self.finishing = False
        self.raised_at = -AGAIN_S
        self.nodes: list[Any] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self.worker and (self.finishing or now - self.raised_at < AGAIN_S):
            return
        self.asked, self.raised_at = True, now
        raise KeyboardInterrupt(signal.Signals(number).name)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Remember a worker of pytest-xdist."""
        self.nodes.append(node)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Interrupt the workers and wait for them, before pytest-xdist sees to it in its way."""
        self.finishing = True
        if not (self.asked and self.nodes):
            return
        end, told_at = time.monotonic() + WORKERS_END_S, -AGAIN_S
        while time.monotonic() < end and not all(node.channel.isclosed() for node in self.nodes):
            if time.monotonic() - told_at > 2 * AGAIN_S:
                told_at = time.monotonic()
                for worker in psutil.Process().children():  # a controller has no others
                    with contextlib.suppress(psutil.NoSuchProcess):
                        worker.send_signal(signal.SIGINT)
            time.sleep(0.05)


def pytest_configure(config: pytest.Config) -> None:
    """Take the signals over."""
    config.pluginmanager.register(Ending(worker=hasattr(config, "workerinput")), "ending-in-order")
