"""Text that somebody else wrote (a server, an engine's log, a hub, a model's card), made fit to be kept and shown.

One place for all of it: no control characters, which rewrite a terminal or hide a secret from a search, no password in
an address, and no secret or part of one. Cut a text after this, never before: a secret that is cut in two is found by
nobody.
"""

import re
import string
from collections.abc import Iterable

FRAGMENT = 6
"""So many characters of a secret in a row are hidden: what is left of it should not help to guess the rest."""
_SEQUENCES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
"""What moves a terminal's cursor, colours it or renames its window."""
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
"""All that is not seen, or turns what is seen around, but for tabs and line ends."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_PASSWORD = re.compile(r"(?<=://)[^/\s@?#]*@")


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without control characters and passwords of addresses; each run of `FRAGMENT` characters or
    more of a secret becomes `[token]`."""
    text = _UNSEEN.sub("", _SEQUENCES.sub("", text)).replace("\r\n", "\n").replace("\r", "\n")
    for secret in secrets:
        text = _hide(text, secret)
    return _PASSWORD.sub("", text)


def _hide(text: str, secret: str) -> str:
    size = min(FRAGMENT, len(secret))
    if size == 0:
        return text
    # Servers write headers and types in lower case.
    low, secret = text.translate(_LOWER), secret.translate(_LOWER)
    parts = {secret[at : at + size] for at in range(len(secret) - size + 1)}
    shown, done, at = [], 0, 0
    while at <= len(text) - size:
        if low[at : at + size] not in parts:
            at += 1
            continue
        shown.append(text[done:at])
        while low[at : at + size] in parts:
            at += 1
        at = done = at + size - 1
        shown.append("[token]")
    return "".join(shown) + text[done:]
