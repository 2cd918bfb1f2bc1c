"""Full stops that end no sentence."""

import re

_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|vs|etc|e\.g|i\.e|[A-Z])\.$")


def ends_in_abbreviation(text: str) -> bool:
    """Return whether the full stop that `text` ends in is an abbreviation's or an initial's."""
    return _ABBREVIATION.search(text) is not None
