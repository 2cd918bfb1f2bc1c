"""Whether the words can be made out at all: a gross alarm, relative to the baseline.

The recogniser is Whisper through faster-whisper, of a model that the inventory names; without one there is no figure.
Of clear synthetic speech tiny.en mishears 1 to 13% of the words of everyday sentences, and more of odd ones; of
reversed speech more words than were said. Still only the difference between two sides on the same sentence is read.
"""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.audio.resample import resample
from bench.audio.wav import Samples
from bench.errors import BadInput

RECOGNISER_RATE_HZ = 16000
TAKE_ALARM_DIFFERENCE = 0.8
"""A candidate's take whose word error rate is over the baseline's by more than this raises the alarm."""
PASS_ALARM_DIFFERENCE = 0.25
"""So does a mean of the paired differences above this.

tiny.en and the ten utterances that ship, a pass's mean and its worst sentence: four flite voices 0.01 to 0.10 (0.50),
espeak-ng 0.13 (0.44), espeak-ng's f4 0.74 (5.5, two words misheard as eleven); reversed, slt 1.4 and espeak-ng 1.6.
"""
_TOKENS_A_SECOND, _TOKENS_BESIDE = 8, 16
"""More than anybody says: of noise, Whisper may repeat a sentence until it is stopped."""
_REVISION = re.compile(r"[0-9a-f]{40}")
_LEADING_ZERO = re.compile(r"(?<![\d.,])0\d+")


def spoken_words(text: str) -> list[str]:
    """Return the words as they are compared: lower case, without punctuation, numbers in digits however they were
    written or spoken, adjoining ones as one ("4 7 2 9", "four seven two nine" and "4729" are a single word).

    Source: Whisper's own normaliser for English (whisper-normalizer), but for joining the numbers, for zeros in front,
    which it drops, and for a 1 by itself, which it spells.
    Known failure: "for two" heard as "4 2", or "half past seven" as "7:30", counts as errors.

    Raises:
        BadInput: whisper-normalizer is not installed.
    """
    words: list[str] = []
    plain = _LEADING_ZERO.sub(lambda number: " ".join(number[0]), text.replace("’", "'"))
    for found in _normaliser()(plain).split():
        word = "1" if found == "one" else found
        if not any(character.isalnum() for character in word):
            continue
        if words and word.isdigit() and words[-1].isdigit():
            words[-1] += word
        else:
            words.append(word)
    return words


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

    Source: Levenshtein distance over `spoken_words`.
    Known failure: a short sentence that is misheard counts as much as a long one.
    """
    words = spoken_words(said)
    return word_errors(spoken_words(heard), words) / len(words) if words else None


def name_model(model: Path) -> str:
    """Return what a model is called: its folder, or in a store of weights, where that is a revision, its repository."""
    name = model.parent.name if _REVISION.fullmatch(model.name) else model.name
    return name.rpartition("faster-whisper-")[2]


def transcribe_faster_whisper(samples: Samples, rate_hz: int, model: Path) -> str:
    """Return what a Whisper model hears, by faster-whisper from a local directory; nothing is downloaded.

    At temperature 0, so the same take gives the same words in any order and in any process.
    Source: A. Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, in the
    CTranslate2 format.
    Known failure: invents fluent sentences for noise and silence; forgives mumbling by guessing from context,
    so it can miss a fault that people hear.

    Raises:
        BadInput: faster-whisper is not installed, or `model` is no directory of a converted model.
    """
    if not (model / "model.bin").is_file():
        raise BadInput(
            f"{model} is not a faster-whisper model (no model.bin in it); run the install phase, which fetches a "
            "named one, or give the directory of a Whisper model converted for CTranslate2."
        )
    # faster-whisper fetches a tokenizer from the network when the directory lacks one.
    if not (model / "tokenizer.json").is_file():
        raise BadInput(f"{model} has no tokenizer.json; copy it from the model's repository.")
    whisper = _faster_whisper(model)
    audio = resample(samples, rate_hz, RECOGNISER_RATE_HZ).astype(np.float32)
    segments, _ = whisper.transcribe(
        audio, language="en", beam_size=5, temperature=0.0, condition_on_previous_text=False,
        max_new_tokens=round(_TOKENS_A_SECOND * audio.size / RECOGNISER_RATE_HZ) + _TOKENS_BESIDE,
    )  # fmt: skip
    return " ".join(segment.text.strip() for segment in segments)


@cache
def _faster_whisper(model: Path) -> Any:
    try:
        faster_whisper = importlib.import_module("faster_whisper")
    except ImportError as error:
        raise BadInput(
            f"faster-whisper is not installed ({error}): preflight puts it on a host whose whisper_model is set."
        ) from error
    return faster_whisper.WhisperModel(
        str(model), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )


@cache
def _normaliser() -> Any:
    try:
        english = importlib.import_module("whisper_normalizer.english")
    except ImportError as error:
        raise BadInput(
            f"whisper-normalizer is not installed ({error}): preflight puts it on a host whose whisper_model is set."
        ) from error
    return english.EnglishTextNormalizer()
