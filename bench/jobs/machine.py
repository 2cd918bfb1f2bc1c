"""What else this machine does while a pass is made: load, steal, clocks, GPUs. Only looks, once a second."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

import psutil

from bench.memory.nvml import Gpu, NvmlReader
from bench.records.machine import GpuState, MachineState

PERIOD_S = 1.0
_STEAL = 7
_IDLE = (3, 4)
_CPUS = Path("/sys/devices/system/cpu")
_TICKS_S = os.sysconf("SC_CLK_TCK")

_Times = tuple[float, list[float] | None, float]
"""The clock, the processors' seconds by kind, and those of them that are ours."""


@dataclass(slots=True)
class _GpuSeen:
    clocks: list[float] = field(default_factory=list)
    max_mhz: float | None = None
    temperatures: list[float] = field(default_factory=list)
    slowed: set[str] = field(default_factory=set)
    others: list[int] = field(default_factory=list)


class MachineWatch:
    """Watches the machine while the `with` block runs; `state` says what was seen."""

    def __init__(
        self,
        pids: Callable[[], set[int]] | None,
        *,
        ours_alone: bool = True,
        nvml: Any | None = None,
        proc: Path = Path("/proc"),
        cpus: Path = _CPUS,
    ) -> None:
        """Prepare; nothing runs before `with`.

        Args:
            pids: the engine's processes now; null where none is ours.
            ours_alone: false where a server on this machine that is not ours speaks.
            nvml: the `pynvml` module or its double; by default the module.
            proc: where the kernel tells of processes and load.
            cpus: where it tells of the processors.
        """
        self._pids, self._ours_alone = pids, ours_alone
        self._nvml, self._proc, self._cpus = NvmlReader(nvml), proc, cpus
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="machine", daemon=True)
        self._clocks: list[float] = []
        self._gpus: dict[int, _GpuSeen] = {}
        self._begun: _Times = (0.0, None, 0.0)
        self._ended: _Times = (0.0, None, 0.0)
        self._load: tuple[float | None, float | None] = (None, None)
        self._throttled: tuple[int | None, int | None] = (None, None)

    def __enter__(self) -> Self:
        """Open NVML and begin."""
        self._nvml.open()
        self._load = (self._read_load(), None)
        self._throttled = (self._read_throttled(), None)
        self._begun = self._read_times()
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and close NVML; the state stays to be had."""
        self._stop.set()
        self._thread.join(10.0)
        self._look()
        self._ended = self._read_times()
        self._load = (self._load[0], self._read_load())
        self._throttled = (self._throttled[0], self._read_throttled())
        self._nvml.close()

    def state(self) -> MachineState:
        """Return what was seen, after the block."""
        seconds = self._ended[0] - self._begun[0]
        before, after = self._begun[1], self._ended[1]
        others = steal = None
        if before is not None and after is not None and seconds > 0:
            spent = [b - a for a, b in zip(before, after, strict=True)]
            busy = sum(value for at, value in enumerate(spent) if at not in (*_IDLE, _STEAL))
            ours = self._ended[2] - self._begun[2]
            if self._ours_alone:
                others = round(max(0.0, busy - ours) / seconds, 3)
            if len(spent) > _STEAL and (whole := sum(spent)) > 0:
                steal = round(spent[_STEAL] / whole, 4)
        first, last = self._throttled
        return MachineState(
            cpus=len(os.sched_getaffinity(0)),
            load_before=self._load[0],
            load_after=self._load[1],
            others_cores=others,
            steal=steal,
            cpu_mhz=median(self._clocks) if self._clocks else None,
            cpu_max_mhz=self._read_khz("cpuinfo_max_freq"),
            governor=_read(self._cpus / "cpu0/cpufreq/scaling_governor"),
            throttled=None if first is None or last is None else last - first,
            gpus=[self._gpu_state(gpu) for gpu in self._nvml.gpus],
        )

    def _gpu_state(self, gpu: Gpu) -> GpuState:
        seen = self._gpus.get(gpu.index, _GpuSeen())
        return GpuState(
            index=gpu.index,
            name=gpu.name,
            sm_mhz=median(seen.clocks) if seen.clocks else None,
            sm_max_mhz=seen.max_mhz,
            temperature_c=max(seen.temperatures, default=None),
            slowed=sorted(seen.slowed),
            others=max(seen.others, default=None),
        )

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._look()

    def _look(self) -> None:
        if (mhz := self._read_khz("scaling_cur_freq") or self._read_cpuinfo_mhz()) is not None:
            self._clocks.append(mhz)
        pids = self._pids() if self._pids is not None else set()
        for gpu in self._nvml.gpus:
            seen = self._gpus.setdefault(gpu.index, _GpuSeen())
            now = self._nvml.state(gpu, pids)
            seen.max_mhz = now.sm_max_mhz
            seen.slowed |= now.slowed
            for values, value in (
                (seen.clocks, now.sm_mhz),
                (seen.temperatures, now.temperature_c),
                (seen.others, now.others),
            ):
                if value is not None:
                    values.append(value)  # type: ignore[arg-type]

    def _read_times(self) -> _Times:
        line = (_read(self._proc / "stat") or "").partition("\n")[0].split()
        # What guests use is in the kinds before it already.
        kinds = [int(each) / _TICKS_S for each in line[1:9]] if line[:1] == ["cpu"] else None
        return time.monotonic(), kinds, self._read_ours_s()

    def _read_ours_s(self) -> float:
        """Return the processor seconds of this process, of the engine, and of what they started and that has ended."""
        seconds = 0.0
        for pid in {os.getpid(), *(self._pids() if self._pids is not None else ())}:
            try:
                used = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue
            seconds += used.user + used.system + used.children_user + used.children_system
        return seconds

    def _read_load(self) -> float | None:
        said = _read(self._proc / "loadavg")
        return float(said.split()[0]) if said else None

    def _read_khz(self, name: str) -> float | None:
        """Return the highest of all cores in MHz."""
        found = [_read(path) for path in self._cpus.glob(f"cpu[0-9]*/cpufreq/{name}")]
        return max((int(each) / 1000 for each in found if each and each.isdigit()), default=None)

    def _read_cpuinfo_mhz(self) -> float | None:
        lines = (_read(self._proc / "cpuinfo") or "").splitlines()
        return max(
            (float(line.rpartition(":")[2]) for line in lines if line.startswith("cpu MHz")), default=None
        )

    def _read_throttled(self) -> int | None:
        paths = self._cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        found = [int(each) for path in paths if (each := _read(path)) and each.isdigit()]
        return sum(found) if found else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
