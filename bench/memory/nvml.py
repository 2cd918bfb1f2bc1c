"""NVML as seen from the host: what each GPU says of the engine's processes, its power and its energy.

Each call's failure is a fact to record, by NVML's own name, and never ends the sampling: a GB10 answers
`NVML_ERROR_NOT_SUPPORTED` to questions about device memory and still lists processes; a host without a
driver has no library at all. In a container of its own PID namespace the process list is empty, so this runs
on the host.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class GpuSample:
    """One GPU at one moment. None: NVML did not say."""

    engine_bytes: int | None = None
    """Memory of the engine's processes on this GPU."""
    listed: int | None = None
    """How many processes NVML listed, of whomever."""
    used_bytes: int | None = None
    """Device memory in use by all; meaningless on unified memory even where a number comes back."""
    power_w: float | None = None


@dataclass(slots=True)
class GpuNow:
    """What a GPU does at one moment. None: NVML did not say."""

    sm_mhz: float | None
    sm_max_mhz: float | None
    temperature_c: float | None
    slowed: set[str]
    """By `_SLOWED`."""
    others: int | None
    """Processes beside the engine's."""


_SM = 1
"""NVML_CLOCK_SM"""
_SLOWED = {0x4: "power_cap", 0x8: "hardware", 0x20: "thermal", 0x40: "thermal", 0x80: "power_brake"}
"""Bits of nvmlClocksEventReason*, those that hold a busy GPU's clocks down."""


@dataclass(slots=True)
class Gpu:
    """A GPU as NVML names it."""

    index: int
    name: str | None
    uuid: str | None
    handle: Any = field(repr=False)


class NvmlReader:
    """Reads NVML and keeps the name of every error it met.

    `library` is the `pynvml` module (package nvidia-ml-py) or an object with the same functions.
    """

    def __init__(self, library: Any | None = None) -> None:
        """Take the library; nothing is opened before `open`."""
        self._library = library
        self.errors: dict[str, str] = {}
        """Call to the name of the error it first gave, for instance NVML_ERROR_NOT_SUPPORTED."""
        self.gpus: list[Gpu] = []
        self._opened = False

    def open(self) -> bool:
        """Initialise NVML and list the GPUs; False, with `errors` saying why, where there is none."""
        if self._library is None:
            try:
                self._library = importlib.import_module("pynvml")
            except ImportError:
                self.errors["import pynvml"] = "nvidia-ml-py is not installed"
                return False
        self._call("nvmlInit")
        self._opened = "nvmlInit" not in self.errors
        if not self._opened:
            return False
        for index in range(self._call("nvmlDeviceGetCount") or 0):
            handle = self._call("nvmlDeviceGetHandleByIndex", index)
            if handle is not None:
                name, uuid = self._call("nvmlDeviceGetName", handle), self._call("nvmlDeviceGetUUID", handle)
                self.gpus.append(Gpu(index, _text(name), _text(uuid), handle))
        return bool(self.gpus)

    def close(self) -> None:
        """Let go of NVML; harmless when it never opened."""
        if self._opened:
            self._call("nvmlShutdown")
            self._opened = False

    def sample(self, gpu: Gpu, pids: set[int]) -> GpuSample:
        """Return what `gpu` says now; `pids` are the engine's, as the host numbers them."""
        sample = GpuSample()
        # A process with both a CUDA and a graphics context is in both lists, with the same memory or with null in one.
        by_pid: dict[int, int | None] = {}
        for call in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            listed = self._call(call, gpu.handle)
            if listed is not None:
                for process in listed:
                    known = [by_pid.get(int(process.pid)), process.usedGpuMemory]
                    by_pid[int(process.pid)] = max((used for used in known if used is not None), default=None)
                sample.listed = len(by_pid)
        if sample.listed is not None:
            ours = [used for pid, used in by_pid.items() if pid in pids]
            if None in ours:
                self.errors.setdefault("usedGpuMemory", "NVML_VALUE_NOT_AVAILABLE")
            else:
                sample.engine_bytes = sum(used for used in ours if used is not None)
        memory = self._call("nvmlDeviceGetMemoryInfo", gpu.handle)
        sample.used_bytes = None if memory is None else int(memory.used)
        milliwatts = self._call("nvmlDeviceGetPowerUsage", gpu.handle)
        sample.power_w = None if milliwatts is None else milliwatts / 1000
        return sample

    def list_pids(self, gpu: Gpu) -> set[int] | None:
        """Return the processes that compute on `gpu`, of whomever; None where NVML does not say."""
        listed = self._call("nvmlDeviceGetComputeRunningProcesses", gpu.handle)
        return None if listed is None else {int(each.pid) for each in listed}

    def state(self, gpu: Gpu, pids: set[int]) -> GpuNow:
        """Return clocks, temperature and company of `gpu` now; `pids` are the engine's, as the host numbers them."""
        reasons = self._call("nvmlDeviceGetCurrentClocksThrottleReasons", gpu.handle) or 0
        listed = self._call("nvmlDeviceGetComputeRunningProcesses", gpu.handle)
        return GpuNow(
            sm_mhz=self._call("nvmlDeviceGetClockInfo", gpu.handle, _SM),
            sm_max_mhz=self._call("nvmlDeviceGetMaxClockInfo", gpu.handle, _SM),
            temperature_c=self._call("nvmlDeviceGetTemperature", gpu.handle, 0),
            slowed={name for bit, name in _SLOWED.items() if int(reasons) & bit},
            others=None if listed is None else sum(int(each.pid) not in pids for each in listed),
        )

    def energy_j(self, gpu: Gpu) -> float | None:
        """Return the GPU's energy counter in joules since the driver was loaded, or None."""
        millijoules = self._call("nvmlDeviceGetTotalEnergyConsumption", gpu.handle)
        return None if millijoules is None else millijoules / 1000

    def driver_version(self) -> str | None:
        """Return the driver's version, or None."""
        return _text(self._call("nvmlSystemGetDriverVersion")) if self._opened else None

    def _call(self, name: str, *args: Any) -> Any:
        try:
            return getattr(self._library, name)(*args)
        except Exception as error:  # noqa: BLE001 - whatever a driver's binding raises is a fact, not our end
            self.errors.setdefault(name, self._name_of(error))
            return None

    def _name_of(self, error: Exception) -> str:
        code = getattr(error, "value", None)
        for name in dir(self._library):
            if name.startswith("NVML_ERROR_") and getattr(self._library, name) == code:
                return name
        return f"{type(error).__name__}: {error}"


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def read_gpu_names() -> list[str]:
    """Return the GPUs that NVML sees here."""
    return list(read_gpu_facts().get("names", []))


def read_gpu_facts() -> dict[str, Any]:
    """Return what NVML says of this machine's GPUs: count, names, driver, and what it refused."""
    reader = NvmlReader()
    try:
        if not reader.open():
            return {"count": 0, "errors": dict(reader.errors)}
        return {
            "count": len(reader.gpus),
            "names": [gpu.name for gpu in reader.gpus],
            "driver": reader.driver_version(),
            "errors": dict(reader.errors),
        }
    finally:
        reader.close()
