"""What whoever starts an engine tells its server."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

CONFIG_VARIABLE = "AUDITION_ENGINE"


class EngineConfig(BaseModel):
    """What the launcher tells the server, as JSON in the environment variable `AUDITION_ENGINE`."""

    model: str
    adapter: str
    """`module:Class`."""
    profile: dict[str, Any]
    weights: dict[str, Path] = {}
    """Where each repository of the weights lies, at the pinned revision, as the engine sees the file system."""
    nonce: str
    """Answered by `/health`, so that a stranger on the port is never taken for this engine."""
