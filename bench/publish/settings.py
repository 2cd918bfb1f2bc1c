"""What is asked of publishing: by role `publish`, and by it of the module `bench_publish`."""

from pathlib import Path
from typing import Any, Literal

from bench.records.settings import Settings

ClipFormat = Literal["wav", "flac"]


class Page(Settings):
    """A page of the owner's that has a part of ours."""

    path: str
    """The page, by its path in the repository."""
    template: str
    """`survey` (all candidates with verdict and figures), `memory` (a line each), `forward` (what came after, for an
    earlier page about a model), or the path of a template of your own on the controller."""


class PublishSettings(Settings):
    """What role and module have in common. Nothing is committed, pushed or proposed unless one of these asks."""

    enabled: bool = False
    """Whether to commit to a local branch; `remote` and `pull_request` ask for it too."""
    remote: str = ""
    """Where to push, a remote's name or an address; empty for nowhere."""
    pull_request: bool = False
    """Open a pull request with `gh`, or print the command that does; needs `remote`."""
    base: str = ""
    """Branch to start from and to propose to; empty for the remote's default, without a remote `main`, else HEAD."""
    clip_format: ClipFormat = "wav"
    """How clips go: `wav`, the very files that were timed, or `flac`, their samples in about half the room."""
    pages: list[Page] = []
    """Pages of the repository that are brought up to date by the run that ends its survey, each from a template."""


class PublishTask(PublishSettings):
    """The module's arguments."""

    run: dict[str, Any]
    """The public variables of the run (docs/variables.md)."""
    found: dict[str, Any] = {}
    """What the play's `opened` of `bench_run` found for this host. Taken only for the same request, while the files
    that decide the run have not changed; without it the task looks for itself."""
    repo: Path
    """Folder of the git repository."""


class PublishRole(PublishSettings):
    """The role's variables."""

    repo: Path | None = None
    """The git repository on the controller that gets the branch; by default the checkout."""
