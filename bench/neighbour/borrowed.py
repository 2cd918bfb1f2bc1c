"""What a job does about the neighbour: nothing, watch it, or borrow its GPU for the length of the block."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.memory.meminfo import read_available_bytes, read_meminfo
from bench.neighbour.spec import NeighbourSpec
from bench.storage.record_file import save_record

RESERVE_LIMIT_BYTES = 2 << 30


Speaking = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(slots=True)
class Held:
    """What a job has while its block runs."""

    floor_bytes: int | None = None
    """Below this much MemAvailable the job must end its engine."""
    lost: Callable[[], str | None] = field(default=lambda: None)
    """Says why the lease ended early, or None."""
    mark: Callable[[str], None] = field(default=lambda _reason: None)
    """Notes what goes on from now on, for the record of the neighbour's outage."""
    speaking: Speaking = contextlib.nullcontext
    """Entered around the takes: in parallel mode it notes what the neighbour's clients feel meanwhile."""


def compute_reserve() -> int:
    """Return what must stay free while the neighbour is paused: 1/64 of the memory, at most 2 GiB.

    There is no neighbour to starve then, but a host that runs out of memory freezes, and a frozen host gives
    nothing back: on unified memory only a power cycle does.
    """
    return min((read_meminfo("MemTotal") or 0) // 64, RESERVE_LIMIT_BYTES)


def drop_caches(knob: Path = Path("/proc/sys/vm/drop_caches")) -> bool:
    """Drop the page cache (proc(5)); return whether the kernel did.

    On unified memory CUDA counts page cache as used, and the weights that an engine has read can keep a vLLM
    from starting (vllm#48140). Only the run itself can do it, so one that dies does not: the watcher's
    container sees /proc/sys read-only, and more access than it has is not worth that.
    """
    os.sync()
    try:
        knob.write_text("1")
    except OSError:
        return False
    return True


def explain_no_room(spec: NeighbourSpec) -> str | None:
    """Return why the engine does not fit beside the running neighbour, or None (also without a neighbour)."""
    free = read_available_bytes()
    if spec.container is None or free is None or free - spec.engine_bytes >= spec.floor_bytes:
        return None
    gib = 2**30
    return (
        f"{free / gib:.1f} GiB are free, the engine wants {spec.engine_bytes / gib:.1f} and the neighbour's floor is "
        f"{spec.floor_bytes / gib:.1f}"
    )


@contextlib.contextmanager
def borrow_for_job(
    spec: NeighbourSpec, run_id: str, alive: Callable[[], bool], say: Callable[[str], None], out: Path
) -> Iterator[Held]:
    """Yield what the job may do; the neighbour is as it was, and proved so, when the block is left.

    Raises:
        AuditionError: the neighbour cannot be borrowed (it was not touched, or is back), or is not back.
    """
    if spec.mode == "none" or spec.container is None:
        yield Held(spec.floor_bytes if spec.container else None)
        return
    from bench.neighbour.felt import felt_latency
    from bench.neighbour.lease import LeaseRequest, borrow

    floor_bytes = spec.floor_bytes if spec.mode == "parallel" else compute_reserve()
    own = {"run_id": run_id, "url": spec.url or "", "floor_bytes": floor_bytes, "watch_bytes": floor_bytes}
    request = LeaseRequest(**{**spec.model_dump(), **own})
    say(f"neighbour | {spec.container} | {'pausing' if spec.mode == 'pause' else 'measuring beside it'}")
    with borrow(request, alive, save=lambda record: save_record(record, out)) as grant:
        speaking: Speaking = contextlib.nullcontext
        if spec.mode == "parallel" and spec.measure:
            speaking = lambda: felt_latency(grant.record)  # noqa: E731 - made anew for each pass
        yield Held(floor_bytes, lambda: grant.lost, grant.mark, speaking)
        if spec.drop_caches and spec.mode == "pause":
            grant.record.caches_dropped = drop_caches()
        say(f"neighbour | {spec.container} | giving back")
    say(f"neighbour | {grant.record.verdict}")
