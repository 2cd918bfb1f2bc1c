"""A WAV stream taken apart as it arrives: which samples were complete at which moment.

RIFF sizes as servers write them are honoured: true; 0, 0xFFFFFFFF or any that no take can have (written before the
length was known), which mean "to the end of the body"; the header alone first; chunks before and after `data`,
padded to even length (Multimedia Programming Interface and Data Specifications 1.0, 1991); one complete WAV
after another, which after data of unknown length is seen where the next header arrives in one piece; the 64-bit sizes
of RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088). What follows the end that a header states must be chunks, a header, or
a little padding: samples after it are never dropped quietly. Formats: PCM of 8, 16, 24 or 32 bits, IEEE float of 32 or
64, G.711, WAVE_FORMAT_EXTENSIBLE of these (Microsoft, WAVEFORMATEXTENSIBLE). Channels are averaged to mono.
"""

import re
import struct

from bench.client.ends import is_placeholder
from bench.client.faults import TakeFault
from bench.client.samples import WIDTHS, Coding, SampleForm, Samples

_NEXT_HEADER = re.compile(rb"R(?:IFF|F64).{4}WAVEfmt ", re.DOTALL)
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_FILES = (b"RIFF", b"RF64", b"BW64")
_TRAILING = frozenset(
    each.encode()
    for each in (
        "LIST", "id3 ", "ID3 ", "bext", "cue ", "fact", "smpl", "inst", "PEAK", "iXML", "axml", "_PMX", "JUNK",
        "junk", "PAD ", "FLLR", "plst", "note", "labl", "DISP", "acid", "chna", "cart", "afsp",
    )
)  # fmt: skip
"""Chunks that come after samples: believed even where the body ends inside one. Any other must be whole."""
_MOST_PADDING = 4096
"""Zero bytes after the end that the header states; more are the beginning of another sentence."""
_NO_CHUNK = (
    "what follows the end that the WAV header states is no chunk: was its size that of the first piece?"
)
_CODINGS: dict[int, Coding] = {1: "int", 3: "float", 6: "alaw", 7: "mulaw"}
_EXTENSIBLE = 0xFFFE


class WavStream:
    """Feed it bytes as they arrived; it gives back the samples each piece completed."""

    def __init__(self) -> None:
        """Expect the RIFF header first."""
        self.rate_hz: int | None = None
        self._held = b""
        self._state = "riff"
        self.form: SampleForm | None = None
        self.end_said: bool | None = None
        """Whether the data had a size that was met; None where its size is a place-holder."""
        self._data_bytes: int | None = None
        """Of RF64, whose data chunk has no size of its own."""
        self._padding = 0
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
            TakeFault: `truncated`, when the header, the data chunk or a sample of it is incomplete; `not_audio`, when
                what follows the data is no chunk.
        """
        if self._state == "riff":
            if self._held.startswith(_FILES):
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
        elif self._held and not any(name.startswith(self._held[:4]) for name in _TRAILING):
            raise TakeFault("not_audio", _NO_CHUNK)

    def _step(self, out: list[Samples]) -> bool:
        if self._state == "data":
            return self._data(out)
        if self._state == "riff":
            return self._riff()
        return self._chunk()

    def _riff(self) -> bool:
        if len(self._held) < 12:
            return False
        if self._held[:4] not in _FILES or self._held[8:12] != b"WAVE":
            raise TakeFault("not_audio", "a RIFF header was expected, and this is not one of a WAV file")
        self._held = self._held[12:]
        self._state = "chunks"
        return True

    def _chunk(self) -> bool:
        if self._had_data:
            self._skip_padding()
        if len(self._held) < 8:
            return False
        name, size = self._held[:4], struct.unpack("<I", self._held[4:8])[0]
        if name in _FILES:
            self._state = "riff"
            return True
        if name == b"data":
            self._begin_data(size)
            return True
        if self._had_data and not _CHUNK_NAME.fullmatch(name):
            raise TakeFault("not_audio", _NO_CHUNK)
        whole = 8 + size + size % 2
        if len(self._held) < whole:
            return False
        if name == b"fmt ":
            self._format(self._held[8 : 8 + size])
        if name == b"ds64" and size >= 16:
            self._data_bytes = struct.unpack("<Q", self._held[16:24])[0]
        self._held = self._held[whole:]
        return True

    def _begin_data(self, size: int) -> None:
        if self.rate_hz is None or self.form is None:
            raise TakeFault("not_audio", "the WAV stream has a data chunk before its format")
        if self._data_bytes is not None and size == 0xFFFFFFFF:
            size = self._data_bytes
        unknown = is_placeholder(size, self.rate_hz * self.form.frame_bytes)
        self._left, self._pad = (None, 0) if unknown else (size, size % 2)
        self._held, self._state, self._had_data = self._held[8:], "data", True
        self.end_said, self._padding = None if unknown else False, 0

    def _skip_padding(self) -> None:
        rest = self._held.lstrip(b"\0")
        self._padding += len(self._held) - len(rest)
        self._held = rest
        if self._padding > _MOST_PADDING:
            raise TakeFault("not_audio", _NO_CHUNK)

    def _format(self, fmt: bytes) -> None:
        if len(fmt) < 16:
            raise TakeFault("not_audio", "the WAV format chunk is too short")
        code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", fmt[:16])
        if code == _EXTENSIBLE and len(fmt) >= 26:
            code = struct.unpack("<H", fmt[24:26])[0]
        coding = _CODINGS.get(code)
        if coding == "int" and bits == 8:
            coding = "uint"
        if coding is None or bits not in WIDTHS[coding]:
            raise TakeFault("not_audio", f"WAV format {code:#x} with {bits} bits cannot be read here")
        if not 1 <= channels <= 8 or rate == 0:
            raise TakeFault("not_audio", f"a WAV header with {channels} channels at {rate} Hz")
        if self.rate_hz not in (None, rate):
            raise TakeFault("wrong_rate", f"WAV headers of one body say {self.rate_hz} and {rate} Hz")
        self.rate_hz, self.form = rate, SampleForm(coding, bits, channels)

    def _data(self, out: list[Samples]) -> bool:
        assert self.form is not None
        frame = self.form.frame_bytes
        ready = len(self._held) if self._left is None else min(len(self._held), self._left)
        following = _NEXT_HEADER.search(self._held) if self._left is None else None
        if following is not None:
            ready = following.start()
            if ready % frame:
                raise TakeFault("truncated", "one WAV ends inside a sample, and the next begins")
        whole = ready - ready % frame
        if whole:
            out.append(self.form.read(self._held[:whole]))
            self._held = self._held[whole:]
            if self._left is not None:
                self._left -= whole
        if following is not None:
            self._left, self._state = 0, "riff"
            return True
        if self._left is None or self._left >= frame:
            return False
        self.end_said = True
        if len(self._held) < self._left + self._pad:
            # A pad byte may be missing at the very end; `finish` does not mind.
            return False
        self._held = self._held[self._left + self._pad :]
        self._left, self._state = 0, "chunks"
        return True
