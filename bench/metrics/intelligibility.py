"""Whether the words can be made out at all: a gross alarm, relative to the baseline.

The built-in recogniser is pocketsphinx with the acoustic and language models of its own wheel (it needs no
download). It is weak: on clear synthetic speech its word error rate runs from 0.25 to over 1, so one side's
figure says nothing and only the difference between two sides on the same sentence is read.
"""

import importlib
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.audio.resample import resample
from bench.audio.wav import Samples, to_int16
from bench.errors import BadInput

RECOGNISER_RATE_HZ = 16000
TAKE_ALARM_DIFFERENCE = 0.8
"""A candidate's take whose word error rate is over the baseline's by more than this raises the alarm."""
PASS_ALARM_DIFFERENCE = 0.5
"""So does a mean of the paired differences above this.

Four flite voices, ten sentences: means 0.22 to 0.40, a sentence's difference between two voices up to 0.63;
reversed speech 1.06. espeak-ng, which people understand, has 0.90 to 1.00: of a formant voice the alarm is
false.
"""


def spoken_words(text: str) -> list[str]:
    """Return the words as a recogniser would write them: lower case, no punctuation, apostrophes kept."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return [word for word in (raw.strip("'") for raw in re.findall(r"[\w']+", plain)) if word]


def word_errors(heard: list[str], said: list[str]) -> int:
    """Return the fewest words to substitute, insert or delete that turn `said` into `heard` (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def word_error_rate(heard: str, said: str) -> float | None:
    """Return word errors per word of the known text; None for a text without words. Over 1 is possible.

    Source: Levenshtein distance over words.
    Known failure: numbers and abbreviations count as errors where the recogniser spells them out, alike on
    both sides.
    """
    words = spoken_words(said)
    return word_errors(spoken_words(heard), words) / len(words) if words else None


def transcribe_pocketsphinx(samples: Samples, rate_hz: int) -> str:
    """Return what pocketsphinx (US English, its wheel's own model) hears; empty when nothing.

    The whole take is normalised as one, and nothing is carried over from the take before: the same take gives
    the same words in any order and in any process.
    Source: pocketsphinx 5, `model/en-us` (D. Huggins-Daines et al., ICASSP 2006).
    Known failure: 25 to 100% of words wrong on clear synthetic speech, worst on low-bandwidth or formant
    voices; US English alone; reversed speech and noise still give words.
    """
    decoder = _pocketsphinx()
    pcm = to_int16(resample(samples, rate_hz, RECOGNISER_RATE_HZ)).tobytes()
    # Noise removal and normalisation otherwise go on from the take before and change the words.
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    return str(best.hypstr) if best is not None else ""


def transcribe_faster_whisper(samples: Samples, rate_hz: int, model: Path) -> str:
    """Return what a Whisper model hears, by faster-whisper from a local directory; nothing is downloaded.

    Source: A. Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, in the
    CTranslate2 format.
    Known failure: invents fluent sentences for noise and silence; forgives mumbling by guessing from context,
    so it can miss a fault that people hear.

    Raises:
        BadInput: faster-whisper is not installed, or `model` is no directory of a converted model.
    """
    if not (model / "model.bin").is_file():
        raise BadInput(
            f"{model} is not a faster-whisper model (no model.bin in it); give the directory of a Whisper "
            "model converted for CTranslate2. Audition does not download one."
        )
    # faster-whisper fetches a tokenizer from the network when the directory lacks one.
    if not (model / "tokenizer.json").is_file():
        raise BadInput(f"{model} has no tokenizer.json; copy it from the model's repository.")
    whisper = _faster_whisper(model)
    audio = resample(samples, rate_hz, RECOGNISER_RATE_HZ).astype(np.float32)
    segments, _ = whisper.transcribe(audio, language="en", beam_size=5, condition_on_previous_text=False)
    return " ".join(segment.text.strip() for segment in segments)


@cache
def _pocketsphinx() -> Any:
    # One decoder a process: its language model takes 0.5 s and 100 MB to load.
    import pocketsphinx

    return pocketsphinx.Decoder(samprate=RECOGNISER_RATE_HZ, cmn="batch", loglevel="FATAL")


@cache
def _faster_whisper(model: Path) -> Any:
    try:
        faster_whisper = importlib.import_module("faster_whisper")
    except ImportError as error:
        raise BadInput(
            f"faster-whisper is not installed ({error}); install it or leave its model out."
        ) from error
    return faster_whisper.WhisperModel(
        str(model), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )
