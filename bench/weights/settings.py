"""What is said of weights: to role `weights`, and by it to the module `bench_weights`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from bench.catalog.entry import WeightFile
from bench.records.settings import Given, Settings


class WeightsSettings(Settings):
    """What role and module have in common."""

    endpoint: str = ""
    """The hub's address; empty for `HF_ENDPOINT` of the host's environment, or the public hub."""
    token_file: Annotated[str | None, Given(kind="path")] = None
    """File on the host that holds the hub's token; empty for `HF_TOKEN` of the host's environment, if set."""
    margin_gib: float = Field(default=1.0, ge=0)
    """Room that must stay free on the disk, in GiB."""
    rehash: bool = False
    """Read and hash the files that are in place, too."""
    timeout_s: int = Field(default=3600, gt=0)
    """Seconds after which the download is given up; what arrived is kept for the next run."""


class WeightsTask(WeightsSettings):
    """The module's arguments."""

    weights: list[WeightFile]
    """The `weights` of the catalog entry."""
    store: Path
    """The store's folder on the host."""
    job_dir: Path | None = None
    """Where the download says how far it is; filled in by the action plugin, which shows it."""


class WeightsRole(WeightsSettings):
    """The role's variables."""

    files: list[WeightFile]
    """The `weights` of the catalog entry. `bench_run` returns them as `needs.weights`."""
    store: Path | None = None
    """The store of weights on the host, `<store>/<owner>--<name>/<revision>/<path>`. `weights` under `state_dir` unless
    told."""
    python: Path | None = None
    """The Python that has bench. That of the host's bench venv unless told."""
    environment: dict[str, str] = {}
    """Environment of the download, for `HTTPS_PROXY` and the like. Never a token: that goes into a file."""
