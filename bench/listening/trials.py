"""Which pairs a rater hears, on which side, in which order: a pure function of the sealed seed.

Each rater has sides and an order of their own, so that what one rater learns when they have finished tells
nothing of another's. Within a rater the candidate is on side A in exactly half of the rated pairs (of an odd
number, a coin gives the one left over). Outside the rule, and named so by their kind: repeats of rated pairs
with the sides swapped (does the rater agree with themself?), one identical pair (do they hear a difference
where there is none?), and the speaker's own voice as an anchor: hidden where another stretch of the recording is to
be had than the one that raters compare with (do they know the voice?), else a check of attention. Beside it stands a
take of either side, by a coin: a rater knows the reference when they hear it, and were it always the baseline's
take that stands there, they would know the baseline's voice from then on. Before all of them comes a practice pair, to
learn the page on: the last rated pair of that rater's order, so that it is long forgotten when it counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.listening.draws import Draws
from bench.records.base import Channel
from bench.records.listening import RatingKind, Source

Side = Literal["A", "B"]
SIDES: tuple[Side, ...] = ("A", "B")


MAX_REPEATS = 3
MIN_GAP = 3
"""Trials between a pair and its repeat, where the session is long enough."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One blind pair. `candidate_source` and `baseline_source` are the clips that stand on the candidate's
    and the baseline's side: their own, except in an `identical` trial (the same on both) and in an `anchor`
    trial (the reference stands on the candidate's side, a take of either on the other)."""

    trial_id: str
    kind: RatingKind
    utterance_id: str
    channel: Channel
    candidate_side: Side
    candidate_source: Source = "candidate"
    baseline_source: Source = "baseline"

    def source(self, side: Side) -> Source:
        """Return whose clip is played on `side`."""
        return self.candidate_source if side == self.candidate_side else self.baseline_source


def repeats_for(pairs: int) -> int:
    """Return how many hidden repeats a session of `pairs` rated pairs has: 3 from ten pairs on, else 2."""
    return min(pairs, MAX_REPEATS if pairs >= 10 else 2)


def balanced_sides(pairs: int, draws: Draws) -> list[Side]:
    """Return the candidate's side in each of `pairs` pairs: as many A as B, in random order."""
    extra: list[Side] = [] if pairs % 2 == 0 else ["A" if draws.draw_below(2) == 0 else "B"]
    half: list[Side] = [side for side in SIDES for _ in range(pairs // 2)]
    return draws.shuffle(half + extra)


def plan(
    seed: bytes,
    rater_id: str,
    utterances: Sequence[str],
    channels: Sequence[Channel],
    anchor: str | None,
    beside: Sequence[Source] = ("candidate", "baseline"),
    *,
    practice: bool = False,
    controls: bool = True,
) -> list[Trial]:
    """Return the rater's trials in the order in which they hear them.

    The first channel is the rule's: its block has the repeats, the identical pair and the anchor. Each
    further channel is a block of its own after it, with the rated pairs alone. `anchor` is the utterance
    of which a take stands beside the speaker's own voice, one of `beside`; None where there is no reference.
    `practice`: with a practice pair before all others. `controls`: with repeats and the identical pair.
    """
    trials: list[Trial] = []
    for index, channel in enumerate(channels):
        draws = Draws(seed, f"plan/1/{rater_id}/{channel}")
        sides = balanced_sides(len(utterances), draws)
        pairs = [
            Trial(f"pair-{channel}-{utterance}", "pair", utterance, channel, side)
            for utterance, side in zip(utterances, sides, strict=True)
        ]
        extras = _extras(pairs, draws) if index == 0 and controls else []
        if index == 0 and anchor is not None:
            take = beside[Draws(seed, f"beside/1/{rater_id}").draw_below(len(beside))]
            name = f"anchor-{channel}-{anchor}"
            extras.append(Trial(name, "anchor", anchor, channel, _coin(draws), "reference", take))
        trials += _ordered(pairs + extras, draws)
        if index == 0 and practice:
            last = [trial for trial in trials if trial.kind == "pair"][-1].utterance_id
            side = _coin(Draws(seed, f"practice/1/{rater_id}"))
            trials.insert(0, Trial(f"practice-{channel}-{last}", "practice", last, channel, side))
    return trials


def _extras(pairs: Sequence[Trial], draws: Draws) -> list[Trial]:
    channel = pairs[0].channel
    extras = [
        Trial(
            f"repeat-{channel}-{pair.utterance_id}",
            "repeat",
            pair.utterance_id,
            channel,
            "B" if pair.candidate_side == "A" else "A",
        )
        for pair in draws.shuffle(pairs)[: repeats_for(len(pairs))]
    ]
    same: Source = "candidate" if draws.draw_below(2) == 0 else "baseline"
    twin = pairs[draws.draw_below(len(pairs))].utterance_id
    extras.append(Trial(f"identical-{channel}-{twin}", "identical", twin, channel, _coin(draws), same, same))
    return extras


def _coin(draws: Draws) -> Side:
    return "A" if draws.draw_below(2) == 0 else "B"


def _ordered(trials: Sequence[Trial], draws: Draws) -> list[Trial]:
    """Shuffle until no repeat comes within `MIN_GAP` of its pair; short sessions take a smaller gap."""
    for gap in range(MIN_GAP, 0, -1):
        for _ in range(200):
            order = _repeats_last(draws.shuffle(trials))
            if _smallest_gap(order) >= gap:
                return order
    return _repeats_last(draws.shuffle(trials))


def _repeats_last(order: list[Trial]) -> list[Trial]:
    """Put a pair before its repeat: the rule counts the first hearing."""
    where = {(trial.kind, trial.utterance_id): index for index, trial in enumerate(order)}
    for trial in list(order):
        if trial.kind == "repeat":
            first, second = where["pair", trial.utterance_id], where["repeat", trial.utterance_id]
            if second < first:
                order[first], order[second] = order[second], order[first]
    return order


def _smallest_gap(order: Sequence[Trial]) -> int:
    where = {trial.utterance_id: index for index, trial in enumerate(order) if trial.kind == "pair"}
    gaps = [index - where[trial.utterance_id] for index, trial in enumerate(order) if trial.kind == "repeat"]
    return min(gaps, default=len(order))
