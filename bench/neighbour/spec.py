"""How the neighbour is to be treated, as the inventory says: each term of a lease is declared here, once.

`NeighbourSpec` is what a job carries. A request for a lease (`bench.neighbour.lease`), what the watcher is told
(`bench.neighbour.lease_files`) and the module's arguments (`bench.neighbour.module`) are made of the same parts.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from bench.records.base import NeighbourMode
from bench.records.settings import (
    GIB,
    INTERNAL,
    LEASE_DIR,
    P50_RATIO_LIMIT,
    PYTHON_IMAGE,
    Given,
    Settings,
)

KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
RETURN_EXTRA_S = 900.0
"""For what has limits of its own: memory that comes free, and p50 taken twice."""
TTL_LIMIT_S = 60.0
READY_LIMIT_S = 900.0
SETTLE_S = 30.0

Borrowing = Literal["pause", "parallel"]
"""The modes in which there is a lease."""


class WatcherPlace(Settings):
    """Where leases are kept on a host, and what the watcher's image is made of."""

    lease_dir: Annotated[Path, Given("state_dir")] = Field(
        default=Path(LEASE_DIR), validation_alias=AliasChoices("lease_dir", "state_dir")
    )
    """The host's lease directory; one for all runs, for it is how a second run learns who holds the neighbour."""
    watcher_base: str = PYTHON_IMAGE
    """Image with Python 3.9 or newer on which the watcher's is built."""


class NeighbourRole(WatcherPlace):
    """The variables of role `neighbour`."""

    python: Path | None = None
    """Interpreter on the host that has bench. That of the host's bench venv unless told."""


class NeighbourPlace(WatcherPlace):
    """Which container the neighbour is, and where it serves."""

    container: str | None = None
    """Name of the neighbour's container."""
    url: str | None = None
    """Root of the neighbour's OpenAI API, as seen from its host."""


class LeaseTimes(Settings):
    """How long a lease holds."""

    ttl_s: Annotated[float, INTERNAL] = Field(default=TTL_LIMIT_S, gt=0, le=TTL_LIMIT_S)
    """How long without a renewal until the watcher starts the neighbour, in seconds; 60 at most."""
    hard_limit_s: Annotated[float, INTERNAL] = Field(default=3600.0, gt=0)
    """However alive the run is, the neighbour is given back after this many seconds."""


class LeaseLimits(LeaseTimes):
    """What a watcher keeps to. Times in seconds, memory in bytes of MemAvailable."""

    floor_bytes: Annotated[int, Given("floor_gib", "float", times=GIB, default=8)] = Field(default=0, ge=0)
    """MemAvailable that must stay free beside the neighbour, and before it is started again."""
    watch_bytes: Annotated[int, INTERNAL] = Field(default=0, ge=0)
    """Below this much free the watcher ends the engine at once and the lease with it; 0 does not watch."""
    stop_timeout_s: Annotated[float, INTERNAL] = Field(default=60.0, ge=0)
    """How long Docker waits for the neighbour to stop before it is killed."""
    stay_up_s: Annotated[float, INTERNAL] = Field(default=2.0, ge=0)
    """How long the neighbour must have run without a restart before its restart policy is put back."""


class NeighbourSpec(NeighbourPlace, LeaseLimits):
    """The neighbour's side of a job. `mode` none with a container: it is there and is left alone."""

    mode: NeighbourMode = "none"
    """Whether the neighbour is stopped while takes are made, left running, or there is none."""
    engine_bytes: Annotated[int, INTERNAL] = Field(default=0, ge=0)
    """What the engine needs, from its catalog entry: the block starts once this much is free."""
    measure: Annotated[bool, INTERNAL] = True
    """Whether its p50 is taken before and after, and what its clients feel meanwhile: for the benchmark."""
    memory_wait_s: Annotated[float, INTERNAL] = Field(default=120.0, gt=0)
    """How long to wait for `engine_bytes`, and the watcher for `floor_bytes`."""
    ready_limit_s: float = Field(default=READY_LIMIT_S, gt=0)
    """How long the neighbour may take until it generates again, in seconds."""
    settle_s: float = Field(default=SETTLE_S, ge=0)
    """Wait before the one retry of a p50 that drifted, in seconds."""
    ratio_limit: float = Field(default=P50_RATIO_LIMIT, gt=0)
    """Greatest p50 after over p50 before."""
    drop_caches: bool = False
    """Whether the page cache is dropped before a paused neighbour is started; for unified memory."""

    def return_limit_s(self) -> float:
        """Return how long giving it back and proving it may take, in seconds; each may wait until it is ready."""
        if self.mode == "none":
            return 0.0
        return RETURN_EXTRA_S + self.ttl_s + 2 * self.ready_limit_s + self.settle_s
