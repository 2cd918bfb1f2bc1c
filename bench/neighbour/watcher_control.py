"""Keeping the watcher at work: it alone gives the neighbour back, so whoever stops it has it started again."""

import time
from contextlib import suppress
from typing import Any

from bench.docker_host.host import DockerHost, DockerSilent, NameTaken
from bench.docker_host.lost import end_lost
from bench.errors import AuditionError, BadInput, NeighbourNotBack
from bench.neighbour.lease_files import (
    DamagedFile,
    LeaseDirectory,
    LeaseHeld,
    Terms,
    WatcherStatus,
    explain_held,
)
from bench.neighbour.watcher_container import (
    find_watcher,
    remove_watcher,
    run_watcher,
    start_watcher,
)

POLL_S = 0.2
LEAVING_LIMIT_S = 15.0
"""So long the last watcher's container may be on its way out, and one that was made may wait for its start."""


RETIRED = (0, 3)
"""Exit codes with which a watcher retires: done, and refused. Any other is a watcher that was cut off."""


def has_retired(found: dict[str, Any] | None) -> bool:
    """Tell of Docker's inspection of a watcher whether it ended of itself, its work done."""
    return (
        found is not None and found["State"]["Status"] == "exited" and found["State"]["ExitCode"] in RETIRED
    )


def never_began(found: dict[str, Any] | None) -> bool:
    """Tell of Docker's inspection of a watcher whether it was made and not started: who made it died in between."""
    return found is not None and found["State"]["Status"] == "created"


def revive(docker_host: DockerHost, name: str, found: dict[str, Any] | None) -> None:
    """Start a watcher that was cut off: after a `docker kill` or `docker stop` Docker itself does not."""
    if found is not None and found["State"]["Status"] == "exited" and not has_retired(found):
        with suppress(OSError):  # Docker says no: it is asked again
            start_watcher(docker_host, name)


def await_gone(docker_host: DockerHost, name: str, limit_s: float) -> None:
    """Wait until a watcher has retired, and is gone or has exited; one that was cut off is started again.

    Raises:
        NeighbourNotBack: it is still at work after `limit_s`.
    """
    end = time.monotonic() + limit_s
    while True:
        with suppress(AuditionError, OSError):
            found = find_watcher(docker_host, name)
            if found is None or has_retired(found):
                return
            revive(docker_host, name, found)
        if time.monotonic() >= end:
            raise NeighbourNotBack(
                f"The watcher {name} has not given the neighbour back in time; it goes on trying. "
                f"`docker logs {name}` says what keeps it."
            )
        time.sleep(POLL_S)


def await_return(
    docker_host: DockerHost, directory: LeaseDirectory, terms: Terms, image: str, limit_s: float
) -> WatcherStatus | None:
    """Wait until the watcher has retired; return its last word, None when it could not write one.

    Raises:
        NeighbourNotBack: not within `limit_s`.
    """
    end = time.monotonic() + limit_s
    missing_since: float | None = None
    while time.monotonic() < end:
        status = directory.status(terms.lease_id)
        if status is not None:  # before it waits for memory that they would hold
            end_lost([str(each.get("id")) for each in status.engines_ended])
        if status is not None and status.ended_utc is not None:
            see_cleared(docker_host, directory, terms)
            return status
        try:
            found = find_watcher(docker_host, terms.watcher_name)
            if has_retired(found):
                return None
            if found is not None:
                revive(docker_host, terms.watcher_name, found)
                missing_since = None
            elif missing_since is None:
                missing_since = time.monotonic()
            elif time.monotonic() - missing_since > 2.0:
                # Somebody removed it: another does its work.
                run_restorer(docker_host, directory, terms, image)
                missing_since = None
        except BadInput as error:
            raise NeighbourNotBack(
                f"The watcher was removed, and another that would start {terms.container} cannot be: {error} "
                "`audition neighbour restore` does without."
            ) from error
        except (DockerSilent, OSError):  # silent, or out of sorts
            missing_since = None
        time.sleep(POLL_S)
    raise NeighbourNotBack(
        f"The watcher did not report {terms.container} back within {limit_s:.0f} s; it goes on trying. "
        "`audition neighbour status` shows how far it is."
    )


