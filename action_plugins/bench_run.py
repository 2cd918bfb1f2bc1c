"""Find or begin a run, note how a phase ended; on the controller."""

from __future__ import annotations

from bench.controller.controller_action import ControllerAction
from bench.controller.steps import run_step


class ActionModule(ControllerAction):
    """See library/bench_run.py."""

    required = ("run", "phase", "state")
    defaults = {"host": {}, "failure": {}, "task": "", "found": {}, "since": 0.0}
    step = staticmethod(run_step)
