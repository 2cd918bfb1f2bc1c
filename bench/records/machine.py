"""What else the machine did while a pass was made: a busy or a slowed one makes a model look slow."""

from bench.records.base import Record


class GpuState(Record):
    """One GPU over a pass. Null: NVML did not say."""

    index: int
    name: str | None
    sm_mhz: float | None
    """Clock of the multiprocessors, median."""
    sm_max_mhz: float | None
    temperature_c: float | None
    """Highest."""
    slowed: list[str]
    """Why the driver held the clocks down, of all reasons seen: `power_cap`, `thermal`, `hardware`, `power_brake`."""
    others: int | None
    """Most processes beside the engine's that were on it at a time."""


class MachineState(Record):
    """The stopwatch's machine over the timed takes of a pass, looked at once a second. Null: it could not be told."""

    cpus: int
    load_before: float | None
    """Load average of the minute before, the engine's start and warm-ups included."""
    load_after: float | None
    others_cores: float | None
    """Processor cores that other programs used, in the mean; null where a server on this machine that Audition did not
    start spoke, which nobody could tell from them."""
    steal: float | None
    """Share of processor time that the hypervisor gave to other machines."""
    cpu_mhz: float | None
    """Clock of the fastest core, median."""
    cpu_max_mhz: float | None
    governor: str | None
    throttled: int | None
    """Times that the processor slowed down for its temperature."""
    gpus: list[GpuState] = []
