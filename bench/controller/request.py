"""What a user asks for: the public variables of a run, in one record."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from bench.catalog.entry import Entry
from bench.catalog.loader import load as load_entry
from bench.errors import BadInput
from bench.inputs.gates import clone_gate, licence_gate
from bench.records.base import IntendedUse, NeighbourMode, Record

DEFAULT_QUESTION = "How much does this sound like the reference speaker?"


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _at_home(value: object) -> object:
    """An inventory says `~/voice.wav` as a shell does; left as it is, runs would be kept in a folder named `~`."""
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111 (Path's raises RuntimeError)


GivenPath = Annotated[Path, BeforeValidator(_at_home)]
OptionalPath = Annotated[Path | None, BeforeValidator(_at_home), BeforeValidator(_none_if_empty)]
OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]


class RunRequest(Record):
    """The variables every phase resolves its run by (docs/variables.md). An empty string means "not given"."""

    runs_dir: GivenPath
    host: str = Field(min_length=1)
    model: str
    run_id: OptionalText = None
    profile: str = "upstream"
    model_url: OptionalText = None
    baseline: str
    baseline_profile: str = "upstream"
    baseline_url: OptionalText = None
    intended_use: IntendedUse = "personal"
    neighbour_mode: NeighbourMode = "none"
    reference_audio: GivenPath
    reference_transcript: OptionalPath = None
    reference_rights: OptionalPath = None
    utterances_file: OptionalPath = None
    rule_file: OptionalPath = None
    question: str = DEFAULT_QUESTION
    chain: list[str] = []
    catalog_dir: OptionalPath = None
    engine_install: Literal["auto", "system", "venv", "container"] = "auto"

    @classmethod
    def of(cls, raw: object) -> "RunRequest":
        """Read the variables as Ansible or the command line gives them.

        Raises:
            BadInput: a variable is missing or wrong; the message names it.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(f"{faults}. docs/variables.md lists every variable.") from error

    def entry(self) -> Entry:
        """Return the candidate's catalog entry."""
        entry = load_entry(self.model, self.catalog_dir)
        if self.profile not in entry.profiles:
            raise BadInput(
                f"{self.model} has no profile '{self.profile}'; it has: {', '.join(entry.profiles)}."
            )
        # Nobody has to serve what a gate refuses anyway: such a run ends with a decision.
        passes = all(gate.ok for gate in (licence_gate(entry, self.intended_use), clone_gate(entry, None)))
        if entry.run.kind == "http" and self.model_url is None and passes:
            raise BadInput(f"{self.model} is served by somebody else: say where in model_url.")
        return entry

    def baseline_entry(self) -> Entry:
        """Return the baseline's catalog entry."""
        entry = load_entry(self.baseline, self.catalog_dir)
        if self.baseline == self.model:
            raise BadInput(f"model and baseline are both '{self.model}'; a model cannot replace itself.")
        if self.baseline_profile not in entry.profiles:
            known = ", ".join(entry.profiles)
            raise BadInput(f"{self.baseline} has no profile '{self.baseline_profile}'; it has: {known}.")
        if entry.run.kind == "http" and self.baseline_url is None:
            raise BadInput(f"{self.baseline} is served by somebody else: say where in baseline_url.")
        if entry.run.kind == "engine" and "system" not in entry.run.install:
            raise BadInput(
                f"{self.baseline} cannot be the baseline as it is: Audition serves a baseline itself only from system "
                "packages. Serve it over HTTP, and give an entry of kind http and baseline_url."
            )
        return entry
