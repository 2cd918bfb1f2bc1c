"""The shape of a catalog entry: all that the project knows of a model, in one YAML file.

Adding a model that serves speech over HTTP means adding such a file and nothing else: docs/adding-a-model.md.
"""

import re
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bench.errors import BadInput
from bench.records.base import Record, optional_key
from bench.records.settings import Settings, Way

MOVED_ADAPTERS = {
    "bench.engines.espeak:Espeak": "bench.serving.espeak:Espeak",
    "bench.engines.flite:Flite": "bench.serving.flite:Flite",
    "bench.engines.f5:F5": "bench.serving.f5.adapter:F5",
}
"""Where the adapters that entries and manifests of version 0.1.0 name are today."""


class Licence(Record):
    """A licence, and where it says so."""

    spdx: str
    source: str
    """URL or file where the licence is stated, with the revision it was read at."""
    commercial_use: bool
    notice: str | None = None
    """Printed and recorded on every run, where the licence asks for care."""


class Licences(Record):
    """Code and weights are licensed apart. `weights` is null for a model that has none."""

    code: Licence
    weights: Licence | None = None


class CloneEncoder(Record):
    """Whether one can clone a voice with what is published.

    `open`: the encoder ships. `withheld`: its weights are kept back, so the run ends at once.
    `none`: the model does not clone and makes no claim to (the demo's espeak and flite).
    """

    status: Literal["open", "withheld", "none"]
    source: str
    note: str = ""


class ReferenceLimits(Record):
    """What the model accepts as a reference."""

    min_s: float = Field(gt=0)
    max_s: float = Field(gt=0)
    whole_seconds: bool = False
    """Trim to whole seconds (CosyVoice pads by whole 25-token steps)."""
    sample_rate_hz: int | None = None
    """Rate to resample to; null leaves the clip's own."""
    transcript: Literal["required", "unused"] = "required"
    trailing_silence_s: float = Field(default=0.0, ge=0)


class PresetVoice(Record):
    """The model's own licensed example voice: what the smoke sentence and the preset pass use.

    It is asked for by `name`. `audio` and `text` say for the record which clip of the package the engine makes it of.
    """

    name: str
    licence: Licence
    audio: str | None = None
    text: str | None = None


PLAIN = (".json", ".md", ".model", ".safetensors", ".tiktoken", ".txt", ".vocab")
"""How files end that name no code whoever reads them: JSON, a card, tensors alone, a tokenizer's data."""


class WeightFile(Settings):
    """One file of weights. A null `sha256` is recorded at first sight and held to afterwards. All but `.json`, `.md`,
    `.safetensors` and a tokenizer's `.model`, `.tiktoken`, `.txt`, `.vocab` must have `bytes` and `sha256`."""

    repo: str
    """Owner and name on the hub."""
    revision: str | None = Field(pattern=r"^[0-9a-f]{40}$")
    """Commit, 40 hexadecimal digits. Null: nobody has looked it up, and install refuses it."""
    path: str
    """Path of the file there; `*` is every file of a repository whose revision is null."""
    bytes: int | None = Field(default=None, ge=0)
    """Size; null where unknown."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Null is recorded at first sight and held to afterwards."""

    def explain_unpinned(self) -> str | None:
        """Return why the file may not be fetched unseen, or None: YAML and pickles can name code for a loader."""
        if self.path.endswith(PLAIN) or not (self.bytes is None or self.sha256 is None):
            return None
        if self.revision is None:  # and so it is not fetched at all
            return None
        return (
            f"{self.repo}/{self.path} can name code, as all but {', '.join(PLAIN)} can, and has no bytes or no sha256; "
            "give both, of a copy that you have looked at"
        )

    @property
    def commit(self) -> str:
        """Return the revision.

        Raises:
            BadInput: nobody has looked it up.
        """
        if self.revision is None:
            raise BadInput(
                f"weights {self.repo}/{self.path}: the revision is null; `audition pin` looks it up."
            )
        return self.revision

    @model_validator(mode="after")
    def _whole_repositories_have_no_revision(self) -> "WeightFile":
        if self.path == "*" and self.revision is not None:
            raise ValueError("path `*` is for a repository whose revision is null; name the files")
        return self


