"""`memory.json`: how much memory an engine took, by several witnesses."""

from typing import ClassVar, Literal

from bench.records.base import SCHEMA_VERSION, FileRecord, Record


class MemoryBaseline(Record):
    """MemAvailable before the engine exists; the dip is counted from here."""

    available_bytes: int | None
    spread_bytes: int | None
    """Highest less lowest over the last window: what the dip is uncertain by."""
    settled: bool
    """False: other processes kept moving it, and the dip holds their doings as well."""
    waited_s: float


class MemorySeries(Record):
    """Memory over time, one list a quantity, all of one length; each point stands for one stretch of time.

    Use is the highest within the stretch and `available_bytes` the lowest, so no peak is lost; `t_s` is where
    the stretch begins, in seconds since the sampling began. None: not to be had then.
    """

    t_s: list[float] = []
    gpu_process_bytes: list[int | None] = []
    available_bytes: list[int | None] = []
    rss_bytes: list[int | None] = []
    cgroup_bytes: list[int | None] = []
    power_w: list[float | None] = []


class Figure(Record):
    """One figure of memory. Null `bytes` always comes with the reason."""

    bytes: int | None
    source: str
    reason: str | None = None


class GpuFacts(Record):
    """One GPU over the sampling."""

    index: int
    name: str | None
    uuid: str | None
    engine_peak_bytes: int | None
    device_used_peak_bytes: int | None
    """By all processes; a fact, not a figure: on unified memory it is refused or wrong."""
    used_by_engine: bool


class Window(Record):
    """Peaks and energy of one stretch of the sampling, for instance the timed takes of the cloned pass."""

    name: str
    start_s: float
    seconds: float
    samples: int
    gpu_process_peak_bytes: int | None
    rss_peak_bytes: int | None
    cgroup_peak_bytes: int | None
    """Highest `memory.current` within the window."""
    available_lowest_bytes: int | None
    power_mean_w: float | None
    power_peak_w: float | None
    """Of the GPUs that the engine used, together; their idle draw and anybody else's work included."""
    energy_j: float | None
    energy_source: Literal["nvml_counter", "integrated_power"] | None
    audio_s: float | None
    """Audio of the takes that did not fail within the window; null where none was told of."""
    joules_per_audio_s: float | None
    """`energy_j` over `audio_s`: what a second of speech costs, failed takes' energy included."""


class FloorEvent(Record):
    """MemAvailable fell below the floor, and `on_floor` was called."""

    t_s: float
    available_bytes: int
    callback_error: str | None = None


class MemoryFigures(Record):
    """What sampling found, but the series. Bytes throughout; times are seconds since the sampling began.

    `gpu_process`: (a) peak of what NVML lists for the engine's processes on the host, CUDA contexts included;
    misses `cudaMallocManaged`. `torch_allocated`, `torch_reserved`: (b) torch's own peaks as the engine told
    them; miss the CUDA context and ONNX Runtime's arenas. `available_dip`: (c) how far MemAvailable fell
    below the settled baseline; holds everybody's doings, so read it with the baseline's spread; on a discrete
    GPU it is host memory alone. `cgroup`: (d) the engine's cgroup; host memory and page cache, does not see
    CUDA. `rss`: (e) sum of the processes' resident sets; for CPU engines; shared pages count once a process.
    """

    schema_version: int = SCHEMA_VERSION
    gpu_process: Figure
    torch_allocated: Figure
    torch_reserved: Figure
    available_dip: Figure
    cgroup: Figure
    rss: Figure
    baseline: MemoryBaseline | None
    available_lowest_bytes: int | None
    mem_total_bytes: int | None
    gpus: list[GpuFacts]
    driver_version: str | None
    nvml_errors: dict[str, str]
    """NVML call to the name of the error it gave."""
    whole: Window
    windows: list[Window]
    floor_bytes: int | None
    floor: FloorEvent | None
    hz_asked: float
    hz_achieved: float | None
    sample_ms_p50: float | None
    sample_ms_max: float | None
    cpu_fraction: float | None
    """CPU seconds of the sampler's thread per second: what sampling costs, in cores."""
    sampler_error: str | None
    """Null: every sample was taken."""


class MemoryReport(MemoryFigures, FileRecord):
    """`memory.json`: the figures, and memory over time."""

    file_name: ClassVar[str] = "memory.json"

    series: MemorySeries
