"""The lease directory: the files through which a run and the watcher talk, and what they hold.

`lease.json` the terms, written once by the holder; `renewal.json` its last sign of life; `request.json`
`stop` or `release`; `status.json` what the watcher does; `history.jsonl` every lease that ended. Times that
decide anything are CLOCK_BOOTTIME seconds together with the boot's id, so no clock change can move them.
"""

import errno
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from bench.errors import AuditionError, BadInput
from bench.neighbour.spec import KERNEL_BOOT_ID, Borrowing, LeaseLimits
from bench.records.base import Record
from bench.records.settings import LEASE_DIR
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now


class Terms(LeaseLimits):
    """What a lease was agreed on: told to the watcher in its environment and kept in `lease.json`."""

    lease_id: str
    run_id: str
    mode: Borrowing
    container: str
    container_id: str
    policy: dict[str, Any]
    """The restart policy to put back, as the Engine API writes it."""
    watcher_name: str
    boot_id: str
    agreed_utc: str
    until_utc: str
    """The hard deadline for people; `hard_deadline_boottime_s` decides."""
    hard_deadline_boottime_s: float
    floor_wait_s: float = 0.0
    """How long the watcher waits for the floor before it starts the neighbour all the same."""
    ready_wait_s: float = 0.0
    """How long it waits for the neighbour's `/health` afterwards."""
    health_url: str | None = None
    holder: str
    restore_only: bool = False


class WatcherStatus(Record):
    """`status.json`, as the watcher writes it."""

    model_config = ConfigDict(extra="ignore")

    lease_id: str
    run_id: str
    state: Literal["new", "armed", "stopping", "held", "restoring", "restored", "refused"]
    reason: str | None
    touched: bool
    watcher_starts: int
    stopped_boottime_s: float | None
    started_boottime_s: float | None
    paused_s: float | None
    start_attempts: int
    terms: dict[str, Any] = {}
    """What the lease was agreed on; kept here too, so that a damaged `lease.json` loses nothing."""
    engines_ended: list[dict[str, Any]]
    engines_left: list[str] = []
    """Containers of the run that could not be ended."""
    floor_reached: bool | None
    room_wanted_bytes: int | None = None
    """What had to be free before the start: the floor, and what the neighbour gave up when it stopped."""
    available_bytes_at_start: int | None
    ready_s: float | None = None
    """From the watcher's start of it until `/health` answered."""
    policy_restored: bool | None
    ready: bool | None
    ended_utc: str | None
    events: list[dict[str, Any]]

    def agreed(self) -> Terms | None:
        """Return the terms, None where they are missing or of another version."""
        try:
            return Terms.model_validate(self.terms)
        except ValueError:
            return None


class DamagedFile(Exception):
    """A file of the lease directory cannot be read as what it should be."""


