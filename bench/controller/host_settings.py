"""How a host is treated, as the inventory says, and where a model's engine lives there."""

import os
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from bench.catalog.entry import Entry, HttpRun, WeightFile
from bench.controller.parts import Part, find_engine_part
from bench.controller.wheel import REPO
from bench.engines.image.context import name_image
from bench.errors import BadInput
from bench.install.sources import name_tree
from bench.jobs.spec import JobLimits
from bench.neighbour.spec import NeighbourSpec
from bench.records.settings import ELSEWHERE, PYTHON_IMAGE, STATE_DIR, Given, Runs, Settings, Way
from bench.storage.digests import sha256_bytes, sha256_file
from bench.weights.store import revision_of
from bench.weights.whisper import WHISPER_MODELS


def _absolute(given: str) -> str:
    if given and not given.startswith("/"):
        raise ValueError(f"'{given}' must be an absolute path on the host")
    return given


def _spaceless(given: str) -> str:
    if any(character.isspace() for character in given):
        raise ValueError(f"'{given}' must have no space in it: Ansible starts the host's Python by this path")
    return given


def _known_whisper(given: str) -> str:
    if given and given not in WHISPER_MODELS and not given.startswith("/"):
        known = ", ".join(WHISPER_MODELS)
        raise ValueError(f"'{given}' must be one of {known}, or the absolute path of a model on the host")
    return given


HostPath = Annotated[str, AfterValidator(_absolute), Given(kind="path")]


class RoleSettings(Settings):
    """What the roles themselves go by; no job needs it."""

    manage_packages: bool = True
    """Whether Ansible may install system packages on the host."""


class HostSettings(JobLimits):
    """What the inventory says of a host, as far as a job needs it (docs/variables.md)."""

    state_dir: Annotated[HostPath, AfterValidator(_spaceless)] = STATE_DIR
    """Where a host keeps venvs, weights, receipts, jobs and the lease."""
    engine_install: Literal["auto", Way] = "auto"
    """How the candidate's engine runs; `auto` is a container beside a neighbour, else system packages or a venv."""
    engine_port: int = Field(default=0, ge=0, le=65535)
    """The engine's port on the host's loopback; 0 takes any free one."""
    engine_image_base: str = PYTHON_IMAGE
    """What an engine's image is built on; a Python 3.11 or 3.12 with venv."""
    install_timeout_s: float = Field(default=3600.0, gt=0)
    """Limit of an installation in seconds; waiting for downloads is no part of it."""
    sources_mirror: str = ""
    """A folder on the host, or an address, with the repositories of a model whose code is no package, as
    `<owner>/<name>.git` or in a folder also `<owner>/<name>.bundle`; empty fetches from where upstream publishes it."""
    weights_store: Annotated[HostPath, ELSEWHERE] = ""
    """Empty: `weights` under `state_dir`."""
    weights_endpoint: Annotated[str, ELSEWHERE] = ""
    weights_token_file: Annotated[str, ELSEWHERE] = ""
    model_token_env: str = ""
    """Variable of the controller's environment that holds the candidate's bearer token."""
    model_voice_accepted: str = ""
    """Who heard that a candidate served by somebody else, whose voice check was `unclear`, speaks in the voice asked
    for; recorded in their words. Empty stops at `unclear`."""
    baseline_token_env: str = ""
    """Variable of the controller's environment that holds the baseline's bearer token."""
    baseline_voice_accepted: str = ""
    """The same of a baseline served by somebody else."""
    share_baseline: bool = False
    """Use the baseline's takes of an earlier run of the survey on this host, while nobody can have heard them; metrics
    and clips are made anew."""
    similarity_python: str = ""
    """An interpreter on the host with Resemblyzer; empty measures no speaker similarity."""
    whisper_model: Annotated[str, AfterValidator(_known_whisper)] = ""
    """What the words are recognised by: `tiny.en` or `base.en`, which install fetches with the weights, or a directory
    on the host with another Whisper model for faster-whisper; empty measures no word error rate."""
    neighbour: NeighbourSpec = NeighbourSpec()

    @classmethod
    def of(cls, raw: object) -> "HostSettings":
        """Read the settings as the inventory gives them.

        Raises:
            BadInput: one is missing or wrong; the message names it.
        """
        try:
            settings = cls.model_validate(raw)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(f"{faults}. docs/variables.md lists every variable.") from error
        neighbour = settings.neighbour
        if neighbour.mode != "none" and not (neighbour.container and neighbour.url):
            raise BadInput(
                f"neighbour_mode is {neighbour.mode}: name the container in neighbour_container, and its API in "
                "neighbour_url, which proves that it is back."
            )
        return settings

    def token(self, side: Literal["model", "baseline"], entry: Entry) -> str | None:
        """Return the bearer token for a side's server: from the inventory's variable, else from the entry's.

        Raises:
            BadInput: the inventory names a variable of the environment that is not set.
        """
        if not isinstance(entry.run, HttpRun):
            return None
        named = self.model_token_env if side == "model" else self.baseline_token_env
        if named and not os.environ.get(named):
            raise BadInput(
                f"{side}_token_env names {named}, which is not set in this environment; export it, or set "
                f"{side}_token_env to an empty string."
            )
        return os.environ.get(named or entry.run.auth_env or "") or None

    def store(self) -> Path:
        """Return the folder of weights on the host."""
        return Path(self.weights_store or f"{self.state_dir}/weights")

    def whisper_weights(self) -> tuple[WeightFile, ...]:
        """Return the files of the Whisper model that is to be fetched; none of a directory that is there."""
        return WHISPER_MODELS.get(self.whisper_model, ())

    def whisper_folder(self) -> Path | None:
        """Return where the Whisper model lies on the host, or None where words are not recognised."""
        files = self.whisper_weights()
        if files:
            return revision_of(self.store(), files[0])
        return Path(self.whisper_model) if self.whisper_model else None

    def job_dir(self, run_id: str, phase: str) -> str:
        """Return where a new attempt at a job lives on the host; each attempt has its own directory."""
        return f"{self.state_dir}/jobs/{run_id}/{phase}-{time.time_ns()}"


