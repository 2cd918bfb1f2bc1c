"""Look at a reference before Chatterbox encodes it: the package takes anything, silence included."""

from pathlib import Path

import numpy as np
import soundfile

from bench.serving.adapter import BadReference
from bench.serving.words import check_loud

MIN_S = 3.0
MAX_S = 30.0
"""Of a longer clip the package would hear the first 10 s (tts.py:108) and say nothing."""
MIN_RATE_HZ = 16000


def check(audio: Path) -> float:
    """Return the clip's seconds.

    Raises:
        BadReference: unreadable, too short, too long, a rate too low, or silent. The message says what to do.
    """
    try:
        samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadReference(f"the reference cannot be read as audio: {error}") from error
    seconds: float = len(samples) / rate
    if not np.isfinite(samples).all():
        raise BadReference("the reference holds samples that are not numbers; export it again.")
    if rate < MIN_RATE_HZ:
        raise BadReference(f"the reference has {rate} Hz and Chatterbox needs at least {MIN_RATE_HZ}.")
    if not MIN_S <= seconds <= MAX_S:
        raise BadReference(
            f"the reference lasts {seconds:.1f} s; give {MIN_S:.0f} to {MAX_S:.0f} s, of which Chatterbox hears the "
            "first 10."
        )
    check_loud(samples)
    return seconds
