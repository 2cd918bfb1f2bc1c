"""What the listening test gives the verdict."""

from typing import Literal

from pydantic import Field

from bench.records.base import Channel, Record

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
