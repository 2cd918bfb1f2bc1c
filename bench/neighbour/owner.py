"""The owner's own commands: how the neighbour is, and getting it back on the worst day."""

import json
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

from bench.docker_host.host import DockerHost, OurContainer
from bench.errors import BadInput, NeighbourNotBack
from bench.neighbour.container import Neighbour, spell_policy
from bench.neighbour.lease_files import (
    DamagedFile,
    LeaseDirectory,
    Terms,
    WatcherStatus,
    boottime_s,
    explain_held,
)
from bench.neighbour.readiness import check_serving, wait_ready
from bench.neighbour.restarters import find_restarters
from bench.neighbour.snapshot import take_snapshot
from bench.neighbour.watcher_container import (
    build_watcher,
    end_watcher,
    find_watcher,
    name_watcher,
    remove_watcher,
)
from bench.neighbour.watcher_control import await_gone, has_retired, revive, run_restorer
from bench.records.base import Record
from bench.records.neighbour import RestartPolicy, Snapshot
from bench.records.settings import LEASE_DIR, PYTHON_IMAGE
from bench.storage.clock import utc_now


class NeighbourStatus(Record):
    """All that the host says of the neighbour now."""

    name: str
    docker_version: str
    snapshot: Snapshot
    serves: bool | None
    """Whether it is healthy, lists its models and generates; None when no address was given."""
    lease: Terms | None
    lease_error: str | None
    """Why `lease.json` cannot be read."""
    renewed_s_ago: float | None
    watcher: str | None
    """Docker's word on the watcher's container (running, restarting, exited); None when there is none."""
    last: WatcherStatus | None
    """What a watcher last recorded: of this lease, or of the last."""
    restarters: list[str]
    ours: list[OurContainer]
    """Containers with our label: engines and watchers."""
    well: bool
    """It runs, no lease is on it, and it serves where that was asked."""
    sentence: str


def read_status(
    container: str,
    *,
    url: str | None = None,
    lease_dir: Path = Path(LEASE_DIR),
    docker_host: DockerHost | None = None,
) -> NeighbourStatus:
    """Look at everything and change nothing.

    Raises:
        BadInput: there is no such container.
        DockerSilent: Docker does not answer.
    """
    docker_host = docker_host or DockerHost()
    directory = LeaseDirectory(lease_dir)
    neighbour = Neighbour(docker_host, container, directory.find_id(container))
    snapshot = take_snapshot(neighbour)
    lease, lease_error = None, None
    try:
        lease = directory.terms()
    except DamagedFile as error:
        lease_error = str(error)
    watcher = find_watcher(docker_host, name_watcher(snapshot.name) if lease is None else lease.watcher_name)
    serves = None if url is None else _serves(url)
    free = lease is None and lease_error is None and watcher is None
    return NeighbourStatus(
        name=snapshot.name,
        docker_version=docker_host.version(),
        snapshot=snapshot,
        serves=serves,
        lease=lease,
        lease_error=lease_error,
        renewed_s_ago=directory.renewed_s_ago() if lease else None,
        watcher=None if watcher is None else str(watcher["State"]["Status"]),
        last=directory.status(),
        restarters=find_restarters(neighbour.inspect()),
        ours=docker_host.labelled(),
        well=snapshot.running and free and serves is not False,
        sentence=_sentence(container, snapshot, lease, lease_error, serves, directory),
    )


def _serves(url: str) -> bool:
    try:
        check_serving(url, timeout_s=30.0)
    except BadInput:
        return False
    return True


def _sentence(
    container: str,
    snapshot: Snapshot,
    lease: Terms | None,
    lease_error: str | None,
    serves: bool | None,
    directory: LeaseDirectory,
) -> str:
    was = "" if container in (snapshot.name, snapshot.container_id) else f" (which was {container})"
    up = f"{snapshot.name}{was} is {snapshot.status}, restart policy {snapshot.policy.name}"
    if serves is not None:
        up += ", and serves" if serves else ", and does not serve"
    if lease_error is not None:
        return f"{up}. {lease_error}"
    return f"{up}. Nobody holds it." if lease is None else f"{up}. {explain_held(lease, directory)}"


