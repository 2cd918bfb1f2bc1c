"""What a dialect is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bench.client.target import Target, Voice
from bench.client.timing import HttpRequest

DEFAULT_MODEL = "tts-1"


@dataclass(frozen=True, slots=True)
class Say:
    """One thing to say.

    `inline` sends the reference with the request; otherwise `voice.name` is what the server knows (null: the
    field is left out and the server's default speaks).
    """

    text: str
    voice: Voice
    inline: bool = False
    seed: int | None = None
    model: str | None = None


class Dialect(Protocol):
    """How a family of servers takes requests."""

    @property
    def name(self) -> str:
        """The name by which a catalog entry chooses it."""
        ...

    @property
    def can_register(self) -> bool:
        """Whether a reference can be registered beforehand as a named voice."""
        ...

    @property
    def can_inline(self) -> bool:
        """Whether a reference can travel with each request."""
        ...

    @property
    def caches_reference(self) -> bool:
        """Whether a registered reference stays encoded, or is encoded anew for each take."""
        ...

    def speak(self, target: Target, say: Say) -> HttpRequest:
        """Return the request that says it."""
        ...

    def register(self, target: Target, voice: Voice) -> HttpRequest:
        """Return the request that registers the voice's reference; only where `can_register`."""
        ...


def merge(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` with the entry's own on top; a null removes a field."""
    return {key: value for key, value in {**fields, **extra}.items() if value is not None}


def form(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return fields as a form carries them."""
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()
    }
