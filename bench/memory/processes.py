"""Which processes are the engine's, as the host numbers them, and what its cgroup says of memory.

On the host a container's processes have their host PIDs in its cgroup's `cgroup.procs`: that is what NVML's
process list is matched against. A bare process is followed through its children.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

CGROUP_ROOT = Path("/sys/fs/cgroup")
_PAGE_BYTES = resource.getpagesize()
_REFRESH_S = 0.5
"""A process tree is walked this often: a walk reads every process of the host, too dear for each sample."""


class EngineProcesses(Protocol):
    """What the sampler has to know of an engine."""

    @property
    def cgroup(self) -> Path | None:
        """Return the directory of the engine's own memory cgroup, v1 or v2; None when it has none."""

    def pids(self) -> set[int]:
        """Return the host PIDs of the engine's processes now; empty before it starts and after it ended."""
        ...


@dataclass(frozen=True)
class FixedProcesses:
    """The plainest `EngineProcesses`: a function and a directory."""

    find: Callable[[], set[int]]
    cgroup: Path | None = None

    def pids(self) -> set[int]:
        """Return what `find` says."""
        return self.find()


class ProcessTree:
    """An engine that runs as a bare process: the process and all its descendants, no cgroup of its own."""

    cgroup: Path | None = None

    def __init__(self, pid: int) -> None:
        """Follow the process `pid`."""
        self._pid = pid
        self._known: set[int] = set()
        self._walked = float("-inf")

    def pids(self) -> set[int]:
        """Return the tree's PIDs, at most half a second old; empty once the root process is gone."""
        now = time.monotonic()
        if now - self._walked >= _REFRESH_S:
            self._walked = now
            try:
                root = psutil.Process(self._pid)
                children = root.children(recursive=True)
                gone = root.status() == psutil.STATUS_ZOMBIE
                self._known = set() if gone and not children else {self._pid, *(c.pid for c in children)}
            except psutil.NoSuchProcess:
                self._known = set()
        return self._known


def find_container(pid: int, root: Path = CGROUP_ROOT) -> FixedProcesses:
    """Return the engine that runs as a container whose first process is `pid` (Docker's `State.Pid`).

    Where its cgroup cannot be found or is the machine's root cgroup, the process tree is followed instead.
    """
    cgroup = find_memory_cgroup(pid, root)
    if cgroup is None or cgroup == root or cgroup == root / "memory":
        return FixedProcesses(ProcessTree(pid).pids)
    return FixedProcesses(lambda: read_cgroup_pids(cgroup), cgroup)


def find_memory_cgroup(pid: int, root: Path = CGROUP_ROOT, proc: Path = Path("/proc")) -> Path | None:
    """Return the directory of the memory cgroup that process `pid` is in, v1 or v2, or None."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    unified: Path | None = None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if "memory" in controllers.split(","):
            v1 = root / "memory" / below
            return v1 if v1.is_dir() else None
        if controllers == "":
            unified = next((d for d in (root / below, root / "unified" / below) if d.is_dir()), None)
    return unified


def read_cgroup_pids(cgroup: Path) -> set[int]:
    """Return the PIDs in a cgroup and in those below it; empty when it is gone.

    A process that this PID namespace does not see is listed as 0 and left out.
    """
    found: set[int] = set()
    for procs in (cgroup / "cgroup.procs", *cgroup.glob("**/cgroup.procs")):
        try:
            found.update(int(line) for line in procs.read_text().split())
        except OSError:
            continue
    return found - {0}


def read_cgroup_current(cgroup: Path) -> int | None:
    """Return the memory charged to a cgroup now (page cache included), or None."""
    return _read_int(cgroup / "memory.current", cgroup / "memory.usage_in_bytes")


def read_cgroup_peak(cgroup: Path) -> int | None:
    """Return the kernel's own high-water mark of a cgroup, or None (v2 has it since Linux 5.19)."""
    return _read_int(cgroup / "memory.peak", cgroup / "memory.max_usage_in_bytes")


def read_rss(pids: set[int], proc: Path = Path("/proc")) -> int | None:
    """Return the sum of the processes' resident sets, or None when none of them is there.

    Pages that several of them share count once each: an upper bound for a forking engine.
    """
    total, seen = 0, False
    for pid in pids:
        try:
            total += int((proc / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
            seen = True
        except (OSError, IndexError):
            continue
    return total if seen else None


def _read_int(*candidates: Path) -> int | None:
    for path in candidates:
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            continue
    return None
