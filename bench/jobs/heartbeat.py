"""The controller's sign of life in a job's directory; light to import, for it is polled every second."""

import threading
import time
from pathlib import Path


def touch_heartbeat(job_dir: Path) -> None:
    """Say that the controller is there. The time written is CLOCK_BOOTTIME, which no clock change moves."""
    # By thread: a job and who follows it may share a process.
    scratch = job_dir / f".heartbeat.{threading.get_native_id()}"
    scratch.write_text(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f}")
    scratch.replace(job_dir / "heartbeat")


def read_heartbeat(job_dir: Path) -> float:
    """Return when the heartbeat was last touched (CLOCK_BOOTTIME seconds), or 0.0 when it cannot be read."""
    try:
        return float((job_dir / "heartbeat").read_text())
    except (OSError, ValueError):
        return 0.0
