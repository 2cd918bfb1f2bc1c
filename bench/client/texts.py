"""Text where audio should be: an error in JSON, a page of HTML, a traceback, sent as if it were sound.

Samples hardly ever read as text. Printable bytes have values from 0x20 to 0x7E; where the high byte of a 16-bit sample
is one, the sample is loud and positive, and then its low byte is one in three of eight cases. So 32 such samples in a
row come by chance once in 10^13, 12 at the very end of a body once in 10^5 of those that end at full voice. The
lengths below are what is asked for. Of G.711 half of all samples are printable, but they move by small steps: what
stands between words (a space, a quotation mark and a colon) is far from letters.
"""

import re

_TAIL_BYTES = 65536
_WHOLE = re.compile(rb"(?:\xef\xbb\xbf)?(?:[\t\n\r -~]|[\xc3-\xdf][\x80-\xbf]|[\xe2-\xef][\x80-\xbf]{2})+")
_RUN = re.compile(r"[\t\n\r -~\u00a0-\u07ff\u2010-\u206f\u3000-\ud7ff]{24,}")
_ANYWHERE = re.compile(rb"[\t\n\r -~]{64,}")
_LETTERS = re.compile(rb"[A-Za-z]{3}")
_WORD_AND_MORE = re.compile(
    rb"(?<=[A-Za-z]{2})(?:[,:.;]? [A-Za-z0-9\"]|\"\s?[:,]\s?[\"\w{]|[,:.]?\r?\n|</[a-z])"
)
_WORDS = 2


def find_text(body: bytes) -> bytes | None:
    """Return the text in a body of samples, or None where it holds none.

    All of the body, if there are three letters in a row in it; its end, from 24 characters on, or a stretch anywhere,
    from 64 bytes, if there are words in it.
    """
    whole = _WHOLE.match(body)
    if whole is not None and not body[whole.end() :].strip(b"\0") and _LETTERS.search(whole[0]):
        return whole[0]
    tail = body[-_TAIL_BYTES:].rstrip(b"\0").decode("utf-8", "replace")
    end = _RUN.match(tail[::-1])  # backwards, so that it costs one step a character
    if end is not None and _has_words(text := end[0][::-1].encode()):
        return text
    return next((found[0] for found in _ANYWHERE.finditer(body) if _has_words(found[0])), None)


def _has_words(text: bytes) -> bool:
    return len(_WORD_AND_MORE.findall(text)) >= _WORDS
