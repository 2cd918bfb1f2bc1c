"""What the Ansible module `bench_neighbour` asks for: one state of the neighbour, made or found."""

from pathlib import Path
from typing import Literal

from bench.docker_host.host import DockerHost
from bench.errors import BadInput
from bench.neighbour.container import Neighbour, RestartPolicy
from bench.neighbour.lease import Grant, Lease, LeaseRequest, acquire, take_hold
from bench.neighbour.lease_files import DEFAULT_STATE_DIR, LeaseDirectory, held_by
from bench.neighbour.owner import NeighbourStatus, restore, status
from bench.neighbour.record import NeighbourRecord
from bench.neighbour.snapshot import Snapshot, check_can_pause
from bench.neighbour.watcher_container import DEFAULT_WATCHER_BASE, build_watcher, watcher_tag
from bench.records.base import Record


class NeighbourTask(Record):
    """The module's arguments."""

    state: Literal["inspected", "prepared", "stopped", "started", "policy"] = "inspected"
    container: str | None = None
    url: str | None = None
    restart_policy: Literal["no", "on-failure", "unless-stopped", "always"] | None = None
    run_id: str | None = None
    ttl_s: float = 60.0
    hard_limit_s: float = 3600.0
    state_dir: Path = DEFAULT_STATE_DIR
    watcher_base: str = DEFAULT_WATCHER_BASE


class NeighbourChange(Record):
    """The module's answer."""

    changed: bool
    msg: str
    image: str | None = None
    """The watcher's image."""
    neighbour: NeighbourStatus | None = None
    """As it is afterwards; as it is now in check mode."""


def ensure(
    task: NeighbourTask, *, check: bool = False, docker_host: DockerHost | None = None
) -> NeighbourChange:
    """Bring about the state that is asked for; with `check`, say whether anything would change.

    Raises:
        BadInput: an argument is missing, there is no such container, or somebody holds it.
        NeighbourNotBack: `started`, and it does not come up.
        DockerSilent: Docker does not answer.
    """
    docker_host = docker_host or DockerHost()
    if task.state == "prepared":
        return _prepare(task, docker_host, check)
    container = _needed(task.container, "container", task)
    before = status(container, url=task.url, state_dir=task.state_dir, docker_host=docker_host)
    if task.state == "inspected":
        return NeighbourChange(changed=False, msg=before.sentence, neighbour=before)
    changed = _change(task, container, before, docker_host, check)
    now = (
        before
        if check
        else status(container, url=task.url, state_dir=task.state_dir, docker_host=docker_host)
    )
    return NeighbourChange(changed=changed, msg=now.sentence, neighbour=now)


def _prepare(task: NeighbourTask, docker_host: DockerHost, check: bool) -> NeighbourChange:
    tag = watcher_tag(task.watcher_base)
    if check:
        return NeighbourChange(
            changed=not docker_host.has_image(tag), msg=f"the watcher's image is {tag}", image=tag
        )
    tag, built = build_watcher(docker_host, task.watcher_base)
    return NeighbourChange(changed=built, msg=f"the watcher's image is {tag}", image=tag)


def _change(
    task: NeighbourTask, container: str, before: NeighbourStatus, docker_host: DockerHost, check: bool
) -> bool:
    if task.state == "policy":
        return _set_policy(task, before, docker_host, check)
    if task.state == "started":
        if before.well:
            return False
        if not check:
            restore(
                container,
                url=task.url,
                state_dir=task.state_dir,
                watcher_base=task.watcher_base,
                docker_host=docker_host,
            )
        return True
    return _hold(task, container, before, docker_host, check)


def _set_policy(task: NeighbourTask, before: NeighbourStatus, docker_host: DockerHost, check: bool) -> bool:
    wanted = _needed(task.restart_policy, "restart_policy", task)
    if before.lease is not None:  # its watcher will put back the policy that it found
        raise held_by(before.lease, LeaseDirectory(task.state_dir))
    if before.snapshot.policy.name == wanted:
        return False
    if not check:
        Neighbour(docker_host, before.name).set_policy(RestartPolicy.model_validate({"name": wanted}))
    return True


def _hold(
    task: NeighbourTask, container: str, before: NeighbourStatus, docker_host: DockerHost, check: bool
) -> bool:
    """Have the watcher stop the neighbour for `ttl_s`; asked again by the same run, for that long again."""
    run_id = _needed(task.run_id, "run_id", task)
    url = _needed(task.url, "url", task)
    directory = LeaseDirectory(task.state_dir)
    lease = before.lease
    if lease is not None and lease.run_id == run_id:
        if not check:
            directory.renew(lease)
        return False
    if lease is not None:
        raise held_by(lease, directory)
    snapshot = Snapshot.take(Neighbour(docker_host, container))
    check_can_pause(snapshot)
    if check:
        return True
    directory.prepare()
    image, _built = build_watcher(docker_host, task.watcher_base)
    request = LeaseRequest(
        container=container,
        run_id=run_id,
        url=url,
        ttl_s=task.ttl_s,
        hard_limit_s=task.hard_limit_s,
        state_dir=task.state_dir,
        watcher_base=task.watcher_base,
    )
    terms = acquire(request, docker_host, directory, snapshot, image)
    grant = Grant(NeighbourRecord(mode="pause", name=container, url=url, run_id=run_id), url)
    held = Lease(docker_host, directory, terms, grant)
    with held.renewed(lambda: True):
        try:
            take_hold(request, held)
        except BaseException:
            held.release("it could not be stopped")
            raise
    return True


def _needed(value: str | None, name: str, task: NeighbourTask) -> str:
    if not value:
        raise BadInput(f"state={task.state} needs {name}.")
    return value
