"""A controller that is there: a job that nobody follows ends itself."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.jobs.follow import follow


@contextlib.contextmanager
def followed(job_dir: Path) -> Iterator[None]:
    """Look after the job as its controller does, once a second for as long as it takes."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(1.0):
            follow(job_dir, 0)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
