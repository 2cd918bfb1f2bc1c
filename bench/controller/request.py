"""What a user asks for: the public variables of a run, in one record."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from bench.catalog.entry import Entry
from bench.catalog.loader import load as load_entry
from bench.client.target import check_base_url
from bench.errors import BadInput
from bench.inputs.gates import clone_gate, licence_gate
from bench.records.base import IntendedUse, NeighbourMode
from bench.records.settings import ELSEWHERE, INTERNAL, Settings


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _at_home(value: object) -> object:
    """An inventory says `~/voice.wav` as a shell does; left as it is, runs would be kept in a folder named `~`."""
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111 (Path's raises RuntimeError)


def _check_url(variable: str, url: str | None) -> None:
    if url is None:
        return
    try:
        check_base_url(url)
    except BadInput as error:
        raise BadInput(f"{variable}: {error}") from error


GivenPath = Annotated[Path, BeforeValidator(_at_home)]
OptionalPath = Annotated[Path | None, BeforeValidator(_at_home), BeforeValidator(_none_if_empty)]
OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]


def refuse_unpinned(entry: Entry) -> None:
    """Refuse to fetch what nobody has looked up.

    Raises:
        BadInput: the entry leaves it null.
    """
    if lacking := entry.unpinned():
        raise BadInput(
            f"{entry.name} is not pinned: {', '.join(lacking)} is null in its entry. `audition pin {entry.name}` looks "
            "it up and writes an entry of your own to read over; then name its folder in catalog_dir."
        )


class RunRequest(Settings):
    """The variables every phase resolves its run by (docs/variables.md). An empty string means "not given"."""

    model: str
    """The candidate, by its name in the catalog."""
    profile: str = "upstream"
    """Which of the candidate's profiles is measured and rated. `upstream` is the package as it ships."""
    model_url: OptionalText = None
    """Where the candidate is served, as seen from the host; for a candidate of kind `http`, or one whose entry has
    `served`."""
    chain: list[str] = []
    """The survey's models in order; by default the candidate alone."""
    together: bool = False
    """`audition survey` measures every model of `chain` and has them rated in one sitting. False: one after another,
    and a swap ends it."""
    choice: Literal["none", "highest_mean"] = "none"
    """With `together`, which of several that pass is taken: none (all are named), or the one whose mean lies highest
    above the baseline's."""
    baseline: str
    """The model in service, by its name in the catalog."""
    baseline_profile: str = "upstream"
    """The baseline's profile."""
    baseline_url: OptionalText = None
    """Where the baseline is served, as seen from the candidate's host; for a baseline of kind `http`, or one whose
    entry has `served`."""
    intended_use: IntendedUse = "personal"
    """What the winner would be used for; the licence gate goes by it."""
    question: str = "How much does this sound like the reference speaker?"
    """What raters are asked, printed exactly and committed to by its hash."""
    second_question: OptionalText = None
    """A further question on the same scale, "How natural does this sound?" for instance: asked beside the first and
    reported, while the rule reads the first alone."""
    service_channel: Literal["rule", "full", "narrowband", "wideband"] = "rule"
    """Through which channel the service is heard: the rule counts the ratings that were given through it. `rule` is the
    one that rule_file names, and `full` where it names none."""
    reference_audio: GivenPath
    """The recording of the voice to clone."""
    reference_transcript: OptionalPath = None
    """Its words (SRT, VTT, JSON or plain text). A run without them is refused."""
    reference_rights: OptionalPath = None
    """The rights statement (YAML or JSON). A run without it is refused."""
    utterances_file: OptionalPath = None
    """What is spoken, one sentence a line; empty for the ten that ship."""
    rule_file: OptionalPath = None
    """The rule; empty for the one that ships (bench/inputs/rule.yml)."""
    catalog_dir: OptionalPath = None
    """A folder of your own catalog entries, which win over ours."""
    runs_dir: GivenPath
    """Where run directories are, on the controller; by default `runs` in the checkout."""
    run_id: OptionalText = None
    """The run to work on; empty for the newest unfinished one with the same inputs, else a new one."""
    host: Annotated[str, INTERNAL] = Field(min_length=1)
    """The host's name in the inventory."""
    neighbour_mode: Annotated[NeighbourMode, ELSEWHERE] = "none"

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
        entry = load_entry(self.model, self.catalog_dir).at(self.model_url)
        if self.profile not in entry.profiles:
            raise BadInput(
                f"{self.model} has no profile '{self.profile}'; it has: {', '.join(entry.profiles)}."
            )
        # Nobody has to serve what a gate refuses anyway: such a run ends with a decision.
        passes = all(gate.ok for gate in (licence_gate(entry, self.intended_use), clone_gate(entry, None)))
        if entry.started is None and self.model_url is None and passes:
            raise BadInput(f"{self.model} is served by somebody else: say where in model_url.")
        if entry.started is None:
            _check_url("model_url", self.model_url)
        if passes:
            refuse_unpinned(entry)
        return entry

    def baseline_entry(self) -> Entry:
        """Return the baseline's catalog entry."""
        entry = load_entry(self.baseline, self.catalog_dir).at(self.baseline_url)
        if self.baseline == self.model:
            raise BadInput(f"model and baseline are both '{self.model}'; a model cannot replace itself.")
        if self.baseline_profile not in entry.profiles:
            known = ", ".join(entry.profiles)
            raise BadInput(f"{self.baseline} has no profile '{self.baseline_profile}'; it has: {known}.")
        if entry.started is None and self.baseline_url is None:
            raise BadInput(f"{self.baseline} is served by somebody else: say where in baseline_url.")
        if entry.started is None:
            _check_url("baseline_url", self.baseline_url)
        refuse_unpinned(entry)
        return entry
