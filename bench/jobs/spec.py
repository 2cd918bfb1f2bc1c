"""What goes to a host as a job and what comes back: `job.json` and `result.json`."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from bench.catalog.entry import Entry
from bench.neighbour.spec import NeighbourSpec
from bench.records.base import Record
from bench.records.machine import MachineState
from bench.records.passes import NetworkCost, PassFile, PassResult, VoiceCheck
from bench.records.settings import PYTHON_IMAGE, Runs, Settings

JobPhase = Literal["install", "benchmark", "baseline"]
PassName = Literal["smoke", "preset", "candidate", "baseline"]
HEARD = "heard.wav"
"""In a baseline's job, the reference that raters hear: the engine may be given another cut of it, the metrics of both
sides are held against this one."""

ENGINE_CODE = "engine.tar"
"""In the job of an engine of ours, the code that it runs: an archive of its own, not bench as the host has it."""
LENT = "lent"
"""In a baseline's job, the takes of another run that are used again."""
METRICS_LIMIT_S = 600.0


class OtherSide(Record):
    """In a benchmark's job: the baseline that somebody else serves. Its voice is looked at before the candidate's."""

    REFERENCE: ClassVar[str] = "reference-baseline.wav"
    """Beside the job, and its words: the cut of the reference that the baseline gets."""
    TOKEN: ClassVar[str] = "token-baseline"  # noqa: S105 - a file's name
    """File with its bearer token, which goes when it has been read."""

    entry: Entry
    url: str
    voice_accepted: str | None = None


class JobLimits(Settings):
    """How long speaking may take, and how often it is done before it counts."""

    # Bounded here, for an engine that has no time to speak would be out by its own fault.
    take_timeout_s: float = Field(default=120.0, gt=0)
    """Limit of one take in seconds."""
    pass_timeout_s: float = Field(default=3600.0, gt=0)
    """Limit of one pass in seconds; past it the engine is ended and the neighbour given back."""
    warmups: int = Field(default=2, ge=0)
    """Takes before the first timed one of a pass."""


class JobSpec(JobLimits):
    """`job.json`: everything the host needs to know."""

    run_id: str
    phase: JobPhase
    passes: list[PassName]
    entry: Entry
    profile: str
    install: Runs
    engine_python: str | None = None
    lock: str | None = None
    """File of pins beside the job, for `venv` and `container`."""
    image_base: str = PYTHON_IMAGE
    """What a container's image is built on."""
    image: str | None = None
    """Name of a container's image, which is the hash of what is in it."""
    weights: Path | None = None
    port: int | None = None
    url: str | None = None
    """Where a model served by somebody else is."""
    smoke_text: str = "This is one sentence, to hear that the model speaks."
    """What is said in the pass `smoke`."""
    lent_by: str | None = None
    """The run whose takes lie in `LENT` beside the job: nothing is spoken, they are measured."""
    lent: PassFile | None = None
    """How these were made."""
    voice_accepted: str | None = None
    """On what grounds an `unclear` voice of a server that is not ours may pass; null: it may not."""
    other_side: OtherSide | None = None
    """Of a benchmark whose baseline is served by somebody else and has not been made yet."""
    similarity_python: str | None = None
    """Interpreter of the metrics' workers; null: bench's own, which measures no speaker similarity."""
    whisper_model: Path | None = None
    neighbour: NeighbourSpec = NeighbourSpec()

    def limit_s(self) -> float:
        """Return how long the whole job may take: its passes, the neighbour's return, then the takes' metrics."""
        return self.pass_timeout_s + self.neighbour.return_limit_s() + METRICS_LIMIT_S


class JobResult(Record):
    """`result.json`: how the job ended."""

    phase: str
    ok: bool
    error: str | None = None
    fault: Literal["candidate", "host"] | None = None
    passes: dict[PassName, PassResult] = {}
    health: dict[str, Any] = {}
    """The engine's settings as read back when it was ready."""
    health_after: dict[PassName, dict[str, Any]] = {}
    """The same after each pass that came to its end, for an engine of ours."""
    fp32_retries: dict[PassName, dict[str, int] | None] = {}
    """Of each pass of an engine of ours: see `bench.engines.readback.ReadBack.retries`."""
    engine_start_s: float | None = None
    machine: dict[PassName, MachineState] = {}
    """What else the host did during each pass."""
    seconds: float
    reference_f0_hz: float | None = None
    network: NetworkCost | None = None
    """What connecting and one round trip cost, of our own engine too."""
    lent_by: str | None = None
    """The run that made the takes, where it was another."""
    voice_check: VoiceCheck | None = None
    """Whether a server that is not ours speaks in the voice it is asked for."""
