"""Seal the pairs, or conclude; on the controller."""

from __future__ import annotations

from bench.controller.controller_action import ControllerAction
from bench.controller.steps import verdict_step


class ActionModule(ControllerAction):
    """See library/bench_verdict.py."""

    required = ("run", "state")
    defaults = {"found": {}}
    step = staticmethod(verdict_step)
