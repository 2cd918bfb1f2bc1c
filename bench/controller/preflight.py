"""Preflight's own gates, and its record."""

import time
from dataclasses import dataclass

from bench.catalog.entry import Entry
from bench.controller.run import Run, explain_full_disk, note_phase
from bench.inputs.gates import CLONE_ENCODER, clone_gate, licence_gate, notices
from bench.listening.sound_check import can_speak
from bench.preflight.spec import HostReport
from bench.records.base import IntendedUse
from bench.records.run import Check, Preflight
from bench.storage.clock import utc_at
from bench.storage.record_file import save_record


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates that need no host and no download."""

    checks: list[Check]
    notices: list[str]

    @property
    def refused(self) -> str:
        """Return the name of the gate that ends the run, or an empty string."""
        return next(
            (check.name for check in self.checks if check.severity == "gate" and check.ok is False), ""
        )

    def fact(self, name: str) -> str:
        """Return what a check says."""
        return next(check.detail for check in self.checks if check.name == name)


def check_gates(entry: Entry, intended_use: IntendedUse) -> Gates:
    """Make the checks that a catalog entry alone decides; not one request is made."""
    return Gates([licence_gate(entry, intended_use), clone_gate(entry, None), proved(entry)], notices(entry))


def proved(entry: Entry) -> Check:
    """Return what was run of the model before, as its entry says: a fact, which refuses nothing."""
    proofs = entry.proofs()
    detail = "; ".join(proofs) or "nothing: nobody has run this entry and written it down"
    return Check(name="proved", ok=bool(proofs) or None, value=len(proofs), detail=f"{entry.title}: {detail}")


def warn_of_rating() -> list[str]:
    """Say at the beginning what `audition rate` will lack on this machine in the end."""
    if can_speak():
        return []
    return [
        "this machine has no flite, which speaks the sound check's digits: `audition rate` will refuse until it has. "
        "`make setup` installs it (Debian: apt-get install flite); the run goes on meanwhile"
    ]


def apply_card(found: Gates, report: HostReport) -> tuple[Gates, HostReport]:
    """Return the gates as the model card leaves them, and the report without them.

    The host reads the card, for the hub is reached from there; its word on the clone encoder takes the place of
    what the entry alone said.
    """
    read = {check.name: check for check in report.checks if check.name == CLONE_ENCODER}
    gates = Gates([read.get(check.name, check) for check in found.checks], found.notices)
    others = [check for check in report.checks if check.name not in read]
    return gates, report.model_copy(update={"checks": others})


def write_preflight(run: Run, found: Gates, report: HostReport | None, since: float | None = None) -> bool:
    """Write `preflight.json` once; returns whether it was written. `since` is when the phase began, by default now."""
    if "preflight" in run.phases() and run.preflight_passed() == (not found.refused):
        return False
    record = Preflight(
        host=report.host if report else {},
        checks=found.checks + (report.checks if report else []),
        forecast=report.forecast if report else {},
        notices=found.notices,
    )
    with explain_full_disk(run.path):
        save_record(record, run.path)
    started = utc_at(since or time.time())
    note_phase(run, "preflight", started, note=f"refused: {found.refused}" if found.refused else None)
    return True