def choose_way(entry: Entry, host: HostSettings) -> Runs:
    """Return how a candidate's engine runs on this host.

    Raises:
        BadInput: the inventory asks for a way that the entry does not have, or that a neighbour forbids.
    """
    if entry.started is None:
        return "http"
    if entry.ours is None:
        if host.engine_install in ("system", "venv"):
            raise BadInput(
                f"engine_install is {host.engine_install}, and {entry.name} is a published image: it runs in a "
                "container. Set engine_install to auto."
            )
        return "image"
    neighbour = host.neighbour.mode != "none"
    if neighbour and entry.ours.gpu and host.engine_install in ("system", "venv"):
        raise BadInput(
            f"{entry.name} shares the GPU with a neighbour, so it must run as a container, which the watcher can end; "
            "set engine_install to auto or container."
        )
    if host.engine_install == "auto":
        # A container is what the watcher can end; without a neighbour a venv needs no Docker.
        first: tuple[Way, ...] = ("container",) if neighbour else ("system", "venv")
        return next((name for name in first if name in entry.ours.install), entry.ours.install[0])
    if host.engine_install not in entry.ours.install:
        raise BadInput(
            f"engine_install is {host.engine_install}, and {entry.name} can be installed as: "
            f"{', '.join(entry.ours.install)}."
        )
    return host.engine_install


def choose_baseline_way(entry: Entry, host: HostSettings) -> Runs:
    """Return how a baseline runs on this host; `engine_install` is about the candidate, and system packages come first.

    Raises:
        BadInput: as `choose_way`.
    """
    if entry.ours is not None and "system" in entry.ours.install:
        return "system"
    return choose_way(entry, host.model_copy(update={"engine_install": "auto"}))


def find_engine_lock(entry: Entry) -> Path:
    """Return the file of pins that a model's venv or image is made from."""
    if entry.ours is None or entry.ours.requirements is None:
        raise BadInput(
            f"{entry.name} has no run.requirements, so it cannot be installed as venv or container."
        )
    return REPO / "requirements" / entry.ours.requirements


def name_engine_python(entry: Entry, host: HostSettings) -> str:
    """Return the interpreter of the model's own venv on the host, named by what is in it."""
    key = sha256_bytes((sha256_file(find_engine_lock(entry)) + name_code(entry)).encode())[:16]
    return f"{host.state_dir}/engines/{entry.name}-{key}/bin/python"


def name_engine_image(entry: Entry, host: HostSettings) -> str:
    """Return the name of the model's own image, which is the hash of what it is built from."""
    return name_image(entry.name, find_engine_lock(entry), name_code(entry), base=host.engine_image_base)


def name_code(entry: Entry) -> str:
    """Return the name of all code beside the lock: ours, and upstream's where that is no package."""
    assert entry.ours is not None
    return find_part(entry).sha256 + (name_tree(entry.ours.sources) or "")


def find_part(entry: Entry) -> Part:
    """Return the code that a model's engine runs."""
    assert entry.ours is not None
    return find_engine_part(REPO, entry.ours.adapter)
