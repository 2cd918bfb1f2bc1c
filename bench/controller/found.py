"""The run that a play has found, passed on to its later tasks, and when such a word may be taken.

A play of site.yml opens its run once and hands the result on. A task takes it only for the very same request, while
no file that decides which run it is has changed; else, or where it was given nothing (`--start-at-task`, a playbook
alone), it looks for itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.catalog.loader import HERE as CATALOG
from bench.controller.prepare import DEFAULT_RULE, DEFAULT_UTTERANCES
from bench.controller.request import RunRequest
from bench.controller.run import ONCE, Run, locate
from bench.records.run import Manifest
from bench.storage.digests import canonical_json, sha256_bytes


def pass_on(request: RunRequest, run: Run) -> dict[str, Any]:
    """Return what later tasks of a play are given: the run, what it was found by, and the phases that are final."""
    phases = run.phases()
    final = [phase for phase in ONCE if phase in phases and phases[phase].status == "done"]
    return {"run_dir": str(run.path), "key": _key(request), "final": final}


def take(request: RunRequest, found: Mapping[str, Any], *, decided: bool = False) -> Run | None:
    """Return the run that was passed on, or None where it is not certain to be the one that looking would find.

    Args:
        decided: whether a run that has its decision will do, though the request does not name it.
    """
    if not found or found.get("key") != _key(request):
        return None
    run = Run(Path(found["run_dir"]))
    if not (run.path / Manifest.file_name).is_file():
        return None
    return run if decided or request.run_id is not None or run.undecided() else None


def locate_once(request: RunRequest, found: Mapping[str, Any]) -> Run:
    """Return the run that was passed on, or look for it.

    Raises:
        BadInput, PhaseMissing: as `bench.controller.run.locate`.
    """
    return take(request, found) or locate(request)


def _key(request: RunRequest) -> str:
    """Hash the request and what the file system says of each file that it is resolved by; none of them is read."""
    files = [
        request.reference_audio,
        request.reference_transcript,
        request.reference_rights,
        request.rule_file or DEFAULT_RULE,
        request.utterances_file or DEFAULT_UTTERANCES,
    ]
    for folder in (CATALOG, request.catalog_dir):
        files += sorted(folder.glob("*.yml")) if folder is not None else []
    facts = [_facts(path) for path in files if path is not None]
    return sha256_bytes(canonical_json([request.model_dump(mode="json"), facts]))


def _facts(path: Path) -> list[str | int]:
    try:
        stat = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino]
