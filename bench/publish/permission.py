"""What of a run may leave the machine: by the rights to the voice, and by the licence of what spoke."""

import datetime
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from bench.catalog.entry import Entry, Licence
from bench.inputs.rights import Rights
from bench.records.base import IntendedUse
from bench.records.run import Manifest

Side = Literal["candidate", "baseline"]
SIDES: tuple[Side, ...] = ("candidate", "baseline")

_NO_DERIVATIVES = re.compile(r"(^|-)ND(-|$)")
_UNKNOWN = ("NONE", "NOASSERTION")


@dataclass(frozen=True, slots=True)
class Permission:
    """Why clips stay at home, by side; None where they may go."""

    voice: str | None
    """Why the rights to the voice forbid it, which holds for both sides."""
    licence: dict[Side, str | None]
    """Why the licence of a side's weights forbids it."""

    def withheld(self, side: Side) -> str | None:
        """Return why the clips of `side` may not be published, or None."""
        return self.voice or self.licence[side]


def read_permission(manifest: Manifest, today: datetime.date) -> Permission:
    """Read what the manifest committed to.

    The rights statement decides first: it must say `may_publish_clips` and must not have expired by `today`. Then
    the licence of each model's weights: one that forbids derivatives, or is not known, forbids its speech too
    (whether speech is a derivative is disputed; the careful reading costs a reader of the branch ten clips), and
    so does one that forbids commercial use where the run's intended use is commercial. A program's licence says
    nothing of what it speaks, so a model without weights is free.
    """
    given = manifest.reference.get("given")
    try:
        rights = Rights.model_validate(given.get("rights") if isinstance(given, dict) else None)
    except ValidationError:
        voice: str | None = "the run has no rights statement that can be read"
    else:
        voice = _voice(rights, today)
    return Permission(
        voice=voice,
        licence={
            "candidate": _licence(manifest.entry, manifest.intended_use),
            "baseline": _licence(manifest.baseline_entry, manifest.intended_use),
        },
    )


def _voice(rights: Rights, today: datetime.date) -> str | None:
    if not rights.may_publish_clips:
        return "the rights to the reference voice do not allow it (may_publish_clips: false)"
    if rights.expires is not None and rights.expires < today:
        return f"the rights to the reference voice ended on {rights.expires}"
    return None


def _licence(raw: object, use: IntendedUse) -> str | None:
    try:
        entry = Entry.model_validate(raw)
    except ValidationError:
        return "the catalog entry in the manifest cannot be read"
    weights = entry.licences.weights
    return None if weights is None else _forbids(weights, use)


def _forbids(licence: Licence, use: IntendedUse) -> str | None:
    name = licence.spdx.upper()
    if name in _UNKNOWN:
        return "the licence of the weights is not known"
    if _NO_DERIVATIVES.search(name):
        return f"the weights are licensed {licence.spdx}, which forbids derivatives"
    if use == "commercial" and not licence.commercial_use:
        return f"the weights are licensed {licence.spdx} and the intended use is commercial"
    return None