def see_cleared(docker_host: DockerHost, directory: LeaseDirectory, terms: Terms) -> None:
    """Wait until a lease whose watcher reported its end is cleared away; where the watcher is gone before, do it."""
    end = time.monotonic() + LEAVING_LIMIT_S
    while directory.holds(terms) and time.monotonic() < end:
        with suppress(AuditionError, OSError):
            found = find_watcher(docker_host, terms.watcher_name)
            if found is None or has_retired(found):
                with directory.lock():
                    if directory.holds(terms):
                        directory.discard()
        time.sleep(POLL_S)


def run_restorer(docker_host: DockerHost, directory: LeaseDirectory, terms: Terms, image: str) -> None:
    """Start a watcher that does nothing but restore what `terms` names; one that is there already is left."""
    only = terms.model_copy(update={"restore_only": True})
    with suppress(NameTaken):
        run_watcher(docker_host, image, only.model_dump(mode="json"), directory.path, directory.boot_id_file)


def settle_leftover(docker_host: DockerHost, directory: LeaseDirectory, image: str, limit_s: float) -> None:
    """See to a lease that is there when another is wanted.

    A lease with a watcher is somebody's; where that was cut off it is set to work again. One without is what
    a process left that died before it had started the watcher (or whose watcher somebody removed): it is
    restored first, which does no harm.

    Raises:
        LeaseHeld: another run holds the neighbour.
        BadInput: `lease.json` is damaged, and nobody is left to see to it.
        NeighbourNotBack: what was left cannot be restored within `limit_s`.
    """
    end = time.monotonic() + limit_s
    while True:
        with directory.lock():
            terms = read_terms(directory)
            if terms is None:
                return
            found = find_watcher(docker_host, terms.watcher_name)
            last = directory.status(terms.lease_id)
            if found is None or has_retired(found) or never_began(found):
                remove_watcher(docker_host, terms.watcher_name)
                run_restorer(docker_host, directory, terms, image)
            elif last is None or last.ended_utc is None:
                revive(docker_host, terms.watcher_name, found)
                raise explain_held(terms, directory)
            # else its work is done, and it is just clearing away
        await_gone(docker_host, terms.watcher_name, max(0.0, end - time.monotonic()))


def read_terms(directory: LeaseDirectory) -> Terms | None:
    """Return what the lease that is there was agreed on, None where there is none.

    Raises:
        BadInput: `lease.json` is damaged.
    """
    try:
        return directory.terms()
    except DamagedFile as error:
        raise BadInput(f"{error}. `audition neighbour restore` sees to it.") from error


def start_watcher_of(docker_host: DockerHost, directory: LeaseDirectory, terms: Terms, image: str) -> None:
    """Start the watcher; the last one's container may still be on its way out.

    Raises:
        LeaseHeld: a watcher of this neighbour is at work under another lease directory.
    """
    end = time.monotonic() + LEAVING_LIMIT_S
    while True:
        try:
            run_watcher(
                docker_host, image, terms.model_dump(mode="json"), directory.path, directory.boot_id_file
            )
            return
        except NameTaken as error:
            found = find_watcher(docker_host, terms.watcher_name)
            late = time.monotonic() > end
            if has_retired(found) or (late and never_began(found)):
                remove_watcher(docker_host, terms.watcher_name)
            elif late:
                run = (found or {}).get("Config", {}).get("Labels", {}).get("audition.run", "unknown")
                raise LeaseHeld(
                    f"{terms.container} is held by run {run}: its watcher {terms.watcher_name} is at work under "
                    "another lease directory. Wait for that run, and use one neighbour_state_dir on a host."
                ) from error
            time.sleep(POLL_S)
