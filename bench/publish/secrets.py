"""The last look before anything is written: no file may hold a secret of this environment, or a part of one."""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from bench.errors import BadInput
from bench.text.outside import FRAGMENT

_NAMES = re.compile(r"TOKEN|SECRET|KEY|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
SHORTEST = 8
"""Shorter values ("1", "true", a layout's name) are no secrets, and would be found everywhere."""
_NO_CHANCE = 12
"""So many characters in a row are nobody else's, wherever they stand; fewer may be met in base64 or a digest."""
_LETTER = re.compile(rb"[A-Za-z0-9]")
_WORD = re.compile(rb"[^A-Za-z0-9]*(?:[a-z]+|[A-Z][a-z]+|[A-Z]+|[0-9]+)?[^A-Za-z0-9]*")
"""What other people say, too: `github` of `github_pat_11...`."""


def refuse_secrets(
    files: Mapping[str, bytes], environment: Mapping[str, str], also: Iterable[str | None] = ()
) -> None:
    """Refuse files that hold the value of a variable whose name says that it is secret.

    Looked for as it is, as JSON, HTML, a URL and HTTP's Basic authentication would write it, and for `FRAGMENT`
    characters of it in a row, which a message that was cut leaves: where these are no word, and end where a word ends.
    Of paths and addresses only the whole is looked for.

    Args:
        files: contents by name.
        environment: the process's.
        also: further variables to treat as secret (a catalog entry's `auth_env`).

    Raises:
        BadInput: the message names variable and file, never the value.
    """
    further = {name for name in also if name}
    for name, value in environment.items():
        if len(value) < SHORTEST or not (_NAMES.search(name) or name in further):
            continue
        forms = {form.encode(errors="surrogateescape") for form in _forms(value)}
        for file, data in files.items():
            whole = any(form in data for form in forms)
            if whole or (not _is_place(value) and _holds_part(data, value.encode(errors="surrogateescape"))):
                what = "the value" if whole else "a part of the value"
                raise BadInput(
                    f"{file} holds {what} of the environment variable {name}; nothing was published. Find out how it "
                    f"came into the run, and change the secret. If it is none, run again under `env -u {name}`."
                )


def _is_place(value: str) -> bool:
    return value.startswith(("/", "~", ".")) or "://" in value


def _holds_part(data: bytes, secret: bytes) -> bool:
    """Return whether there are `FRAGMENT` characters of a secret in a row, in any case of its letters."""
    low, secret = data.lower(), secret.lower()
    for first in range(len(secret) - FRAGMENT + 1):
        at = low.find(secret[first : first + FRAGMENT])
        while at >= 0:
            size = FRAGMENT
            while (
                first + size < len(secret)
                and low[at + size : at + size + 1] == secret[first + size : first + size + 1]
            ):
                size += 1
            before, after = data[max(0, at - 1) : at], data[at + size : at + size + 1]
            bounded = not (_LETTER.fullmatch(before) and _LETTER.fullmatch(after))
            if size >= _NO_CHANCE or (bounded and not _WORD.fullmatch(data, at, at + size)):
                return True
            at = low.find(secret[first : first + FRAGMENT], at + 1)
    return False


def _forms(value: str) -> Iterable[str]:
    return (
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        quote(value, safe=""),
        base64.b64encode(value.encode(errors="surrogateescape")).decode().rstrip("="),
    )
