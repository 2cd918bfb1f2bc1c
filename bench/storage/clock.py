"""The present time, as records have it."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the present time as `2026-11-22T10:15:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
