"""Sounds for the tests."""

import struct
import subprocess

import numpy as np
from numpy.typing import NDArray

RATE = 24000


def tone(seconds: float = 0.2, level: float = 0.5, hz: float = 440.0) -> NDArray[np.int16]:
    n = round(seconds * RATE)
    return np.rint(32767 * level * np.cos(2 * np.pi * hz * np.arange(n) / RATE)).astype(np.int16)


def pcm(seconds: float = 0.2, level: float = 0.5) -> bytes:
    return tone(seconds, level).tobytes()


def wav(
    data: bytes, *, size: int | None = None, rate: int = RATE, code: int = 1, bits: int = 16, channels: int = 1,
    before: bytes = b"", after: bytes = b"",
) -> bytes:  # fmt: skip
    frame = bits // 8 * channels
    fmt = struct.pack("<HHIIHH", code, channels, rate, rate * frame, frame, bits)
    claimed = len(data) if size is None else size
    return (
        b"RIFF" + struct.pack("<I", min(0xFFFFFFFF, 36 + claimed)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
        + before + b"data" + struct.pack("<I", claimed) + data + after
    )  # fmt: skip


def espeak(voice: str, text: str, pitch: int = 50) -> bytes:
    """A WAV file of real speech."""
    command = ["espeak-ng", "--stdout", "-v", voice, "-p", str(pitch), text]
    return subprocess.run(command, capture_output=True, check=True).stdout
