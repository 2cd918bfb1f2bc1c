"""How much memory an engine takes, and a watch that ends it before its neighbour starves.

No single figure is right on every machine, so five are taken and each is labelled (see `MemoryReport`). On
unified memory (GB10) NVML cannot say how much of the device is used, a container's cgroup does not see what
CUDA allocates, and `torch.cuda.mem_get_info` counts page cache as used; what NVML lists per process on the
host, and the dip of MemAvailable, are what remains. Sampled by the benchmarking process on the host itself.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, Literal, Self

from bench.memory.meminfo import read_available_bytes, read_meminfo
from bench.memory.nvml import Gpu, NvmlReader
from bench.memory.processes import EngineProcesses, read_cgroup_current, read_cgroup_peak, read_rss
from bench.memory.series import SeriesBuilder
from bench.records.memory import Figure, FloorEvent, GpuFacts, MemoryBaseline, MemoryReport, Window

_NO_ENGINE = "no engine was started: the model is served by somebody else"


class _Accumulator:
    """The running peaks of one window."""

    def __init__(self, name: str, start_s: float, energy_j: dict[int, float | None]) -> None:
        self.name = name
        self.start_s = start_s
        self.end_s: float | None = None
        self.energy_start_j = energy_j
        self.energy_end_j: dict[int, float | None] = {}
        self.samples = 0
        self.peaks: dict[str, int] = {}
        self.lowest: int | None = None
        self.audio_s = 0.0
        self.power: dict[int, list[float]] = {}
        """By GPU: [watts summed, watts counted, highest, joules integrated, last time, last watts]."""

    def add(self, t_s: float, values: Mapping[str, int | None], power_w: Mapping[int, float | None]) -> None:
        self.samples += 1
        for name in ("gpu_process_bytes", "rss_bytes", "cgroup_bytes"):
            if (value := values.get(name)) is not None:
                self.peaks[name] = max(value, self.peaks.get(name, 0))
        if (available := values.get("available_bytes")) is not None:
            self.lowest = available if self.lowest is None else min(available, self.lowest)
        for index, watts in power_w.items():
            if watts is None:
                continue
            state = self.power.setdefault(index, [0.0, 0.0, 0.0, 0.0, t_s, watts])
            state[0] += watts
            state[1] += 1
            state[2] = max(state[2], watts)
            state[3] += (t_s - state[4]) * (watts + state[5]) / 2
            state[4:] = [t_s, watts]

    def report(self, gpus: set[int], now_s: float, energy_now_j: dict[int, float | None]) -> Window:
        end_s = now_s if self.end_s is None else self.end_s
        energy_end = self.energy_end_j or energy_now_j
        counted = {g: (self.energy_start_j.get(g), energy_end.get(g)) for g in gpus}
        known = {g: self.power[g] for g in gpus if g in self.power and self.power[g][1]}
        whole_power = bool(gpus) and len(known) == len(gpus)
        energy: float | None = None
        source: Literal["nvml_counter", "integrated_power"] | None = None
        if gpus and all(a is not None and b is not None for a, b in counted.values()):
            energy = sum(b - a for a, b in counted.values() if a is not None and b is not None)
            source = "nvml_counter"
        elif whole_power and all(state[1] >= 2 for state in known.values()):
            energy, source = sum(state[3] for state in known.values()), "integrated_power"
        return Window(
            name=self.name,
            start_s=self.start_s,
            seconds=end_s - self.start_s,
            samples=self.samples,
            gpu_process_peak_bytes=self.peaks.get("gpu_process_bytes"),
            rss_peak_bytes=self.peaks.get("rss_bytes"),
            cgroup_peak_bytes=self.peaks.get("cgroup_bytes"),
            available_lowest_bytes=self.lowest,
            power_mean_w=sum(s[0] / s[1] for s in known.values()) if whole_power else None,
            power_peak_w=sum(s[2] for s in known.values()) if whole_power else None,
            energy_j=energy,
            energy_source=source,
            audio_s=self.audio_s or None,
            joules_per_audio_s=energy / self.audio_s if energy is not None and self.audio_s else None,
        )


class MemorySampler:
    """Samples memory and power in a thread of its own while the `with` block runs.

    A second thread watches the floor with nothing but /proc/meminfo, so a driver that blocks a call for
    seconds cannot delay it.

    Example:
        baseline = settle_baseline()
        with MemorySampler(baseline=baseline, floor_bytes=8 * 2**30, on_floor=end_engine) as s:
            engine = launch(...)
            s.attach(engine.processes)
            with s.window("clone"):
                ...
            s.set_torch_peak(engine.memory())
        report = s.report()
    """

    def __init__(
        self,
        engine: EngineProcesses | None = None,
        *,
        hz: float = 15.0,
        baseline: MemoryBaseline | None = None,
        floor_bytes: int | None = None,
        on_floor: Callable[[int], None] | None = None,
        nvml: Any | None = None,
        read_available: Callable[[], int | None] = read_available_bytes,
    ) -> None:
        """Prepare; nothing runs before `with`.

        Args:
            engine: whose memory; may be given later through `attach`, so that loading is sampled too.
            hz: samples per second, 10 to 20; a slow driver lowers what is achieved.
            baseline: MemAvailable before the engine, from `settle_baseline`; without it there is no dip.
            floor_bytes: when MemAvailable is below this, `on_floor` is called.
            on_floor: called once, in the watch's thread, with MemAvailable in bytes; ends the engine.
            nvml: the `pynvml` module or its double; by default the module.
            read_available: returns MemAvailable in bytes or None.
        """
        self._engine = engine
        self._had_engine = engine is not None
        self._hz = hz
        self._baseline = baseline
        self._floor_bytes = floor_bytes
        self._on_floor = on_floor
        self._read_available = read_available
        self._nvml = NvmlReader(nvml)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._began = 0.0
        self._ended: float | None = None
        self._torch: dict[str, int] | None = None
        self._whole: _Accumulator | None = None
        self._windows: list[_Accumulator] = []
        self._open: list[_Accumulator] = []
        self._series = SeriesBuilder()
        self._gpu_peak: dict[int, int] = {}
        self._gpu_used_peak: dict[int, int] = {}
        self._engine_gpus: set[int] = set()
        self._pids_seen = False
        self._cgroup_peak: int | None = None
        self._floor: FloorEvent | None = None
        self._floor_lowest: int | None = None
        self._cost_ms: deque[float] = deque(maxlen=4096)
        self._cost_max_ms = 0.0
        self._cpu_s = 0.0
        self._error: str | None = None
        self._driver: str | None = None
        self._energy_end: dict[int, float | None] = {}

    def __enter__(self) -> Self:
        """Open NVML and start both threads."""
        self._nvml.open()
        self._driver = self._nvml.driver_version()
        self._began = time.monotonic()
        self._whole = _Accumulator("whole", 0.0, self._energies())
        self._open.append(self._whole)
        self._start("memory-sampler", self._sample_loop)
        if self._floor_bytes is not None:
            self._start("memory-floor", self._floor_loop)
        return self

    def __exit__(self, *_: object) -> None:
        """Take a last sample, stop both threads and close NVML; the report stays to be had."""
        self._stop.set()
        for thread in self._threads:
            # The watch itself may be what unwinds this block, and a wedged driver must not hold the run.
            if thread is not threading.current_thread():
                thread.join(timeout=10.0)
        self._ended = time.monotonic() - self._began
        if any(thread.is_alive() for thread in self._threads):
            self._error = self._error or "the sampler's thread is stuck in a call of the driver"
            return
        self._energy_end = self._energies()
        self._nvml.close()

    def attach(self, engine: EngineProcesses | None) -> None:
        """Say whose memory it is from now on; None when the engine has ended."""
        self._engine = engine
        self._had_engine = self._had_engine or engine is not None

    def set_torch_peak(self, peak: Mapping[str, int] | None) -> None:
        """Take torch's peaks as the engine tells them (`Adapter.memory`); of several, the highest stays."""
        if peak is None:
            return
        merged = dict(self._torch or {})
        for name, value in peak.items():
            merged[name] = max(int(value), merged.get(name, 0))
        self._torch = merged

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Keep peaks and energy of what runs inside apart, under `name` in the report's `windows`."""
        accumulator = _Accumulator(name, time.monotonic() - self._began, self._energies())
        with self._lock:
            self._windows.append(accumulator)
            self._open.append(accumulator)
        try:
            yield
        finally:
            energies = self._energies()
            with self._lock:
                accumulator.end_s = time.monotonic() - self._began
                accumulator.energy_end_j = energies
                self._open.remove(accumulator)

    def add_audio(self, seconds: float) -> None:
        """Count audio that was made in the windows that are open now."""
        with self._lock:
            for accumulator in self._open:
                if accumulator is not self._whole:  # which holds loading too: no price of speech
                    accumulator.audio_s += seconds

    def report(self) -> MemoryReport:
        """Return what was found so far; after the block, what was found in all.

        Raises:
            RuntimeError: the sampler never ran.
        """
        if self._whole is None:
            raise RuntimeError("the sampler has not run: use it in a `with` block")
        now_s = time.monotonic() - self._began if self._ended is None else self._ended
        energies = self._energies() if self._ended is None else self._energy_end
        with self._lock:
            whole = self._whole.report(self._engine_gpus, now_s, energies)
            windows = [window.report(self._engine_gpus, now_s, energies) for window in self._windows]
            lowest = min(
                (v for v in (whole.available_lowest_bytes, self._floor_lowest) if v is not None), default=None
            )
            return MemoryReport(
                gpu_process=self._gpu_figure(whole),
                torch_allocated=self._torch_figure(
                    "torch_peak_allocated_bytes", "torch.cuda.max_memory_allocated"
                ),
                torch_reserved=self._torch_figure(
                    "torch_peak_reserved_bytes", "torch.cuda.max_memory_reserved"
                ),
                available_dip=self._dip_figure(lowest),
                cgroup=self._cgroup_figure(whole),
                rss=_figure(whole.rss_peak_bytes, "process tree RSS", self._why_no_process()),
                baseline=self._baseline,
                available_lowest_bytes=lowest,
                mem_total_bytes=read_meminfo("MemTotal"),
                gpus=[self._gpu_facts(gpu) for gpu in self._nvml.gpus],
                driver_version=self._driver,
                nvml_errors=dict(self._nvml.errors),
                whole=whole,
                windows=windows,
                floor_bytes=self._floor_bytes,
                floor=self._floor,
                hz_asked=self._hz,
                hz_achieved=whole.samples / now_s if now_s > 0 else None,
                sample_ms_p50=median(self._cost_ms) if self._cost_ms else None,
                sample_ms_max=self._cost_max_ms if self._cost_ms else None,
                cpu_fraction=self._cpu_s / now_s if now_s > 0 and self._cost_ms else None,
                sampler_error=self._error,
                series=self._series.series(),
            )

    def _start(self, name: str, loop: Callable[[], None]) -> None:
        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _sample_loop(self) -> None:
        cpu_began = time.thread_time()
        due = time.monotonic()
        last = False
        while True:
            began = time.perf_counter()
            try:
                self._sample()
            except Exception as error:  # noqa: BLE001 - recorded; a pass must not fail because it is watched
                self._error = self._error or f"{type(error).__name__}: {error}"
            cost_ms = (time.perf_counter() - began) * 1000
            with self._lock:
                self._cost_ms.append(cost_ms)
                self._cost_max_ms = max(self._cost_max_ms, cost_ms)
                self._cpu_s = time.thread_time() - cpu_began
            if last:
                return
            due = max(due + 1.0 / self._hz, time.monotonic())
            last = self._stop.wait(max(0.0, due - time.monotonic()))

    def _sample(self) -> None:
        engine = self._engine
        pids = engine.pids() if engine is not None else set()
        self._pids_seen = self._pids_seen or bool(pids)
        gpu_bytes: int | None = None
        power: dict[int, float | None] = {}
        for gpu in self._nvml.gpus:
            seen = self._nvml.sample(gpu, pids)
            power[gpu.index] = seen.power_w
            if seen.used_bytes is not None:
                self._gpu_used_peak[gpu.index] = max(seen.used_bytes, self._gpu_used_peak.get(gpu.index, 0))
            if seen.engine_bytes:
                self._engine_gpus.add(gpu.index)
                self._gpu_peak[gpu.index] = max(seen.engine_bytes, self._gpu_peak.get(gpu.index, 0))
                gpu_bytes = (gpu_bytes or 0) + seen.engine_bytes
        cgroup = engine.cgroup if engine is not None else None
        current = None
        if cgroup is not None:
            current = read_cgroup_current(cgroup)
            peak = read_cgroup_peak(cgroup)
            if peak is not None:
                self._cgroup_peak = max(peak, self._cgroup_peak or 0)
        values: dict[str, int | None] = {
            "gpu_process_bytes": gpu_bytes,
            "available_bytes": self._read_available(),
            "rss_bytes": read_rss(pids) if pids else None,
            "cgroup_bytes": current,
        }
        t_s = time.monotonic() - self._began
        ours = [w for g, w in power.items() if g in self._engine_gpus and w is not None]
        with self._lock:
            for accumulator in self._open:
                accumulator.add(t_s, values, power)
            self._series.add(t_s, {**values, "power_w": sum(ours) if ours else None})

    def _floor_loop(self) -> None:
        floor = self._floor_bytes
        while floor is not None and not self._stop.is_set():
            value = self._read_available()
            if value is not None:
                self._floor_lowest = value if self._floor_lowest is None else min(value, self._floor_lowest)
                if value < floor:
                    event = FloorEvent(t_s=time.monotonic() - self._began, available_bytes=value)
                    if self._on_floor is not None:
                        try:
                            self._on_floor(value)
                        except Exception as error:  # noqa: BLE001 - kept in the record for the caller to judge
                            event.callback_error = f"{type(error).__name__}: {error}"
                    self._floor = event
                    return
            self._stop.wait(1.0 / self._hz)

    def _energies(self) -> dict[int, float | None]:
        return {gpu.index: self._nvml.energy_j(gpu) for gpu in self._nvml.gpus}

    def _gpu_facts(self, gpu: Gpu) -> GpuFacts:
        return GpuFacts(
            index=gpu.index,
            name=gpu.name,
            uuid=gpu.uuid,
            engine_peak_bytes=self._gpu_peak.get(gpu.index),
            device_used_peak_bytes=self._gpu_used_peak.get(gpu.index),
            used_by_engine=gpu.index in self._engine_gpus,
        )

    def _why_no_process(self) -> str:
        return "the engine's processes were never seen" if self._had_engine else _NO_ENGINE

    def _gpu_figure(self, whole: Window) -> Figure:
        errors = self._nvml.errors
        if not self._nvml.gpus:
            why = ", ".join(f"{call}: {name}" for call, name in errors.items()) or "NVML lists no GPU"
        elif not self._pids_seen:
            why = self._why_no_process()
        elif "nvmlDeviceGetComputeRunningProcesses" in errors:
            why = f"nvmlDeviceGetComputeRunningProcesses: {errors['nvmlDeviceGetComputeRunningProcesses']}"
        elif "usedGpuMemory" in errors:
            why = "NVML lists the engine's processes without their memory"
        else:
            why = (
                "no process of the engine is in NVML's lists: it does not use a GPU, or this is not the host"
            )
        return _figure(whole.gpu_process_peak_bytes, "NVML per process, summed over GPUs", why)

    def _torch_figure(self, key: str, source: str) -> Figure:
        value = (self._torch or {}).get(key)
        why = "the engine reported none (it does not use torch on a GPU, or did not say)"
        return _figure(value, source, why if self._had_engine else _NO_ENGINE)

    def _dip_figure(self, lowest: int | None) -> Figure:
        baseline = self._baseline.available_bytes if self._baseline is not None else None
        source = "MemAvailable, settled baseline less lowest"
        if not self._had_engine:  # it fell by what others took
            return _figure(None, source, _NO_ENGINE)
        if baseline is None:
            return _figure(None, source, "no baseline was taken before the engine was started")
        if lowest is None:
            return _figure(None, source, "MemAvailable could not be read")
        return Figure(bytes=max(0, baseline - lowest), source=source)

    def _cgroup_figure(self, whole: Window) -> Figure:
        if self._cgroup_peak is not None:
            return Figure(bytes=self._cgroup_peak, source="cgroup peak by the kernel (host memory, no CUDA)")
        source = "highest sampled memory of the cgroup (host memory, no CUDA)"
        why = (
            "the engine has no memory cgroup of its own that can be read" if self._had_engine else _NO_ENGINE
        )
        return _figure(whole.cgroup_peak_bytes, source, why)


def _figure(value: int | None, source: str, reason: str) -> Figure:
    return Figure(bytes=value, source=source, reason=None if value is not None else reason)
