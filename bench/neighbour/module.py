"""What the Ansible module `bench_neighbour` asks for: one state of the neighbour, made or found."""

from typing import Literal

from bench.docker_host.host import DockerHost
from bench.errors import BadInput
from bench.neighbour.container import Neighbour
from bench.neighbour.lease import Grant, Lease, LeaseRequest, acquire, take_hold
from bench.neighbour.lease_files import LeaseDirectory, explain_held
from bench.neighbour.owner import NeighbourStatus, read_status, restore
from bench.neighbour.snapshot import check_can_pause, take_snapshot
from bench.neighbour.spec import LeaseTimes, NeighbourPlace
from bench.neighbour.watcher_container import build_watcher, tag_watcher
from bench.records.base import Record
from bench.records.neighbour import NeighbourRecord


class NeighbourTask(NeighbourPlace, LeaseTimes):
    """The module's arguments."""

    state: Literal["inspected", "prepared", "stopped", "started"] = "inspected"
    """`inspected` looks and changes nothing.

    `prepared` builds the watcher's image where it is missing; its tag is the hash of its build context.

    `stopped` borrows the neighbour's place for `ttl_s`. Asked again with the same `run_id` in time, it stays stopped
    for that long again; else the watcher starts it. Between tasks nothing else renews.

    `started` takes it back from whoever holds it, and waits until it runs and (with `url`) generates.

    Every state but `prepared` needs `container`; `stopped` needs `url` and `run_id`.
    """
    run_id: str | None = None
    """Who borrows."""


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
    before = read_status(container, url=task.url, lease_dir=task.lease_dir, docker_host=docker_host)
    if task.state == "inspected":
        return NeighbourChange(changed=False, msg=before.sentence, neighbour=before)
    changed = _change(task, container, before, docker_host, check)
    now = (
        before
        if check
        else read_status(container, url=task.url, lease_dir=task.lease_dir, docker_host=docker_host)
    )
    return NeighbourChange(changed=changed, msg=now.sentence, neighbour=now)


def _prepare(task: NeighbourTask, docker_host: DockerHost, check: bool) -> NeighbourChange:
    tag = tag_watcher(task.watcher_base)
    if check:
        return NeighbourChange(
            changed=not docker_host.has_image(tag), msg=f"the watcher's image is {tag}", image=tag
        )
    tag, built = build_watcher(docker_host, task.watcher_base)
    return NeighbourChange(changed=built, msg=f"the watcher's image is {tag}", image=tag)


def _change(
    task: NeighbourTask, container: str, before: NeighbourStatus, docker_host: DockerHost, check: bool
) -> bool:
    if task.state == "started":
        if before.well:
            return False
        if not check:
            restore(
                container,
                url=task.url,
                lease_dir=task.lease_dir,
                watcher_base=task.watcher_base,
                docker_host=docker_host,
            )
        return True
    return _hold(task, container, before, docker_host, check)


def _hold(
    task: NeighbourTask, container: str, before: NeighbourStatus, docker_host: DockerHost, check: bool
) -> bool:
    """Have the watcher stop the neighbour for `ttl_s`; asked again by the same run, for that long again."""
    run_id = _needed(task.run_id, "run_id", task)
    url = _needed(task.url, "url", task)
    directory = LeaseDirectory(task.lease_dir)
    lease = before.lease
    if lease is not None and lease.run_id == run_id:
        if not check:
            directory.renew(lease)
        return False
    if lease is not None:
        raise explain_held(lease, directory)
    snapshot = take_snapshot(Neighbour(docker_host, container, directory.find_id(container)))
    check_can_pause(snapshot)
    if check:
        return True
    directory.prepare()
    image, _built = build_watcher(docker_host, task.watcher_base)
    place = task.model_dump(include={*NeighbourPlace.model_fields, *LeaseTimes.model_fields})
    request = LeaseRequest(**{**place, "container": container, "run_id": run_id, "url": url})
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
