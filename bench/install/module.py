"""What the modules on a host call: do a sent job, look at what is proved, remove what a run left."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import AuditionError
from bench.install.receipts import find_kept
from bench.jobs.abandoned import JOBS, remove_abandoned


def engine_step(params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what `library/bench_engine.py` was told by its action plugin; returns the module's result."""
    state_dir = Path(params["state_dir"])
    if not check:
        remove_abandoned(state_dir / JOBS)
    match params["action"]:
        case "look":
            found = find_kept(state_dir, params["model"], params["profile"], params["receipt"])
            lacking = _lacking(params.get("needs") or {}) if found else []
            return {"changed": False, "install": found, "lacking": lacking}
        case "install" if not check:
            return _install(Path(params["job_dir"]), state_dir)
        case "remove":
            return remove(state_dir, params["run_id"], check=check)
        case _:
            return {"changed": False}


def _lacking(needs: dict[str, Any]) -> list[str]:
    """Return what a model needs besides its environment and what is not there (any more): packages, weights."""
    lacking = list_packages_lacking(needs.get("system_packages") or [])
    if needs.get("weights"):
        from bench.catalog.entry import WeightFile
        from bench.weights.store import list_missing

        files = [WeightFile.model_validate(one) for one in needs["weights"]]
        lacking += [file.path for file in list_missing(files, Path(needs["store"]))]
    return lacking


def list_packages_lacking(names: Sequence[str]) -> list[str]:
    """Return which Debian packages are not installed; all of them on a host that has no dpkg to ask."""
    if not names:
        return []
    command = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\\n", *names]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return list(names)
    return [name for name in names if f"ii {name}" not in said.splitlines()]


def _install(job_dir: Path, state_dir: Path) -> dict[str, Any]:
    # What installs imports numpy, Docker and more; looking and removing are asked for every time, and do without.
    from bench.install.install import install
    from bench.jobs.archive import unpack
    from bench.jobs.control import await_controller
    from bench.jobs.module import begin_attempt

    begin_attempt(job_dir)
    try:
        unpack(job_dir / "job.tar", job_dir)
        await_controller(job_dir)
        with (job_dir / "progress.jsonl").open("a", encoding="utf-8") as stream:

            def say(text: str) -> None:
                stream.write(json.dumps({"text": text}) + "\n")
                stream.flush()

            record = install(job_dir, state_dir, say)
    except (AuditionError, OSError) as error:
        return {"failed": True, "msg": str(error), "fault": "host"}
    finally:
        (job_dir / "done").touch()
    return {"changed": True, "install": record.model_dump(mode="json"), "msg": record.error or ""}


def remove(state_dir: Path, run_id: str, *, check: bool = False) -> dict[str, Any]:
    """Remove what a run left on the host: its jobs. Weights, venvs, images and receipts stay for the next."""
    jobs = state_dir / "jobs" / run_id
    removed = [str(jobs)] if jobs.is_dir() else []
    if not check:
        from bench.jobs.containers import remove_containers

        shutil.rmtree(jobs, ignore_errors=True)
        removed += remove_containers(run_id)
    return {"changed": bool(removed), "removed": removed, "leases": _leases(state_dir / "lease", run_id)}


def _leases(directory: Path, run_id: str) -> list[dict[str, Any]]:
    """Return the run's leases as the host's history has them: a job that was killed could not tell of its own."""
    if not (directory / "history.jsonl").is_file():
        return []
    from bench.neighbour.lease import list_accounts
    from bench.neighbour.lease_files import LeaseDirectory

    return [each.model_dump(mode="json") for each in list_accounts(LeaseDirectory(directory).history(run_id))]
