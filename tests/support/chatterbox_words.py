"""What the tiny Chatterbox can be told, known also where its package is not: tiny_chatterbox.py makes the model."""

REVISION = "0" * 40
WORDS = (
    "good", "morning", "how", "did", "you", "sleep", "last", "night", "we", "should", "leave", "before", "rain",
    "again", "this", "evening", "do", "agree",
)  # fmt: skip
"""Each is one token of the text, with a capital too; so is each space, and the full stop."""
TOKENS_PER_WORD = 10
S_PER_WORD = TOKENS_PER_WORD / 25


def text(words: int, start: int = 0) -> str:
    """Return a sentence of so many words, each 0.4 s of speech. Another `start` gives another one."""
    said = [WORDS[(start + n) % len(WORDS)] for n in range(words)]
    return " ".join(said).capitalize() + "."
