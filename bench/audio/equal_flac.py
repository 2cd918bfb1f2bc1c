"""FLAC files of which nothing but the sound differs: raters' browsers get these, and no size may name a side.

FLAC is lossless and every browser decodes it, but how small a clip becomes depends on the clip. Here clips of one
length are written together. They share all that is not sound: the order of the predictor of every frame, and for every
32 samples one width, wide enough for each of the clips. A residual takes a one and then that many bits (a Rice code
whose quotient is always 0), so all files have the same number of bytes, frame by frame. That costs a sixth of what the
smallest FLAC would save: about 0.55 of a WAV in place of 0.4.

The format is RFC 9639: one channel, 16 bits, fixed blocks, fixed predictors. Checksums of the decoded sound and the
sizes of frames, which STREAMINFO may leave open, are left open.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BLOCK = 4096
PARTITION = 32
"""Samples that share a width."""
MAX_ORDER = 4
_RATE_CODES = {8000: 4, 16000: 5, 22050: 6, 24000: 7, 32000: 8, 44100: 9, 48000: 10}
_METHOD, _METHOD_BITS = 1, 5
"""Rice parameters of five bits: a residual at full scale needs more than the 14 that four bits can say."""


def encode_together(clips: Sequence[NDArray[np.int16]], rate_hz: int) -> list[bytes]:
    """Return a FLAC file for each clip, shape (n,) each and all of one length; all files have one length too.

    Raises:
        ValueError: no clip, clips of different lengths, an empty one, or a rate that a frame cannot name.
    """
    lengths = {clip.size for clip in clips}
    if len(lengths) != 1 or 0 in lengths or rate_hz not in _RATE_CODES:
        raise ValueError(f"clips of {sorted(lengths)} samples at {rate_hz} Hz cannot be written together")
    (length,) = lengths
    wide = [clip.astype(np.int64) for clip in clips]
    frames: list[list[bytes]] = [[] for _ in clips]
    for number, begin in enumerate(range(0, length, BLOCK)):
        blocks = [clip[begin : begin + BLOCK] for clip in wide]
        order, widths = _plan(blocks)
        head = _frame_head(number, blocks[0].size, rate_hz)
        for into, block in zip(frames, blocks, strict=True):
            into.append(head + np.packbits(_subframe(block, order, widths)).tobytes())
    stream = _stream_head(length, rate_hz)
    return [stream + _with_checksums(each) for each in frames]


def _plan(blocks: Sequence[Ints]) -> tuple[int, Ints]:
    """Return the order that needs the fewest bits of all blocks together, and the width of each partition."""
    size = blocks[0].size
    best: tuple[int, int, Ints] | None = None
    for order in range(min(MAX_ORDER, _partition_size(size) - 1, size - 1) + 1):
        widths = np.max([_widths(np.diff(block, n=order), size, order) for block in blocks], axis=0)
        bits = 16 * order + int(widths.sum()) * _partition_size(size)
        if best is None or bits < best[0]:
            best = bits, order, widths
    if best is None:
        raise AssertionError("order 0 is always tried")
    return best[1], best[2]


def _partition_size(size: int) -> int:
    """Return how many samples share a width: fewer than a whole block only where they divide it."""
    return PARTITION if size % PARTITION == 0 and (size // PARTITION).bit_count() == 1 else size


def _fold(residual: Ints) -> Ints:
    """Return a residual without its sign: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return np.where(residual >= 0, 2 * residual, -2 * residual - 1)


def _widths(residual: Ints, size: int, order: int) -> Ints:
    """Return the bits that the largest residual of each partition needs; the first partition lacks the warm-up."""
    largest = np.pad(_fold(residual), (order, 0)).reshape(-1, _partition_size(size)).max(axis=1)
    return np.asarray(np.frexp(largest.astype(np.float64))[1], dtype=np.int64)


def _subframe(block: Ints, order: int, widths: Ints) -> NDArray[np.uint8]:
    """Return a block's bits: type and order, the warm-up, the widths each before its residuals."""
    partitions = widths.size
    each = block.size // partitions
    residual = _fold(np.diff(block, n=order))
    width = np.repeat(widths, each)[order:]
    lead = np.zeros(residual.size, np.int64)  # bits of the partition's own width, before its first residual
    firsts = np.maximum(np.arange(partitions) * each - order, 0)
    lead[firsts] = _METHOD_BITS
    ends = np.cumsum(lead + 1 + width)
    bits = np.zeros(int(ends[-1]), np.uint8)
    bits[ends - width - 1] = 1
    for bit in range(int(widths.max())):
        has = width > bit
        bits[ends[has] - 1 - bit] = (residual[has] >> bit) & 1
    for bit in range(_METHOD_BITS):
        bits[ends[firsts] - width[firsts] - 2 - bit] = (widths >> bit) & 1
    head = _bits(0b0001000 | order, 7) + _bits(0, 1)
    for sample in block[:order].tolist():
        head += _bits(sample & 0xFFFF, 16)
    head += _bits(_METHOD, 2) + _bits(partitions.bit_length() - 1, 4)
    return np.concatenate((np.array(head, np.uint8), bits))


def _bits(value: int, count: int) -> list[int]:
    return [(value >> bit) & 1 for bit in range(count - 1, -1, -1)]


def _frame_head(number: int, size: int, rate_hz: int) -> bytes:
    whole = size == BLOCK
    head = bytes((0xFF, 0xF8, (12 if whole else 7) << 4 | _RATE_CODES[rate_hz], 0b1000))
    head += _like_utf8(number) + (b"" if whole else (size - 1).to_bytes(2, "big"))
    return head + bytes((_crc8(head),))


def _like_utf8(number: int) -> bytes:
    """Return a frame's number as UTF-8 would spell it as a character; clips are shorter than the surrogates."""
    return chr(number).encode()


def _stream_head(length: int, rate_hz: int) -> bytes:
    facts = rate_hz << 44 | 0 << 41 | 15 << 36 | length
    info = BLOCK.to_bytes(2, "big") * 2 + bytes(6) + facts.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes((0x80,)) + len(info).to_bytes(3, "big") + info


def _with_checksums(frames: Sequence[bytes]) -> bytes:
    """Return the frames with their CRC-16, all of them computed at once: zeros before a frame do not change it."""
    longest = max(map(len, frames))
    rows = np.zeros((len(frames), longest), np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[longest - len(frame) :] = np.frombuffer(frame, np.uint8)
    table, crc = _crc16_table(), np.zeros(len(frames), np.uint16)
    for column in rows.T:
        crc = (crc << np.uint16(8)) ^ table[(crc >> np.uint16(8)) ^ column]
    return b"".join(frame + int(end).to_bytes(2, "big") for frame, end in zip(frames, crc, strict=True))


@cache
def _crc16_table() -> NDArray[np.uint16]:
    table = np.zeros(256, np.uint16)
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x8005 if value & 0x8000 else value << 1) & 0xFFFF
        table[byte] = value
    return table


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value
