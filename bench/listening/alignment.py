"""Whether the speech of a pair begins together: what the trimming promises, checked by another method.

The trimming goes by loudness (`bench.audio.speech`). The check goes by voice: the first sound that repeats itself as
vocal cords do, however soft or loud. Hiss, a click or a breath have loudness and no voice, so what deceives the one
does not deceive the other. Where the two do not agree nothing is sealed: that is a fault of ours, and no take's.
"""

import numpy as np
from numpy.typing import NDArray

from bench.audio.pitch import STEP_S, track_f0
from bench.audio.wav import Samples
from bench.errors import AuditionError

VOICED_FRAMES = 4
"""Voice must last for so many frames of 10 ms."""
EARLY_S = 0.05
"""Voice is looked for in windows of this length: it seems to begin up to so much earlier than it does."""
LATE_S = 0.5
"""Voice begins at most so long after speech: a long consonant or two come before it ("stop", "shrimp")."""
APART_S = 0.3
"""Both clips say the same words, so voice begins in both at about the same time after the same consonants."""
LOST_S = 0.1
"""More voice than this outside of what the trimming keeps was speech."""


class NotAligned(AuditionError):
    """Where a take's speech begins could not be found for certain; nothing is sealed, and it is no take's fault."""

    exit_code = 2

    def __init__(self, reason: str, clip: object = None) -> None:
        """Say what was found, and of several clips in which, by its key."""
        super().__init__(reason)
        self.clip = clip


def first_voice_s(samples: Samples, rate_hz: int) -> float | None:
    """Return the middle of the first window in which there is voice, in seconds; None for a clip without voice."""
    run = 0
    for frame, hz in enumerate(_track(samples, rate_hz)):
        run = run + 1 if hz > 0.0 else 0
        if run == VOICED_FRAMES:
            return (frame - run + 1) * STEP_S + EARLY_S / 2
    return None


def check_beginning(samples: Samples, rate_hz: int, lead_s: float) -> float:
    """Return when voice begins in a clip whose speech should begin at `lead_s`.

    Raises:
        NotAligned: it begins too early or too late for that, or there is none.
    """
    voice_s = first_voice_s(samples[: round((lead_s + LATE_S + LATE_S) * rate_hz)], rate_hz)
    if voice_s is None:
        raise NotAligned(f"it holds no voice within {LATE_S:g} s of where it begins by its loudness")
    if not -EARLY_S <= voice_s - lead_s <= LATE_S:
        raise NotAligned(f"by its loudness it begins at {lead_s:.2f} s, and by its voice at {voice_s:.2f} s")
    return voice_s


def check_lost(samples: Samples, rate_hz: int, begin_s: float) -> None:
    """Look whether the trimming, which keeps what comes from `begin_s` on, would cut speech off.

    Raises:
        NotAligned: there is voice before that.
    """
    before = round((begin_s - EARLY_S - EARLY_S / 2) / STEP_S)
    lost_s = STEP_S * int(np.count_nonzero(_track(samples, rate_hz)[: max(0, before)]))
    if lost_s > LOST_S:
        raise NotAligned(
            f"by its loudness it begins at {begin_s:.2f} s, and there are {lost_s:.2f} s of voice before that"
        )


def check_together(first_s: float, second_s: float) -> None:
    """Compare when voice begins in both clips of a pair.

    Raises:
        NotAligned: they are too far apart.
    """
    if abs(first_s - second_s) > APART_S:
        raise NotAligned(
            f"its voice begins at {first_s:.2f} s and that of the other side at {second_s:.2f} s, though both say the "
            "same words"
        )


def _track(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """Return F0 in Hz every 10 ms, 0.0 without voice. The tracker takes what is far below the loudest sample for
    silence, so a click must not be that sample."""
    if samples.size == 0:
        return np.zeros(0)
    top = float(np.quantile(np.abs(samples), 0.999))
    return track_f0(np.clip(samples, -top, top), rate_hz)
