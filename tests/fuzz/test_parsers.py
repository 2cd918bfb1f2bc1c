"""Whatever bytes come, each parser gives a value or the error that it documents, within bounded time and memory."""

import json
import resource
import time

import pytest

from tests.fuzz.parsers import PARSERS, hold
from tests.support.docker import REPOSITORY
from tests.support.mangle import mangle

CORPUS: dict[str, dict[str, str]] = json.loads((REPOSITORY / "tests/data/once_failed.json").read_bytes())
"""Inputs that once failed, a byte a letter, by parser and by what went wrong."""
MOST_S = 3.0
"""Of a processor, for one input of at most 200 kB: whoever is asked waits no longer."""
MOST_GROWTH_KIB = 256 * 1024
"""Of this process, by all inputs of a parser together."""


@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    parser = PARSERS[name]

    def check(data: bytes) -> None:
        began = time.process_time()
        hold(parser, data)
        assert time.process_time() - began < MOST_S

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mangle(check, parser.seeds, parser.words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH_KIB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, inputs in CORPUS.items() for what in inputs]
)
def test_what_once_failed_is_held(name: str, what: str) -> None:
    began = time.process_time()
    hold(PARSERS[name], CORPUS[name][what].encode("latin-1"))
    assert time.process_time() - began < MOST_S


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_good_is_read(name: str) -> None:
    # Else a parser that refuses everything would pass.
    parser = PARSERS[name]
    hold(parser, parser.seeds[0])
