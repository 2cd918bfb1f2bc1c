"""How the neighbour is to be treated, as the inventory says."""

from pathlib import Path

from bench.records.base import NeighbourMode, Record

KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
RETURN_EXTRA_S = 900.0
"""For what has limits of its own: memory that comes free, and p50 taken twice."""


class NeighbourSpec(Record):
    """The neighbour's side of a job. `mode` none with a container: it is there and is left alone."""

    mode: NeighbourMode = "none"
    container: str | None = None
    url: str | None = None
    floor_bytes: int = 0
    """MemAvailable that must stay free beside it, and before it is started again."""
    engine_bytes: int = 0
    """What the engine needs, from its catalog entry."""
    measure: bool = True
    """Whether its p50 is taken before and after, and what its clients feel meanwhile: for the benchmark."""
    state_dir: Path = Path("/var/lib/audition/lease")
    drop_caches: bool = False
    """Whether the page cache is dropped before the neighbour is given back."""
    watcher_base: str = "python:3.12-slim"
    ttl_s: float = 60.0
    """How long the lease holds without a renewal."""
    ready_limit_s: float = 900.0
    settle_s: float = 30.0
    ratio_limit: float = 1.2
    hard_limit_s: float = 3600.0

    def return_limit_s(self) -> float:
        """Return how long giving it back and proving it may take, in seconds; each may wait until it is ready."""
        if self.mode == "none":
            return 0.0
        return RETURN_EXTRA_S + self.ttl_s + 2 * self.ready_limit_s + self.settle_s
