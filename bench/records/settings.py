"""What a user may set: how a field becomes a variable, and the values that several rooms share.

A setting is declared once, as a field of a `Settings` with a string under it. `python -m tests.docs.generate` makes of
it the roles' argument specs and defaults, the modules' options, and the tables of docs/variables.md.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from bench.records.base import Record

Way = Literal["system", "venv", "container"]
"""How an engine can be installed."""
Started = Literal[Way, "image"]
"""How an engine can be started: installed in a way of ours, or as the image that somebody published."""
Runs = Literal[Started, "http"]
"""How a model runs, somebody else's server among them."""
STATE_DIR = "/var/lib/audition"
"""Where a host keeps what is Audition's."""
LEASE_DIR = f"{STATE_DIR}/lease"
PYTHON_IMAGE = "python:3.12-slim"
"""What our images are built on: the watcher's and the engines'."""
P50_RATIO_LIMIT = 1.2
"""Greatest p50 of the neighbour after over before."""
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Given:
    """How a user gives a field, where its own name, type and default do not say it."""

    name: str = ""
    """Of the variable, in place of the field's."""
    kind: str = ""
    """Ansible's type."""
    times: int = 1
    """The field holds this many times what is given: GIB where a user counts in GiB and the field in bytes."""
    default: Any = None
    """What counts where nothing is given; null: the field's own default."""
    elsewhere: bool = False
    """The variable is declared by another field; its value arrives here too."""
    internal: bool = False
    """No variable: a run works it out."""


INTERNAL = Given(internal=True)
ELSEWHERE = Given(elsewhere=True)


class Settings(Record):
    """A record that users fill: the string under a field is what they read of it."""

    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)
