"""The sounds and files the instrument sends. Standard library, and soundfile for what only a codec can make.

Nothing here is shared with bench.client: an instrument and its reader that agree in one mistake prove
nothing.
"""

import array
import io
import math
import random
import struct

import soundfile

RATE_HZ = 24000


def tone(milliseconds: float, amplitude: float = 0.5) -> list[int]:
    """Return a 440 Hz cosine as 16-bit values; it starts at full amplitude, so its first sample is
    audible."""
    count = round(milliseconds * RATE_HZ / 1000)
    step = 2 * math.pi * 440 / RATE_HZ
    return [round(32767 * amplitude * math.cos(step * index)) for index in range(count)]


def silence(milliseconds: float) -> list[int]:
    """Return zeros."""
    return [0] * round(milliseconds * RATE_HZ / 1000)


def clip_tone(milliseconds: float) -> list[int]:
    """Return a tone driven six times too hard into 16 bits."""
    return [max(-32768, min(32767, 6 * value)) for value in tone(milliseconds, 0.9)]


def pcm(values: list[int]) -> bytes:
    """Return 16-bit little-endian bytes."""
    return struct.pack(f"<{len(values)}h", *values)


def header(
    data_size: int | None,
    *,
    riff_size: int | None = None,
    code: int = 1,
    bits: int = 16,
    before: bytes = b"",
) -> bytes:
    """Return a RIFF header up to where samples begin; `data_size` None writes 0xFFFFFFFF."""
    size = 0xFFFFFFFF if data_size is None else data_size
    riff = riff_size if riff_size is not None else min(0xFFFFFFFF, 36 + len(before) + size)
    frame = bits // 8
    fmt = struct.pack("<HHIIHH", code, 1, RATE_HZ, RATE_HZ * frame, frame, bits)
    return (
        b"RIFF" + struct.pack("<I", riff) + b"WAVE" + b"fmt " + struct.pack("<I", 16) + fmt
        + before + b"data" + struct.pack("<I", size)
    )  # fmt: skip


def odd_chunk() -> bytes:
    """Return a chunk of odd length with its pad byte."""
    return b"LIST" + struct.pack("<I", 7) + b"INFOabc" + b"\0"


def float_wav_with_nan(milliseconds: float) -> bytes:
    """Return a float WAV in which some samples are not numbers."""
    values = [value / 32768 for value in tone(milliseconds)]
    values[10:20] = [math.nan] * 10
    data = struct.pack(f"<{len(values)}f", *values)
    return header(len(data), code=3, bits=32) + data


def float_pcm(milliseconds: float) -> bytes:
    """Return 32-bit float samples without a header, with the hiss that every voice has."""
    hiss = random.Random(1)  # noqa: S311 - a sound, no secret
    values = [value / 32768 + hiss.gauss(0, 0.003) for value in tone(milliseconds)]
    return struct.pack(f"<{len(values)}f", *values)


def encode(values: list[int], kind: str) -> bytes:
    """Return the sound as a whole file: `mp3`, `opus` or `flac`."""
    container, subtype = {
        "mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16"),
    }[kind]  # fmt: skip
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", RATE_HZ, 1, format=container, subtype=subtype) as file:
        file.buffer_write(array.array("h", values).tobytes(), dtype="int16")
    return stream.getvalue()
