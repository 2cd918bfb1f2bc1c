"""How fast the words come."""

import re


def count_words(text: str) -> int:
    """Return the number of words: stretches between spaces that hold a letter or a digit."""
    return sum(1 for token in text.split() if re.search(r"\w", token))


def words_per_s(text: str, sounding_s: float | None) -> float | None:
    """Return the words of the known text per second from first sound to last; None for a silent take.

    Source: definition. The text that was asked for is counted, never what a recogniser heard, so that a bad
    recogniser does not pass for slow speech.
    Known failure: a take that skips words reads as fast and one that repeats them as slow; "1984" is one word
    here and three in speech; languages written without spaces have no words here.
    """
    words = count_words(text)
    return words / sounding_s if words and sounding_s else None
