"""Find or begin a run, ask it what is to do, note a failure; on the controller."""

from __future__ import annotations

from bench.controller.controller_action import ControllerAction
from bench.controller.steps import run_step


class ActionModule(ControllerAction):
    """See library/bench_run.py."""

    required = ("run", "phase")
    defaults = {"state": "asked", "host": {}, "failure": {}, "task": ""}
    step = staticmethod(run_step)
