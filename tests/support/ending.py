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


class Ending:
    """Raises KeyboardInterrupt on the first signal; a worker is interrupted by both the terminal and its controller,
    and must not be a second time while its fixtures end."""

    def __init__(self, *, worker: bool) -> None:
        self.worker = worker
        self.asked = False
        self.nodes: list[Any] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked and self.worker:
            return
        self.asked = True
        raise KeyboardInterrupt(signal.Signals(number).name)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Remember a worker of pytest-xdist."""
        self.nodes.append(node)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Interrupt the workers and wait for them, before pytest-xdist sees to it in its way."""
        if not (self.asked and self.nodes):
            return
        for worker in psutil.Process().children():  # a controller has no others
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGINT)
        end = time.monotonic() + WORKERS_END_S
        while time.monotonic() < end and not all(node.channel.isclosed() for node in self.nodes):
            time.sleep(0.05)


def pytest_configure(config: pytest.Config) -> None:
    """Take the signals over."""
    config.pluginmanager.register(Ending(worker=hasattr(config, "workerinput")), "ending-in-order")
