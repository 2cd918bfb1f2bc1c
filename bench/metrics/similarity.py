"""Speaker similarity to the reference, by Resemblyzer where it is installed.

Optional: it needs torch, and webrtcvad, which compiles from source and imports pkg_resources (setuptools
below 81). Its weights are in its wheel. One side's cosine is no figure to report: it depends on the sentence,
the channel and the recording of the reference. Report the paired difference, candidate minus baseline, over
the same sentences (`bench.metrics.paired`).
"""

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.audio.resample import resample
from bench.audio.silence import sound_span
from bench.audio.wav import Samples

ENCODER_RATE_HZ = 16000
MIN_SOUND_S = 0.8
"""Under this much sound an embedding says little of the speaker."""


class NoEmbedding(Exception):
    """No embedding can be had; the message is the reason to put in the record."""


def embed_speaker(samples: Samples, rate_hz: int) -> NDArray[np.float32]:
    """Return the speaker embedding, shape (256,), unit length.

    Source: Resemblyzer 0.1.4, the GE2E encoder of L. Wan et al., "Generalized End-to-End Loss for Speaker
    Verification", ICASSP 2018; trained on real speech at 16 kHz.
    Known failure: separates synthetic voices better than similar human ones, so its errors here are
    flattered; needs calibration on real speakers before a difference can be called large.

    Raises:
        NoEmbedding: Resemblyzer is not installed, or the clip is too short.
    """
    encoder, preprocess = _encoder()
    span = sound_span(samples, rate_hz)
    if span is None or span.seconds(rate_hz) < MIN_SOUND_S:
        raise NoEmbedding(f"under {MIN_SOUND_S} s of sound")
    speech = preprocess(resample(samples, rate_hz, ENCODER_RATE_HZ))
    if speech.size < MIN_SOUND_S * ENCODER_RATE_HZ / 2:
        raise NoEmbedding("the voice detector found hardly any speech")
    return np.asarray(encoder.embed_utterance(speech), dtype=np.float32)


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the cosine of two embeddings, -1 to 1; an ingredient of a paired difference, no result."""
    return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


@cache
def _encoder() -> tuple[Any, Any]:
    # One encoder a process; a second load would cost a second and 20 MB.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources and a SciPy namespace, both deprecated
            from resemblyzer import VoiceEncoder, preprocess_wav
    except ImportError as error:
        raise NoEmbedding(f"Resemblyzer is not installed ({error})") from error
    return VoiceEncoder(device="cpu", verbose=False), preprocess_wav
