"""What a body is by its first bytes, whatever its content type says of it.

Where a name is enough (a magic number of three bytes or more) the name decides. MPEG audio and ADTS begin with a
sync word of eleven or twelve bits, which samples have too now and then: these are known by three frames in a row, each
of which begins where the one before it says (ISO/IEC 11172-3, 2.4.1.3; 13818-7, 6.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 32768
"""Enough for three frames of any kind."""
_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file. `way`: read sample by sample as it came, decoded whole, or not read at all."""

    name: str
    way: Literal["stream", "file", "refuse"]


WAV = Kind("wav", "stream")
MP3 = Kind("mp3", "file")
AAC = Kind("aac", "file")
_BY_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"RIFF", WAV), (0, b"RF64", WAV), (0, b"BW64", WAV),
    (0, b"RIFX", Kind("rifx", "file")),
    (0, b"fLaC", Kind("flac", "file")), (0, b"OggS", Kind("ogg", "file")), (0, b"ID3", MP3),
    (8, b"AIFF", Kind("aiff", "file")), (8, b"AIFC", Kind("aiff", "file")),
    (0, b".snd", Kind("au", "file")), (0, b"dns.", Kind("au", "file")),
    (0, b"caff", Kind("caf", "file")), (0, b"riff\x2e\x91\xcf\x11", Kind("w64", "file")),
    (0, b"NIST_1A", Kind("nist", "file")), (0, b"Creative Voice File", Kind("voc", "file")),
    (4, b"ftyp", Kind("mp4", "file")), (0, b"\x1aE\xdf\xa3", Kind("webm", "file")),
    (0, b"#!AMR", Kind("amr", "file")), (0, b"wvpk", Kind("wavpack", "file")),
    (0, b"0&\xb2u\x8ef\xcf\x11", Kind("asf", "file")),
    (0, b"\x1f\x8b\x08", Kind("gzip", "refuse")), (0, b"(\xb5/\xfd", Kind("zstd", "refuse")),
    (0, b"PK\x03\x04", Kind("zip", "refuse")), (0, b"\x93NUMPY", Kind("numpy array", "refuse")),
    (0, b"%PDF", Kind("pdf", "refuse")), (0, b"\x89PNG", Kind("png", "refuse")),
)  # fmt: skip


def recognise(head: bytes) -> Kind | None:
    """Return what a body begins as, or None: `head` is its first `HEAD_BYTES`, or all of it."""
    for at, magic, kind in _BY_MAGIC:
        if head.startswith(magic, at):
            return kind
    for kind, length_of in ((MP3, _mpeg_length), (AAC, _adts_length)):
        if _frames_follow(head, length_of):
            return kind
    return None


def begins_as_mpeg(head: bytes) -> bool:
    """Whether the first bytes are a sync word of MPEG audio or ADTS: not enough to tell, where no type says so."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _frames_follow(head: bytes, length_of: Callable[[bytes], int]) -> bool:
    at = 0
    for _ in range(_FRAMES):
        length = length_of(head[at : at + 6])
        if not length:
            return False
        at += length
        if at == len(head):
            return True
    return True


_KBIT = {
    # version 1: layer I, II, III; versions 2 and 2.5: layer I, and II with III
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _mpeg_length(head: bytes) -> int:
    """Return the bytes of the MPEG audio frame that begins here, or 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, bits, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bits == 3 or not 0 < rate < 15:
        return 0
    bit_per_s = 1000 * _KBIT[1 if version == 3 else 2, layer][rate - 1]
    if layer == 1:
        return 4 * (12 * bit_per_s // _HZ[version][bits] + padding)
    return (72 if layer == 3 and version != 3 else 144) * bit_per_s // _HZ[version][bits] + padding


def _adts_length(head: bytes) -> int:
    """Return the bytes of the ADTS frame that begins here, or 0."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0