class Proof(Record):
    """What was run of a model, where and when: what an entry's own word rests on."""

    what: str
    """What was done, and with which weights."""
    where: str
    """On which machine."""
    when: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """Day, as 2026-11-26."""
    source: str = ""
    """Where it is written down."""


class Version(Record):
    """Which version runs, which was asked for, and why they differ."""

    package: str
    pin: str | None
    """Null: the version the host's system packages give, recorded at install."""
    asked: str | None = None
    reason: str = ""


class SourceFile(Record):
    """One file of a commit, and where it lies below an environment's `site-packages`."""

    path: str
    """Path in the commit."""
    to: str
    """Path below `site-packages`."""
    bytes: int = Field(ge=0)
    """Size."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the file as the commit has it."""


class Source(Record):
    """Upstream code that is no package: a commit, and the files of it that are taken (bench/install/sources.py)."""

    repo: str = Field(pattern=r"^https://\S+/\S+/\S+\.git$")
    """Where upstream publishes it; `sources_mirror` asks elsewhere."""
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    """40 hexadecimal digits."""
    files: list[SourceFile] = Field(min_length=1)
    """A list, or a text with a line for each file: SHA-256, bytes, its path in the commit and, where that is another,
    its path below `site-packages`."""

    @field_validator("files", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        files = []
        for line in value.splitlines():
            words = line.split()
            if len(words) not in (3, 4):
                raise ValueError("a line is SHA-256, bytes and a path, and where it lies if that is another")
            size = int(words[1]) if words[1].isascii() and words[1].isdigit() else words[1]
            files.append({"sha256": words[0], "bytes": size, "path": words[2], "to": words[-1]})
        return files

    @field_validator("files")
    @classmethod
    def _plain(cls, value: list[SourceFile]) -> list[SourceFile]:
        for file in value:
            for path in (PurePosixPath(file.path), PurePosixPath(file.to)):
                if path.is_absolute() or ".." in path.parts or len(path.parts) < 1:
                    raise ValueError(f"{path}: must be a path inside the commit and inside site-packages")
        if len({file.to for file in value}) != len(value):
            raise ValueError("two files would lie in one place")
        return value


class StartedRun(Record):
    """What is the same of every model that Audition starts: what it takes, and how long."""

    gpu: bool = False
    start_timeout_s: float = Field(default=60.0, gt=0)
    memory_gib: float | None = Field(default=None, ge=0)
    """Expected peak, with what it rests on in `memory_source`; the forecast uses it."""
    memory_source: str = ""


class EngineRun(StartedRun):
    """A model that Audition itself serves, behind `bench.serving.server`."""

    kind: Literal["engine"]
    adapter: str = Field(pattern=r"^[a-z_][\w.]*:[A-Za-z_]\w*$")
    """`module:Class` of the adapter, for instance `bench.serving.espeak:Espeak`."""

    install: list[Way] = Field(min_length=1)
    """Ways it can be installed. On a host with a neighbour it must be `container`."""
    system_packages: list[str] = []
    requirements: str | None = None
    """File of pins with hashes, under requirements/ or by its absolute path, for `venv` and `container`."""
    sources: list[Source] = []
    """Upstream code that is no package, beside `requirements`."""
    unmet: dict[str, list[str]] | None = optional_key()
    """What `requirements` leaves unmet, by package: each requirement as `pip check` says it, without its marker. Where
    there is any, the lock is installed as it stands, no package asked for its own requirements, and `pip check` may
    complain of these and of nothing else."""

    @field_validator("adapter", mode="before")
    @classmethod
    def _take_old_path(cls, given: object) -> object:
        return MOVED_ADAPTERS.get(given, given) if isinstance(given, str) else given


DialectName = Literal[
    "auto", "openai", "openai_wav", "openai_sse", "openai_file", "travisvn", "travisvn_stream", "devnen", "cosyvoice"
]  # fmt: skip
"""The names in `bench.client.dialects`, and `auto`: here, so that a wrong one is found with its line, before a run."""


RawContainer = Literal["raw", "raw_big_endian", "raw_float32", "raw_mulaw", "raw_alaw"]
"""What an entry may say of a body that has no header."""


class AskedRun(Record):
    """What is the same of every server that is not ours: how it is asked for speech."""

    dialect: DialectName = "auto"
    """A name from `bench.client.dialects`, or `auto` to probe."""
    path: str | None = None
    sample_rate_hz: int | None = None
    """For raw PCM whose rate no header states."""
    container: RawContainer | None = None
    """`raw` for headerless 16-bit PCM under another content type (`audio/x-pcm`, `audio/s16le`, `text/plain`);
    `raw_big_endian` where its bytes are the other way round (`audio/l16` by RFC 2586); `raw_float32`, `raw_mulaw` and
    `raw_alaw` where no header says so. Null: the content type and the headers say."""
    request: dict[str, Any] = {}
    """Fields merged into each request body (sampling settings, model name)."""
    voice: str | None = None
    """The voice as the server knows it. Null: the reference is sent or registered."""
    voices: Literal["one"] | None = optional_key()
    """`one`: the server has one voice and takes no reference. It is asked for by `voice`, or by nothing, and the voice
    check shows that it is the same voice throughout. Null: it is to speak in the voice asked for."""
    reference_by: Literal["register", "request"] | None = optional_key()
    """How a reference gets in: registered beforehand, or with each request. Null: registered where the dialect can."""


class HttpRun(AskedRun):
    """A model that somebody already serves over HTTP."""

    kind: Literal["http"]
    auth_env: str | None = None
    """Environment variable on the controller that holds the bearer token."""


Platform = Literal["linux/amd64", "linux/arm64"]
"""As Docker names them."""


class Health(Record):
    """When a published server is ready: it has no nonce of ours to answer with."""

    path: str = Field(default="/health", pattern=r"^/\S*$")
    """What is asked for by GET."""
    status: int = Field(default=200, ge=100, le=599)
    """The status that says that it is ready."""


class Mount(Record):
    """Weights as a published image sees them, read-only: one repository, at the revision that is pinned."""

    repo: str
    """As in `weights`."""
    to: str = Field(pattern=r"^/[^:\s]+$")
    """Where in the container."""
    layout: Literal["folder", "hub_cache"] = "folder"
    """`folder`: the files as the repository has them. `hub_cache`: as huggingface_hub keeps them, below `to`, which
    HF_HUB_CACHE then names."""


class Writable(Record):
    """A folder that a published server must be able to write: memory, empty at each start."""

    path: str = Field(pattern=r"^/[^:\s]+$")
    """In the container, whose root is read-only; `/tmp` need not be named unless programs are run from it."""
    exec: bool = False
    """Whether programs may be run from it, compiled kernels for instance."""
    size_mib: int = Field(default=1024, gt=0)
    """The most it holds."""


class ImageRun(StartedRun, AskedRun):
    """A published container image that serves the model, started by Audition and written by somebody else."""

    kind: Literal["image"]
    image: str = Field(pattern=r"^[a-z0-9][a-z0-9._:/-]*[a-z0-9]$")
    """Repository in a registry, without tag or digest: `ghcr.io/remsky/kokoro-fastapi-cpu`."""
    tag: str | None = Field(default=None, pattern=r"^[\w][\w.-]*$")
    """For people, and for `audition pin`: what is pulled goes by digest."""
    platforms: dict[Platform, str | None] = Field(min_length=1)
    """Platforms for which there is an image, each with the digest of its manifest, `sha256:...`. Null: nobody has
    looked it up, and install refuses it."""
    entrypoint: list[str] | None = None
    """In place of the image's own."""
    command: list[str] | None = None
    """In place of the image's own."""
    environment: dict[str, str] = {}
    """Variables of the container's. A profile of the entry is more of them, and wins."""
    user: str | None = Field(default=None, pattern=r"^[\w-]+(:[\w-]+)?$")
    """User, or user and group; null is the image's own."""
    port: int = Field(ge=1, le=65535)
    """Where it listens, on all addresses of the container."""
    health: Health = Health()
    """When it is ready."""
    mounts: list[Mount] = []
    """Where the entry's weights are seen."""
    writes: list[Writable] = []
    """What it must be able to write; all else is read-only."""
    shm_mib: int | None = Field(default=None, gt=0)
    """Size of /dev/shm; null is Docker's 64 MiB."""
    memory_limit_gib: float | None = Field(default=None, gt=0)
    """It is ended above this. Null: twice `memory_gib`, and without that what is free when it starts."""
    network: bool = False
    """Whether it may reach the network while it runs."""

    @field_validator("platforms")
    @classmethod
    def _digests(cls, value: dict[Platform, str | None]) -> dict[Platform, str | None]:
        for platform, digest in value.items():
            if digest is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                raise ValueError(f"{platform}: must be sha256: and 64 hexadecimal digits, or null")
        return value

    @field_validator("image")
    @classmethod
    def _plain(cls, value: str) -> str:
        if ":" in value.rpartition("/")[2]:
            raise ValueError("a tag is said in `tag`; what is pulled goes by digest")
        return value


class Entry(Record):
    """A catalog entry."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    title: str
    publish_as: str | None = optional_key(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Its name in a publication's branch and files, where `name` does not say it: `f5-tts`."""
    version: Version
    licences: Licences
    clone_encoder: CloneEncoder
    reference: ReferenceLimits
    preset: PresetVoice | None = None
    weights: list[WeightFile] = []
    run: EngineRun | HttpRun | ImageRun = Field(discriminator="kind")
    served: HttpRun | None = optional_key()
    """How the same model is asked where somebody else serves it; counts in place of `run` where `model_url` or
    `baseline_url` says where."""
    profiles: dict[str, dict[str, Any]] = Field(min_length=1)
    """Named settings of the engine. `upstream` is the package as it ships."""
    proved: list[Proof] | Literal["nothing"] = "nothing"
    """What was run, where and when; `nothing` is an honest value. Shown by preflight and in the report."""
    notes: list[str] = []

    @property
    def started(self) -> StartedRun | None:
        """Return how Audition starts the model; null where somebody else runs it."""
        return self.run if isinstance(self.run, StartedRun) else None

    @property
    def ours(self) -> EngineRun | None:
        """Return how it runs behind our own server and adapter; null where the server is a stranger's."""
        return self.run if isinstance(self.run, EngineRun) else None

    @property
    def stranger(self) -> AskedRun | None:
        """Return how a server that is not ours is asked; null for ours. Whoever starts it, its voice is checked."""
        return self.run if isinstance(self.run, AskedRun) else None

    def at(self, url: str | None) -> "Entry":
        """Return the entry as it counts for a model that is at `url`, or that Audition itself serves (null).

        A server that is not ours runs as its owner runs it: there is one profile, and no voice of ours.
        """
        if url is None or self.served is None:
            return self
        return self.model_copy(update={"run": self.served, "profiles": {"upstream": {}}, "preset": None})

    def hashed(self) -> dict[str, Any]:
        """Return what makes an entry another one for a run or an installation.

        How it is called in a publication is not of it, nor what was proved, nor `served`, which is in `run` where it
        counts (`at`): an entry that gained them is still the one that earlier runs were begun with.
        """
        return self.model_dump(mode="json", exclude={"publish_as", "served", "proved"})

    def unpinned(self) -> list[str]:
        """Return what nobody has looked up of what Audition would fetch; empty where it can be fetched."""
        if self.started is None:
            return []
        found = [f"the revision of {file.repo}" for file in self.weights if file.revision is None]
        if isinstance(self.run, ImageRun) and not any(self.run.platforms.values()):
            found.append(f"the digest of {self.run.image}")
        return list(dict.fromkeys(found))

    def proofs(self) -> list[str]:
        """Return what was proved, a sentence each; empty where nothing was."""
        if self.proved == "nothing":
            return []
        return [f"{each.what}, on {each.where}, {each.when}" for each in self.proved]

    @model_validator(mode="after")
    def _mounts_weights(self) -> "Entry":
        run, repos = self.run, {file.repo for file in self.weights}
        if isinstance(run, ImageRun):
            for mount in run.mounts:
                if mount.repo not in repos:
                    raise ValueError(f"run.mounts: {mount.repo} is none of the entry's weights")
            for profile, settings in self.profiles.items():
                if not all(isinstance(value, str) for value in settings.values()):
                    raise ValueError(f"profiles.{profile}: variables of a container are text")
        return self

    @model_validator(mode="after")
    def _limits_in_order(self) -> "Entry":
        if self.reference.min_s > self.reference.max_s:
            raise ValueError("reference.min_s is greater than reference.max_s")
        if self.started is not None and "upstream" not in self.profiles:
            raise ValueError("profiles must have `upstream`, the package as it ships")
        return self
