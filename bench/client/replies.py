"""What servers say in words: the message of an error body, JSON that may be anything."""

import json
import re
from collections.abc import Callable
from typing import Any

Scrub = Callable[[str], str]
"""What takes secrets out of a text (`Target.scrub`)."""
_READ_BYTES = 65536
_EXCERPT = 200
_MESSAGE = 2000


def _excerpt(body: bytes, scrub: Scrub) -> str:
    """Return the beginning of a body that should have been audio, for people."""
    text = scrub(body[:_READ_BYTES].decode("utf-8", "replace"))
    if text.lstrip().startswith("<"):
        text = re.sub(r"<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", text).strip()[:_EXCERPT]


def parse_json(text: bytes) -> Any:
    """Return what a server sent as JSON.

    Raises:
        ValueError: it is none, or nested deeper than anything a speech server says.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def error_text(body: bytes, scrub: Scrub = str) -> str:
    """Return the message of an error body: `{"error": {"message"}}`, `{"detail"}`, or its beginning.

    It is cut after `scrub` has seen it: half of a secret is found by nobody.
    """
    try:
        value = parse_json(body)
    except ValueError:
        return _excerpt(body, scrub)
    for key in ("error", "detail", "message"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    if isinstance(value, str):
        return scrub(value)[:_MESSAGE]
    return scrub(json.dumps(_scrub_each(value, scrub)))[:300]


def _scrub_each(value: Any, scrub: Scrub) -> Any:
    """Return JSON with its strings scrubbed before they are written with escapes, which would hide a secret."""
    if isinstance(value, dict):
        return {scrub(key): _scrub_each(each, scrub) for key, each in value.items()}
    if isinstance(value, list):
        return [_scrub_each(each, scrub) for each in value]
    return scrub(value) if isinstance(value, str) else value
