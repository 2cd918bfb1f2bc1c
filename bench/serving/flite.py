"""Flite behind the engine server: the demo's baseline, real speech without weights.

Flite does not clone: a registered reference is accepted and the preset voice speaks, which the catalog entry
says, so the demo's pair is a fair pair of robots and nothing more.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.serving.adapter import LoadedInfo, Samples, SpeechRequest, UnknownVoice
from bench.serving.command import spoken

SAMPLE_RATE_HZ = 16000
VOICES_AT_16_KHZ = ("slt", "rms", "awb", "kal16")


class Flite:
    """Adapter for the program `flite`."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self) -> None:
        self._voice = ""
        self._duration_stretch = 1.0
        self._registered: set[str] = set()

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Check that the program runs; `profile` has `voice` and `duration_stretch`."""
        del weights
        program = shutil.which("flite")
        if program is None:
            raise FileNotFoundError("flite is not installed; run the install phase")
        self._voice = str(profile["voice"])
        self._duration_stretch = float(profile["duration_stretch"])
        if self._voice not in VOICES_AT_16_KHZ:
            raise ValueError(f"flite voice must be one of {', '.join(VOICES_AT_16_KHZ)}, not '{self._voice}'")
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        version = next((line.split()[1] for line in shown.splitlines() if "version:" in line), "unknown")
        return LoadedInfo("flite", version, "cpu", self.read_back())

    def voices(self) -> list[str]:
        """Return the preset voice and the registered names."""
        return [self._voice, *sorted(self._registered)]

    def register(self, name: str, audio: Path, text: str) -> None:
        """Accept the name; flite cannot follow a reference."""
        del audio, text
        self._registered.add(name)

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield what flite writes. It speaks the whole text before it writes, so the first piece comes last."""
        if request.voice not in self.voices():
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self.voices())}")
        stretch = self._duration_stretch / request.speed
        command = ["flite", "-voice", self._voice, "--setf", f"duration_stretch={stretch}"]
        # Flite reads a file to its end only when the file has a length, so the text is an argument.
        return spoken([*command, "-t", request.text, "-o", "/dev/stdout"], SAMPLE_RATE_HZ)

    def memory(self) -> dict[str, int] | None:
        """No torch here."""
        return None

    def read_back(self) -> dict[str, Any]:
        """Return the settings each request is spoken with."""
        return {"voice": self._voice, "duration_stretch": self._duration_stretch}
