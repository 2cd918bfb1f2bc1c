"""A player that pauses: what a listener would have heard of audio that arrived in pieces. Pure.

The player starts with the first chunk, plays what it has, pauses when it runs dry before the end and goes on
when the next chunk is there. (A player whose clock never pauses, as in vllm-omni's audio_continuity.py,
counts one early stall again at every later chunk.)

For this player the whole of its pauses equals the smallest delay at the start that would have avoided them
all: the end of playback is the largest of `arrival of chunk i + audio from chunk i on` over all i, whichever
way the waiting is spread. `start_buffer_ms` is that figure, exactly; `stall_ms` counts only pauses that last
`STALL_MIN_MS` or more, so the two differ by the jitter below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STALL_MIN_MS = 5.0
"""A shorter pause is not counted as a stall: sound cards buffer more than this, and a server that paces
itself at real time jitters by a fraction of it."""


@dataclass(frozen=True, slots=True)
class Playback:
    """What the player did. Times are on the arrivals' clock, milliseconds."""

    starts_ms: tuple[float, ...]
    """When each chunk began to sound."""
    stalls: int
    stall_ms: float
    start_buffer_ms: float
    """Smallest delay of the start that would have avoided every pause, however short."""
    end_ms: float


def play(
    arrivals_ms: Sequence[float],
    durations_ms: Sequence[float],
    *,
    delay_ms: float = 0.0,
    stall_min_ms: float = STALL_MIN_MS,
) -> Playback:
    """Play chunks that arrived at `arrivals_ms` (ascending) and last `durations_ms`, starting `delay_ms`
    late.

    Raises:
        ValueError: no chunk, or unequal numbers of arrivals and durations.
    """
    if not arrivals_ms or len(arrivals_ms) != len(durations_ms):
        raise ValueError("play() needs as many arrivals as durations, and at least one")
    first = arrivals_ms[0]
    starts: list[float] = []
    stalls, stalled, needed, before = 0, 0.0, 0.0, 0.0
    end = first + delay_ms
    for arrival, duration in zip(arrivals_ms, durations_ms, strict=True):
        start = max(arrival, end)
        if starts and start - end >= stall_min_ms:
            stalls += 1
            stalled += start - end
        starts.append(start)
        end = start + duration
        needed = max(needed, arrival - first - before)
        before += duration
    return Playback(tuple(starts), stalls, stalled, needed, end)
