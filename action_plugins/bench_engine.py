"""Install an engine and prove it, or remove what a run left; the record goes into the run."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from bench.controller import incoming, outgoing, steps
from bench.controller.failures import quote_failure
from bench.controller.hosted_action import HostedAction
from bench.controller.run import Run, explain_full_disk, note_phase
from bench.errors import AuditionError
from bench.install.spec import DOWNLOADS_LIMIT_S
from bench.jobs.spec import JobSpec
from bench.records.base import Phase
from bench.records.run import BaselineInstall, Install
from bench.storage.clock import utc_at
from bench.storage.record_file import save_record


class ActionModule(HostedAction):
    """See library/bench_engine.py."""

    @property
    def phase(self) -> Phase:
        """Return `install` or `teardown`."""
        return "teardown" if self._task.args.get("state") == "absent" else "install"

    def work(self) -> dict[str, Any]:
        """Do the asked state."""
        if self.phase == "teardown":
            return self._remove()
        run = self.find_run()
        if self._task.args.get("state") == "asked":
            return self._ask(run)
        if run is None:
            return {"changed": True, "msg": "the engine would be installed and would say one sentence"}
        if (why := run.todo("install")) is not None:
            return {"changed": False, "msg": why, "run_id": run.run_id}
        if not self.bench_installed():
            if self.checking:
                return {"changed": True, "msg": "the engine would be installed and would say one sentence"}
            self.require_bench()
        with self.held(run):
            return self._install(run)

    def _ask(self, run: Run | None) -> dict[str, Any]:
        """Say whether the phase has work and what it needs; it has none while a receipt and all that it needs hold."""
        entries = (run or self.request).entry(), (run or self.request).baseline_entry()
        needs = steps.list_needs(*entries, self.host)
        if run is None:
            return {"changed": False, "run_id": "", "todo": True, "needs": needs}
        answer = {"changed": False, "run_id": run.run_id, "todo": True, "needs": needs}
        if (why := run.todo("install")) is not None:
            return answer | {"todo": False, "why": why, "msg": why}
        if self._task.args.get("rehash") or not self.bench_installed():
            return answer
        packages = needs["system_packages"] if self._task.args.get("manage_packages", True) else []
        wanted = {"system_packages": packages, "weights": needs["weights"], "store": str(self.host.store())}
        with self.held(run):
            # The baseline first: what is noted of the candidate ends the phase.
            if not self._baseline_proved(run, wanted):
                return answer
            spec = outgoing.make_job_spec(run, "install", self.host)
            proved = self._proved(run, spec, utc_at(self.began), wanted)
        return answer if proved is None else answer | {"todo": False} | proved

    def _names(self, spec: JobSpec) -> dict[str, str]:
        return {
            "model": spec.entry.name,
            "profile": spec.profile,
            "state_dir": self.host.state_dir,
            "receipt": outgoing.hash_receipt(spec),
        }

    def _proved(self, run: Run, spec: JobSpec, started: str, needs: dict[str, Any]) -> dict[str, Any] | None:
        """Take the host's record over where its receipt holds and nothing of `needs` is lacking; else return None."""
        found = self.module("bench_engine", {"action": "look", "needs": needs, **self._names(spec)})
        if found.get("failed"):
            return {"failed": True, "fault": "host", "msg": quote_failure(found)}
        if not found.get("install") or found["lacking"]:
            return None
        try:
            record = Install.model_validate(found["install"])
        except ValidationError:  # another version's: it proves nothing here
            return None
        noted = self._note(run, record, started)
        return noted if spec.install == "http" else noted | {"msg": "proved before; the receipt holds"}

    def _install(self, run: Run) -> dict[str, Any]:
        since = float(self._task.args.get("since") or self.began)
        started = utc_at(since)
        if not self._baseline_proved(run, {}):
            if self.checking:
                return {"changed": True, "msg": "the baseline would be installed and would say one sentence"}
            self._install_baseline(run)
        spec = outgoing.make_job_spec(run, "install", self.host)
        if (proved := self._proved(run, spec, started, {})) is not None:
            return proved
        if self.checking:
            return {"changed": True, "msg": "the engine would be installed and would say one sentence"}
        before_s = max(self.began - since, 0.0)
        before = outgoing.list_earlier_steps(before_s, self._task.args.get("weights") or {})
        return self._note(run, Install.model_validate(self._do(run, spec, before)), started)

    def _do(self, run: Run, spec: JobSpec, before: outgoing.Before) -> dict[str, Any]:
        """Install one side on the host and return its record.

        Raises:
            AuditionError: the host could not do it.
        """
        names = self._names(spec)
        job_dir = self.host.job_dir(run.run_id, "install")
        with outgoing.pack_install(run, spec, names["receipt"], self.host, before) as tar:
            self.send(tar, job_dir)
        arguments = {"action": "install", "job_dir": job_dir, **names}
        limit_s = self.host.install_timeout_s + DOWNLOADS_LIMIT_S
        done = self.follow("bench_engine", arguments, job_dir, limit_s)
        self.discard(job_dir)
        if not done.get("install"):
            raise AuditionError(quote_failure(done))
        record: dict[str, Any] = done["install"]
        return record

    def _baseline_proved(self, run: Run, needs: dict[str, Any]) -> bool:
        """Return whether the baseline's receipt holds, if it is one that is installed; its record goes into the run."""
        spec = outgoing.make_baseline_install(run, self.host)
        if spec is None:
            return True
        found = self.module("bench_engine", {"action": "look", "needs": needs, **self._names(spec)})
        if found.get("failed") or not found.get("install") or found["lacking"]:
            return False
        try:
            self._keep_baseline(run, BaselineInstall.model_validate(found["install"]))
        except ValidationError:  # another version's: it proves nothing here
            return False
        return True

    def _install_baseline(self, run: Run) -> None:
        """Install the baseline and put its record into the run.

        Raises:
            AuditionError: it could not be, which says nothing of the candidate.
        """
        spec = outgoing.make_baseline_install(run, self.host)
        assert spec is not None
        record = BaselineInstall.model_validate(self._do(run, spec, outgoing.Before([], [])))
        self._keep_baseline(run, record)
        if not record.ok:
            raise AuditionError(
                f"the baseline {spec.entry.name} could not be installed, which says nothing of the candidate: "
                f"{record.error}"
            )

    def _keep_baseline(self, run: Run, record: BaselineInstall) -> None:
        path = run.path / BaselineInstall.file_name
        if self.checking or (
            path.is_file() and json.loads(path.read_bytes()) == record.model_dump(mode="json")
        ):
            return
        with explain_full_disk(run.path):
            save_record(record, run.path)

    def _note(self, run: Run, record: Install, started: str) -> dict[str, Any]:
        """Put the record into the run; a failed installation is a finding, not an error."""
        path = run.path / Install.file_name
        changed = not path.is_file() or json.loads(path.read_bytes()) != record.model_dump(mode="json")
        if changed and not self.checking:
            with explain_full_disk(run.path):
                save_record(record, run.path)
            note_phase(run, "install", started, record.error, fault=None if record.ok else "candidate")
        return {
            "changed": changed,
            "run_id": run.run_id,
            "install": record.model_dump(mode="json"),
            "msg": record.error or _say_how(record),
        }

    def _remove(self) -> dict[str, Any]:
        """Remove what the run left; the play notes the phase, once it has looked at the neighbour too."""
        run = self.find_run()
        if run is None:
            return {"changed": False, "on_host": False, "msg": "nothing is there"}
        if not self.bench_installed():
            if run.preflight_passed() and not self.checking:
                self.require_bench()
            return {"changed": False, "on_host": False, "msg": "nothing is there", "run_id": run.run_id}
        names = {"action": "remove", "run_id": run.run_id, "state_dir": self.host.state_dir}
        with self.held(run):
            done = self.module("bench_engine", names)
        if done.get("leases") and not self.checking:
            with explain_full_disk(run.path):
                incoming.tell_of_pauses(run, self.host, done["leases"])
        return done | {"on_host": True, "run_id": run.run_id}


def _say_how(record: Install) -> str:
    """Say what an installation came to; of a model that somebody else serves nothing is installed or proved."""
    if record.asked.get("install") == "http":
        return "nothing to install: the model is served by somebody else"
    if record.smoke is None:  # there was no room beside the neighbour
        return f"installed in {record.total_s:.1f} s; the sentence is said in the benchmark's pause"
    return f"installed and proved in {record.total_s:.1f} s"
