"""What an engine's adapter is: the one interface between a model's package and the HTTP server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio, shape (n,), full scale at +-1.0."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One thing to say. `voice` is a preset's name or a registered one; `seed` null means unseeded."""

    text: str
    voice: str
    speed: float = 1.0
    seed: int | None = None


@dataclass(slots=True)
class LoadedInfo:
    """What `/health` reports once the model is loaded."""

    model: str
    revision: str
    device: str
    profile: dict[str, Any] = field(default_factory=dict)
    """Settings read back from the objects in use, never echoed from the request."""


class UnknownVoice(LookupError):
    """No preset and no registered voice has this name (HTTP 404)."""


class BadReference(ValueError):
    """The reference cannot be used (HTTP 400); the message says why."""


class SynthesisError(RuntimeError):
    """The model produced nothing usable (HTTP 500 before audio, an aborted connection after)."""


class Adapter(Protocol):
    """A model behind the server. The server calls `synthesise` for one request at a time."""

    sample_rate_hz: int

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Load the model with `profile`'s settings; called once, before ready.

        `weights` says where each repository of the catalog entry lies, at the revision that is pinned there.
        """
        ...

    def voices(self) -> list[str]:
        """Return the names that `voice` may have now, presets first."""
        ...

    def register(self, name: str, audio: Path, text: str) -> None:
        """Prepare and encode a reference once, and keep it as voice `name`.

        Raises:
            BadReference: the clip cannot serve.
        """
        ...

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield the audio in pieces as soon as each exists; together they are the whole take.

        Raises:
            UnknownVoice: before anything is yielded.
            SynthesisError: nothing usable came out.
        """
        ...

    def memory(self) -> dict[str, int] | None:
        """Return `torch_peak_allocated_bytes` and `torch_peak_reserved_bytes`, or None without torch."""
        ...

    def read_back(self) -> dict[str, Any]:
        """Return the settings as the loaded objects have them now (also after a fall-back to fp32)."""
        ...
