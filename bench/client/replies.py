"""What servers say in words: the message of an error body, JSON that may be anything."""

import json
import re
from typing import Any

_EXCERPT = 200


def excerpt(body: bytes) -> str:
    """Return the beginning of a body that should have been audio, for people."""
    text = body[: 4 * _EXCERPT].decode("utf-8", "replace")
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


def error_text(body: bytes) -> str:
    """Return the message of an error body: `{"error": {"message"}}`, `{"detail"}`, or its beginning."""
    try:
        value = parse_json(body)
    except ValueError:
        return excerpt(body)
    for key in ("error", "detail", "message"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return value if isinstance(value, str) else json.dumps(value)[:300]
