"""How much slower than it should be this machine is just now: the one factor by which the tests' limits grow.

A limit in a test tells a thing that happens from one that does not; how long it takes depends on what else runs.
Nothing that is under test is scaled, and no figure that a test judges.
"""

import hashlib
import time

NOMINAL_S = 0.05
"""What `_work` takes on one core of an idle machine of today's slower kind."""
REMEMBERED_S = 60.0
LARGEST = 20.0
_BLOCK = bytes(1 << 20)
_measured: tuple[float, float] | None = None


def _work() -> None:
    for _ in range(20):
        hashlib.blake2b(_BLOCK).digest()


def factor() -> float:
    """Return 1 on an idle machine and more on a busy or slow one; measured once a minute by a fixed piece of work.

    The longest of five pieces counts: a process that is seldom given a core is now and then lucky.
    """
    global _measured
    if _measured is None or time.monotonic() - _measured[0] > REMEMBERED_S:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            _work()
            took.append(time.perf_counter() - began)
        _measured = (time.monotonic(), min(LARGEST, max(1.0, max(took) / NOMINAL_S)))
    return _measured[1]


def limit(seconds: float) -> float:
    """Return a limit that is `seconds` on an idle machine."""
    return seconds * factor()
