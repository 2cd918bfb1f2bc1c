"""What the rule says of a run."""

from typing import ClassVar, Literal

from bench.records.base import Channel, Decision, FileRecord, NeighbourMode, Reason, Record, optional_key
from bench.records.listening import Sound
from bench.records.memory import MemoryFigures
from bench.records.run import Carried
from bench.records.take import Summary, TakeSide, TimedPass


class Nothing(Record):
    """An empty object: there is nothing to say of this, or not yet."""

    def __bool__(self) -> Literal[False]:
        """Return False, as of anything that is empty."""
        return False


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


class PowerAssumptions(Record):
    """What a row of the power table takes for granted, in points of the scale; see `bench.verdict.power`."""

    baseline_mean: float
    sentence_sd: float
    """Of the sentences' own effect on both sides."""
    taste_sd: float
    """Of the true difference from rater to rater."""
    take_sd: float
    """Of what the two takes of a sentence have over each other for every rater."""
    rest_sd: float
    """Of the rest of a pair's true difference; with `take_sd` it makes the row's `sd`."""


class PowerRow(Record):
    """How often the rating gate passes for one SD of the true difference of a pair about its mean."""

    sd: float
    """Of the true (latent, not rounded) difference from pair to pair, of one rater."""
    pairs: int
    raters: int
    passes_at_gap: dict[str, float]
    """True difference in points to the share of tests that pass."""
    assumptions: PowerAssumptions | None = optional_key()
    """Since method 4; before it, raters had one taste and heard takes of their own."""


class ListeningTest(Record):
    """The listening test as designed, and who takes part: known before any answer is."""

    question: str
    question_sha256: str
    channel: Channel
    """The one whose ratings count."""
    pairs: int
    margin: float
    """In points."""
    power: list[PowerRow]
    raters: dict[str, Literal["invited", "started", "finished"]]
    mapping_sha256: str


class SentenceMeans(Record):
    """Mean scores of one sentence."""

    candidate: float
    baseline: float


class SideBias(Record):
    """Whether side A is preferred, whoever is on it."""

    candidate_on_a: int
    a_minus_b: float | None
    """Mean score of side A minus side B."""


class Repeats(Record):
    """Hidden repeats beside the same rater's first answers."""

    scores: int
    """Compared: two a repeat."""
    exact: float | None
    """Share given again to the point."""
    mean_absolute_difference: float | None
    """In points."""


class IdenticalPairs(Record):
    """What was answered where both clips were the same."""

    trials: int
    scored_equal: int
    differences: list[int]


class Anchors(Record):
    """What was answered where the speaker's own voice stood beside a take: hidden where it was another stretch than
    the open reference, else a check of attention."""

    trials: int
    hidden_reference: bool | None = optional_key()
    """True for the former."""
    reference_higher: int
    """How often it was scored above the take."""
    reference_mean: float | None
    take_mean: float | None


class SecondQuestion(Record):
    """What the rated pairs got to the second question: reported, outside the rule."""

    question: str
    n: int
    candidate_mean: float
    baseline_mean: float
    mean_difference: float
    wins: int
    ties: int
    losses: int


class OtherChannel(Record):
    """The same pairs heard through another channel than the rule's."""

    n: int
    mean_difference: float


class Described(Record):
    """The rated pairs of one channel: figures over the differences, candidate minus baseline, in points."""

    n: int
    sum_of_differences: int
    mean_difference: float
    candidate_mean: float
    baseline_mean: float
    sd_of_differences: float | None
    interval_95: tuple[float, float]
    interval_method: str
    sign_flip_p: float
    wins: int
    ties: int
    losses: int
    comparison_mean: float | None
    comparisons: int
    by_rater: dict[str, float]
    by_sentence: dict[str, SentenceMeans]
    side_bias: SideBias


class Controls(Record):
    """The verdict without raters who failed a control: an identical pair scored apart, the speaker's own recording
    scored no higher than a take. It stands beside the verdict and decides nothing."""

    asked: int
    """Answers that have a right one, of all raters."""
    failed: dict[str, list[str]]
    """Rater to what they did."""
    n: int
    """Ratings that are left without them."""
    sum_of_differences: int
    mean_difference: float | None
    decision: Decision
    """What it would be; `awaiting_ratings` where fewer raters are left than the rule asks for."""


