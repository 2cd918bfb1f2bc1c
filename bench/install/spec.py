"""What the install phase is told."""

from typing import Any

from bench.catalog.entry import Entry
from bench.records.base import Record
from bench.records.run import InstallStep

DOWNLOADS_LIMIT_S = 12 * 3600.0
"""Waiting for downloads does not count against `install_timeout_s`; past this somebody should look."""


class InstallSpec(Record):
    """`install.json` of the job: what the sentence proves, and what to install before it is said."""

    receipt: str
    limit_s: float
    sources_mirror: str = ""
    """Where upstream's repositories are fetched from, in place of upstream's own."""
    before: list[InstallStep] = []
    """What Ansible did before (system packages, weights), with its seconds."""
    weights: list[dict[str, Any]] = []
    """The report of each file of weights."""


def describe_asked(entry: Entry, install: str) -> dict[str, Any]:
    """Return what was asked for, as the record of an installation has it."""
    return {"version": entry.version.asked or entry.version.pin, "install": install}


def describe_ran(health: dict[str, Any], install: str, utc: str) -> dict[str, Any]:
    """Return what spoke, as the record of an installation has it."""
    return {"version": health.get("revision"), "device": health.get("device"), "install": install, "utc": utc}
