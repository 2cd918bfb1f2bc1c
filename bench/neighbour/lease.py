"""Borrowing the GPU from the neighbour for as long as a block runs, and getting it its place back.

`borrow` is called by the benchmarking process on the host. It agrees on a lease, starts the watcher, and
asks it to stop the neighbour; a thread renews the lease while the step is alive. Whichever way the block is
left, the watcher gives the neighbour back, and when this process is gone it does so without it.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from pydantic import Field

from bench.client.chat import shortfall
from bench.docker_host.host import DockerHost, DockerSilent
from bench.errors import AuditionError, BadInput, NeighbourNotBack
from bench.memory.meminfo import read_available_bytes
from bench.neighbour.container import Neighbour, spell_policy
from bench.neighbour.lease_files import (
    LeaseDirectory,
    LeaseLost,
    Terms,
    WatcherStatus,
    boottime_s,
    explain_held,
)
from bench.neighbour.outage import Mark, split_outage
from bench.neighbour.proof import NeighbourSlower, Proof, fail
from bench.neighbour.readiness import check_serving, find_root, make_direct_client
from bench.neighbour.record import enter_leases
from bench.neighbour.restarters import find_restarters
from bench.neighbour.snapshot import check_can_pause, check_well, take_snapshot
from bench.neighbour.spec import KERNEL_BOOT_ID, Borrowing, LeaseLimits, NeighbourSpec
from bench.neighbour.watcher_container import (
    build_watcher,
    find_watcher,
    name_watcher,
    remove_watcher,
)
from bench.neighbour.watcher_control import (
    POLL_S,
    await_return,
    has_retired,
    read_terms,
    revive,
    settle_leftover,
    start_watcher_of,
)
from bench.records.neighbour import LeaseAccount, NeighbourRecord, Snapshot
from bench.storage.clock import utc_now


class LeaseRequest(NeighbourSpec):
    """What a run asks for: the neighbour's spec, and the run's own values."""

    container: str
    run_id: str = Field(min_length=1)
    url: str
    mode: Borrowing = "pause"
    boot_id_file: Path = KERNEL_BOOT_ID


class Grant:
    """What the block has while it borrows."""

    def __init__(self, record: NeighbourRecord, url: str | None) -> None:
        """Begin with nothing lost."""
        self.record = record
        self.url = url
        self.marks: list[Mark] = []
        """What the job was at, for the record of where the seconds went."""
        self.lost: str | None = None
        """Why the lease ended early; None while it holds. The engine may be dead by then."""

    def mark(self, reason: str) -> None:
        """Note that what goes on from now on has this reason (`bench.neighbour.outage`)."""
        self.marks.append((boottime_s(), reason))

    def check(self) -> None:
        """Check that the lease still holds: call it between takes.

        Raises:
            LeaseLost: it does not; the neighbour is on its way back.
        """
        if self.lost is not None:
            raise LeaseLost(f"The neighbour was taken back while the engine was in use: {self.lost}.")


class Lease:
    """One lease on this host, as its holder sees it."""

    def __init__(
        self, docker_host: DockerHost, directory: LeaseDirectory, terms: Terms, grant: Grant
    ) -> None:
        self.docker_host = docker_host
        self.directory = directory
        self.terms = terms
        self.grant = grant
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    # Waiting for the watcher

    def await_state(self, wanted: str, limit_s: float) -> None:
        """Wait until the watcher says it is in a state.

        Raises:
            LeaseLost: it went to another one, or died.
            BadInput: it refused.
        """
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            status = self.directory.status(self.terms.lease_id)
            if status is not None and status.state == wanted:
                return
            if status is not None and status.state == "refused":
                raise BadInput(f"The watcher refused to stop {self.terms.container}: {status.reason}.")
            if status is not None and status.state in ("restoring", "restored"):
                raise LeaseLost(f"The watcher ended the lease before it was {wanted}: {status.reason}.")
            self.grant.check()
            with suppress(DockerSilent):
                found = find_watcher(self.docker_host, self.terms.watcher_name)
                if has_retired(found):
                    raise LeaseLost(f"The watcher ended before it was {wanted}. {self._last_words()}")
                revive(self.docker_host, self.terms.watcher_name, found)
            time.sleep(POLL_S)
        raise LeaseLost(f"The watcher was not {wanted} within {limit_s:.0f} s. {self._last_words()}")

    def _last_words(self) -> str:
        with suppress(AuditionError, OSError):
            return f"It said: {self.docker_host.log_tail(self.terms.watcher_name)}"
        return ""

    # Renewing

    @contextmanager
    def renewed(self, alive: Callable[[], bool]) -> Iterator[None]:
        """Renew in a thread of this process while `alive()`; a process that stops or dies renews no more.

        A second thread keeps the watcher running: it asks Docker, which may be silent for minutes, and a
        renewal must not wait for that.
        """
        every = min(2.0, self.terms.ttl_s / 4)
        self._threads = [
            threading.Thread(target=self._renew, args=(alive, every), name="lease renewal", daemon=True),
            threading.Thread(target=self._keep_watcher, args=(3 * every,), name="lease watcher", daemon=True),
        ]
        for each in self._threads:
            each.start()
        try:
            yield
        finally:
            self._stop_renewing()

    def _stop_renewing(self) -> None:
        self._ended.set()
        for each in self._threads[:1]:
            each.join(timeout=10.0)

    def _renew(self, alive: Callable[[], bool], every_s: float) -> None:
        while not self._ended.wait(every_s):
            try:
                if self.grant.lost is None and not _is(alive):
                    self._lose("the controller is gone, or the step is past its time")
                    self.directory.ask(self.terms, "release", str(self.grant.lost))
                elif self.grant.lost is None:
                    there = self.directory.renew(self.terms)
                    self._look_at_status()
                    if not there:
                        self._lose("it ended, or its file was removed, and was not renewed in time")
            except OSError as error:
                self._lose(f"the lease cannot be renewed: {error}")

    def _look_at_status(self) -> None:
        status = self.directory.status(self.terms.lease_id)
        if status is not None and status.state in ("restoring", "restored", "refused"):
            self._lose(status.reason or "the watcher gave the neighbour back")

    def _keep_watcher(self, every_s: float) -> None:
        """Start the watcher again where somebody stopped it; Docker itself does after a crash."""
        while not self._ended.wait(every_s):
            status = self.directory.status(self.terms.lease_id)
            if status is not None and status.ended_utc is not None:
                return
            with suppress(AuditionError, OSError):  # the lease holds or lapses without Docker
                found = find_watcher(self.docker_host, self.terms.watcher_name)
                if not self._ended.is_set():
                    revive(self.docker_host, self.terms.watcher_name, found)

    def _lose(self, reason: str) -> None:
        if self.grant.lost is None:
            self.grant.lost = reason

    # The end

    def release(self, reason: str) -> None:
        """Ask for the neighbour's return; where the disk is full the lease lapses instead."""
        self._stop_renewing()  # the watcher clears the directory away once it is done
        with suppress(OSError):
            self.directory.ask(self.terms, "release", reason)


