"""Whether an answer is complete, and what proves it. Pure.

Three may say where an answer ends: HTTP's framing, the form of the body, and the stream's own last word. What one of
them promises and does not keep is `truncated`. A promise that no take could keep is none: servers write a large size
before they know the true one. And where nothing promises anything, that is said (`is_proved`), for half a sentence
then looks like a whole one.
"""

from collections.abc import Mapping
from typing import Literal

LONGEST_TAKE_S = 600.0
"""A size that stands for more sound than this is a place-holder; an utterance may have a minute or so."""
_PLACEHOLDER_FROM = 0x7FFF0000
"""So is any size from here on, whatever the rate: 0xFFFFFFFF, and what sox and travisvn write near 0x7FFFFFFF."""


def is_placeholder(size: int, bytes_per_s: int) -> bool:
    """Return whether the size that a header states was written before the true one was known."""
    return size == 0 or size >= _PLACEHOLDER_FROM or size > LONGEST_TAKE_S * bytes_per_s


def is_proved(headers: Mapping[str, str], end_said: bool | None) -> bool:
    """Return whether anything shows that the answer came whole.

    Args:
        headers: of the answer, names in lower case. A stated length and the last chunk of a chunked body were seen to
            by then; a body that has neither ends where the connection does, as one that breaks off does too.
        end_said: whether the body itself said that it was over; None: it has no way to.
    """
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    return chunked or "content-length" in headers or end_said is True


def is_cut(name: str, body: bytes, samples: int) -> bool:
    """Return whether a file holds less than it says itself. Of MP3 nothing is asked: what its first frame counts is
    often wrong.

    Args:
        name: its kind (`bench.client.magic`).
        body: all of it.
        samples: how many were decoded, of one channel.
    """
    if name == "flac" and len(body) > 26:  # STREAMINFO is the first block; 36 bits, 0 where nobody knew
        return samples < int.from_bytes(body[21:26], "big") & 0xFFFFFFFFF
    if name == "aiff":
        size = int.from_bytes(body[4:8], "big")
        return not is_placeholder(size, len(body)) and size + 8 > len(body) + 1
    if name == "au":
        order: Literal["little", "big"] = "little" if body.startswith(b"dns.") else "big"
        start, size = int.from_bytes(body[4:8], order), int.from_bytes(body[8:12], order)
        return not is_placeholder(size, len(body)) and start + size > len(body)
    return False


def says_end(name: str, body: bytes) -> bool | None:
    """Return whether a file says that it is over, for a kind that does: the last page of an Ogg stream."""
    if name != "ogg":
        return None
    last = body.rfind(b"OggS")
    return len(body) > last + 5 and bool(body[last + 5] & 4)
