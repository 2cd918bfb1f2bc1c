"""Signs that work goes on: a line that moves in a terminal, a line every few seconds in a log."""

import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

EVERY_S = 4.0
"""After so much silence a log gets a line: with what a busy machine adds, no silence lasts for five."""
LONG_S = 1.0
"""Work that takes less is not worth a sign."""
_LOOK_EVERY_S = 0.25


class MovingLine:
    """The last line of a terminal while something is at work: what it is, and for how long. For one thread."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._row = progress.add_task("", total=None)
        self._shown = False
        atexit.register(self.clear)  # an interrupted program, too, gives the cursor back

    def show(self, name: str, seconds: float) -> None:
        """Show or renew it."""
        self._progress.update(self._row, description=f"{name}, {seconds:.0f} s")
        if not self._shown:
            self._progress.start()
            self._shown = True

    def clear(self) -> None:
        """Take it away, so that a line can be said in its place."""
        if self._shown:
            self._progress.stop()
            self._shown = False


def find_terminal(stream: TextIO) -> MovingLine | None:
    """Return a line that moves where whoever reads sits at a terminal that can move one; None for a log."""
    if not stream.isatty():
        return None
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(file=stream)
    if console.is_dumb_terminal:
        return None
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
    return MovingLine(
        # What others print stays theirs; they have the line cleared first.
        Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    )


def spell(name: str, seconds: float) -> str:
    """Return the line that a log gets."""
    return f"... {name}: {seconds:.0f} s so far"


class Signs:
    """Says lines of the work, and in between that it goes on. Safe between threads."""

    def __init__(self, say: Callable[[str], None] | None, stream: TextIO) -> None:
        """Say by `say`, which writes to `stream`; None says nothing at all."""
        self._say = say
        self._moving = find_terminal(stream) if say else None
        self._lock = threading.RLock()
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """Say a line."""
        if self._say is None:
            return
        with self._lock:
            if self._moving is not None:
                self._moving.clear()
            self._say(text)
            self._said = time.monotonic()

    @contextlib.contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Give signs of the work called `name` while the block runs."""
        if self._say is None:
            yield
            return
        over = threading.Event()
        watch = threading.Thread(target=self._give, args=(name, over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()
            with self._lock:
                if self._moving is not None:
                    self._moving.clear()

    def _give(self, name: str, over: threading.Event) -> None:
        began = time.monotonic()
        while not over.wait(_LOOK_EVERY_S):
            with self._lock:
                now = time.monotonic()
                if now - began < LONG_S:
                    continue
                if self._moving is not None:
                    self._moving.show(name, now - began)
                elif now - self._said >= EVERY_S:
                    self.say(spell(name, now - began))
