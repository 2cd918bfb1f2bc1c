"""Shared by engines that are command-line programs: run one, stream its WAV output as samples."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.serving.adapter import Samples, SynthesisError

_HEADER_BYTES = 44
_PIECE_BYTES = 4096
"""128 ms at 16 kHz: small enough that a listener does not wait, large enough that sending costs little."""


def spoken(
    command: Sequence[str], rate_hz: int, text: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[Samples]:
    """Yield the 16-bit mono WAV that `command` writes to standard output, as it comes.

    `text`, if any, goes to standard input; `environ` adds to the environment.

    Raises:
        SynthesisError: the program failed, or its output is not WAV at `rate_hz`.
    """
    with subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        try:
            process.stdin.write(text.encode())
            process.stdin.close()
            header = _exactly(process.stdout.fileno(), _HEADER_BYTES)
            if header[:4] == b"RIFF":
                rate = int.from_bytes(header[24:28], "little")
                if rate != rate_hz:
                    raise SynthesisError(f"{command[0]} speaks at {rate} Hz, not at {rate_hz} Hz")
                odd = b""
                while data := os.read(process.stdout.fileno(), _PIECE_BYTES):
                    data = odd + data
                    whole = len(data) & ~1
                    odd = data[whole:]
                    yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768.0
            error = process.stderr.read().decode(errors="replace").strip()
            if process.wait() != 0 or header[:4] != b"RIFF":
                raise SynthesisError(f"{command[0]} ended with {process.returncode}: {error or 'no output'}")
        finally:
            process.kill()


def _exactly(descriptor: int, size: int) -> bytes:
    """Read `size` bytes past any buffer of Python's, fewer only at the end."""
    data = b""
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data
