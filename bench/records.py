"""The typed records a run leaves on disk: the one place that says what each file holds.

Every JSON file carries `schema_version`; a file of another version is refused, never guessed at. A figure
that could not be taken is null, never 0. `docs/records.md` and `docs/schema/` are made from this module.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BadInput

SCHEMA_VERSION = 1

Phase = Literal["preflight", "install", "benchmark", "baseline", "teardown", "score", "verdict", "publish"]
PHASES: tuple[Phase, ...] = (
    "preflight", "install", "benchmark", "baseline", "teardown", "score", "verdict", "publish",
)  # fmt: skip
NeighbourMode = Literal["pause", "parallel", "none"]
IntendedUse = Literal["personal", "research", "commercial"]
Decision = Literal[
    "swap_candidate",
    "keep_baseline_try_next",
    "keep_baseline_survey_complete",
    "awaiting_ratings",
    "awaiting_baseline",
]
Reason = Literal["rule", "licence", "clone_encoder_withheld", "install_failed", "synthesis_failed"]
Channel = Literal["full", "narrowband", "wideband"]


def utc_now() -> str:
    """Return the present time as `2026-11-22T10:15:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_json(value: Any) -> bytes:
    """Return the one byte form of a JSON value that is hashed: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hex, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all, and durable when this returns.

    Raises:
        OSError: the disk is full or the directory cannot be written; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


class Record(BaseModel):
    """A strict record: an unknown key is an error, so a typing slip never passes for data."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class FileRecord(Record):
    """A record that is a whole JSON file in the run directory."""

    file_name: ClassVar[str]
    schema_version: int = SCHEMA_VERSION

    def save(self, run_dir: Path) -> None:
        """Write the record into `run_dir`, atomically; the same record gives the same bytes."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, sort_keys=False)
        write_atomically(run_dir / self.file_name, text.encode() + b"\n")

    @classmethod
    def load(cls, run_dir: Path) -> Self:
        """Read the record from `run_dir`.

        Raises:
            FileNotFoundError: there is none.
            BadInput: the file is of another schema version, or not a record of this kind.
        """
        path = run_dir / cls.file_name
        try:
            raw = json.loads(path.read_bytes())
        except ValueError as error:
            raise BadInput(f"{path} is not JSON ({error}); move the run directory away.") from error
        found = raw.get("schema_version") if isinstance(raw, dict) else None
        if found != SCHEMA_VERSION:
            raise BadInput(
                f"{path} has schema_version {found!r} and this Audition reads {SCHEMA_VERSION}; "
                "finish that run with the version that began it, or start a new one."
            )
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise BadInput(f"{path} is not a valid {cls.file_name}: {error}") from error


class TakeError(Record):
    """Why a take failed. `kind` is a short stable word, `message` is for people."""

    kind: str
    message: str


class Take(Record):
    """One synthesis of one utterance: a line of `takes.jsonl`. Times are milliseconds since the request
    left; lengths are seconds of audio; a figure that could not be taken is null."""

    utterance_id: str
    text: str
    voice: str
    wav: str | None = None
    """File name beside `takes.jsonl`."""
    sha256: str | None = None
    sample_rate_hz: int | None = None
    audio_s: float | None = None
    ttfb_ms: float | None = None
    """Time to the first byte of the body, header or not."""
    ttfa_ms: float | None = None
    """Time to the first PCM sample after any container header. The rule's TTFA."""
    ttfa_audible_ms: float | None = None
    """Time at which a listener first hears something: arrival of the first sample above the level, or the
    playback position of that sample if later."""
    total_ms: float | None = None
    rtf: float | None = None
    """total_ms / 1000 / audio_s."""
    rtf_after_first: float | None = None
    """The same after the first chunk: (total - ttfa) over the audio that came after the first chunk."""
    streamed: bool | None = None
    chunks: int | None = None
    stalls: int | None = None
    stall_ms: float | None = None
    start_buffer_ms: float | None = None
    """The smallest delay before playback that would have avoided every stall."""
    warmup: bool = False
    reference_cached: bool | None = None
    """True when the engine already held the encoded reference, false when this take had to encode it."""
    note: str | None = None
    """What else happened, for instance that the server asked to be asked again (Retry-After)."""
    error: TakeError | None = None


class Rule(Record):
    """The rule that was fixed beforehand. The margin is tenths so that it is computed exactly."""

    rating_margin_tenths: int = Field(default=5, ge=0, le=40)
    """Candidate mean must be at least baseline mean plus this many tenths of a point."""
    ttfa_p50_limit_ms: float = Field(default=500.0, gt=0)
    channel: Channel = "full"
    """The listening channel whose ratings count."""
    minimum_raters: int = Field(default=1, ge=1)
    pairs: int = Field(default=10, ge=1)


class Inputs(Record):
    """Everything that decides whether two runs measure the same thing; hashed into the manifest."""

    model: str
    profile: str
    entry_sha256: str
    baseline: str
    baseline_sha256: str
    rule_sha256: str
    question_sha256: str
    reference_sha256: str
    """Of the reference as the owner gave it: audio, transcript and rights together."""
    utterances_sha256: str
    neighbour_mode: NeighbourMode
    intended_use: IntendedUse


class Utterance(Record):
    """A sentence to speak."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    text: str = Field(min_length=1)


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
    gpu_check: dict[str, Any] = {}
    """What `bench.serving.gpu_check` found in the engine's environment; empty where it was not made."""
    error: str | None = None


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


class Summary(Record):
    """The distribution of a figure over takes. `values` keeps every value, in order."""

    values: list[float]
    n: int
    p50: float | None
    p95: float | None
    iqr: float | None
    p50_low: float | None = None
    """Lower end of the 95% bootstrap interval of the median."""
    p50_high: float | None = None
    p95_low: float | None = None
    p95_high: float | None = None
    iqr_low: float | None = None
    """Ends of the same intervals of p95 and of the interquartile range."""
    iqr_high: float | None = None


class Gate(Record):
    """One condition of the rule. A null value never passes."""

    name: str
    value: float | str | None
    limit: float | str | None
    passed: bool


class NextStep(Record):
    """What to run next; null model when there is nothing left in the chain."""

    model: str | None
    commands: list[str]


class Verdict(FileRecord):
    """`verdict.json`: a pure function of the rest of the run directory."""

    file_name: ClassVar[str] = "verdict.json"

    run_id: str
    model: str
    baseline: str
    decision: Decision
    label: str
    reason: Reason | None
    """Null while the decision awaits something."""
    sentence: str
    gates: list[Gate]
    ratings: dict[str, Any]
    latency: dict[str, Any]
    memory: dict[str, Any]
    neighbour: dict[str, Any]
    failures: dict[str, Any]
    """Failed takes by side, counted and named."""
    warnings: list[str]
    next: NextStep
    methodology_version: int


RatingKind = Literal["pair", "repeat", "identical", "anchor"]


MAX_NOTE = 1000
"""Characters of a rater's note."""


class Answer(Record):
    """One submitted answer of one rater, unsealed: which score was whose.

    `candidate` and `baseline` are the 1-5 scores; of an `identical` trial both are of the same clip, of an `anchor`
    trial `candidate` is the hidden reference's and `baseline` that of the take beside it, whichever side's it was.
    `comparison` is -3..+3, positive where the candidate was better.
    """

    rater: str
    trial_id: str
    kind: RatingKind
    utterance_id: str
    channel: Channel
    candidate: int = Field(ge=1, le=5)
    baseline: int = Field(ge=1, le=5)
    comparison: int | None = Field(default=None, ge=-3, le=3)
    note: str = Field(default="", max_length=MAX_NOTE)
    candidate_side: Literal["A", "B"]
    answered_utc: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Ratings(Record):
    """All that the listening test gives the verdict; made by `bench.listening.results`."""

    question: str
    question_sha256: str
    mapping_sha256: str
    """Published before the first rating."""
    mapping_intact: bool
    """The sealed mapping still hashes to what was published, and the clips to what it names."""
    raters: dict[str, Literal["invited", "started", "finished"]]
    answers: list[Answer]
    pairs: int
    """How many rated pairs each rater is asked for (the rule's n)."""
    utterances: list[str] = []
    """The sealed ones, in order; empty where the seal is broken."""
    notices: list[str] = []
    """What whoever reads the verdict must know of the ratings: damage, why the seal is broken, raters who came late,
    from elsewhere or were taken off."""
