"""The present time, as records have it."""

import time
from datetime import UTC, datetime


def utc_now() -> str:
    """Return the present time as `2026-11-22T10:15:00Z`."""
    return utc_at(time.time())


def utc_at(seconds: float) -> str:
    """Return a time in seconds since the epoch in the same way."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
