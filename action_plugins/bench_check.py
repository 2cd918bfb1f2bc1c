"""Preflight: gates on the controller, checks on the host, both into the run's preflight.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.controller import host_settings
from bench.controller.hosted_action import HostedAction
from bench.controller.preflight import apply_card, check_gates, warn_of_rating, write_preflight
from bench.errors import AuditionError
from bench.preflight.spec import HostReport, HostSpec
from bench.records.base import Phase


class ActionModule(HostedAction):
    """See library/bench_check.py."""

    @property
    def phase(self) -> Phase:
        """Return `preflight`."""
        return "preflight"

    def work(self) -> dict[str, Any]:
        """Make the checks of the asked scope."""
        run = self.find_run()
        # What a run committed to rules, whatever is given today.
        given = run.manifest() if run else self.request
        entry = run.entry() if run else self.request.entry()
        found = check_gates(entry, given.intended_use)
        result: dict[str, Any] = {
            "changed": False,
            "refused": found.refused,
            "passed": run is not None and run.preflight_passed(),
            "notices": found.notices,
        }
        if not result["passed"]:
            result["notices"] = [*found.notices, f"proved: {found.fact('proved')}"]
        if self._task.args.get("scope") == "gates":
            result["warnings"] = warn_of_rating()
            if found.refused and run is not None and not self.checking:
                result["changed"] = write_preflight(run, found, None, self._since())
            return result
        if found.refused or (run is not None and run.preflight_passed()):
            return result
        if not self.bench_installed():
            if self.checking:
                return result | {"changed": True, "msg": "the host is checked once bench is installed there"}
            self.require_bench()
        how = host_settings.choose_way(entry, self.host)
        spec = HostSpec(
            entry=entry,
            install=how,
            engine_python=host_settings.name_engine_python(entry, self.host) if how == "venv" else None,
            image=host_settings.name_engine_image(entry, self.host) if how == "container" else None,
            baseline=run.baseline_entry() if run else self.request.baseline_entry(),
            baseline_url=given.baseline_url,
            model_url=given.model_url,
            state_dir=Path(self.host.state_dir),
            weights_store=self.host.store(),
            weights_endpoint=self.host.weights_endpoint or None,
            weights_token_file=Path(self.host.weights_token_file) if self.host.weights_token_file else None,
            engine_port=self.host.engine_port,
            neighbour=self.host.neighbour,
        )
        done = self.module(
            "bench_check",
            {"spec": spec.model_dump_json(), "token": self.host.token("baseline", spec.baseline)},
        )
        if done.get("failed"):
            return done
        found, report = apply_card(found, HostReport.model_validate(done["report"]))
        result["refused"] = found.refused
        result["checks"] = [check.model_dump(mode="json") for check in report.checks]
        stopped = [c for c in report.checks if c.severity == "gate" and c.ok is False]
        if stopped and not found.refused:
            raise AuditionError("; ".join(f"{c.name}: {c.detail or c.value}" for c in stopped) + ".")
        result["warnings"] = [f"{c.name}: {c.detail}" for c in report.checks if c.ok is not True and c.detail]
        if run is not None and not self.checking:
            result["changed"] = write_preflight(run, found, report, self._since())
        return result

    def _since(self) -> float:
        """Return when the phase began, as the play says; else when this task did."""
        return float(self._task.args.get("since") or self.began)
