"""What the cases in this folder share; test_f5.py gives it to pytest as a plugin, for no conftest is read there."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bench.catalog.loader import load
from bench.serving.adapter import SpeechRequest
from bench.serving.f5.adapter import F5, PRESET
from tests.support import tiny_f5
from tests.support.voiced import voiced

SHORT = "Good morning, I am calling about the car."
SPOKEN = "This is the voice that everybody should hear in the test."
QUICK = 4
THREE_CHUNKS = " ".join(
    f"It rained all {when} long and nobody in the house wanted to go out before somebody called them."
    for when in ("day", "night", "week")
)
"""Each sentence is over half of what one chunk may hold with the preset voice, so each is a chunk."""


def profile(name: str = "upstream", **changed: Any) -> dict[str, Any]:
    return load("f5").profiles[name] | {"arch": tiny_f5.ARCH} | changed


def speak(engine: F5, text: str, *, voice: str = PRESET, seed: int | None = 3) -> Any:
    return np.concatenate(list(engine.synthesise(SpeechRequest(text, voice, seed=seed))))


@pytest.fixture(autouse=True, scope="session")
def nothing_is_asked_of_the_network() -> Iterator[None]:
    """Every attempt to look a name up or to connect fails the session, whoever swallows the error."""
    asked: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        asked.append(repr(arguments))
        raise OSError("the test allows no network")

    patch = pytest.MonkeyPatch()
    patch.setattr(socket, "getaddrinfo", refuse)
    patch.setattr(socket.socket, "connect", refuse)
    patch.setattr(socket.socket, "connect_ex", refuse)
    yield
    patch.undo()
    assert asked == []


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_weights(tmp_path_factory.mktemp("weights"))


def make_weights(root: Path, **how: bool) -> dict[str, Path]:
    """Build the tiny checkpoint below `root`; return where its repositories lie."""
    tiny_f5.build(root, **how)
    return tiny_f5.pinned(root)


@pytest.fixture(scope="session")
def upstream(weights: dict[str, Path]) -> F5:
    """As the package ships but for the number of steps, which costs time and nothing else."""
    engine = F5()
    engine.load(profile(nfe_step=QUICK), weights)
    return engine


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, voiced(6.0), 24000, subtype="PCM_16")
    return path
