"""What the modules that run on the controller do: one function a module."""

import time
from dataclasses import dataclass
from typing import Any, Literal

from bench.catalog.entry import Entry
from bench.controller import prepare
from bench.controller.found import locate_once, pass_on
from bench.controller.host_settings import HostSettings, choose_way
from bench.controller.request import RunRequest
from bench.controller.run import (
    Run,
    check_new,
    locate,
    note_phase,
    open_or_create,
    point_latest,
)
from bench.controller.tracked import check_untracked
from bench.controller.wheel import REPO
from bench.errors import AuditionError, BadInput, DiskFull, PhaseMissing
from bench.records.base import Phase
from bench.storage.clock import utc_at

_MESSAGE_CHARACTERS = 4000


def run_step(
    *,
    run: dict[str, Any],
    phase: Phase,
    state: Literal["opened", "done", "failed"],
    host: dict[str, Any],
    failure: dict[str, Any],
    task: str,
    check: bool,
    found: dict[str, Any] | None = None,
    since: float = 0.0,
) -> dict[str, Any]:
    """Do what `library/bench_run.py` documents; returns the module's result."""
    request = RunRequest.of(run)
    if state == "opened":
        return _opened(request, host, check)
    if state == "failed":
        return _failed(request, phase, _Failure(failure, task, float(since)), check, found or {})
    try:
        return _done(locate_once(request, found or {}), phase, float(since), check)
    except PhaseMissing:
        if not check:
            raise
        return {"changed": False, "run_id": ""}


def _opened(request: RunRequest, host: dict[str, Any], check: bool) -> dict[str, Any]:
    if host:  # a wrong setting of the host is found before anything is written
        choose_way(request.entry(), HostSettings.of(host))
    warned = check_untracked(prepare.reference_files(request), REPO)
    said = {"warnings": warned} if warned else {}
    if check:
        try:
            run = locate(request)
        except PhaseMissing:
            check_new(request, prepare.commit(request))
            return {"changed": True, "run_id": "", **said}
        return said | _opened_run(request, run, new=False)
    opened, new = open_or_create(request, REPO)
    if not new:
        point_latest(opened.path)
    return said | _opened_run(request, opened, new=new)


def _opened_run(request: RunRequest, run: Run, *, new: bool) -> dict[str, Any]:
    return {
        "changed": new,
        "run_id": run.run_id,
        "run_dir": str(run.path),
        "found": pass_on(request, run),
    }


def _done(run: Run, phase: Phase, since: float, check: bool) -> dict[str, Any]:
    """Note that a phase ended well, whatever an earlier attempt at it came to."""
    before = run.phases().get(phase)
    changed = before is None or before.status != "done"
    if changed and not check:
        note_phase(run, phase, utc_at(since or time.time()))
    return {"changed": changed, "run_id": run.run_id}


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a phase's rescue knows of the task that failed: its result, its name, and when the phase began."""

    result: dict[str, Any]
    task: str
    since: float

    def started(self) -> str:
        """Return when the phase began, else when the failed task did, as far as it says so."""
        return utc_at(self.since or float(self.result.get("at") or time.time()))

    def fault(self) -> Literal["candidate", "host"]:
        """Return whose failure it is: what no module of ours said of the candidate is the host's."""
        return "candidate" if self.result.get("fault") == "candidate" else "host"

    def message(self) -> str:
        said = str(self.result.get("msg") or "no message")
        output = [
            str(self.result[key]).strip() for key in ("stderr", "module_stderr") if self.result.get(key)
        ]
        if not output and self.result.get("rc"):  # a command that complains on stdout, as `pip check` does
            output = [str(self.result.get("stdout") or "").strip()]
        whole = " ".join([f"{self.task}:" if self.task else "", said, *output]).strip()
        return whole[-_MESSAGE_CHARACTERS:]


def _failed(
    request: RunRequest,
    phase: Phase,
    failure: _Failure,
    check: bool,
    passed: dict[str, Any],
) -> dict[str, Any]:
    """Note why a phase failed; a candidate's failure is part of the verdict, a host's is raised again."""
    message, fault = failure.message(), failure.fault()
    if check:
        if fault == "host":
            raise AuditionError(message)
        return {"changed": True}
    try:
        found = locate_once(request, passed)
    except (PhaseMissing, BadInput, DiskFull):
        raise AuditionError(message) from None
    before = found.phases().get(phase)
    if before is None or before.status != "done":  # what was done stays done, whatever failed afterwards
        note_phase(found, phase, failure.started(), message, fault=fault)
    if fault == "host":
        raise AuditionError(message)
    return {"changed": True, "run_id": found.run_id, "msg": message}


def list_needs(entry: Entry, baseline: Entry, settings: HostSettings) -> dict[str, Any]:
    """Return what the two models and the metrics want on the host, for the roles."""
    packages = {
        name for one in (entry, baseline) if one.ours is not None for name in one.ours.system_packages
    }
    weights = [file for one in (entry, baseline) if one.started is not None for file in one.weights]
    weights += settings.whisper_weights()
    return {
        "system_packages": sorted(packages),
        "weights": [each.model_dump(mode="json") for each in weights],
    }


def verdict_step(
    *,
    run: dict[str, Any],
    state: Literal["scored", "concluded"],
    check: bool,
    found: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Do what `library/bench_verdict.py` documents; returns the module's result."""
    request = RunRequest.of(run)
    try:
        located = locate_once(request, found or {})
    except PhaseMissing:
        if not check:
            raise
        return {"changed": True, "msg": "no run yet"}
    phase: Phase = "score" if state == "scored" else "verdict"
    why = located.todo(phase)
    if why is not None:
        return {"changed": False, "msg": why, "run_id": located.run_id}
    from bench.controller import conclude  # draws the report: not for those who only ask

    if check:
        return {"changed": located.phases().get(phase) is None, "run_id": located.run_id, "msg": "check mode"}
    return conclude.score_run(located) if state == "scored" else conclude.decide_run(located)
