"""Three spoken digits that a rater types: silence must not count as heard, and no browser tells whether it is muted.

The digits are spoken by a system voice, of neither side. What was said stays in this process: the clip has no name, no
header and no metadata that tells it, and each clip is good for one try.
"""

import secrets
import shutil
import threading
from functools import cache

import numpy as np

from bench.audio.levels import integrated_lufs
from bench.audio.wav import Samples, encode_wav_16bit
from bench.errors import AuditionError
from bench.inputs.demo_reference import say

VOICE = "kal16"
"""Neither the demo's reference nor the voice that flite speaks with by itself."""
WORDS = {
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
}
"""Without five, which this voice's nine sounds like, and nought, which has two names."""
DIGITS = 3
LOUDNESS_LUFS = -23.0
"""That of the clips: whoever sets the volume by this has set it for them."""
_PAUSE_S = 0.4


class SoundCheck:
    """What each rater was last told. Safe between threads."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()

    def draw(self, rater_id: str) -> bytes:
        """Return a WAV of three new digits for a rater; those before it do not count any more."""
        digits = "".join(secrets.choice(list(WORDS)) for _ in range(DIGITS))
        with self._lock:
            self._told[rater_id] = digits
        return _encode(digits)

    def is_right(self, rater_id: str, typed: str) -> bool:
        """Return whether `typed` is what the rater's last clip said. Whatever it was, that clip is used up."""
        with self._lock:
            told = self._told.pop(rater_id, None)
        return told is not None and secrets.compare_digest(told, typed)

    def told(self, rater_id: str) -> str | None:
        """Return what a rater's last clip says, for whoever stands beside them and hears it."""
        with self._lock:
            return self._told.get(rater_id)


def prepare() -> None:
    """Have the digits spoken once, so that a voice that is missing is found before anybody is let in.

    Raises:
        AuditionError: flite is not installed, or speaks nothing.
    """
    if not can_speak():
        raise AuditionError(
            "`audition rate` needs flite, which speaks the three digits of the sound check, and this machine has none: "
            "`make setup` installs it (Debian: apt-get install flite). Then run the same command again."
        )
    for digit in WORDS:
        _spoken(digit)


def can_speak() -> bool:
    """Return whether this machine has what speaks the digits."""
    return shutil.which("flite") is not None


@cache
def _spoken(digit: str) -> tuple[Samples, int]:
    samples, rate_hz = say(WORDS[digit], VOICE)
    return samples, rate_hz


def _encode(digits: str) -> bytes:
    spoken = [_spoken(digit) for digit in digits]
    rate_hz = spoken[0][1]
    pause = np.zeros(round(_PAUSE_S * rate_hz), np.float32)
    samples = np.concatenate([pause, *(part for said, _ in spoken for part in (said, pause))])
    loudness = integrated_lufs(samples, rate_hz)
    if loudness is not None:
        samples = samples * np.float32(10.0 ** ((LOUDNESS_LUFS - loudness) / 20.0))
    return encode_wav_16bit(np.clip(samples, -1.0, 1.0).astype(np.float32), rate_hz)
