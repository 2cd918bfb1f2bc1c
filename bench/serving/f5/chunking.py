"""How text is cut into chunks for F5-TTS, and how their audio is joined again. Pure: no model, no torch.

F5-TTS solves the flow of a whole text chunk before any of its audio exists, so the time to the first audio is
the solve of the reference and the first chunk, and a shorter first chunk is the one lever over it that the
text offers.
"""

import re

import numpy as np
from numpy.typing import NDArray

from bench.serving.adapter import Samples
from bench.text.abbreviations import ends_in_abbreviation

SHORT_TEXT_BYTES = 10
"""Under this the package slows speech to 0.3 (utils_infer.py:490), so no cut of ours leaves less."""
FIRST_CLAUSE_BYTES = 40
"""A first clause longer than this is cut further, before a word that begins a phrase."""
_WINDOW_S = 22.0
"""Seconds of reference and chunk together that `infer_process` plans for (utils_infer.py:404)."""

_CLAUSE_END = re.compile(r"(?<=[,;:.!?\u2026\u2014])\s+|(?<=[\uff0c\uff1b\uff1a\u3002\uff01\uff1f\u3001])")
_PHRASE_START = re.compile(
    r"\s+(?=(?:and|but|or|because|which|that|who|when|while|where|if|so|for|with|from|into|after|before|to|in|on"
    r"|at|of|by|about)\b)",
    re.IGNORECASE,
)


def budget_bytes(reference_text: str, reference_s: float, speed: float) -> int:
    """Return the longest chunk in bytes of UTF-8 that `infer_process` allows: its own arithmetic.

    The reference's bytes per second, times the seconds left of 22 after the reference, times the speed.
    """
    return int(len(reference_text.encode()) / reference_s * (_WINDOW_S - reference_s) * speed)


def first_clause(chunks: list[str]) -> list[str]:
    """Return `chunks` with a short first clause cut off the first one, where it has one.

    The cut falls after punctuation, an abbreviation's full stop aside; failing that, or where that clause is
    longer than `FIRST_CLAUSE_BYTES`, before a word that begins a phrase. Neither part is shorter than
    `SHORT_TEXT_BYTES`. Text without such a place stays whole: a cut inside a phrase would be heard.
    """
    if not chunks:
        return []
    head, *rest = chunks
    cut = _cut(head)
    return chunks if cut is None else [head[:cut].strip(), head[cut:].strip(), *rest]


def _cut(text: str) -> int | None:
    clauses = (m for m in _CLAUSE_END.finditer(text) if not ends_in_abbreviation(text[: m.start()]))
    clause = next((m.end() for m in clauses if _both_speakable(text, m.end())), None)
    if clause is not None and len(text[:clause].encode()) <= FIRST_CLAUSE_BYTES:
        return clause
    phrases = [
        m.end()
        for m in _PHRASE_START.finditer(text)
        if _both_speakable(text, m.end()) and len(text[: m.end()].encode()) <= FIRST_CLAUSE_BYTES
    ]
    return phrases[-1] if phrases else clause


def _both_speakable(text: str, cut: int) -> bool:
    parts = (text[:cut].strip(), text[cut:].strip())
    return all(len(part.encode()) >= SHORT_TEXT_BYTES for part in parts)


class CrossFade:
    """Joins chunks of audio as `infer_batch_process` does (utils_infer.py:566-602), but as they come.

    The package fades the end of all it has into the beginning of the next chunk. Only the last
    `overlap_samples` can still change, so everything before them leaves at once, and all pieces together are
    the package's array, cast to float32.
    """

    def __init__(self, overlap_samples: int) -> None:
        """Hold nothing yet; `overlap_samples` is the length of a fade."""
        self._overlap = overlap_samples
        self._held: NDArray[np.floating] = np.zeros(0, np.float32)

    def push(self, wave: NDArray[np.floating], *, last: bool) -> Samples:
        """Take the next chunk, shape (n,); return what cannot change any more: all of it after the `last`."""
        n = min(self._overlap, len(self._held), len(wave))
        if n > 0:
            faded = self._held[-n:] * np.linspace(1, 0, n) + wave[:n] * np.linspace(0, 1, n)
            joined = np.concatenate([self._held[:-n], faded, wave[n:]])
        else:
            joined = np.concatenate([self._held, wave])
        keep = 0 if last else min(self._overlap, len(joined))
        ready, self._held = joined[: len(joined) - keep], joined[len(joined) - keep :]
        return ready.astype(np.float32)
