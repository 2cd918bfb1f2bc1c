"""What all tests share."""

import gc
import os

from hypothesis import settings

# The same examples each time, and no limit on one's time: a red run is then a change's doing and not luck's or the
# machine's. To search further: HYPOTHESIS_PROFILE=search pytest ...
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_finish() -> None:
    """Keep what collecting made, and what lives to the end, out of the collector's sight: it is a big heap to walk."""
    gc.collect()
    gc.freeze()


pytest_plugins = [
    "tests.support.browser_fixtures",
    "tests.support.ending",
    "tests.support.fixtures",
    "tests.support.listening_fixtures",
    "tests.support.needs",
    "tests.support.planted",
    "tests.support.tiers",
]
