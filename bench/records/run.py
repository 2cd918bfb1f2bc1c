"""What a run committed to, and how its phases went."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from bench.records.base import (
    Decision,
    FileRecord,
    IntendedUse,
    NeighbourMode,
    Phase,
    Reason,
    Record,
    ServiceChannel,
    optional_key,
)
from bench.records.take import Take


class Rule(Record):
    """The rule that was fixed beforehand. The margin is tenths so that it is computed exactly."""

    model_config = ConfigDict(allow_inf_nan=False)

    rating_margin_tenths: int = Field(default=5, ge=0, le=40)
    """Candidate mean must be at least baseline mean plus this many tenths of a point."""
    ttfa_p50_limit_ms: float = Field(default=500.0, gt=0)
    """TTFA is the arrival of the first sample that is audio: a container's header is none, and neither are samples
    within 1 LSB of zero before the first other one."""
    channel: ServiceChannel = "full"
    """The listening channel whose ratings count."""
    minimum_raters: int = Field(default=1, ge=1)
    pairs: int = Field(default=10, ge=1)
    failed_takes_limit: int | None = optional_key(ge=0)
    """Of the timed cloned takes at most so many may fail; one that was not made has failed."""
    rtf_limit: float | None = optional_key(gt=0)
    """The median real-time factor must be at most this, a failed take's being infinite."""
    stall_ms_limit: float | None = optional_key(ge=0)
    """No take that was heard may stall longer than this when it is played as it comes."""
    ttfa_audible_p50_limit_ms: float | None = optional_key(gt=0)
    """As `ttfa_p50_limit_ms`, of the first sample that can be heard."""


Choice = Literal["highest_mean"]
"""How one of several candidates that pass is chosen."""
FIRST_METHOD = 3
"""Version of the method of a run whose manifest names none."""


class Inputs(Record):
    """Everything that decides whether two runs measure the same thing; hashed into the manifest."""

    model: str
    profile: str
    entry_sha256: str
    baseline: str
    baseline_sha256: str
    rule_sha256: str
    question_sha256: str
    second_question_sha256: str | None = optional_key()
    reference_sha256: str
    """Of the reference as the owner gave it: audio, transcript and rights together."""
    utterances_sha256: str
    neighbour_mode: NeighbourMode
    intended_use: IntendedUse
    together: bool | None = optional_key()
    """All candidates of the survey are rated in one sitting."""
    choice: Choice | None = optional_key()
    """Which of several that pass is taken; null: all are named and none is chosen."""


class Utterance(Record):
    """A sentence to speak."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    text: str = Field(min_length=1)


class EarlierRun(Record):
    """A run of the same inputs that had been decided when this one began."""

    run_id: str
    decision: Decision
    reason: Reason | None


class Carried(Record):
    """What an earlier model of the chain had come to when a run began."""

    model: str
    run_id: str
    decision: Decision
    reason: Reason
    why: str
    """Why it was not taken, as its verdict says it."""


class Manifest(FileRecord):
    """`manifest.json`: what was committed to before anything was measured."""

    file_name: ClassVar[str] = "manifest.json"

    run_id: str
    model: str
    host: str
    created_utc: str
    inputs: Inputs
    inputs_sha256: str
    rule: Rule
    rule_sha256: str
    question: str
    question_sha256: str
    second_question: str | None = optional_key()
    """Asked beside it, reported, and outside the rule."""
    entry: dict[str, Any]
    """The candidate's catalog entry as it was read."""
    baseline_entry: dict[str, Any]
    baseline_profile: str = "upstream"
    baseline_url: str | None = None
    model_url: str | None = None
    """Where a candidate of kind http is served, as seen from the host."""
    profile: str
    neighbour_mode: NeighbourMode
    intended_use: IntendedUse
    reference: dict[str, Any]
    """What was chosen of the reference, and why: span, transcript, rights, sha256."""
    utterances: int
    chain: list[str]
    """The survey's models in order; the verdict's `next` comes from it."""
    versions: dict[str, str]
    git_commit: str | None
    methodology_version: int = Field(default=FIRST_METHOD, exclude_if=lambda version: version == FIRST_METHOD)
    """By which version of the method the run is judged: that of the Audition that began it."""
    earlier_runs: list[EarlierRun] | None = optional_key()
    """Decided runs of the same inputs that lay beside it when it began; since method 4."""
    carried: list[Carried] | None = optional_key()
    """What the chain's earlier models had come to on this host, by the inputs that they share; since 0.2.0."""


class Check(Record):
    """One preflight check. `ok` null: it could not be made, and `detail` says why."""

    name: str
    ok: bool | None
    value: Any = None
    limit: Any = None
    detail: str = ""
    severity: Literal["gate", "warning", "fact"] = "fact"
    """`gate`: false ends the run with a decision. `warning`: printed. `fact`: recorded."""


class Preflight(FileRecord):
    """`preflight.json`."""

    file_name: ClassVar[str] = "preflight.json"

    host: dict[str, Any]
    checks: list[Check]
    forecast: dict[str, Any]
    notices: list[str] = []


class InstallStep(Record):
    """One step of an installation."""

    name: str
    seconds: float
    waited_s: float | None = optional_key()
    """Of `seconds`, those in which it waited for downloads, all of a step of the host's own: no part of
    `install_timeout_s`."""
    changed: bool | None = None
    detail: str = ""
    retries: int = 0
    source_builds: list[str] = []


class Install(FileRecord):
    """`install.json`."""

    file_name: ClassVar[str] = "install.json"

    ok: bool
    steps: list[InstallStep]
    total_s: float
    limit_s: float
    receipt: str | None = None
    """Hash of all that the smoke sentence proves; while it holds, the sentence is not said again."""
    smoke: Take | None = None
    settings: dict[str, Any] = {}
    """As read back from `/health` by the smoke test."""
    asked: dict[str, Any] = {}
    ran: dict[str, Any] = {}
    weights: list[dict[str, Any]] = []
    """What became of each file of weights: revision, SHA-256, whether that was its first sight, seconds."""
    image: dict[str, Any] | None = optional_key()
    """Of a published image: reference, id, platform, bytes, labels, and whether we pulled it."""
    gpu_check: dict[str, Any] = {}
    """What `bench.serving.gpu_check` found in the engine's environment; empty where it was not made."""
    error: str | None = None


class BaselineInstall(Install):
    """`install-baseline.json`: the same of a baseline that Audition installs; none of one that is served, or comes from
    system packages."""

    file_name: ClassVar[str] = "install-baseline.json"


class PhaseState(Record):
    """How a phase last ended."""

    status: Literal["done", "failed", "skipped"]
    started_utc: str
    ended_utc: str
    error: str | None = None
    fault: Literal["candidate", "host"] | None = None
    """Whose failure it was: a candidate's decides, a host's (a full disk, a silent Docker) is put right."""
    note: str | None = None


class Phases(FileRecord):
    """`phases.json`: which phases have been done; what `--tags` and resuming go by."""

    file_name: ClassVar[str] = "phases.json"

    phases: dict[Phase, PhaseState] = {}
