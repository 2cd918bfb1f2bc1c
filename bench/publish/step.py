"""What the module `bench_publish` does, on the controller."""

from pathlib import Path
from typing import Any

from bench.controller import prepare
from bench.controller.found import take
from bench.controller.request import RunRequest
from bench.controller.run import Run, find_newest, locate
from bench.errors import PhaseMissing
from bench.publish.settings import ClipFormat


def publish_step(
    *,
    run: dict[str, Any],
    repo: str,
    enabled: bool,
    remote: str,
    pull_request: bool,
    base: str,
    clip_format: ClipFormat,
    pages: list[dict[str, Any]],
    check: bool,
    found: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Do what `library/bench_publish.py` documents; returns the module's result."""
    request = RunRequest.of(run)
    if not (enabled or remote or pull_request):
        how = "publish a decided run with `audition publish RUN`, or set publish_enabled or publish_remote"
        return {"changed": False, "summary": [f"not published, since nobody asked for it; {how}"]}
    try:
        run_found = take(request, found or {}, decided=True) or _find_newest(request)
    except PhaseMissing:
        if not check:
            raise
        return {"changed": True, "summary": ["no run yet"]}
    if check and run_found.decision() is None:
        return {"changed": True, "run_id": run_found.run_id, "summary": ["no verdict yet"]}
    from bench.publish.pages import read_pages
    from bench.publish.publication import publish  # draws the report: not for those who only ask

    report = publish(
        run_found.path,
        Path(repo),
        remote=remote or None,
        open_pull_request=pull_request,
        base=base or None,
        clip_format=clip_format,
        pages=read_pages(pages),
        check=check,
    )
    return {
        "changed": report.changed,
        "run_id": report.run_id,
        "branch": report.branch,
        "commit": report.commit,
        "pull_request": report.pull_request,
        "summary": report.lines,
    }


def _find_newest(request: RunRequest) -> Run:
    """Return the named run, else the newest with these inputs: decided ones too, for those are published."""
    if request.run_id is not None:
        return locate(request)
    found = find_newest(request, prepare.commit(request).inputs_sha256, undecided=False)
    if found is not None:
        return found
    raise PhaseMissing(
        f"there is no run of {request.model} on {request.host} with these inputs under {request.runs_dir}; "
        "begin one with preflight (--tags preflight), or name one with -e run_id=."
    )
