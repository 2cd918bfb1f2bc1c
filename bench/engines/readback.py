"""What an engine of ours says of itself while it speaks: settings that still hold, takes it had to solve twice."""

import time
from typing import Any

from bench.catalog.entry import Entry
from bench.engines.launch import Engine, EngineFailed, check_device, check_settings
from bench.records.take import Take

SETTLE_S = 10.0
"""An engine may still be busy with a take that was given up, in float32 for the moment; this long it may be."""
_POLL_S = 0.5


class ReadBack:
    """Watches one pass of one engine through its `/health`."""

    def __init__(self, engine: Engine, entry: Entry, profile: str) -> None:
        """Note where the engine's counter stands before the pass."""
        self._engine, self._entry, self._profile = engine, entry, profile
        self._counted = _retries(engine.health_now()) if _retries(engine.health) is not None else None
        self.retries: dict[str, int] | None = None if self._counted is None else {}
        """Solves repeated in float32, by the utterance of a timed take; null for an engine that counts none."""

    def take(self, take: Take) -> None:
        """Look whether the take just made was solved again. Called between takes, so it delays none."""
        if self._counted is None or self.retries is None:
            return
        now = _retries(self._engine.health_now())
        if now is None:  # the engine is gone, and the pass will say so
            return
        if now > self._counted and not take.warmup:
            self.retries[take.utterance_id] = now - self._counted
        self._counted = now

    def after(self) -> dict[str, Any]:
        """Return `/health` after the pass.

        Raises:
            EngineFailed: it does not answer, or runs with other settings than the profile's.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            health = self._engine.health_now()
            try:
                if not health:
                    raise EngineFailed(
                        f"{self._entry.name}'s engine no longer answers /health after its pass."
                    )
                check_settings(self._entry, self._profile, health)
                check_device(self._entry, health)
                return health
            except EngineFailed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_S)


def _retries(health: dict[str, Any]) -> int | None:
    count = (health.get("profile") or {}).get("fp32_retries")
    return count if isinstance(count, int) else None
