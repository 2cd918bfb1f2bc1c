"""A reference clip made ready for F5-TTS, once: the package's own preparation behind gates it lacks.

The package cuts clips over 12 s without touching the transcript (its issue 1207), turns a silent clip into
50 ms that make the whole output NaN, and for an empty transcript fetches a speech recogniser. Each of these
is refused here instead, before the model sees the clip.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.serving.adapter import BadReference
from bench.serving.f5.package import torch, torchaudio, utils_infer
from bench.serving.words import check_loud, check_rate, identity

MIN_S = 3.0
MAX_S = 12.0
"""Longer clips are cut by the package, at a place of its choosing."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A prepared reference."""

    audio: Any
    """torch float32, shape (1, n), mono, 24 kHz, on the CPU: what `infer_batch_process` takes."""
    text: str
    """The transcript as the package ends it."""
    seconds: float
    sha256: str
    """Of the clip's bytes and the transcript together."""


def prepare(audio: Path, text: str) -> Voice:
    """Return the clip as F5-TTS takes it; nothing of it stays on disk.

    Raises:
        BadReference: no transcript, unreadable, too long, too short, silent, or a transcript that cannot
            belong to the clip. The message says what to do.
    """
    transcript = " ".join(text.split())
    if not transcript:
        raise BadReference("the reference has no transcript; F5-TTS needs the exact words of the clip.")
    _check_source(audio)
    samples, rate, ended = _package_preparation(audio, transcript)
    wave = torch.from_numpy(np.ascontiguousarray(samples.T))
    if wave.shape[0] > 1:
        wave = torch.mean(wave, dim=0, keepdim=True)
    if rate != utils_infer.target_sample_rate:
        wave = torchaudio.transforms.Resample(rate, utils_infer.target_sample_rate)(wave)
    seconds = wave.shape[-1] / utils_infer.target_sample_rate
    _check_prepared(wave, transcript, seconds)
    return Voice(wave, ended, seconds, identity(audio, text))


def _check_source(audio: Path) -> None:
    try:
        info = soundfile.info(audio)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadReference(f"the reference cannot be read as audio: {error}") from error
    seconds = info.frames / info.samplerate
    if seconds > MAX_S + 0.01:
        raise BadReference(
            f"the reference lasts {seconds:.1f} s and F5-TTS keeps {MAX_S:.0f} s of it without shortening "
            "the transcript; give a span of at most 12 s with the words spoken in it."
        )


def _package_preparation(audio: Path, transcript: str) -> tuple[Any, int, str]:
    """Return the package's prepared clip, shape (n, channels) float32, its rate, and the ended transcript.

    The package leaves its result in a temporary file that it never deletes, and remembers the path by the
    clip's hash: once the system cleans its temporary files, the same clip fails for the rest of the process.
    So the file is read at once, and the file and the memory of it are removed.
    """
    with tempfile.TemporaryDirectory(prefix="audition-f5-") as scratch:
        source = _as_pcm16(audio, Path(scratch))
        prepared, ended = utils_infer.preprocess_ref_audio_text(
            str(source), transcript, show_info=lambda _: None
        )
        try:
            samples, rate = soundfile.read(prepared, dtype="float32", always_2d=True)
        finally:
            Path(prepared).unlink(missing_ok=True)
            for key in [k for k, path in utils_infer._ref_audio_cache.items() if path == prepared]:
                del utils_infer._ref_audio_cache[key]
    return samples, int(rate), ended


def _as_pcm16(audio: Path, scratch: Path) -> Path:
    """Return a 16-bit WAV of the clip: pydub needs the ffmpeg program for anything else."""
    info = soundfile.info(audio)
    if (info.format, info.subtype) == ("WAV", "PCM_16"):
        return audio
    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    if not np.isfinite(samples).all():
        raise BadReference("the reference holds samples that are not numbers; export it again.")
    path = scratch / "reference.wav"
    soundfile.write(path, np.clip(samples, -1.0, 1.0), rate, subtype="PCM_16")
    return path


def _check_prepared(wave: Any, transcript: str, seconds: float) -> None:
    check_loud(wave.numpy())
    if seconds < MIN_S:
        raise BadReference(
            f"{seconds:.1f} s of speech are left of the reference after trimming; F5-TTS needs {MIN_S:.0f} s."
        )
    # The package would plan every chunk's duration from the wrong rate.
    check_rate(transcript, seconds)
