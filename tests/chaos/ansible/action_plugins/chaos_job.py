"""Follow a case's benchmarking process with the very code that follows a job: see library/chaos_job.py."""

from __future__ import annotations

import sys
from typing import Any

from ansible.plugins.action import ActionBase

from bench.controller.hosted_action import HostedAction
from bench.controller.living import end_with_playbook


class ActionModule(HostedAction):
    """A hosted action without a run of its own: the case says what to do."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start the job in the background and follow it, heartbeat and all."""
        end_with_playbook()
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        self.variables = dict(task_vars or {})
        self.module_variables = self.variables | {"ansible_python_interpreter": sys.executable}
        case, directory = self._task.args["case"], self._task.args["directory"]
        result.update(self.follow("chaos_job", {"case": case, "directory": directory}, directory, 120))
        return result
