"""Make a pass on a host, with a line a take, and take what comes back into the run."""

from __future__ import annotations

from typing import Any

from bench.controller import incoming, outgoing, sharing
from bench.controller.failures import quote_failure
from bench.controller.hosted_action import HostedAction
from bench.controller.run import Run
from bench.jobs.spec import OtherSide
from bench.storage.clock import utc_now


class ActionModule(HostedAction):
    """See library/bench_takes.py."""

    @property
    def phase(self) -> outgoing.JobPhase:
        """Return `benchmark` or `baseline`."""
        phase: outgoing.JobPhase = self._task.args["phase"]
        return phase

    def work(self) -> dict[str, Any]:
        """Find the run, send the job, follow it, accept what it made."""
        phase = self.phase
        run = self.find_run()
        if run is None:
            return {"changed": True, "msg": f"{phase} would make takes in a new run"}
        if (why := run.todo(phase)) is not None:
            return {"changed": False, "msg": why, "run_id": run.run_id}
        if self.checking:
            return {"changed": True, "msg": f"{phase} would make takes", "run_id": run.run_id}
        self.require_bench()
        with self.held(run):
            if (why := run.todo(phase)) is not None:  # another play may have done it a moment ago
                return {"changed": False, "msg": why, "run_id": run.run_id}
            return self._make(run)

    def _make(self, run: Run) -> dict[str, Any]:
        phase, started = self.phase, utc_now()
        lent = None
        if phase == "baseline" and self.host.share_baseline:
            lent = sharing.find_lender(run, warmups=self.host.warmups)
        spec = outgoing.make_job_spec(run, phase, self.host, lent)
        job_dir = self.host.job_dir(run.run_id, phase)
        token = self.host.token("baseline" if phase == "baseline" else "model", spec.entry)
        tokens = {"token": token.encode()} if token else {}
        if spec.other_side and (other := self.host.token("baseline", spec.other_side.entry)):
            tokens[OtherSide.TOKEN] = other.encode()
        with outgoing.pack_job(run, spec, tokens, lent) as tar:
            self.send(tar, job_dir)
        done = self.follow("bench_takes", {"job_dir": job_dir}, job_dir, spec.limit_s())
        try:
            if not done.get("tar"):
                return {"failed": True, "fault": "host", "msg": quote_failure(done)}
            size = done.get("tar_bytes")
            result = self.fetch(done["tar"], lambda tar: incoming.accept(run, phase, tar, started, size))
        finally:
            self.discard(job_dir)
        return {
            "changed": True,
            "run_id": run.run_id,
            "failed": not result.ok,
            "msg": result.error
            or "\n".join(
                [
                    f"{phase}: {_count(result)}",
                    *_alarms(result),
                ]
            ),
            "fault": result.fault,
            "passes": {name: made.model_dump(mode="json") for name, made in result.passes.items()},
            "seconds": result.seconds,
        }


def _alarms(result: Any) -> list[str]:
    """Return a line for each thing to be looked into before anybody is asked to listen."""
    return [
        f"ALARM ({name}): {alarm.message}" for name, made in result.passes.items() for alarm in made.alarms
    ]


def _count(result: Any) -> str:
    lent = [f"of {result.lent_by}"] if result.lent_by else []
    return ", ".join([*(f"{made.ok} of {made.takes} {name}" for name, made in result.passes.items()), *lent])
