"""Hibari behind the engine server: a neural voice of 8 MB, its weights in the package, for the demo.

Hibari does not clone: a registered reference is accepted and the package's own voice speaks, which the catalog entry
says.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.serving.adapter import LoadedInfo, Samples, SpeechRequest, SynthesisError, UnknownVoice

SAMPLE_RATE_HZ = 24000
BUNDLED = "heart"
"""The voice in the wheel; the package would download each other one."""


class Hibari:
    """Adapter for the package `hibari-tts`."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self) -> None:
        self._model: Any = None
        self._registered: set[str] = set()

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Load the network and the words it knows; `profile` has `voice` and `threads`."""
        del weights
        if profile["voice"] != BUNDLED:
            raise ValueError(
                f"hibari voice must be {BUNDLED}, the one in its package, not '{profile['voice']}'"
            )
        import hibari

        self._model = hibari.Hibari(voice=str(profile["voice"]), threads=int(profile["threads"]))
        self._model("Ready.")  # pronunciation is loaded with the first word that is asked for
        return LoadedInfo("hibari", f"hibari-tts {version('hibari-tts')}", "cpu", self.read_back())

    def voices(self) -> list[str]:
        """Return the package's voice and the registered names."""
        return [BUNDLED, *sorted(self._registered)]

    def register(self, name: str, audio: Path, text: str) -> None:
        """Accept the name; hibari cannot follow a reference."""
        del audio, text
        self._registered.add(name)

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield each sentence as it is spoken; a seed fixes the noise in it, and the same request is the same take."""
        if request.voice not in self.voices():
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self.voices())}")
        return self._spoken(request)

    def _spoken(self, request: SpeechRequest) -> Iterator[Samples]:
        empty = True
        for sentence in self._model.stream(request.text, speed=request.speed, seed=request.seed):
            if sentence.size:
                empty = False
                yield sentence
        if empty:
            raise SynthesisError("hibari found nothing to pronounce in the text")

    def memory(self) -> dict[str, int] | None:
        """No torch here."""
        return None

    def read_back(self) -> dict[str, Any]:
        """Return the settings each request is spoken with, from the loaded objects."""
        options = self._model.sess.get_session_options()
        return {"voice": self._model.voice, "threads": options.intra_op_num_threads}
