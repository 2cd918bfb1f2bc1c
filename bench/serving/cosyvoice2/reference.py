"""A reference clip made ready for CosyVoice 2, behind gates that upstream lacks or states by an assertion.

Nothing is cut: upstream asserts 30 s at most, and where a transcript should be cut nobody can know.
"""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from bench.serving.adapter import BadReference
from bench.serving.words import check_loud, check_rate

MIN_S = 3.0
MAX_S = 30.0
"""frontend.py:97 asserts it."""
MIN_RATE_HZ = 16000
"""file_utils.py:44 asserts it."""
_NEARLY_S = 1e-3
"""A clip that is so little over a whole second counts as whole: resampling moves an end by less."""


@contextmanager
def prepared(audio: Path, text: str, *, whole_seconds: bool) -> Iterator[tuple[Path, str, float]]:
    """Yield the clip as a file that upstream reads, its transcript on one line, and its seconds.

    With `whole_seconds` a clip of another length is filled up with silence: upstream rounds its tokens up to whole
    chunks of 25 and waits for as many more before it begins to speak.

    Raises:
        BadReference: no transcript, unreadable, too long, too short, a rate too low, silent, or a transcript that
            cannot belong to the clip. The message says what to do.
    """
    transcript = " ".join(text.split())
    if not transcript:
        raise BadReference("the reference has no transcript; CosyVoice 2 needs the exact words of the clip.")
    try:
        samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadReference(f"the reference cannot be read as audio: {error}") from error
    seconds = len(samples) / rate
    if not np.isfinite(samples).all():
        raise BadReference("the reference holds samples that are not numbers; export it again.")
    if rate < MIN_RATE_HZ:
        raise BadReference(f"the reference has {rate} Hz and CosyVoice 2 needs at least {MIN_RATE_HZ}.")
    if not MIN_S <= seconds <= MAX_S + _NEARLY_S:
        raise BadReference(
            f"the reference lasts {seconds:.1f} s and CosyVoice 2 takes {MIN_S:.0f} to {MAX_S:.0f} s; give a span of "
            "that length with the words spoken in it."
        )
    check_loud(samples)
    check_rate(transcript, seconds)
    if not whole_seconds:
        yield audio, transcript, seconds
        return
    whole = max(math.ceil(seconds - _NEARLY_S), int(MIN_S))
    mono = samples.mean(axis=1)[: whole * rate]
    with tempfile.TemporaryDirectory(prefix="audition-cosyvoice2-") as scratch:
        path = Path(scratch) / "reference.wav"
        soundfile.write(path, np.pad(mono, (0, whole * rate - len(mono))), rate, subtype="FLOAT")
        yield path, transcript, float(whole)