class RatingsResult(Described, ListeningTest):
    """What raters said, unsealed; only once every one of them has finished."""

    repeats: Repeats
    identical: IdenticalPairs
    anchor: Anchors
    other_channels: dict[Channel, OtherChannel]
    second_question: SecondQuestion | None = optional_key()
    sound: dict[TakeSide, Sound] | None = optional_key()
    """Rate and bandwidth of both sides."""
    noticed: list[str] | None = optional_key()
    """What sealing noticed of the clips."""
    controls: Controls | None = optional_key()
    """Since method 4."""


class LatencyCounts(Record):
    """Of how many takes a side's latency is."""

    takes: int
    streamed: int
    reference_not_cached: int

    def figure(self, name: str) -> Summary | None:
        """Return one of the figures; null where it could not be taken or may not be known."""
        found: Summary | None = getattr(self, name, None)
        return found


class BlindLatency(LatencyCounts):
    """What may be known while people rate takes that were not streamed: nothing that gives a clip's length away.

    Values are sorted, so that none belongs to a sentence. A figure is null where any valid take lacks it.
    """

    ttfa_ms: Summary | None


class BlindStreamedLatency(LatencyCounts):
    """The same of takes that were all streamed."""

    ttfb_ms: Summary | None
    ttfa_ms: Summary | None
    rtf: Summary | None


class Latency(LatencyCounts):
    """Every figure over a side's valid takes, in order; only once every rater has finished."""

    ttfb_ms: Summary | None
    ttfa_ms: Summary | None
    ttfa_audible_ms: Summary | None
    total_ms: Summary | None
    rtf: Summary | None
    rtf_after_first: Summary | None
    stall_ms: Summary | None


class Playability(Record):
    """Whether a side's takes could be listened to while they came. A failed take has none of these figures; where it
    counts as infinite, that is said."""

    takes: int
    """Those that were heard."""
    never_heard: int
    rtf_p50: float | None
    """Of all timed takes, one that was never heard infinite."""
    slower_than_speech: int | None
    """Takes that took longer than their speech lasts."""
    stalled: int | None
    """Takes that stall when they are played as they come."""
    stall_ms_p50: float | None
    stall_ms_most: float | None
    """Of the take that stalls longest."""
    start_buffer_ms_most: float | None
    """The delay before playback that would have avoided every stall of every take."""
    ttfa_audible_ms_p50: float | None
    """Of all timed takes, one that was never heard infinite."""


AnyLatency = Latency | BlindStreamedLatency | BlindLatency


class FailedTake(Record):
    """A take that does not count, and why."""

    utterance_id: str
    kind: str
    message: str


class NotedTake(Record):
    """A take that something else happened to."""

    utterance_id: str
    note: str


class Failures(Record):
    """A pass's timed takes: how many, how many count, and which do not."""

    made: int
    valid: int
    failed: list[FailedTake]
    noted: list[NotedTake]
    pass_error: str | None
    """Why the pass itself failed."""
    never_made: int | None = optional_key()
    """Takes that a pass which ended early did not come to; since method 4, of the candidate's."""


class NeighbourSummary(Record):
    """What the verdict keeps of `neighbour.json`."""

    mode: NeighbourMode
    name: str | None
    state: str
    p50_before_ms: float | None
    p50_after_ms: float | None
    ratio: float | None
    limit: float
    pauses: int
    down_s: float | None
    felt_p50_ms: float | None
    differences: list[str]


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
    ratings: RatingsResult | ListeningTest | Nothing
    latency: dict[TimedPass, AnyLatency]
    """By side, as far as it may be known."""
    memory: MemoryFigures | Nothing
    neighbour: NeighbourSummary | Nothing
    failures: dict[TimedPass, Failures | None]
    """Failed takes by side, counted and named; null for a pass that was not made."""
    playability: dict[TakeSide, Playability] | None = optional_key()
    """By side, since method 4; empty until every rater has finished."""
    carried: list[Carried] | None = optional_key()
    """What the chain's earlier models came to, as the manifest has it; left out where none was decided."""
    warnings: list[str]
    next: NextStep
    methodology_version: int
