"""The random names by which a rater's page asks for trials and clips.

Derived from a secret of the rater, so that nothing in one rater's names tells anything of another's or of the
clip behind them, and a reload or another device finds the same.
"""

import base64
import hashlib
import hmac


def ticket(salt: bytes, what: str) -> str:
    """Return 22 URL-safe characters (128 bits of HMAC-SHA256) for a clip; the same for the same `what`."""
    return _name(salt, f"clip/{what}")


def trial_ticket(salt: bytes, trial_id: str) -> str:
    """Return 22 URL-safe characters for a trial."""
    return _name(salt, f"trial/{trial_id}")


def _name(salt: bytes, text: str) -> str:
    digest = hmac.new(salt, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