def _is(alive: Callable[[], bool]) -> bool:
    try:
        return bool(alive())
    except Exception:  # noqa: BLE001 (whatever is wrong with the heartbeat, it is not fresh)
        return False


def acquire(
    request: LeaseRequest, docker_host: DockerHost, directory: LeaseDirectory, before: Snapshot, image: str
) -> Terms:
    """Agree on a lease and start its watcher.

    Raises:
        LeaseHeld: another run holds the neighbour.
        BadInput: the lease cannot be written.
    """
    settle_leftover(docker_host, directory, image, compute_return_limit_s(request))
    name = name_watcher(before.name)
    now = datetime.now(UTC)
    terms = Terms(
        lease_id=uuid.uuid4().hex,
        run_id=request.run_id,
        mode=request.mode,
        container=before.name,
        container_id=before.container_id,
        policy=spell_policy(before.policy),
        watcher_name=name,
        boot_id=directory.boot_id(),
        agreed_utc=utc_now(),
        until_utc=(now + timedelta(seconds=request.hard_limit_s)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        hard_deadline_boottime_s=boottime_s() + request.hard_limit_s,
        floor_wait_s=request.memory_wait_s,
        ready_wait_s=request.ready_limit_s,
        health_url=f"{find_root(request.url)}/health",
        holder=f"process {os.getpid()} on {socket.gethostname()}",
        **request.model_dump(include=set(LeaseLimits.model_fields)),
    )
    with directory.lock():
        if (other := read_terms(directory)) is not None:
            raise explain_held(other, directory)
        directory.agree(terms)
        try:
            start_watcher_of(docker_host, directory, terms, image)
        except BaseException:
            directory.discard()
            with suppress(AuditionError, OSError):
                _remove_own_watcher(docker_host, terms)
            raise
    return terms


def _remove_own_watcher(docker_host: DockerHost, terms: Terms) -> None:
    """Remove the watcher of a lease that was not taken: made and not started it would keep everybody out."""
    found = find_watcher(docker_host, terms.watcher_name)
    if found is not None and any(terms.lease_id in each for each in found["Config"]["Env"]):
        remove_watcher(docker_host, terms.watcher_name)


def compute_return_limit_s(request: LeaseRequest) -> float:
    """Return how long a holder waits for the watcher to give the neighbour back, in seconds."""
    return request.memory_wait_s * 2 + request.ready_limit_s + request.ttl_s + 60.0


@contextmanager
def borrow(
    request: LeaseRequest,
    alive: Callable[[], bool],
    *,
    docker_host: DockerHost | None = None,
    save: Callable[[NeighbourRecord], object] | None = None,
    proof: Proof | None = None,
) -> Iterator[Grant]:
    """Borrow the GPU: the neighbour is stopped while the block runs, or watched beside it in parallel mode.

    The block starts once the neighbour is stopped and `engine_bytes` are free. Leaving it, in order or by an
    exception, gives the neighbour back, waits for it, and proves that it is the same and as fast.

    Args:
        request: what is asked for.
        alive: whether the controller's heartbeat is fresh and the step within its time; asked every 2 s.
        docker_host: the connection to Docker; by default one to this host's socket.
        save: called with the record whenever it changed, so that `neighbour.json` tells of a run that died.
        proof: how readiness and p50 are taken; by default as `request` says.

    Raises:
        BadInput: the neighbour cannot be borrowed; it has not been touched, or is back.
        LeaseHeld: another run holds it.
        LeaseLost: the lease ended before the block began.
        NeighbourNotBack: after the block: it is not up, or not the same container.
        NeighbourSlower: after the block, however that ended: it is back, and its p50 drifted beyond the limit.
    """
    docker_host = docker_host or DockerHost()
    proof = proof or Proof(ready_limit_s=request.ready_limit_s, settle_s=request.settle_s)
    record = NeighbourRecord(
        mode=request.mode,
        name=request.container,
        url=request.url,
        run_id=request.run_id,
        limit=request.ratio_limit,
    )
    note = save or (lambda _record: None)
    directory = LeaseDirectory(request.lease_dir, request.boot_id_file)
    directory.prepare()
    image, _built = build_watcher(docker_host, request.watcher_base)
    settle_leftover(docker_host, directory, image, compute_return_limit_s(request))
    before = _look(request, docker_host, record, proof)
    grant = Grant(record, request.url)
    terms = acquire(request, docker_host, directory, before, image)
    lease = Lease(docker_host, directory, terms, grant)
    problem: BaseException | None = None
    status: WatcherStatus | None = None
    try:
        with lease.renewed(alive):
            try:
                record.state = "held"
                record.verdict = f"{before.name} is lent to run {request.run_id} until {terms.until_utc}."
                note(record)
                take_hold(request, lease)
                yield grant
                grant.check()
            except BaseException as error:  # noqa: BLE001 (raised again below, once the neighbour is back)
                problem = error
            lease.release("the block ended" if problem is None else f"the block failed: {problem!r}"[:300])
            status = await_return(docker_host, directory, terms, image, compute_return_limit_s(request))
    except NeighbourNotBack as error:
        fail(record, "not_back", str(error))
        raise error from problem
    finally:
        _account(record, directory, terms, grant.marks)
        note(record)
    try:
        same = Neighbour(docker_host, before.name, before.container_id, by_id=True)
        proof.prove(record, same, status)
    except NeighbourSlower as error:
        if problem is None:
            raise
        if isinstance(problem, Exception):
            raise NeighbourSlower(
                f"{error} Before that the attempt itself had failed: {problem}"
            ) from problem
    except NeighbourNotBack as error:
        raise error from problem
    finally:
        note(record)
    if problem is not None:
        raise problem


def _look(request: LeaseRequest, docker_host: DockerHost, record: NeighbourRecord, proof: Proof) -> Snapshot:
    """Record what the neighbour is like before it is touched.

    Raises:
        BadInput: it is not up and well, or something else answers at its address.
    """
    known = LeaseDirectory(request.lease_dir).find_id(request.container)
    neighbour = Neighbour(docker_host, request.container, known)
    before = take_snapshot(neighbour)
    (check_can_pause if request.mode == "pause" else check_well)(before)
    record.before.snapshot = before
    record.restarters = find_restarters(neighbour.inspect())
    record.before.readiness = check_serving(request.url)
    if not request.measure:
        return before
    latency = proof.measure(request.url)
    record.before.latency = [latency]
    record.before.p50_ms, record.before.p50_of_5_ms = latency.total_ms.p50, latency.p50_of_5_ms
    if (fault := shortfall(latency, proof.min_samples)) is not None:
        raise BadInput(
            f"The neighbour's latency could not be taken ({fault}), so its return could "
            "not be proved. See that it answers chat requests at neighbour_url."
        )
    return before


def take_hold(request: LeaseRequest, lease: Lease) -> None:
    """Have the neighbour stopped and see the memory come free; in parallel mode, be watched.

    Raises:
        BadInput: the watcher refused, or something else serves at the neighbour's address.
        LeaseLost: the lease ended first, or the engine's memory did not come free.
    """
    if request.mode == "parallel":
        lease.await_state("held", 60.0)
        return
    lease.await_state("armed", 60.0)
    lease.directory.ask(lease.terms, "stop")
    lease.await_state("held", request.stop_timeout_s + 90.0)
    _check_silent(request)
    end = time.monotonic() + request.memory_wait_s
    while (free := read_available_bytes()) is not None and free < request.engine_bytes:
        if time.monotonic() > end:
            raise LeaseLost(
                f"With {request.container} stopped {free} bytes are free and the engine needs "
                f"{request.engine_bytes}: something else holds the memory. The neighbour is given back."
            )
        lease.grant.check()
        time.sleep(POLL_S)


def _check_silent(request: LeaseRequest) -> None:
    """Check that with the neighbour stopped nothing answers at its address.

    Raises:
        BadInput: something does, so what was measured there was not the neighbour.
    """
    with suppress(httpx.HTTPError):
        with make_direct_client(5.0) as client:
            answer = client.get(f"{find_root(request.url)}/health")
        raise BadInput(
            f"With {request.container} stopped, {request.url} still answers ({answer.status_code}): another "
            "program serves there. Give neighbour_url the neighbour's own address."
        )


def _account(record: NeighbourRecord, directory: LeaseDirectory, terms: Terms, marks: Sequence[Mark]) -> None:
    """Enter this run's leases: those of earlier, interrupted attempts as well."""
    ended = directory.history(terms.run_id)
    if not any(each.lease_id == terms.lease_id for each in ended):
        status = directory.status(terms.lease_id)
        ended += [status] if status is not None else []
    enter_leases(record, list_accounts(ended, {terms.lease_id: marks}))


def list_accounts(
    ended: list[WatcherStatus], marks: Mapping[str, Sequence[Mark]] | None = None
) -> list[LeaseAccount]:
    """Return what a run's record tells of leases that ended; `marks` by lease, of those whose job could tell."""
    return [
        LeaseAccount(
            lease_id=each.lease_id,
            stopped=each.touched and each.terms.get("mode", "pause") == "pause",
            reason=each.reason,
            seconds=each.paused_s,
            start_attempts=each.start_attempts,
            engines_ended=[str(one.get("name")) for one in each.engines_ended],
            watcher_starts=each.watcher_starts,
            engines_left=each.engines_left,
            floor_reached=each.floor_reached,
            outage=split_outage(each, (marks or {}).get(each.lease_id, ())),
            events=each.events,
        )
        for each in ended
    ]
