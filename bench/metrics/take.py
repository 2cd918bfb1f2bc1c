"""All metrics of one take."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.audio.levels import peak_dbfs, rms_dbfs
from bench.audio.wav import Samples, read_mono
from bench.metrics.clipping import clipped
from bench.metrics.f0 import drift_semitones, median_f0_hz
from bench.metrics.intelligibility import name_model, transcribe_faster_whisper, word_error_rate
from bench.metrics.loudness import loudness_lufs
from bench.metrics.silence import silence
from bench.metrics.similarity import NoEmbedding, cosine, embed_speaker
from bench.metrics.speaking_rate import count_words, words_per_s
from bench.records.metrics import TakeMetrics


@lru_cache(maxsize=4)
def _reference_embedding(path: Path) -> NDArray[np.float32]:
    return embed_speaker(*read_mono(path))


@lru_cache(maxsize=4)
def reference_f0_hz(path: Path) -> float | None:
    """Return the median F0 of a reference clip in Hz; computed once a process.

    Raises:
        BadInput: the clip cannot be read.
    """
    return median_f0_hz(*read_mono(path))


def measure_take(
    wav: Path,
    text: str,
    reference_f0_hz: float | None,
    *,
    utterance_id: str | None = None,
    reference: Path | None = None,
    whisper_model: Path | None = None,
) -> TakeMetrics:
    """Return every metric of one take.

    Args:
        wav: the take.
        text: what it was asked to say.
        reference_f0_hz: median F0 of the reference in Hz, or None: then there is no drift.
        utterance_id: by default the file's name without suffix.
        reference: the reference clip, for speaker similarity; None leaves that out.
        whisper_model: directory of a faster-whisper model; None leaves out the word error rate, most of the cost.

    Raises:
        BadInput: the take, the reference or the whisper model cannot be read.
    """
    samples, rate_hz = read_mono(wav)
    found = silence(samples, rate_hz)
    f0_hz = median_f0_hz(samples, rate_hz)
    metrics = TakeMetrics(
        utterance_id=utterance_id or wav.stem,
        wav=wav.name,
        audio_s=samples.size / rate_hz,
        sample_rate_hz=rate_hz,
        f0_median_hz=f0_hz,
        f0_drift_semitones=drift_semitones(f0_hz, reference_f0_hz),
        loudness_lufs=loudness_lufs(samples, rate_hz),
        peak_dbfs=peak_dbfs(samples),
        rms_dbfs=rms_dbfs(samples),
        leading_silence_s=found.leading_s,
        trailing_silence_s=found.trailing_s,
        pauses_s=found.pauses_s,
        longest_pause_s=found.longest_pause_s,
        sounding_s=found.sounding_s,
        clipped_fraction=clipped(samples),
        words=count_words(text),
        speaking_rate_wps=words_per_s(text, found.sounding_s),
    )
    reasons: dict[str, str] = {}
    if f0_hz is None:
        reasons["f0_median_hz"] = "under 0.1 s of voice"
    elif reference_f0_hz is None:
        reasons["f0_drift_semitones"] = "no reference, or none of it is voiced"
    if found.sounding_s is None:
        reasons["sounding_s"] = "the take is silent"
    _add_similarity(metrics, samples, rate_hz, reference, reasons)
    if whisper_model is None:
        reasons["word_error_rate"] = "no whisper_model"
    else:
        metrics.recogniser = f"faster-whisper {name_model(whisper_model)}"
        metrics.heard = transcribe_faster_whisper(samples, rate_hz, whisper_model)
        metrics.word_error_rate = word_error_rate(metrics.heard, text)
    metrics.reasons = reasons
    return metrics


def _add_similarity(
    metrics: TakeMetrics, samples: Samples, rate_hz: int, reference: Path | None, reasons: dict[str, str]
) -> None:
    if reference is None:
        reasons["reference_cosine"] = "no reference"
        return
    try:
        metrics.reference_cosine = cosine(embed_speaker(samples, rate_hz), _reference_embedding(reference))
    except NoEmbedding as error:
        reasons["reference_cosine"] = str(error)
