"""How long speech of given words can be, at the least, and what is usual. Pure.

Nobody speaks a syllable in 40 ms: the fastest talkers on record stay above 70, and speech made four times as fast as
usual has about 55. Syllables are counted from the letters, rather too few than too many: a group of vowels each, the
silent e of English left out at a word's end; a Chinese or Japanese character or a Korean block each; of other scripts,
and of what has no vowel (`BBC`, `1984`), one a word. So a take that is shorter than its count allows is not of these
words, whatever the language.
"""

import re
import unicodedata
from collections.abc import Sequence
from statistics import median

SYLLABLE_MIN_S = 0.040
"""Shorter than this by syllable, a take is no speech of its words: `too_short`."""
USUAL_S = (0.120, 0.400)
"""By syllable, pauses included: where the median of a pass lies outside, something is wrong with its lengths. People
and engines take 0.15 to 0.32; every sentence said twice, or samples read at half their rate, doubles that."""
FEWEST, FEWEST_SYLLABLES = 3, 8
"""Takes of a pass, and syllables of a take, from which on its length by syllable says anything."""
_VOWELS = re.compile("[aeiouyæøœ]+")
_SILENT_E = re.compile(r"(?<=[^aeiouyl])e$|(?<=[^aeiouytd])ed$")
_BLOCKS = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def count_syllables(text: str) -> int:
    """Return how many syllables speech of `text` has at the least: one for a word, if nothing else is known."""
    return sum(_of_word(word) for word in text.split() if any(letter.isalnum() for letter in word))


def _of_word(word: str) -> int:
    if blocks := len(_BLOCKS.findall(word)):
        return blocks
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", word.casefold())
        if not unicodedata.combining(letter)
    )
    return max(1, len(_VOWELS.findall(_SILENT_E.sub("", plain.strip(".,;:!?\"'()\u2019\u201d")))))


def shortest_s(text: str) -> float:
    """Return the seconds that speech of `text` has at the least."""
    return SYLLABLE_MIN_S * count_syllables(text)


def find_unusual(syllables_s: Sequence[float]) -> float | None:
    """Return the median seconds of a syllable over the takes of a pass where it is none of speech, else None.

    Of one or two takes nothing is said: a sentence may be slow. Each has `FEWEST_SYLLABLES` or more.
    """
    middle = median(syllables_s) if len(syllables_s) >= FEWEST else None
    return middle if middle is not None and not USUAL_S[0] <= middle <= USUAL_S[1] else None
