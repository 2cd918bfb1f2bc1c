"""Several files one after another in one body: a server that encodes each piece of a sentence apart sends them so.

A decoder that is given such a body stops at the end of the first file and says nothing (fastkokoro 0.7.0 streams FLAC,
MP3 and Opus like that; RFC 3533 allows it of Ogg). WAV has its own reader, which goes on by itself.
"""

import itertools
import re

_BEGINS = {
    "flac": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),  # with STREAMINFO, which is the first block of each
    # The frame in which an encoder counts those that follow: side information of zeros, and a name.
    "mp3": re.compile(rb"\xff[\xe2-\xff][^\xff].(?:\x00{9}|\x00{17}|\x00{32})(?:Xing|Info|VBRI)", re.DOTALL),
}
_PAGE = re.compile(rb"OggS\x00([\x00-\x07])")
_FIRST_PAGE = 2


def split_files(name: str, body: bytes) -> list[bytes]:
    """Return the files that a body holds, in order; one of a kind that is not looked at is itself.

    Args:
        name: what it begins as (`bench.client.magic`).
        body: all of it.
    """
    if name == "ogg":
        starts = _ogg_starts(body)
    elif name in _BEGINS:
        starts = [found.start() for found in _BEGINS[name].finditer(body)]
    else:
        starts = []
    # Whatever stands before the first of them (a tag, frames without a count) is its own or a file too.
    cuts = [0, *starts[1:], len(body)]
    return [body[start:end] for start, end in itertools.pairwise(cuts)]


def _ogg_starts(body: bytes) -> list[int]:
    """Return where a first page stands that follows no other: the streams of one file begin together."""
    starts, before = [], False
    for page in _PAGE.finditer(body):
        first = bool(page[1][0] & _FIRST_PAGE)
        if first and not before:
            starts.append(page.start())
        before = first
    return starts
