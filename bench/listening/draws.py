"""Random choices that anyone can repeat from a secret once it is published.

A generator of the standard library may change between versions; these draws are HMAC-SHA256 of a counter, so
a sealed seed gives the same sides and orders wherever and whenever the seal is checked.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of uniform draws from a secret and a purpose."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        """Start the stream that `secret` gives for `purpose`; other purposes give independent streams."""
        self._key = hmac.new(secret, purpose.encode(), hashlib.sha256).digest()
        self._count = 0

    def draw_below(self, bound: int) -> int:
        """Return an integer from 0 to `bound` - 1, each equally likely (rejection, no modulo bias)."""
        if bound < 1:
            raise ValueError(f"bound must be at least 1, not {bound}")
        limit = (1 << 64) - (1 << 64) % bound
        while True:
            block = hmac.new(self._key, self._count.to_bytes(8, "big"), hashlib.sha256).digest()
            self._count += 1
            value = int.from_bytes(block[:8], "big")
            if value < limit:
                return value % bound

    def shuffle(self, items: Sequence[T]) -> list[T]:
        """Return the items in a uniformly random order (Fisher-Yates)."""
        out = list(items)
        for last in range(len(out) - 1, 0, -1):
            pick = self.draw_below(last + 1)
            out[last], out[pick] = out[pick], out[last]
        return out
