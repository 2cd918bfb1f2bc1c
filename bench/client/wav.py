"""A WAV stream taken apart as it arrives: which samples were complete at which moment.

RIFF sizes as servers write them are honoured: true; 0 or 0xFFFFFFFF and the like (written before the length
was known), which mean "to the end of the body"; the header alone first; chunks before and after `data`,
padded to even length (Multimedia Programming Interface and Data Specifications 1.0, 1991); one complete WAV
after another, which after data of unknown length is seen where the next header arrives in one piece. Formats:
PCM of 8, 16, 24 or 32 bits, IEEE float of 32 or 64, WAVE_FORMAT_EXTENSIBLE of either (Microsoft,
WAVEFORMATEXTENSIBLE). Channels are averaged to mono.
"""

import re
import struct

import numpy as np
from numpy.typing import NDArray

from bench.client.faults import TakeFault

Samples = NDArray[np.int16 | np.float32]
"""Mono, shape (n,): int16 as received, or float32 with full scale at +-1.0."""

UNKNOWN_SIZE_FROM = 0x7FFF0000
"""Sizes from here on are place-holders: 0xFFFFFFFF, and what sox and travisvn write near 0x7FFFFFFF. Real
takes are far below."""
_NEXT_HEADER = re.compile(rb"RIFF.{4}WAVEfmt ", re.DOTALL)
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def to_mono(data: bytes, code: int, bits: int, channels: int) -> Samples:
    """Return whole frames of little-endian audio as mono samples; 16-bit mono stays int16, untouched."""
    if code == _PCM and bits == 16:
        values = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        if channels == 1:
            return values
        scaled = values.astype(np.float32) / 32768.0
    elif code == _PCM and bits == 8:
        scaled = (np.frombuffer(data, "u1").astype(np.float32) - 128.0) / 128.0
    elif code == _PCM and bits == 24:
        octets = np.frombuffer(data, "u1").reshape(-1, 3).astype(np.int32)
        joined = (octets[:, 0] << 8) | (octets[:, 1] << 16) | (octets[:, 2] << 24)
        scaled = joined.astype(np.float32) / 2147483648.0
    elif code == _PCM and bits == 32:
        scaled = np.frombuffer(data, "<i4").astype(np.float32) / 2147483648.0
    else:
        with np.errstate(over="ignore"):  # too large for 32 bits: infinite, and named as that
            scaled = np.frombuffer(data, "<f4" if bits == 32 else "<f8").astype(np.float32)
    return scaled.reshape(-1, channels).mean(axis=1, dtype=np.float32) if channels > 1 else scaled


class WavStream:
    """Feed it bytes as they arrived; it gives back the samples each piece completed."""

    def __init__(self) -> None:
        """Expect the RIFF header first."""
        self.rate_hz: int | None = None
        self._held = b""
        self._state = "riff"
        self._code = self._bits = self._channels = 0
        self._left: int | None = 0
        """Bytes of the present chunk still to come; None: to the end of the body."""
        self._pad = 0
        self._had_data = False

    def feed(self, data: bytes) -> list[Samples]:
        """Return the samples that `data` completed, in order.

        Raises:
            TakeFault: `not_audio`, for a header that is no WAV we can read, or one that states the first piece of a
                stream alone, so that what follows is no chunk; `wrong_rate`, when a second header gives another rate.
        """
        self._held += data
        out: list[Samples] = []
        while self._step(out):
            pass
        return out

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            TakeFault: `truncated`, when the header, the data chunk or a sample of it is incomplete.
        """
        if self._state == "riff":
            if self._held.startswith(b"RIFF"):
                raise TakeFault("truncated", "the body ends inside the WAV header")
            return
        if self._state == "data":
            if self._left:
                missing = self._left - len(self._held)
                raise TakeFault("truncated", f"the WAV header promises {missing} bytes more than came")
            if self._left is None and self._held:
                raise TakeFault("truncated", "the body ends inside a sample")
        elif self._state == "chunks" and not self._had_data:
            raise TakeFault("truncated", "the body ends inside the WAV header")

    def _step(self, out: list[Samples]) -> bool:
        if self._state == "data":
            return self._data(out)
        if self._state == "riff":
            return self._riff()
        return self._chunk()

    def _riff(self) -> bool:
        if len(self._held) < 12:
            return False
        if self._held[:4] != b"RIFF" or self._held[8:12] != b"WAVE":
            raise TakeFault("not_audio", "a RIFF header was expected, and this is not one of a WAV file")
        self._held = self._held[12:]
        self._state = "chunks"
        return True

    def _chunk(self) -> bool:
        if len(self._held) < 8:
            return False
        name, size = self._held[:4], struct.unpack("<I", self._held[4:8])[0]
        if name == b"RIFF":
            self._state = "riff"
            return True
        if name == b"data":
            if self.rate_hz is None:
                raise TakeFault("not_audio", "the WAV stream has a data chunk before its format")
            unknown = size == 0 or size >= UNKNOWN_SIZE_FROM
            self._left, self._pad = (None, 0) if unknown else (size, size % 2)
            self._held, self._state, self._had_data = self._held[8:], "data", True
            return True
        if self._had_data and name != b"\0\0\0\0" and not _CHUNK_NAME.fullmatch(name):
            raise TakeFault(
                "not_audio", "what follows the end that the WAV header states is no chunk of a WAV"
            )
        whole = 8 + size + size % 2
        if len(self._held) < whole:
            return False
        if name == b"fmt ":
            self._format(self._held[8 : 8 + size])
        self._held = self._held[whole:]
        return True

    def _format(self, fmt: bytes) -> None:
        if len(fmt) < 16:
            raise TakeFault("not_audio", "the WAV format chunk is too short")
        code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", fmt[:16])
        if code == _EXTENSIBLE and len(fmt) >= 26:
            code = struct.unpack("<H", fmt[24:26])[0]
        if (code, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
            raise TakeFault("not_audio", f"WAV format {code:#x} with {bits} bits cannot be read here")
        if not 1 <= channels <= 8 or rate == 0:
            raise TakeFault("not_audio", f"a WAV header with {channels} channels at {rate} Hz")
        if self.rate_hz not in (None, rate):
            raise TakeFault("wrong_rate", f"WAV headers of one body say {self.rate_hz} and {rate} Hz")
        self.rate_hz, self._code, self._bits, self._channels = rate, code, bits, channels

    def _data(self, out: list[Samples]) -> bool:
        frame = self._channels * self._bits // 8
        ready = len(self._held) if self._left is None else min(len(self._held), self._left)
        following = _NEXT_HEADER.search(self._held) if self._left is None else None
        if following is not None:
            ready = following.start()
            if ready % frame:
                raise TakeFault("truncated", "one WAV ends inside a sample, and the next begins")
        whole = ready - ready % frame
        if whole:
            out.append(to_mono(self._held[:whole], self._code, self._bits, self._channels))
            self._held = self._held[whole:]
            if self._left is not None:
                self._left -= whole
        if following is not None:
            self._left, self._state = 0, "riff"
            return True
        if self._left is None or self._left >= frame:
            return False
        if len(self._held) < self._left + self._pad:
            # A pad byte may be missing at the very end; `finish` does not mind.
            return False
        self._held = self._held[self._left + self._pad :]
        self._left, self._state = 0, "chunks"
        return True
