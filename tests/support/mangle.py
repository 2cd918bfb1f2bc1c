"""Bytes that are nearly what a parser expects: good ones, cut, changed, repeated, with its own words put in."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST_BYTES = 200_000
"""Of what a parser is given: nothing in it has to grow with the input to be seen growing."""
ODD = (
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"-1",
    b"NaN",
    b"1e999",
)
_MANY = (3, 100, 20_000)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    1e308,
    2**70,
    "",
    "x",
    "\ud800",
    [],
    {},
    [None],
    [["x", 1]],
    {"a": {}},
)
"""What stands in JSON where something else belongs."""


@st.composite
def mangled(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Draw one of `seeds` with up to four changes; `words` are put in, once or many times. Every other one that is JSON
    stays JSON, with a value changed."""
    data = draw(st.sampled_from(seeds))
    places = list(_places(data))
    swapped: bool = draw(st.booleans())
    if places and swapped:
        return _put(data, draw(st.sampled_from(places)), draw(st.sampled_from(_VALUES)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 4, 40, len(data)))))
        word = draw(st.one_of(st.sampled_from((*ODD, *words)), st.binary(max_size=8)))
        piece = draw(st.sampled_from((word, data[start:end] * 2, b"", word * draw(st.sampled_from(_MANY)))))
        data = (data[:start] + piece + data[end:])[:MOST_BYTES]
    return data


def _places(data: bytes) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in JSON; none where it is something else."""
    try:
        waiting: list[tuple[tuple[Any, ...], Any]] = [((), json.loads(data))]
    except (ValueError, RecursionError):
        return
    while waiting:
        way, value = waiting.pop()
        yield way
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        waiting += [((*way, key), each) for key, each in inner]


def _put(data: bytes, way: tuple[Any, ...], value: object) -> bytes:
    tree = {"": json.loads(data)}
    node: Any = tree
    *steps, last = ("", *way)
    for step in steps:
        node = node[step]
    node[last] = value
    return json.dumps(tree[""]).encode()


def mangle(check: Callable[[bytes], object], seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    """Have `check` look at each of `seeds`, which are good, and at what may become of them."""
    for each in seeds:
        check(each)

    @settings(suppress_health_check=list(HealthCheck))
    @given(data=mangled(seeds, words))
    def holds(data: bytes) -> None:
        check(data)

    holds()
