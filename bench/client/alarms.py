"""What a pass as a whole says of the server, or of us: shown when it ends, before anybody is asked to listen.

A single take may be long or odd. Where the middle one is not as long as speech of its words, or the same samples come
twice, the server or the client does something to all of them, and a listening test would be of that.
"""

from dataclasses import dataclass, field
from typing import Literal

from bench.client.figures import find_first_audio
from bench.client.samples import Samples
from bench.client.session import Spoken
from bench.client.speech import FEWEST_SYLLABLES, USUAL_S, count_syllables, find_unusual
from bench.records.passes import PassAlarm

_BLOCK_S = 0.2
_TWICE_FROM = 0.4
"""Of a take: the second time begins no earlier, for a tone says the same in every period."""


@dataclass(slots=True)
class Watch:
    """Looks at every timed take of a pass; keeps a number of each, and counts."""

    syllables_s: list[float] = field(default_factory=list)
    made: int = 0
    noise: int = 0
    twice: int = 0
    unproved: int = 0

    def look(self, spoken: Spoken) -> None:
        """Take one take into account; warm-ups are not for this."""
        self.made += 1
        take = spoken.take
        if take.error is not None:
            self.noise += take.error.kind == "noise"
            return
        if spoken.samples is None or take.audio_s is None or take.sample_rate_hz is None:
            return
        # A word or two are mostly the silence around them.
        if (count := count_syllables(take.text)) >= FEWEST_SYLLABLES:
            self.syllables_s.append(take.audio_s / count)
        self.twice += says_twice(spoken.samples, take.sample_rate_hz)
        self.unproved += not spoken.proved

    def alarms(self) -> list[PassAlarm]:
        """Return what is to be said of the pass; none of it tells how one side sounds."""
        found: list[PassAlarm] = []

        def add(kind: Literal["noise", "length", "twice", "unproved"], value: float, message: str) -> None:
            found.append(PassAlarm(kind=kind, value=value, message=message))

        if self.made and self.noise == self.made:
            add(
                "noise", self.noise,
                "every take is noise at full scale: the samples are of another form than was said, or than is assumed "
                "where nothing is said (`container` in the catalog entry: docs/measuring.md)",
            )  # fmt: skip
        if (middle := find_unusual(self.syllables_s)) is not None:
            low, high = USUAL_S
            add(
                "length", round(middle, 3),
                f"the takes are not as long as speech of their words (a syllable lasts under {low:g} or over {high:g} "
                "s in the median): is something said twice or left out, or read at another rate than its own?",
            )  # fmt: skip
        if self.twice > self.made / 2:
            add("twice", self.twice, f"{self.twice} of {self.made} takes hold the very same samples twice")
        if self.unproved:
            add(
                "unproved", self.unproved,
                f"{self.unproved} of {self.made} answers end where their connection does and state no length: one that "
                "broke off would look whole",
            )  # fmt: skip
        return found


def says_twice(samples: Samples, rate_hz: int) -> bool:
    """Return whether a take holds the same samples twice, one after the other, with anything of silence between."""
    first = find_first_audio(samples)
    block = round(rate_hz * _BLOCK_S)
    if first is None or samples.size - first < 4 * block:
        return False
    begin = first + round(_TWICE_FROM * (samples.size - first))
    data, wanted, width = (
        samples[begin:].tobytes(),
        samples[first : first + block].tobytes(),
        samples.itemsize,
    )
    at = data.find(wanted)
    while at >= 0 and at % width:
        at = data.find(wanted, at + 1)
    if at < 0:
        return False
    second = begin + at // width
    length = samples.size - second
    if not 0.9 * length <= second - first <= 1.7 * length:  # as long as the first time, and a silence between
        return False
    return samples[first : first + length].tobytes() == samples[second:].tobytes()
