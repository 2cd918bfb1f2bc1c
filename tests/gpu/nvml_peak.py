"""The peak of one process's GPU memory by NVML, and beside it the device's as a whole.

In a PID namespace of its own (a container, a sandbox) a process is not listed, or under a number that it does
not know; then the growth of the device's used memory since before torch touched it is what remains. It holds
what other processes took meanwhile, and its label says which of the two a figure is.
"""

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Peak:
    """Peaks in bytes; None where NVML gives no such figure."""

    nvml_process_bytes: int | None = None
    nvml_device_delta_bytes: int | None = None
    """Used memory of the whole device, less what was used before this process touched it."""
    nvml_error: str | None = None

    def figure(self) -> dict[str, Any]:
        """Return all of it, with `nvml_bytes` and `nvml_from`: the process's own figure where there is one."""
        own = self.nvml_process_bytes is not None
        chosen = self.nvml_process_bytes if own else self.nvml_device_delta_bytes
        label = "process" if own else "device, growth since the start"
        return {
            "nvml_bytes": chosen,
            "nvml_from": None if chosen is None else label,
            "nvml_process_bytes": self.nvml_process_bytes,
            "nvml_device_delta_bytes": self.nvml_device_delta_bytes,
            "nvml_error": self.nvml_error,
        }


class NvmlPeak:
    """Make it before CUDA is initialised; `of(uuid)` names the device once torch knows it."""

    def __init__(self, nvml: Any = None) -> None:
        """Note what every device uses now. `nvml` is the module pynvml or its double."""
        self._error: str | None = None
        self._before: dict[str, int | None] = {}
        self._handles: dict[str, Any] = {}
        self._device: str | None = None
        try:
            self._nvml = nvml = nvml or importlib.import_module("pynvml")
            nvml.nvmlInit()
            for index in range(nvml.nvmlDeviceGetCount()):
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = nvml.nvmlDeviceGetUUID(handle)
                uuid = uuid.decode() if isinstance(uuid, bytes) else uuid
                self._handles[uuid] = handle
                self._before[uuid] = self._used(handle)
        except Exception as error:  # noqa: BLE001 - without NVML there is no figure, and the report says why
            self._error = f"{type(error).__name__}: {error}"

    def of(self, uuid: str | None) -> None:
        """Sample the device `uuid` (with or without `GPU-`), or the only one there is."""
        known = next((name for name in self._handles if uuid and name.removeprefix("GPU-") == uuid), None)
        self._device = known or (next(iter(self._handles)) if len(self._handles) == 1 else None)
        if self._device is None and self._error is None:
            self._error = f"NVML lists {len(self._handles)} devices and none is {uuid}"

    @contextmanager
    def sampled(self, period_s: float = 0.02) -> Iterator[Peak]:
        """Yield the peaks of the time inside, complete when it ends."""
        peak = Peak(nvml_error=self._error)
        over = threading.Event()

        def sample() -> None:
            while not over.wait(period_s):
                self._look(peak)

        thread = threading.Thread(target=sample, daemon=True)
        if self._device is not None:
            thread.start()
        try:
            yield peak
        finally:
            over.set()
            if self._device is not None:
                thread.join()
                self._look(peak)

    def _look(self, peak: Peak) -> None:
        assert self._device is not None
        handle = self._handles[self._device]
        used, before = self._used(handle), self._before[self._device]
        if used is not None and before is not None:
            peak.nvml_device_delta_bytes = max(peak.nvml_device_delta_bytes or 0, used - before)
        try:
            listed = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except Exception as error:  # noqa: BLE001
            peak.nvml_error = f"{type(error).__name__}: {error}"
            return
        for process in listed:
            if process.pid == os.getpid() and process.usedGpuMemory is not None:
                peak.nvml_process_bytes = max(peak.nvml_process_bytes or 0, process.usedGpuMemory)

    def _used(self, handle: Any) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
        except Exception:  # noqa: BLE001 - a GB10 answers NVML_ERROR_NOT_SUPPORTED
            return None
