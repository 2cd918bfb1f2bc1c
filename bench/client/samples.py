"""What a sample is: how it is written in bytes, and how bytes become samples."""

import functools
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.int16 | np.float32]
"""Mono, shape (n,): int16 as received, or float32 with full scale at +-1.0."""

Coding = Literal["int", "uint", "float", "mulaw", "alaw"]
WIDTHS: dict[Coding, tuple[int, ...]] = {
    "int": (8, 16, 24, 32), "uint": (8,), "float": (32, 64), "mulaw": (8,), "alaw": (8,),
}  # fmt: skip
"""Bits that a sample of each coding may have here."""
_LAWS = {"mulaw": "ULAW", "alaw": "ALAW"}


@dataclass(frozen=True, slots=True)
class SampleForm:
    """How samples are written one after another, channels side by side."""

    coding: Coding = "int"
    bits: int = 16
    channels: int = 1
    big_endian: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8

    def __str__(self) -> str:
        """Say it in words, for a message."""
        order = ("big" if self.big_endian else "little") + "-endian " if self.bits > 8 else ""
        return (
            f"{order}{self.bits}-bit {self.coding}, {self.channels} channel{'s' if self.channels > 1 else ''}"
        )

    def read(self, data: bytes) -> Samples:
        """Return whole frames as mono samples: channels averaged; 16-bit mono stays int16, untouched."""
        values = self._values(data)
        if self.channels == 1:
            return values
        scaled = values.astype(np.float32) / np.float32(32768) if values.dtype == np.int16 else values
        mixed: Samples = scaled.reshape(-1, self.channels).mean(axis=1, dtype=np.float32)
        return mixed

    def _values(self, data: bytes) -> Samples:
        order = ">" if self.big_endian else "<"
        if self.coding in _LAWS:
            words: Samples = _law_table(_LAWS[self.coding])[np.frombuffer(data, "u1")]
            return words
        if self.coding == "float":
            with np.errstate(over="ignore"):  # too large for 32 bits: infinite, and named as that
                return np.frombuffer(data, f"{order}f{self.bits // 8}").astype(np.float32)
        if self.bits == 16:
            return np.frombuffer(data, f"{order}i2").astype(np.int16, copy=False)
        if self.bits == 8:
            octets = np.frombuffer(data, "u1" if self.coding == "uint" else "i1").astype(np.float32)
            return (octets - np.float32(128 if self.coding == "uint" else 0)) / np.float32(128)
        if self.bits == 24:
            wide = np.zeros((len(data) // 3, 4), "u1")
            octets = np.frombuffer(data, "u1").reshape(-1, 3)
            wide[:, 1:] = octets[:, ::-1] if self.big_endian else octets
            data, order = wide.tobytes(), "<"
        return np.frombuffer(data, f"{order}i4").astype(np.float32) / np.float32(2147483648)


@functools.cache
def _law_table(subtype: str) -> NDArray[np.int16]:
    """Return the sample of each of the 256 code words of G.711, as libsndfile has them."""
    words = io.BytesIO(bytes(range(256)))
    table: NDArray[np.int16] = soundfile.read(
        words, dtype="int16", samplerate=8000, channels=1, format="RAW", subtype=subtype
    )[0]
    return table
