"""What Audition keeps on a host, listed and removed for good: only what is ours, by place or by label.

Ours under `state_dir` are the folders named here; in Docker, what carries a label of ours. The rest is named and left.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docker import errors as docker_errors
from pydantic import BaseModel

from bench.docker_host.host import ROLE_LABEL, RUN_LABEL, DockerHost, DockerSilent
from bench.engines.container import CACHE_LABEL
from bench.errors import BadInput
from bench.install.provision import PULLED
from bench.jobs.abandoned import JOBS
from bench.jobs.follow import find_process
from bench.storage.sizes import count_bytes, spell_bytes

OURS = {
    "receipts": "what was proved",
    JOBS: "jobs, with voices and takes in them",
    "engines": "engines' venvs",
    "lease": "the neighbour's leases that ended",
    "weights": "weights of models",
    "venvs": "bench itself",
}
"""Folders of `state_dir`, in the order in which they are removed: this program runs in one of the last."""
_IMAGES = "audition-"


class PurgeItem(BaseModel):
    """One thing that is removed."""

    kind: str
    """`folder`, `container`, `volume` or `image`."""
    name: str
    what: str
    bytes: int | None = None


class PurgePlan(BaseModel):
    """What is removed, what is left and why, and what forbids it now."""

    remove: list[PurgeItem]
    leave: list[str]
    busy: list[str]


def purge_step(state_dir: Path, store: Path, *, weights: bool, confirmed: bool) -> dict[str, Any]:
    """Do what `library/bench_purge.py` documents; returns the module's result.

    Raises:
        BadInput: confirmed, while somebody is at work on this host.
    """
    docker_host = _connect()
    plan = make_plan(state_dir, store, docker_host, weights=weights)
    removed: list[str] = []
    if confirmed:
        if plan.busy:
            raise BadInput(f"nothing was removed, for somebody is at work: {'; '.join(plan.busy)}.")
        removed = list(_remove(plan, state_dir, docker_host))
    return {"changed": bool(removed), "plan": plan.model_dump(), "removed": removed}


def make_plan(state_dir: Path, store: Path, docker_host: DockerHost | None, *, weights: bool) -> PurgePlan:
    """Look at everything and change nothing."""
    plan = PurgePlan(remove=[], leave=[], busy=[])
    _look_at_jobs(plan, state_dir)
    if docker_host is None:
        plan.leave.append("Docker was not asked: it does not answer")
    else:
        _look_at_docker(plan, docker_host)
    inside = store == state_dir / "weights"
    for name, what in OURS.items():
        path = state_dir / name
        if name == "weights" and inside and not weights:
            if path.is_dir():
                plan.leave.append(
                    f"{path}: weights, {spell_bytes(count_bytes(path))} (--weights removes them)"
                )
        elif path.is_symlink():
            plan.leave.append(f"{path}: a link, which somebody else made")
        elif path.is_dir():
            plan.remove.append(PurgeItem(kind="folder", name=str(path), what=what, bytes=count_bytes(path)))
    if not inside and store.is_dir():
        plan.leave.append(f"{store}: a store of weights that is not under state_dir; others may use it")
    if state_dir.is_dir():
        plan.leave += [f"{path}: not ours" for path in sorted(state_dir.iterdir()) if path.name not in OURS]
    plan.leave.append(
        "system packages that were installed, Docker's build cache and the images ours were built on"
    )
    return plan


def _connect() -> DockerHost | None:
    try:
        return DockerHost()
    except (DockerSilent, BadInput):
        return None


def _look_at_jobs(plan: PurgePlan, state_dir: Path) -> None:
    for job in sorted((state_dir / JOBS).glob("*/*")):
        if find_process(job) is not None:
            plan.busy.append(f"a job of run {job.parent.name} ({job.name.rpartition('-')[0]})")
    if (state_dir / "lease" / "lease.json").exists():
        plan.busy.append("a run holds the neighbour (`audition neighbour status` says which)")


def _look_at_docker(plan: PurgePlan, docker_host: DockerHost) -> None:
    for each in docker_host.labelled():
        if each.state == "running" or each.role == "watcher":
            plan.busy.append(f"container {each.name} of run {each.run_id}")
        else:
            what = f"left by run {each.run_id}"
            plan.remove.append(PurgeItem(kind="container", name=each.name, what=what))
    with docker_host.answering():
        for volume in docker_host.api.volumes(filters={"label": [CACHE_LABEL]})["Volumes"] or []:
            what = f"what {volume['Labels'][CACHE_LABEL]} compiled"
            plan.remove.append(PurgeItem(kind="volume", name=volume["Name"], what=what))
        for image in docker_host.api.images():
            names = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
            shown = ", ".join(names) or image["Id"]
            ours = not names or any(name.startswith(_IMAGES) for name in names)
            if ours and ROLE_LABEL in (image.get("Labels") or {}):  # what somebody builds on ours inherits it
                what = (
                    f"image of {'the watcher' if image['Labels'][ROLE_LABEL] == 'watcher' else 'an engine'}"
                )
                plan.remove.append(PurgeItem(kind="image", name=shown, what=what, bytes=image["Size"]))
            elif pulled := [name for name in names if name.startswith(PULLED)]:
                what = "published image that was pulled for a run"
                plan.remove.append(
                    PurgeItem(kind="image", name=", ".join(pulled), what=what, bytes=image["Size"])
                )
            elif ours and names:
                plan.leave.append(
                    f"image {shown}: named as ours are, without our label (an older version's: `docker rmi`)"
                )


def _remove(plan: PurgePlan, state_dir: Path, docker_host: DockerHost | None) -> Iterator[str]:
    """Remove what the plan lists, Docker's first; what cannot be removed is said in its place."""
    for item in sorted(plan.remove, key=lambda each: each.kind == "folder"):
        try:
            if item.kind == "folder":
                shutil.rmtree(item.name)
            elif docker_host is not None:
                _remove_in_docker(item, docker_host)
            yield f"{item.kind} {item.name}"
        except (OSError, docker_errors.APIError) as error:
            plan.leave.append(f"{item.kind} {item.name}: it cannot be removed ({error})")
    if state_dir.is_dir() and not any(state_dir.iterdir()):
        state_dir.rmdir()


def _remove_in_docker(item: PurgeItem, docker_host: DockerHost) -> None:
    """Remove one thing, if it carries our label still."""
    api = docker_host.api
    with docker_host.answering():
        if item.kind == "container":
            if RUN_LABEL in (api.inspect_container(item.name)["Config"]["Labels"] or {}):
                api.remove_container(item.name)
        elif item.kind == "volume":
            if CACHE_LABEL in (api.inspect_volume(item.name)["Labels"] or {}):
                api.remove_volume(item.name)
        else:
            for name in item.name.split(", "):
                image = api.inspect_image(name)
                if name.startswith(PULLED) and image["RepoTags"] == [name]:
                    api.remove_image(
                        image["Id"], force=True
                    )  # the digest that it was pulled by is a name too
                elif name.startswith(PULLED) or ROLE_LABEL in (image["Config"]["Labels"] or {}):
                    api.remove_image(name)
