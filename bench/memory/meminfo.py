"""What /proc/meminfo says is free, and waiting until it has settled."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.records.memory import MemoryBaseline

MEMINFO = Path("/proc/meminfo")


def read_meminfo(name: str, meminfo: Path = MEMINFO) -> int | None:
    """Return one line of /proc/meminfo (`MemAvailable`, `MemTotal`) in bytes, or None."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def read_available_bytes() -> int | None:
    """Return MemAvailable in bytes: what new processes can have without swapping; page cache is free."""
    return read_meminfo("MemAvailable")


def settle_baseline(
    *,
    window_s: float = 2.0,
    tolerance_bytes: int = 64 * 2**20,
    timeout_s: float = 30.0,
    hz: float = 10.0,
    read_available: Callable[[], int | None] = read_available_bytes,
) -> MemoryBaseline:
    """Wait until MemAvailable has stayed within `tolerance_bytes` for `window_s`, and return its median.

    Call it when the neighbour is in the state it will have during the pass (stopped, or loaded and idle) and
    before the engine is started. After `timeout_s` the last window is returned with `settled` false.
    """
    began = time.monotonic()
    window: deque[int] = deque(maxlen=max(2, round(window_s * hz)))
    while True:
        value = read_available()
        waited_s = time.monotonic() - began
        if value is None:
            return MemoryBaseline(available_bytes=None, spread_bytes=None, settled=False, waited_s=waited_s)
        window.append(value)
        spread = max(window) - min(window)
        settled = len(window) == window.maxlen and spread <= tolerance_bytes
        if settled or waited_s >= timeout_s:
            return MemoryBaseline(
                available_bytes=round(median(window)), spread_bytes=spread, settled=settled, waited_s=waited_s
            )
        time.sleep(1.0 / hz)
