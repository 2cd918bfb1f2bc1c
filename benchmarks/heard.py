"""The figures of a take, from what a tap noted of its connection, by other code than the client's.

`http.client` takes HTTP apart, `struct` the WAV header, and numpy reckons with samples instead of pieces. It reads what
the servers in question send, WAV and headerless PCM of 16 bits and one channel, and refuses anything else.
"""

import http.client
import io
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from bench.errors import AuditionError
from benchmarks.tap import Piece, Tapped

STALL_MS = 5.0
"""What docs/measuring.md calls a stall."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the tap says of one take. Times are milliseconds since the first byte of its first request."""

    ttfa_ms: float
    total_ms: float
    stalls: int
    stall_ms: float
    audio_s: float


class _Wire(io.BytesIO):
    """The bytes of an answer, as http.client wants them; it stays open, and says how far it was read."""

    def makefile(self, _mode: str) -> "_Wire":
        return self

    def close(self) -> None:
        pass


def hear(attempts: Sequence[Tapped], rate_hz: int | None) -> Heard:
    """Return the figures of a take.

    Args:
        attempts: its connections in order; the last one has the answer that counts.
        rate_hz: of PCM without a header; a WAV says its own.

    Raises:
        AuditionError: no complete answer, or none in a form that is read here.
    """
    pieces = attempts[-1].answered
    body, places, end = _unframe(pieces)
    lasts, samples, rate_hz = _samples(body, rate_hz)
    arrived = (_stamps(pieces, places[lasts]) - attempts[0].asked[0][0]) / 1e6
    audible = np.flatnonzero(np.abs(samples.astype(np.int32)) > 1)
    if not audible.size:
        raise AuditionError("no sample of the answer is further than 1 from zero.")
    ttfa_ms = float(arrived[audible[0]])
    # The player begins with the piece that brought the first audio. What it has to wait for sample n beyond that is how
    # much later than n samples of playing the latest of 0 to n came; each growth of it is a pause.
    played = arrived[arrived >= ttfa_ms]
    late = np.maximum.accumulate(played - played[0] - np.arange(played.size) * 1e3 / rate_hz)
    pauses = np.diff(late)
    pauses = pauses[pauses >= STALL_MS]
    return Heard(
        ttfa_ms=ttfa_ms,
        total_ms=(end - attempts[0].asked[0][0]) / 1e6,
        stalls=int(pauses.size),
        stall_ms=float(pauses.sum()),
        audio_s=samples.size / rate_hz,
    )


def _unframe(pieces: Sequence[Piece]) -> tuple[bytes, NDArray[np.int64], int]:
    """Return the body, the place on the wire of each of its bytes, and when the answer was over."""
    wire = _Wire(b"".join(data for _, data in pieces))
    answer = http.client.HTTPResponse(cast(socket.socket, wire), method="POST")
    body, places = [], [np.zeros(0, np.int64)]
    try:
        answer.begin()
        while data := answer.read1():
            body.append(data)
            places.append(np.arange(wire.tell() - len(data), wire.tell()))
    except http.client.HTTPException as error:
        raise AuditionError(f"the tap saw no complete answer: {error!r}.") from error
    if answer.status != 200 or answer.length:
        raise AuditionError(f"the tap saw status {answer.status}, and {answer.length or 0} bytes missing.")
    ended_by_close = answer.length is None and not answer.chunked
    end = pieces[-1][0] if ended_by_close else int(_stamps(pieces, np.array([wire.tell() - 1]))[0])
    return b"".join(body), np.concatenate(places), end


def _stamps(pieces: Sequence[Piece], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when the bytes at `places` of the wire came."""
    ends = np.cumsum([len(data) for _, data in pieces])
    stamps = np.array([at for at, _ in pieces], np.int64)
    return stamps[np.searchsorted(ends, places, side="right")]


def _samples(body: bytes, rate_hz: int | None) -> tuple[NDArray[np.int64], NDArray[np.int16], int]:
    """Return where in the body each sample's last byte is, the samples, and their rate."""
    at, spans = 0, [] if body.startswith(b"RIFF") else [(0, len(body))]
    while body.startswith(b"RIFF", at):  # some servers send a WAV for each piece of a sentence
        start, at, rate_hz = _wav(body, at)
        spans.append((start, at))
    if rate_hz is None:
        raise AuditionError("headerless PCM; say its rate with --rate or an entry's sample_rate_hz.")
    lasts = np.concatenate([np.arange(start + 1, end, 2) for start, end in spans])
    samples = np.concatenate([np.frombuffer(body[a : a + (b - a) // 2 * 2], "<i2") for a, b in spans])
    return lasts, samples, rate_hz


def _wav(body: bytes, at: int) -> tuple[int, int, int]:
    """Return where the samples of the WAV at `at` begin and end, and their rate."""
    at, form = at + 12, (0, 0, 0, 0, 0, 0)
    while not body.startswith(b"data", at):
        name, size = struct.unpack_from("<4sI", body, at)
        if name == b"fmt ":
            form = struct.unpack_from("<HHIIHH", body, at + 8)
        at += 8 + size + size % 2
    if (form[0], form[1], form[5]) != (1, 1, 16):
        raise AuditionError(f"a WAV of the form {form}; the tap reads 16-bit PCM of one channel.")
    size = struct.unpack_from("<I", body, at + 4)[0]
    # 0 and very large sizes are place-holders.
    return at + 8, min(len(body), at + 8 + size) if size else len(body), form[2]
