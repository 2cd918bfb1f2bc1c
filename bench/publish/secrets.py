"""The last look before anything is written: no file may hold a secret of this environment."""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from bench.errors import BadInput

_NAMES = re.compile(r"TOKEN|SECRET|KEY|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
SHORTEST = 8
"""Shorter values ("1", "true", a layout's name) are no secrets, and would be found everywhere."""


def refuse_secrets(
    files: Mapping[str, bytes], environment: Mapping[str, str], also: Iterable[str | None] = ()
) -> None:
    """Refuse files that hold the value of a variable whose name says that it is secret.

    Looked for as it is, and as JSON, HTML, a URL and HTTP's Basic authentication would write it.

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
            if any(form in data for form in forms):
                raise BadInput(
                    f"{file} holds the value of the environment variable {name}; nothing was published. Find out "
                    f"how it came into the run, and change the secret. If it is none, run again under `env -u {name}`."
                )


def _forms(value: str) -> Iterable[str]:
    return (
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        quote(value, safe=""),
        base64.b64encode(value.encode(errors="surrogateescape")).decode().rstrip("="),
    )
