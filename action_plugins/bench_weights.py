"""Fetch weights on a host, with a line now and then; the download ends when nobody follows it any more."""

from __future__ import annotations

import shlex
import time
from typing import Any

from bench.controller.hosted_action import HostedAction


class ActionModule(HostedAction):
    """See library/bench_weights.py."""

    def prepare(self) -> None:
        """Read nothing: weights need no run, and no settings of a host."""

    @property
    def module_variables(self) -> dict[str, Any]:
        """The task's own, for the role chooses the interpreter."""
        return self.variables

    def work(self) -> dict[str, Any]:
        """Begin the download, follow it, and remove what that took."""
        args = dict(self._task.args)
        if self.checking:
            return self.module("bench_weights", args)
        job_dir = f"{args['store']}/jobs/{time.time_ns()}"
        self.begin(job_dir)
        try:
            limit_s = float(args.get("timeout_s") or 3600)
            return self.follow("bench_weights", args | {"job_dir": job_dir}, job_dir, limit_s)
        finally:
            self._on_host(f"rm -rf {shlex.quote(job_dir)}")
