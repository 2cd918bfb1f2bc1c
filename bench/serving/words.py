"""Looks at a reference that hold for every model: is there speech, and can the transcript be the clip's?"""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from bench.serving.adapter import BadReference

MIN_RMS = 0.005
"""-46 dBFS, root mean square of the clip."""
BYTES_PER_S = (3.0, 40.0)
"""UTF-8 bytes of transcript per second that speech can have (English reads at about 15); outside this the
transcript cannot be the clip's."""


def identity(audio: Path, text: str) -> str:
    """Return the SHA-256 that names a clip and its transcript together."""
    return hashlib.sha256(audio.read_bytes() + b"\0" + " ".join(text.split()).encode()).hexdigest()


def check_loud(samples: Any) -> None:
    """Refuse a clip, any array of full scale 1, in which nobody can be heard.

    Raises:
        BadReference: silent, or far too quiet.
    """
    rms = math.sqrt(float(np.mean(np.square(samples)))) if samples.size else 0.0
    if rms < MIN_RMS:
        raise BadReference("the reference is silent or far too quiet (under -46 dBFS); record it louder.")


def check_rate(transcript: str, seconds: float) -> None:
    """Refuse a transcript that nobody could say in the time.

    Raises:
        BadReference: too many or too few words; the message says what to give.
    """
    rate = len(transcript.encode()) / seconds
    low, high = BYTES_PER_S
    if not low <= rate <= high:
        raise BadReference(
            f"the transcript has {rate:.0f} bytes per second of the clip, which speech cannot have "
            f"({low:.0f} to {high:.0f}); give the words spoken in this clip, all of them and no others."
        )
