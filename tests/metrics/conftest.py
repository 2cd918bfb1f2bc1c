"""Real speech for the metrics' tests: three voices of two engines, made once a session."""

from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

SENTENCES = {
    "u01": "The birch canoe slid on the smooth planks.",
    "u02": "These days a chicken leg is a rare dish.",
    "u03": "Rice is often served in round bowls.",
}


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function (voice, utterance id) -> WAV; voices are `flite:slt` (female), `flite:rms` (male)
    and `espeak:en-us` (male)."""
    folder = tmp_path_factory.mktemp("speech")

    def make(voice: str, utterance_id: str) -> Path:
        wav = folder / f"{voice.replace(':', '_')}_{utterance_id}.wav"
        if not wav.exists():
            engine, name = voice.split(":")
            text = SENTENCES[utterance_id]
            command = {
                "flite": ["flite", "-voice", name, "-t", text, "-o", str(wav)],
                "espeak": ["espeak-ng", "-v", name, "-w", str(wav), text],
            }[engine]
            run(command, check=True)
        return wav

    return make
