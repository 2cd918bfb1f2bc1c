"""eSpeak NG behind the engine server: real speech without weights, for the demo and the tests.

Its "clone" follows the reference's median F0 with the pitch setting and nothing else. That is not voice
cloning, and the catalog entry says so.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.audio.wav import read_mono
from bench.metrics.f0 import median_f0_hz
from bench.serving.adapter import (
    BadReference,
    LoadedInfo,
    Samples,
    SpeechRequest,
    UnknownVoice,
)
from bench.serving.command import spoken

SAMPLE_RATE_HZ = 22050
_PITCH_DEFAULT = 50
_PITCH_STEPS = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
_F0_HZ = (70.4, 72.9, 77.9, 81.9, 89.1, 98.4, 109.4, 121.8, 135.4, 151.5, 167.8)
"""Median F0 of voice en-us at each step: Praat autocorrelation, espeak-ng 1.51, six of the default utterances."""

_NO_SOUND_CARD = {"PULSE_RUNTIME_PATH": "/dev/null/none"}
"""It asks for a sound server even when it writes to a pipe, and would leave folders in /tmp and ~/.config."""


class Espeak:
    """Adapter for the program `espeak-ng`."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self) -> None:
        self._voice = ""
        self._words_per_minute = 0
        self._registered: dict[str, int] = {}

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Check that the program runs; `profile` has `voice` and `words_per_minute`."""
        del weights
        program = shutil.which("espeak-ng")
        if program is None:
            raise FileNotFoundError("espeak-ng is not installed; run the install phase")
        version = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **_NO_SOUND_CARD},
        ).stdout
        self._voice = str(profile["voice"])
        self._words_per_minute = int(profile["words_per_minute"])
        return LoadedInfo("espeak", version.partition("Data at")[0].strip(), "cpu", self.read_back())

    def voices(self) -> list[str]:
        """Return the preset voice and the registered ones."""
        return [self._voice, *self._registered]

    def register(self, name: str, audio: Path, text: str) -> None:
        """Set voice `name` to the pitch nearest to the clip's median F0; the text is not used."""
        del text
        try:
            samples, rate_hz = read_mono(audio)
        except Exception as error:
            raise BadReference(f"the reference cannot be read: {error}") from error
        f0_hz = median_f0_hz(samples, rate_hz)
        if f0_hz is None:
            raise BadReference("the reference has no voiced speech, so it has no F0 to follow")
        self._registered[name] = pitch_for(f0_hz)

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield what espeak-ng writes, as it writes it. It is deterministic; a seed changes nothing."""
        if request.voice not in self.voices():
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self.voices())}")
        pitch = self._registered.get(request.voice, _PITCH_DEFAULT)
        rate = round(self._words_per_minute * request.speed)
        command = ["espeak-ng", "--stdin", "--stdout", "-v", self._voice, "-p", str(pitch), "-s", str(rate)]
        return spoken(command, SAMPLE_RATE_HZ, request.text, _NO_SOUND_CARD)

    def memory(self) -> dict[str, int] | None:
        """No torch here."""
        return None

    def read_back(self) -> dict[str, Any]:
        """Return the settings each request is spoken with."""
        return {"voice": self._voice, "words_per_minute": self._words_per_minute}


def pitch_for(f0_hz: float) -> int:
    """Return espeak-ng's pitch setting (0-99) whose median F0 is nearest to `f0_hz`, on a log scale."""
    return round(float(np.interp(np.log(f0_hz), np.log(_F0_HZ), _PITCH_STEPS)))
