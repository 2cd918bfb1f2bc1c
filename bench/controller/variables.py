"""The names of the public variables, and names that are one slip of a finger from one of them."""

from collections.abc import Iterable
from functools import lru_cache

import yaml

from bench.controller.wheel import REPO

_SHORT = 8
"""A name of an inventory's own may be near a public one that is no longer than this (`mode`, `models`, `profiles`)."""


@lru_cache(maxsize=1)
def list_public() -> frozenset[str]:
    """Return every variable that a user may set: the options of the roles' argument specs."""
    found: set[str] = set()
    for path in (REPO / "roles").glob("*/meta/argument_specs.yml"):
        found.update(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"])
    return frozenset(found)


def find_misspelt(names: Iterable[str], typed: Iterable[str]) -> list[str]:
    """Return a sentence for each name that is not public and nearly is; Ansible would pass over it in silence.

    Args:
        names: all variables that are set, ours and other people's.
        typed: those given with `-e`, which are meant for us; they are held to the short names as well.
    """
    known, by_hand = list_public(), set(typed)
    return [
        f"{name} is no variable of Audition; is {meant} meant? docs/variables.md lists every variable."
        for name in sorted({*names, *by_hand} - known)
        for meant in sorted(known)
        if (name in by_hand or len(meant) > _SHORT) and _one_slip(name, meant)
    ]


def _one_slip(one: str, other: str) -> bool:
    """Return whether a letter too many, too few or wrong, or two exchanged, make `one` of `other`."""
    if abs(len(one) - len(other)) > 1:
        return False
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return (len(one) <= 1 and len(other) <= 1) or (len(one) == 2 and one == other[::-1])
