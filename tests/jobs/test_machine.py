"""What else the machine does beside a pass: looked at with the kernel's own files, and with a real neighbour on it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.jobs import machine
from bench.jobs.machine import MachineWatch
from bench.records.machine import GpuState, MachineState
from bench.verdict.machine import explain

BURN = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


class Nvml:
    """A double of `pynvml` with one GPU."""

    reasons = 0
    processes: tuple[int, ...] = ()
    mhz = 1980

    def nvmlInit(self) -> None:  # noqa: N802
        """Be there."""

    def nvmlShutdown(self) -> None:  # noqa: N802
        """Be gone."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, _: int) -> str:  # noqa: N802
        return "GB0"

    def nvmlDeviceGetClockInfo(self, _: int, kind: int) -> int:  # noqa: N802
        assert kind == 1
        return self.mhz

    def nvmlDeviceGetMaxClockInfo(self, _: int, kind: int) -> int:  # noqa: N802
        return 2000

    def nvmlDeviceGetTemperature(self, _: int, sensor: int) -> int:  # noqa: N802
        return 71

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: int) -> int:  # noqa: N802
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=1) for pid in self.processes]


def _kernel(root: Path, stat: str, *, mhz: str = "1200000", throttled: str = "5") -> tuple[Path, Path]:
    """The files that are read, as a kernel with two cores has them."""
    proc, cpus = root / "proc", root / "cpus"
    proc.mkdir(exist_ok=True)
    (proc / "stat").write_text(f"cpu  {stat} 0 0\ncpu0 1 2 3\n")
    (proc / "loadavg").write_text("3.25 2.0 1.0 2/100 999\n")
    for core, clock in (("cpu0", "800000"), ("cpu1", mhz)):
        for name, text in (
            ("cpufreq/scaling_cur_freq", clock), ("cpufreq/cpuinfo_max_freq", "3000000"),
            ("cpufreq/scaling_governor", "powersave"), ("thermal_throttle/core_throttle_count", throttled),
        ):  # fmt: skip
            path = cpus / core / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    return proc, cpus


def test_what_the_kernel_says_is_what_is_recorded(tmp_path: Path) -> None:
    proc, cpus = _kernel(tmp_path, "1000 0 500 10000 100 0 0 50")
    nvml = Nvml()
    nvml.processes, nvml.reasons = (1, 2, 3), 0x20 | 0x4
    watch = MachineWatch(lambda: {2}, nvml=nvml, proc=proc, cpus=cpus)
    with watch:
        _kernel(tmp_path, "1900 0 600 10300 200 0 0 250", throttled="6")  # of 1600 ticks 200 were stolen
    state = watch.state()
    assert state.steal == 0.125
    assert (state.load_before, state.load_after, state.throttled, state.governor) == (
        3.25,
        3.25,
        2,
        "powersave",
    )
    assert (state.cpu_mhz, state.cpu_max_mhz) == (1200.0, 3000.0)
    (gpu,) = state.gpus
    assert (gpu.name, gpu.sm_mhz, gpu.sm_max_mhz, gpu.temperature_c) == ("GB0", 1980, 2000, 71)
    assert (gpu.slowed, gpu.others) == (["power_cap", "thermal"], 2)


def test_a_machine_that_says_nothing_gives_nulls(tmp_path: Path) -> None:
    watch = MachineWatch(None, nvml=object(), proc=tmp_path, cpus=tmp_path)
    with watch:
        pass
    found = watch.state().model_dump(exclude={"cpus", "gpus"})
    assert set(found.values()) == {None} and watch.state().gpus == []


@pytest.mark.slow
def test_what_the_engine_uses_is_not_what_others_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PERIOD_S", 0.1)
    with subprocess.Popen([sys.executable, "-c", BURN]) as burning:
        try:
            found = {}
            for name, pids in (("engine", lambda: {burning.pid}), ("other", lambda: set[int]())):
                watch = MachineWatch(pids, nvml=object())
                with watch:
                    time.sleep(2.0)
                found[name] = watch.state().others_cores or 0.0
            hidden = MachineWatch(None, ours_alone=False, nvml=object())
            with hidden:
                time.sleep(0.1)
        finally:
            burning.kill()
    # Whatever else this machine does is in both.
    used = found["other"] - found["engine"]
    assert used > 0.2 * min(1, os.cpu_count() or 1), found
    assert hidden.state().others_cores is None


IDLE = MachineState(
    cpus=4, load_before=1.0, load_after=1.0, others_cores=0.1, steal=0.0, cpu_mhz=2900.0, cpu_max_mhz=3000.0,
    governor="performance", throttled=0,
    gpus=[GpuState(index=0, name="G", sm_mhz=1900, sm_max_mhz=2000, temperature_c=60, slowed=["power_cap"], others=0)],
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"others_cores": 1.0}, "other programs used 1.0 of 4 cores"),
        ({"steal": 0.05}, "the hypervisor gave 5% of the processor's time"),
        ({"others_cores": None, "load_before": 6.0}, "the load was 6.0 on 4 cores"),
        ({"cpu_mhz": 1200.0}, "the processor ran at 1200 of 3000 MHz"),
        ({"throttled": 3}, "slowed down for its temperature 3 times"),
        ({"gpus": [IDLE.gpus[0].model_copy(update={"slowed": ["thermal"]})]}, "GPU 0: it was too hot"),
        ({"gpus": [IDLE.gpus[0].model_copy(update={"others": 1})]}, "1 other process was on GPU 0"),
    ],
)
def test_what_is_amiss_is_said_and_nothing_else(changes: dict[str, Any], says: str) -> None:
    assert explain(IDLE, "none") == []
    (said,) = explain(IDLE.model_copy(update=changes), "none")
    assert says in said


def test_a_neighbour_that_is_meant_to_be_there_is_not_warned_of() -> None:
    shared = IDLE.model_copy(update={"gpus": [IDLE.gpus[0].model_copy(update={"others": 2})]})
    assert explain(shared, "parallel") == []
