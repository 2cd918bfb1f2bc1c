"""The listening test: what was sealed, what sealing found, what raters answered."""

from typing import Literal

from pydantic import Field

from bench.records.base import SCHEMA_VERSION, Channel, Record, optional_key
from bench.records.take import TakeSide

RatingKind = Literal["practice", "pair", "repeat", "identical", "anchor"]


MAX_NOTE = 1000
"""Characters of a rater's note."""


class Answer(Record):
    """One submitted answer of one rater, unsealed: which score was whose.

    `candidate` and `baseline` are the 1-5 scores, `candidate_second` and `baseline_second` those to the second
    question where one was asked; of an `identical` trial both are of the same clip, of an `anchor`
    trial `candidate` is the speaker's own and `baseline` that of the take beside it, whichever side's it was.
    `comparison` is -3..+3, positive where the candidate was better.
    """

    rater: str
    trial_id: str
    kind: RatingKind
    utterance_id: str
    channel: Channel
    candidate: int = Field(ge=1, le=5)
    baseline: int = Field(ge=1, le=5)
    candidate_second: int | None = optional_key(ge=1, le=5)
    baseline_second: int | None = optional_key(ge=1, le=5)
    comparison: int | None = Field(default=None, ge=-3, le=3)
    note: str = Field(default="", max_length=MAX_NOTE)
    candidate_side: Literal["A", "B"]
    answered_utc: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Sound(Record):
    """What of a side's sound belongs to its engine and can be heard."""

    rate_hz: int
    """Of its takes; of several rates the lowest."""
    bandwidth_hz: int
    """Above it lies less than a millionth of its takes' energy."""


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
    second_question: str | None = None
    hidden_reference: bool = False
    """Raters heard another stretch of the speaker among the takes. False: the one that they could compare with, so
    that it says no more than whether they paid attention; or none."""
    sound: dict[TakeSide, Sound] = {}
    """What of each side's sound is its engine's; once all have finished."""
    noticed: list[str] = []
    """What sealing noticed of the clips."""


Role = Literal["pair", "anchor", "reference"]
"""What a clip is for: the rated pairs, the speaker's own voice and the takes that may stand beside it, the open
reference."""

Source = Literal["candidate", "baseline", "reference"]


class Clip(Record):
    """A processed clip: whose it is, and what must be on disk for it."""

    role: Role
    source: Source
    utterance_id: str
    """Empty for the reference that raters compare with."""
    channel: Channel
    file: str = Field(pattern=r"^[0-9a-f]{32}\.wav$")
    sha256: str
    bytes: int
    seconds: float


class Sealed(Record):
    """All that the hash commits to."""

    schema_version: int = SCHEMA_VERSION
    nonce: str = Field(pattern=r"^[0-9a-f]{64}$")
    seed: str = Field(pattern=r"^[0-9a-f]{64}$")
    run_id: str
    sealed_utc: str
    question: str
    question_sha256: str
    rule_sha256: str
    scale: list[str]
    """Labels of the scores 1 to 5, as the page prints them."""
    channels: list[Channel]
    """Channels that were prepared; the first is the rule's."""
    utterances: list[str]
    anchor: str | None
    """The utterance of which a take stands beside the speaker's own voice; null without a reference."""
    takes: dict[TakeSide, dict[str, str]]
    """SHA-256 of each take, by utterance."""
    takes_sha256: dict[TakeSide, str]
    """Of each side's whole takes.jsonl: its figures decide too."""
    reference_sha256: str | None
    target_lufs: dict[Channel, float]
    clips: list[Clip]
    # What came later: an earlier seal has none of it, and keeps its hash.
    practice: bool | None = optional_key()
    """Each rater first hears one pair that is not counted: the last that they will be asked about."""
    second_question: str | None = optional_key()
    hidden_sha256: str | None = optional_key()
    """Of another stretch of the speaker, which is what stands hidden; without it the open reference itself does."""
    sound: dict[TakeSide, Sound] | None = optional_key()
    plain: bool | None = optional_key()
    """The rated pairs and nothing else: two candidates beside each other, in a sitting (records/sitting.py)."""


class CueResult(Record):
    """How often one cue named the side, of all clips; 0.5 is chance."""

    cue: str
    removed: bool
    """True when the processing promises to remove it."""
    clips: int
    before: float
    after: float
    chance_low: float
    chance_high: float
    """The middle 95% of `after` when the sides mean nothing."""
    p: float
    """Of an accuracy at least so far from one half, on either side, by chance."""


class SealReport(Record):
    """What sealing found; nothing in it tells the sides apart."""

    mapping_sha256: str
    pairs: int
    channels: list[Channel]
    """The rule's first."""
    reference: bool
    """False: there is no reference recording to compare with, and the page says so."""
    target_lufs: dict[Channel, float]
    cues: list[CueResult]
    notices: list[str]
    already_sealed: bool = False


class Unusable(Record):
    """A take without an error that nobody can rate all the same: silence, a click. Found when pairs are sealed."""

    side: TakeSide
    utterance_id: str
    reason: str


class Mark(Record):
    """When a rater finished, and the number of the last answer that they gave to each trial."""

    finished_utc: str
    revisions: dict[str, int]


class RaterPlan(Record):
    """What a rater's sides and order are drawn from, beside the sealed seed."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    channels: list[Channel] = Field(min_length=1)


class Export(Record):
    """The JSON form in which ratings leave a run and come into another copy of it."""

    format: Literal["audition-ratings"] = "audition-ratings"
    schema_version: int = Field(default=SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    run_id: str
    ratings: Ratings
    plans: dict[str, RaterPlan] = {}
    """By rater; whoever imports the answers draws the sides again."""
    signature: str = ""
    """HMAC-SHA256 of all the rest, with a key of the seal."""
