"""The memory sampler, with a scripted double of NVML (no GPU here) and with real processes and /proc.

The double has the functions of `pynvml` that are used, returns what a test scripts, and raises the real
library's exceptions. What a real GPU says is shown by `python -m benchmarks.nvml`.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from bench.memory.meminfo import read_available_bytes, settle_baseline
from bench.memory.processes import (
    FixedProcesses,
    ProcessTree,
    find_container,
    find_memory_cgroup,
    read_cgroup_current,
    read_cgroup_peak,
    read_cgroup_pids,
    read_rss,
)
from bench.memory.sampler import MemorySampler
from bench.memory.series import SeriesBuilder
from bench.records.memory import MemoryBaseline, MemoryReport

MIB = 2**20
GIB = 2**30


class ScriptedNvml:
    """A double of the `pynvml` module: two GPUs whose answers a test sets."""

    NVML_ERROR_NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION
    NVML_ERROR_DRIVER_NOT_LOADED = pynvml.NVML_ERROR_DRIVER_NOT_LOADED

    def __init__(self) -> None:
        self.compute: list[dict[int, int | None]] = [{}, {}]
        self.graphics: list[dict[int, int | None]] = [{}, {}]
        self.power_mw = [100_000, 50_000]
        self.energy_mj = [1_000_000, 2_000_000]
        self.refused: dict[str, int] = {}
        self.block: threading.Event | None = None
        self.closed = False

    def _say(self, call: str, answer: Any) -> Any:
        if call in self.refused:
            raise pynvml.NVMLError(self.refused[call])
        return answer

    def nvmlInit(self) -> None:  # noqa: N802
        self._say("nvmlInit", None)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.closed = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"Double {handle}"

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:  # noqa: N802
        return f"GPU-{handle}".encode()

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "999.1"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        if self.block is not None:
            self.block.wait(30)
        listed = self._say("nvmlDeviceGetComputeRunningProcesses", self.compute[handle])
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in listed.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        listed = self._say("nvmlDeviceGetGraphicsRunningProcesses", self.graphics[handle])
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in listed.items()]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return self._say("nvmlDeviceGetMemoryInfo", SimpleNamespace(used=(handle + 1) * GIB))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return int(self._say("nvmlDeviceGetPowerUsage", self.power_mw[handle]))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        return int(self._say("nvmlDeviceGetTotalEnergyConsumption", self.energy_mj[handle]))


class Watched:
    """MemAvailable as a script, counting how often it was read; the last value stays."""

    def __init__(self, *values: int | None) -> None:
        self.values = list(values)
        self.reads = 0

    def __call__(self) -> int | None:
        value = self.values[min(self.reads, len(self.values) - 1)]
        self.reads += 1
        return value


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; generous, so that a busy machine does not fail the test."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.005)


def sampled(
    nvml: ScriptedNvml, pids: set[int], during: Callable[[MemorySampler], None] | None = None, **options: Any
) -> MemoryReport:
    """Sample an engine of these PIDs until at least three samples are in."""
    with MemorySampler(FixedProcesses(lambda: pids), nvml=nvml, hz=50, **options) as sampler:
        until(lambda: sampler.report().whole.samples >= 3, "three samples")
        if during is not None:
            during(sampler)
            seen = sampler.report().whole.samples
            until(lambda: sampler.report().whole.samples >= seen + 2, "two samples more")
    return sampler.report()


def test_only_the_engines_processes_count_and_gpus_add_up() -> None:
    nvml = ScriptedNvml()
    nvml.compute = [{10: 3 * GIB, 99: 40 * GIB}, {11: GIB}]
    nvml.graphics = [{10: 3 * GIB}, {}]
    report = sampled(nvml, {10, 11})
    assert report.gpu_process.bytes == 4 * GIB and report.gpu_process.reason is None
    assert [gpu.engine_peak_bytes for gpu in report.gpus] == [3 * GIB, GIB]
    assert [gpu.device_used_peak_bytes for gpu in report.gpus] == [GIB, 2 * GIB]
    assert [(gpu.name, gpu.uuid) for gpu in report.gpus] == [("Double 0", "GPU-0"), ("Double 1", "GPU-1")]
    assert report.driver_version == "999.1" and report.nvml_errors == {} and report.sampler_error is None
    assert nvml.closed


def test_the_peak_stays_when_the_engine_lets_go() -> None:
    nvml = ScriptedNvml()
    nvml.compute[0] = {10: 5 * GIB}

    def shrink(_: MemorySampler) -> None:
        nvml.compute[0] = {10: GIB}

    report = sampled(nvml, {10}, shrink)
    assert report.gpu_process.bytes == 5 * GIB
    assert report.series.gpu_process_bytes[0] == 5 * GIB and report.series.gpu_process_bytes[-1] == GIB


def test_a_gb10_refuses_device_memory_and_the_rest_is_taken() -> None:
    nvml = ScriptedNvml()
    nvml.refused = {
        "nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "nvmlDeviceGetTotalEnergyConsumption": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "nvmlDeviceGetGraphicsRunningProcesses": pynvml.NVML_ERROR_NO_PERMISSION,
    }
    nvml.compute[0] = {10: 2 * GIB}
    report = sampled(nvml, {10})
    assert report.gpu_process.bytes == 2 * GIB
    assert [gpu.device_used_peak_bytes for gpu in report.gpus] == [None, None]
    assert report.nvml_errors == {
        "nvmlDeviceGetMemoryInfo": "NVML_ERROR_NOT_SUPPORTED",
        "nvmlDeviceGetTotalEnergyConsumption": "NVML_ERROR_NOT_SUPPORTED",
        "nvmlDeviceGetGraphicsRunningProcesses": "NVML_ERROR_NO_PERMISSION",
    }
    assert report.whole.energy_source == "integrated_power"
    assert report.whole.energy_j is not None and 0 < report.whole.energy_j <= 100 * report.whole.seconds
    assert report.whole.power_mean_w == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nvmlInit": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}, "nvmlInit: NVML_ERROR_DRIVER_NOT_LOADED"),
        (
            {
                "nvmlDeviceGetComputeRunningProcesses": pynvml.NVML_ERROR_NO_PERMISSION,
                "nvmlDeviceGetGraphicsRunningProcesses": pynvml.NVML_ERROR_NO_PERMISSION,
            },
            "nvmlDeviceGetComputeRunningProcesses: NVML_ERROR_NO_PERMISSION",
        ),
    ],
)
def test_a_refusal_is_named_and_no_figure_is_made_up(change: dict[str, int], reason: str) -> None:
    nvml = ScriptedNvml()
    nvml.refused = change
    report = sampled(nvml, {10})
    assert report.gpu_process.bytes is None and report.gpu_process.reason == reason
    assert report.whole.energy_j is None and report.whole.power_mean_w is None


def test_no_process_in_the_list_is_null_and_not_nought() -> None:
    nvml = ScriptedNvml()
    nvml.compute[0] = {99: GIB}
    report = sampled(nvml, {10})
    assert report.gpu_process.bytes is None
    assert report.gpu_process.reason is not None and "not the host" in report.gpu_process.reason
    assert sampled(nvml, set()).gpu_process.reason == "the engine's processes were never seen"


def test_a_process_listed_without_its_memory_is_null() -> None:
    nvml = ScriptedNvml()
    nvml.compute[0] = {10: None}
    report = sampled(nvml, {10})
    assert report.gpu_process.bytes is None
    assert report.gpu_process.reason == "NVML lists the engine's processes without their memory"


@pytest.mark.parametrize(
    ("compute", "graphics"), [(GIB, None), (None, GIB), (GIB, GIB // 2), (GIB // 2, GIB)]
)
def test_of_both_lists_the_figure_that_is_there_counts(compute: int | None, graphics: int | None) -> None:
    nvml = ScriptedNvml()
    nvml.compute[0], nvml.graphics[0] = {10: compute}, {10: graphics}
    assert sampled(nvml, {10}).gpu_process.bytes == GIB


def test_this_machine_as_it_is() -> None:
    """The real library: an engine that uses no GPU, or no driver at all, gives null and the reason."""
    with MemorySampler(ProcessTree(0), hz=20) as sampler:
        time.sleep(0.2)
    report = sampler.report()
    assert report.gpu_process.bytes is None and report.gpu_process.reason
    assert report.gpus or report.nvml_errors
    assert report.sampler_error is None
    MemoryReport.model_validate_json(report.model_dump_json())


def test_energy_of_a_window_is_the_counters_difference_on_the_engines_gpus() -> None:
    nvml = ScriptedNvml()
    nvml.compute[0] = {10: GIB}

    def speak(sampler: MemorySampler) -> None:
        nvml.energy_mj[0] += 5_000
        sampler.add_audio(100.0)
        with sampler.window("clone"):
            sampler.add_audio(8.0)
            sampler.add_audio(4.0)
            nvml.energy_mj[0] += 30_000
            nvml.energy_mj[1] += 900_000
            nvml.compute[0] = {10: 2 * GIB}
            seen = sampler.report().whole.samples
            until(lambda: sampler.report().whole.samples >= seen + 2, "two samples in the window")
        nvml.energy_mj[0] += 7_000

    report = sampled(nvml, {10}, speak)
    (window,) = report.windows
    assert window.name == "clone" and window.energy_source == "nvml_counter"
    assert window.energy_j == pytest.approx(30.0)
    assert window.audio_s == 12.0
    assert window.joules_per_audio_s == pytest.approx(2.5)
    assert window.gpu_process_peak_bytes == 2 * GIB
    assert report.whole.energy_j == pytest.approx(42.0)
    assert report.whole.joules_per_audio_s is None


def test_torchs_peaks_are_what_the_engine_told() -> None:
    nvml = ScriptedNvml()

    def tell(sampler: MemorySampler) -> None:
        sampler.set_torch_peak({"torch_peak_allocated_bytes": 5, "torch_peak_reserved_bytes": 9})
        sampler.set_torch_peak(None)
        sampler.set_torch_peak({"torch_peak_allocated_bytes": 7, "torch_peak_reserved_bytes": 8})

    report = sampled(nvml, {10}, tell)
    assert (report.torch_allocated.bytes, report.torch_reserved.bytes) == (7, 9)
    silent = sampled(nvml, {10})
    assert silent.torch_allocated.bytes is None and silent.torch_allocated.reason


def test_the_dip_is_counted_from_the_settled_baseline() -> None:
    read = Watched(10 * GIB, 7 * GIB, 9 * GIB)
    baseline = MemoryBaseline(available_bytes=10 * GIB, spread_bytes=MIB, settled=True, waited_s=2.0)
    report = sampled(ScriptedNvml(), {10}, baseline=baseline, read_available=read)
    assert report.available_dip.bytes == 3 * GIB
    assert report.available_lowest_bytes == 7 * GIB
    without = sampled(ScriptedNvml(), {10}, read_available=Watched(GIB))
    assert without.available_dip.bytes is None
    assert without.available_dip.reason == "no baseline was taken before the engine was started"
    blind = sampled(ScriptedNvml(), {10}, baseline=baseline, read_available=Watched(None))
    assert (
        blind.available_dip.bytes is None and blind.available_dip.reason == "MemAvailable could not be read"
    )


def test_the_baseline_waits_until_memory_settles() -> None:
    moving = Watched(9 * GIB, 8 * GIB, 7 * GIB, *[6 * GIB + n for n in range(100)])
    settled = settle_baseline(window_s=0.05, hz=100, timeout_s=30, read_available=moving)
    assert settled.settled and settled.spread_bytes is not None and settled.spread_bytes < MIB
    assert settled.available_bytes is not None and settled.available_bytes // GIB == 6
    never = Watched(*[n * GIB for n in range(1, 400)])
    unsettled = settle_baseline(window_s=0.05, hz=100, timeout_s=0.2, read_available=never)
    assert not unsettled.settled and unsettled.spread_bytes is not None and unsettled.spread_bytes >= GIB
    unknown = settle_baseline(read_available=Watched(None))
    assert unknown.available_bytes is None and not unknown.settled


def test_memory_of_this_machine_is_read() -> None:
    free = read_available_bytes()
    assert free is not None and free > 0


@pytest.fixture
def hungry() -> Iterator["subprocess.Popen[str]"]:
    """A process whose child holds 200 MiB, as an engine behind a shell would."""
    child = "import sys, time; x = bytearray(200 * 2**20); print('ready', flush=True); time.sleep(600)"
    parent = (
        "import subprocess, sys\n"
        f"with subprocess.Popen([sys.executable, '-c', {child!r}]) as child:\n"
        "    try:\n        sys.stdin.read()\n    finally:\n        child.kill()\n"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()
        process.wait(timeout=30)


def test_a_process_tree_is_followed_and_its_rss_summed(hungry: "subprocess.Popen[str]") -> None:
    tree = ProcessTree(hungry.pid)
    assert len(tree.pids()) == 2
    with MemorySampler(tree, hz=20) as sampler:
        until(lambda: (sampler.report().rss.bytes or 0) > 0, "an RSS")
    report = sampler.report()
    assert report.rss.bytes is not None and 200 * MIB < report.rss.bytes < 320 * MIB
    assert report.cgroup.bytes is None and report.cgroup.reason
    assert report.hz_achieved is not None and report.cpu_fraction is not None


def test_a_process_that_is_gone_has_neither_pids_nor_rss() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert ProcessTree(process.pid).pids() == set()
    assert read_rss({process.pid}) is None


@pytest.mark.parametrize(
    ("current", "peak"),
    [("memory.current", "memory.peak"), ("memory.usage_in_bytes", "memory.max_usage_in_bytes")],
)
def test_both_versions_of_cgroups_are_read(tmp_path: Path, current: str, peak: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "cgroup.procs").write_text("10\n0\n")
    (tmp_path / "below" / "cgroup.procs").write_text("11\n")
    (tmp_path / current).write_text("1000\n")
    assert read_cgroup_pids(tmp_path) == {10, 11}
    assert read_cgroup_current(tmp_path) == 1000 and read_cgroup_peak(tmp_path) is None
    nvml = ScriptedNvml()
    nvml.compute[0] = {11: GIB}
    engine = FixedProcesses(lambda: read_cgroup_pids(tmp_path), tmp_path)
    with MemorySampler(engine, nvml=nvml, hz=50) as sampler:
        until(lambda: sampler.report().cgroup.bytes == 1000, "the current figure")
        assert "sampled" in sampler.report().cgroup.source
        (tmp_path / peak).write_text("5000\n")
        until(lambda: sampler.report().cgroup.bytes == 5000, "the kernel's own peak")
    assert sampler.report().gpu_process.bytes == GIB
    assert "no CUDA" in sampler.report().cgroup.source


def test_a_cgroup_that_is_gone_is_empty(tmp_path: Path) -> None:
    assert read_cgroup_pids(tmp_path / "gone") == set()
    assert read_cgroup_current(tmp_path / "gone") is None


@pytest.mark.parametrize(
    ("lines", "folder"),
    [
        ("0::/system.slice/docker-abc.scope\n", "system.slice/docker-abc.scope"),
        ("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n", "memory/docker/abc"),
        ("1:name=systemd:/x\n0::/docker/abc\n", "unified/docker/abc"),
    ],
)
def test_a_processs_memory_cgroup_is_found(tmp_path: Path, lines: str, folder: str) -> None:
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (root / folder).mkdir(parents=True)
    (proc / "42").mkdir(parents=True)
    (proc / "42" / "cgroup").write_text(lines)
    assert find_memory_cgroup(42, root, proc) == root / folder
    assert find_memory_cgroup(43, root, proc) is None


def test_a_container_without_a_cgroup_of_its_own_is_followed_as_a_tree(
    hungry: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    engine = find_container(hungry.pid, tmp_path)
    assert engine.cgroup is None and hungry.pid in engine.pids() and len(engine.pids()) == 2


def test_the_floor_is_called_once_with_what_was_left() -> None:
    called: list[int] = []
    read = Watched(20 * GIB, 20 * GIB, 20 * GIB, 3 * GIB, 2 * GIB)
    with MemorySampler(
        hz=50, nvml=ScriptedNvml(), read_available=read, floor_bytes=8 * GIB, on_floor=called.append
    ) as sampler:
        until(lambda: sampler.report().floor is not None, "the floor's event")
        reads = read.reads
        until(lambda: read.reads > reads + 3, "samples after the event")
    event = sampler.report().floor
    assert event is not None and called == [event.available_bytes] and called[0] < 8 * GIB
    assert event.callback_error is None and sampler.report().floor_bytes == 8 * GIB


def test_above_the_floor_nothing_is_called() -> None:
    def never(_: int) -> None:
        raise AssertionError("called above the floor")

    read = Watched(20 * GIB)
    with MemorySampler(
        hz=100, nvml=ScriptedNvml(), read_available=read, floor_bytes=20 * GIB, on_floor=never
    ) as sampler:
        until(lambda: read.reads > 10, "ten reads")
    assert sampler.report().floor is None


def test_a_driver_that_hangs_does_not_delay_the_floor() -> None:
    nvml = ScriptedNvml()
    nvml.block = threading.Event()
    called = threading.Event()
    with MemorySampler(
        hz=50, nvml=nvml, read_available=Watched(GIB), floor_bytes=8 * GIB, on_floor=lambda _: called.set()
    ) as sampler:
        assert called.wait(20)
        assert sampler.report().whole.samples == 0
        nvml.block.set()


def test_a_floor_that_fails_is_recorded_and_a_real_process_can_be_ended_by_it() -> None:
    def fail(_: int) -> None:
        raise OSError("no such engine")

    options: dict[str, Any] = {"hz": 50, "nvml": ScriptedNvml(), "floor_bytes": 8 * GIB}
    with MemorySampler(read_available=Watched(GIB), on_floor=fail, **options) as sampler:
        until(lambda: sampler.report().floor is not None, "the floor's event")
    event = sampler.report().floor
    assert event is not None and event.callback_error == "OSError: no such engine"
    with (
        subprocess.Popen(["sleep", "600"]) as engine,
        MemorySampler(
            ProcessTree(engine.pid), read_available=Watched(GIB), on_floor=lambda _: engine.kill(), **options
        ),
    ):
        assert engine.wait(timeout=30) == -9


def test_an_engine_that_cannot_be_asked_is_an_error_in_the_record() -> None:
    def broken() -> set[int]:
        raise RuntimeError("the container is gone")

    with MemorySampler(FixedProcesses(broken), nvml=ScriptedNvml(), hz=50) as sampler:
        until(lambda: sampler.report().sampler_error is not None, "the error")
    assert sampler.report().sampler_error == "RuntimeError: the container is gone"


def test_an_engine_can_be_attached_when_it_starts() -> None:
    nvml = ScriptedNvml()
    nvml.compute[0] = {10: GIB}
    with MemorySampler(nvml=nvml, hz=50) as sampler:
        until(lambda: sampler.report().whole.samples >= 2, "samples without an engine")
        assert sampler.report().gpu_process.bytes is None
        sampler.attach(FixedProcesses(lambda: {10}))
        until(lambda: sampler.report().gpu_process.bytes == GIB, "the engine's memory")
        sampler.attach(None)
    assert sampler.report().gpu_process.bytes == GIB


def test_a_sampler_that_never_ran_has_no_report() -> None:
    with pytest.raises(RuntimeError, match="with"):
        MemorySampler().report()


def test_a_long_series_stays_small_and_keeps_every_peak() -> None:
    builder = SeriesBuilder(limit=20)
    for n in range(10_000):
        spike = n in (4_321, 9_999)
        builder.add(
            n / 15,
            {
                "gpu_process_bytes": 900 if spike else 100,
                "available_bytes": 5 if spike else 50,
                "rss_bytes": None,
            },
        )
    series = builder.series()
    assert 10 <= len(series.t_s) <= 21
    assert series.t_s == sorted(series.t_s) and series.t_s[0] == 0.0
    assert series.gpu_process_bytes.count(900) == 2 and series.available_bytes.count(5) == 2
    assert set(series.rss_bytes) == {None} and len(series.rss_bytes) == len(series.t_s)
    assert SeriesBuilder().series().t_s == []