def boottime_s() -> float:
    """Return seconds since this boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseDirectory:
    """The lease directory of this host."""

    def __init__(self, path: Path = Path(LEASE_DIR), boot_id_file: Path = KERNEL_BOOT_ID) -> None:
        """Name the directory; `prepare` makes it."""
        self.path = path
        self.boot_id_file = boot_id_file

    def boot_id(self) -> str:
        """Return the id of this boot."""
        return self.boot_id_file.read_text().strip()

    def prepare(self) -> None:
        """Make the directory.

        Raises:
            BadInput: it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / "lock").open("a"):
                pass
        except OSError as error:
            raise BadInput(
                f"The lease directory {self.path} cannot be written ({error}). The role `neighbour` makes it; "
                "or set neighbour_state_dir to a directory of this user's."
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory while a lease is taken, or somebody is set to work on one; others wait.

        Never while a neighbour comes back, which may take minutes: who asks then is told who has it.
        """
        with (self.path / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def terms(self) -> Terms | None:
        """Return the lease that exists, None when there is none.

        Raises:
            DamagedFile: `lease.json` is not a lease.
        """
        raw = self._read("lease.json")
        if raw is None:
            return None
        try:
            return Terms.model_validate_json(raw)
        except ValueError as error:
            raise DamagedFile(f"{self.path / 'lease.json'} is damaged: {error}") from error

    def agree(self, terms: Terms) -> None:
        """Write the lease and its first renewal, durably.

        Raises:
            BadInput: the disk is full or cannot be written. Nothing has been stopped.
        """
        try:
            self._write_renewal(terms)
            self._write("lease.json", terms.model_dump(mode="json"))
        except OSError as error:
            self.discard()
            full = " Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else " Mend that"
            raise BadInput(
                f"The lease cannot be written in {self.path} ({error.strerror or error}), so the neighbour was "
                f"not stopped.{full}, then run again."
            ) from error

    def discard(self) -> None:
        """Remove a lease that no watcher has taken up, or that one left."""
        for name in ("lease.json", "renewal.json", "request.json"):
            (self.path / name).unlink(missing_ok=True)

    def renew(self, terms: Terms) -> bool:
        """Say that the holder is alive and well now; return whether its lease is still there.

        A holder that was frozen may find it ended, and another's in its place: nothing is left beside that.
        """
        return self._write_for(terms, "renewal.json", self._write_renewal)

    def _write_renewal(self, terms: Terms) -> None:
        value = {"lease_id": terms.lease_id, "boot_id": self.boot_id(), "boottime_s": boottime_s()}
        self._write("renewal.json", value)

    def _write_for(self, terms: Terms, name: str, write: Callable[[Terms], None]) -> bool:
        """Write a file of a lease, and leave none where the lease is not there before or after it."""
        if not self.holds(terms):
            return False
        write(terms)
        if self.holds(terms):
            return True
        with suppress(OSError, ValueError, RecursionError, AttributeError):
            if json.loads(self._read(name) or b"{}").get("lease_id") == terms.lease_id:
                (self.path / name).unlink(missing_ok=True)
        return False

    def holds(self, terms: Terms) -> bool:
        """Tell whether `lease.json` is this lease's, or cannot be read: the watcher sees to a damaged one."""
        try:
            found = self.terms()
        except DamagedFile:
            return True
        return found is not None and found.lease_id == terms.lease_id

    def renewed_s_ago(self) -> float | None:
        """Return the age of the last renewal; None when there is none of this boot."""
        try:
            raw = json.loads(self._read("renewal.json") or b"{}")
            return boottime_s() - float(raw["boottime_s"]) if raw["boot_id"] == self.boot_id() else None
        except (ValueError, RecursionError, KeyError, TypeError, OverflowError):
            return None

    def ask(self, terms: Terms, action: Literal["stop", "release"], reason: str = "") -> None:
        """Ask the watcher for something; of a lease that is over nothing is left to ask."""
        value = {"lease_id": terms.lease_id, "action": action, "reason": reason, "utc": utc_now()}
        self._write_for(terms, "request.json", lambda _: self._write("request.json", value))

    def status(self, lease_id: str | None = None) -> WatcherStatus | None:
        """Return what the watcher last said, of this lease or of any; None when it has not, or not legibly."""
        raw = self._read("status.json")
        if raw is None:
            return None
        try:
            status = WatcherStatus.model_validate_json(raw)
        except ValueError:
            return None
        return status if lease_id in (None, status.lease_id) else None

    def history(self, run_id: str | None = None) -> list[WatcherStatus]:
        """Return the leases that ended, oldest first, of one run or of all; illegible lines are left out.

        A lease that a second watcher had to end again has several lines: the last counts.
        """
        found: dict[str, WatcherStatus] = {}
        for line in (self._read("history.jsonl") or b"").splitlines():
            try:
                ended = WatcherStatus.model_validate_json(line)
            except ValueError:
                continue
            found[ended.lease_id] = ended
        return [each for each in found.values() if run_id in (None, each.run_id)]

    def find_id(self, container: str) -> str | None:
        """Return the id of the container of this name on which the last lease was; None where there was none."""
        last = self.status()
        ended = self.history() + ([last] if last is not None else [])
        ids = [each.terms.get("container_id") for each in ended if each.terms.get("container") == container]
        return next((str(each) for each in reversed(ids) if each), None)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, name: str, value: Any) -> None:
        write_atomically(self.path / name, json.dumps(value, indent=1).encode())


class LeaseHeld(BadInput):
    """Another run holds the neighbour (exit 2); the message says which and until when."""


class LeaseLost(AuditionError):
    """The lease ended while it was in use; the neighbour is on its way back, and this attempt is over."""


def explain_held(terms: Terms, directory: LeaseDirectory) -> LeaseHeld:
    """Return the error that tells a second run who holds the neighbour and until when."""
    age = directory.renewed_s_ago()
    renewed = "never renewed" if age is None else f"renewed {age:.0f} s ago"
    return LeaseHeld(
        f"{terms.container} is held by run {terms.run_id} ({terms.holder}), until {terms.until_utc} at the "
        f"latest; {renewed}, and it comes back {terms.ttl_s:.0f} s after the last renewal. Wait for that run, or "
        "end it: `audition neighbour status` shows it, `audition neighbour restore` takes the neighbour back."
    )
