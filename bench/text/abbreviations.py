"""Full stops that end no sentence: of titles, of initials, of single letters (a.m., e.g.)."""

import re

_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|vs|etc|approx|[A-Za-z])\.$")


def ends_in_abbreviation(text: str) -> bool:
    """Return whether the full stop that `text` ends in is an abbreviation's or an initial's."""
    return _ABBREVIATION.search(text) is not None
