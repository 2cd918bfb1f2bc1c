"""Put a decided run on a branch, and propose it; on the controller."""

from __future__ import annotations

from bench.controller.controller_action import ControllerAction
from bench.publish.step import publish_step


class ActionModule(ControllerAction):
    """See library/bench_publish.py."""

    required = ("run", "repo")
    defaults = {
        "enabled": False,
        "remote": "",
        "pull_request": False,
        "base": "",
        "clip_format": "wav",
        "pages": [],
        "found": {},
    }
    step = staticmethod(publish_step)
