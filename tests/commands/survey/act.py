"""A phase of the small project, as an action plugin: says lines, waits, notes, decides, as the script says."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from bench.controller import prepare
from bench.controller.request import RunRequest
from bench.controller.run import Run, find_newest, locate, note_phase, open_or_create
from bench.records.neighbour import Moment, NeighbourRecord
from bench.records.verdict import NextStep, Nothing, Verdict
from bench.storage.clock import utc_now
from bench.storage.record_file import save_record


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Do one phase."""

    _requires_connection = False
    _task: Any

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do what script.json says of this model."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        folder, phase = Path(args["folder"]), args["phase"]
        request = RunRequest.of(args["run"])
        script = json.loads((folder / "script.json").read_text()).get(request.model, {})
        with (folder / "played").open("a") as log:
            log.write(f"{request.model} {phase}\n")
        run = _find(request, phase, folder)
        if script.get("fail") == phase:
            return {**result, "failed": True, "msg": "the disk is full"}
        if phase == "benchmark":
            if phase in run.phases():
                return {**result, "msg": "already done"}
            _speak(run, script)
        if phase == "verdict":
            _decide(run, script)
        if script.get("leave") != phase:
            note_phase(run, phase, utc_now())
        return {**result, "changed": True}


def _find(request: RunRequest, phase: str, folder: Path) -> Run:
    if phase == "preflight":
        return open_or_create(request, folder)[0]
    if phase == "publish":  # decided runs too
        inputs = prepare.commit(request).inputs_sha256
        found = find_newest(request, inputs, undecided=False)
        assert found is not None
        return found
    return locate(request)


def _speak(run: Run, script: dict[str, Any]) -> None:
    manifest = run.manifest()
    (run.path / "speaker.pid").write_text(str(os.getpid()))
    for number in range(1, 4):
        Display().display(f"{manifest.host} | {manifest.model} | candidate | {number}/3 | ttfa 10 ms")
        time.sleep(script.get("seconds", 0.0))
    if (p50 := script.get("neighbour_p50_ms")) is not None:
        save_record(NeighbourRecord(
            mode="pause", name="llm", url=None, run_id=run.run_id,
            before=Moment(p50_ms=p50), after=Moment(p50_ms=p50), state="restored",
        ), run.path)  # fmt: skip


def _decide(run: Run, script: dict[str, Any]) -> None:
    manifest = run.manifest()
    decision = script["decision"]
    save_record(
        Verdict(
            run_id=run.run_id,
            model=manifest.model,
            baseline=manifest.inputs.baseline,
            decision=decision,
            label=decision,
            reason=None if decision.startswith("awaiting") else "rule",
            sentence=f"What was decided of {manifest.model}.",
            gates=[],
            ratings=Nothing(),
            latency={},
            memory=Nothing(),
            neighbour=Nothing(),
            failures={},
            warnings=[],
            next=NextStep(
                model=None, commands=[f"audition rate {run.run_id}", f"audition verdict {run.run_id}"]
            ),
            methodology_version=1,
        ),
        run.path,
    )
