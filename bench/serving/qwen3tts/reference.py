"""Look at a reference before Qwen3-TTS encodes it: the package takes anything, silence included."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.serving.adapter import BadReference
from bench.serving.words import check_loud, check_rate

MIN_S = 3.0
"""What upstream's README asks for."""
MAX_S = 30.0
"""Upstream names no limit. Each second is 12.5 places of the model's context, and of the time before it speaks."""
MIN_RATE_HZ = 16000


def read(audio: Path, text: str, *, needs_text: bool) -> tuple[Any, int]:
    """Return the clip's samples, (n,) float32, and its rate.

    Raises:
        BadReference: unreadable, too short, too long, a rate too low, silent, or its words are missing or cannot be
            the clip's. The message says what to do.
    """
    try:
        samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadReference(f"the reference cannot be read as audio: {error}") from error
    seconds = len(samples) / rate
    if not np.isfinite(samples).all():
        raise BadReference("the reference holds samples that are not numbers; export it again.")
    if rate < MIN_RATE_HZ:
        raise BadReference(f"the reference has {rate} Hz and Qwen3-TTS needs at least {MIN_RATE_HZ}.")
    if not MIN_S <= seconds <= MAX_S:
        raise BadReference(f"the reference lasts {seconds:.1f} s; give {MIN_S:.0f} to {MAX_S:.0f} s.")
    check_loud(samples)
    if needs_text:
        if not text.strip():
            raise BadReference("Qwen3-TTS goes on from the reference's words; give them.")
        check_rate(text, seconds)
    return samples.mean(axis=1), int(rate)