def restore(
    container: str,
    *,
    url: str | None = None,
    lease_dir: Path = Path(LEASE_DIR),
    watcher_base: str = PYTHON_IMAGE,
    docker_host: DockerHost | None = None,
    limit_s: float = 1200.0,
) -> NeighbourStatus:
    """Take the neighbour back from whoever holds it, and wait until it runs (and, with `url`, serves).

    The watcher does it: the one that is at work, or a new one on the lease that was left behind, again and
    again until the neighbour is up with the policy that was agreed on. Only then is the lease forgotten: who
    is interrupted here loses nothing and asks again. Where no watcher can be run, it is done from here.
    Without a lease a container that does not run is started as it is; so is one that was made anew since.

    Raises:
        BadInput: there is no such container.
        NeighbourNotBack: it is not up, or does not serve, within `limit_s`; the lease is kept.
    """
    docker_host = docker_host or DockerHost()
    directory = LeaseDirectory(lease_dir)
    now = take_snapshot(Neighbour(docker_host, container, directory.find_id(container)))
    directory.prepare()
    end = time.monotonic() + limit_s
    terms: Terms | None = None
    while True:
        agreed = _agreed(docker_host, now, directory)
        terms = agreed or (terms if terms is not None and _is_of(terms, now) else None)
        if terms is None and not now.running:
            terms = make_terms_as_it_is(now, directory)
        name = name_watcher(now.name) if terms is None else terms.watcher_name
        _set_to_work(docker_host, name, directory, terms, watcher_base)
        await_gone(docker_host, name, max(0.0, end - time.monotonic()))
        now = take_snapshot(Neighbour(docker_host, container, now.container_id))
        if now.running and (terms is None or not _is_of(terms, now) or now.policy == _policy(terms)):
            break
        if time.monotonic() > end:
            raise NeighbourNotBack(
                f"{now.name} is {now.status}, restart policy {now.policy.name}, after {limit_s:.0f} s. The lease "
                f"is kept: restore again. `docker logs {now.name}` says why it does not run."
            )
        time.sleep(1.0)
    _forget(docker_host, name, directory, terms)
    if url is not None:
        wait_ready(url, limit_s=limit_s)
    after = read_status(container, url=url, lease_dir=lease_dir, docker_host=docker_host)
    if not after.well:
        raise NeighbourNotBack(f"{after.sentence} `docker logs {now.name}` says why it does not run.")
    return after


def _set_to_work(
    docker_host: DockerHost, name: str, directory: LeaseDirectory, terms: Terms | None, watcher_base: str
) -> None:
    """Have a watcher restore: the one that is there, or a new one where there are terms to restore."""
    with directory.lock():
        found = find_watcher(docker_host, name)
        if found is not None and not has_retired(found):
            if terms is not None:
                with suppress(OSError):
                    directory.ask(terms, "release", "the owner took it back")
            revive(docker_host, name, found)
            end_watcher(docker_host, name)  # reaches it whatever has become of its files
        elif terms is not None:
            remove_watcher(docker_host, name)
            _restore_by(docker_host, directory, terms, watcher_base)


def _forget(docker_host: DockerHost, name: str, directory: LeaseDirectory, terms: Terms | None) -> None:
    """Remove what is left of the lease that was restored; another's, taken since, stays."""
    with directory.lock():
        lease: Terms | None = None
        with suppress(DamagedFile):
            lease = directory.terms()
        if lease is not None and (terms is None or lease.lease_id != terms.lease_id):
            return
        directory.discard()
        if has_retired(find_watcher(docker_host, name)):
            remove_watcher(docker_host, name)


def _of_watcher(docker_host: DockerHost, name: str) -> Terms | None:
    """Return the terms a watcher was started with."""
    found = find_watcher(docker_host, name)
    for each in (found or {}).get("Config", {}).get("Env", []):
        if each.startswith("AUDITION_LEASE="):
            with suppress(ValueError):
                return Terms.model_validate(json.loads(each.split("=", 1)[1]))
    return None


def _agreed(docker_host: DockerHost, now: Snapshot, directory: LeaseDirectory) -> Terms | None:
    """Return the terms of the lease that is on the neighbour, from whichever place is legible."""
    found = [_of_watcher(docker_host, name_watcher(now.name))]
    with suppress(DamagedFile):
        found.insert(0, directory.terms())
    last = directory.status()
    if last is not None and last.ended_utc is None:
        found.append(last.agreed())
    return next(
        (each for each in found if each is not None and (each.container == now.name or _is_of(each, now))),
        None,
    )


def _is_of(terms: Terms, now: Snapshot) -> bool:
    """Tell whether a lease is on this very container, not on one of its name that was removed."""
    return terms.container_id == now.container_id


def _policy(terms: Terms) -> RestartPolicy:
    raw = terms.policy
    return RestartPolicy(name=raw["Name"], maximum_retry_count=raw.get("MaximumRetryCount") or 0)


def make_terms_as_it_is(now: Snapshot, directory: LeaseDirectory, run_id: str = "owner") -> Terms:
    """Return terms under which a watcher starts the neighbour and leaves its policy as it is."""
    return Terms(
        lease_id=uuid.uuid4().hex,
        run_id=run_id,
        mode="pause",
        container=now.name,
        container_id=now.container_id,
        policy=spell_policy(now.policy),
        watcher_name=name_watcher(now.name),
        boot_id=directory.boot_id(),
        agreed_utc=utc_now(),
        until_utc=utc_now(),
        hard_deadline_boottime_s=boottime_s(),
        holder=f"its owner, on {socket.gethostname()}",
        restore_only=True,
    )


def _restore_by(docker_host: DockerHost, directory: LeaseDirectory, terms: Terms, watcher_base: str) -> None:
    try:
        image, _built = build_watcher(docker_host, watcher_base)
        run_restorer(docker_host, directory, terms, image)
    except BadInput:  # no image to be had: nothing else is at work, so it is done from here
        docker_host.remove_run(terms.run_id)
        neighbour = Neighbour(docker_host, terms.container_id)
        neighbour.start()
        neighbour.set_policy(_policy(terms))
