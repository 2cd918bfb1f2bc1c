"""The base of the action plugins whose work is on the controller alone, where the run directories are."""

import time
from collections.abc import Callable
from typing import Any

from ansible.plugins.action import ActionBase

from bench.controller.living import end_with_playbook
from bench.errors import AuditionError


class ControllerAction(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Call one function with the task's arguments; its `AuditionError` becomes the task's message."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _task: Any
    defaults: dict[str, Any] = {}
    """The optional arguments and their defaults; an argument that is not listed must be given."""
    required: tuple[str, ...] = ()
    step: Callable[..., dict[str, Any]]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the arguments' names and do the step."""
        end_with_playbook()
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["at"] = time.time()
        given = dict(self._task.args)
        missing = [name for name in self.required if name not in given]
        unknown = sorted(set(given) - set(self.required) - set(self.defaults))
        if missing or unknown:
            result.update(failed=True, msg=f"missing arguments: {missing}; unknown arguments: {unknown}")
            return result
        try:
            result.update(type(self).step(**{**self.defaults, **given}, check=bool(self._task.check_mode)))
        except AuditionError as error:
            result.update(failed=True, msg=str(error), fault="host", exit_code=error.exit_code)
        return result
