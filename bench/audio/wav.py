"""Reading any sound file as mono, and writing the one WAV form that Audition keeps."""

import io
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from bench.errors import BadInput
from bench.storage.atomic import write_atomically

Samples = NDArray[np.float32]
"""Mono audio, shape (n,), full scale at +-1.0."""


def read_mono(path: Path) -> tuple[Samples, int]:
    """Return the samples, shape (n,), and the rate in Hz of a sound file; channels are averaged.

    16-bit samples map to k / 32768, so what `write_wav_16bit` wrote comes back bit for bit.

    Raises:
        BadInput: there is no such file, it is no sound libsndfile can read, it is empty, or it holds NaN or
            infinite samples.
    """
    try:
        frames, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError) as error:
        raise BadInput(
            f"{path} cannot be read as a sound ({error}); give a WAV, FLAC or MP3 file."
        ) from error
    if frames.shape[0] == 0:
        raise BadInput(f"{path} holds no samples; record or synthesise it again.")
    mono: Samples = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise BadInput(f"{path} holds samples that are not numbers (NaN or infinite); it cannot be played.")
    return np.ascontiguousarray(mono), int(rate_hz)


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Quantise to 16 bits, shape (n,): round(32768 * x), what lies beyond full scale held at full scale.

    libsndfile's own conversion multiplies by 32767 and divides by 32768 on reading, so that each rewriting
    changes the bytes; this one does not.

    Raises:
        BadInput: a sample is NaN or infinite, or the array is not of shape (n,).
    """
    if samples.ndim != 1:
        raise BadInput(
            f"Audio must be mono with shape (n,), not {samples.shape}; average its channels first."
        )
    if not np.isfinite(samples).all():
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise BadInput(
            f"{bad} of {samples.size} samples are not numbers (NaN or infinite); nothing was written."
        )
    return np.clip(np.rint(samples.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)


def encode_wav_16bit(samples: Samples, rate_hz: int) -> bytes:
    """Return a whole RIFF WAV file: PCM, 16 bits, mono, `fmt ` and `data` chunks alone, no metadata.

    Raises:
        BadInput: as `to_int16`.
    """
    buffer = io.BytesIO()
    sf.write(buffer, to_int16(samples), rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def write_wav_16bit(path: Path, samples: Samples, rate_hz: int) -> None:
    """Write a 16-bit mono WAV without metadata, whole or not at all; the same samples give the same bytes.

    Raises:
        BadInput: as `to_int16`; nothing is written.
        OSError: the disk is full or the directory cannot be written.
    """
    write_atomically(path, encode_wav_16bit(samples, rate_hz))
