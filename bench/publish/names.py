"""What a publication is called: its branch, its files, and the page about its model."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bench.catalog.entry import Entry
from bench.controller.run import Run
from bench.records.run import Manifest

FOLDER = "docs"
"""Where in the repository everything goes."""


@dataclass(frozen=True, slots=True)
class Names:
    """Paths in the repository, and the branch."""

    branch: str
    """`f5-tts-bench-20261122T101500Z`."""
    samples: str
    """Folder of the clips and of the record; it holds nothing else."""
    benchmark: str
    """The file with all figures and the verdict."""
    research: str
    """The page about the model, which may not exist."""


def name_publication(run: Run) -> Names:
    """Return the names of a run's publication.

    The host is in branch and folder too where a run of the same model on another host began in the same second, as
    those of one play may.
    """
    manifest = run.manifest()
    model = publish_as(manifest)
    stamp = run.run_id.removeprefix(f"{manifest.model}-{manifest.host}-")
    host = _word(manifest.host)
    beside = [each for each in run.path.parent.glob(f"{manifest.model}-*-{stamp}") if each.is_dir()]
    unique = f"{stamp}-{host}" if len(beside) > 1 else stamp
    return Names(
        branch=f"{model}-bench-{unique}",
        samples=f"{FOLDER}/{model}-bench-samples-{unique}",
        benchmark=f"{FOLDER}/BENCHMARK-{model.upper()}-{host.upper()}-{stamp}.json",
        research=research_page(model),
    )


def research_page(model: str) -> str:
    """Return where the page about a model is, by the name it is published under."""
    return f"{FOLDER}/RESEARCH-{model.upper()}.md"


def publish_as(manifest: Manifest) -> str:
    """Return the candidate's name for people: its entry's `publish_as`, else its name in the catalog."""
    try:
        name = Entry.model_validate(manifest.entry).publish_as
    except ValidationError:
        name = None
    return name or manifest.model.replace("_", "-")


def read_research(repo: Path, names: Names) -> bytes | None:
    """Return the page that this checkout has about the model, or None."""
    path = repo / names.research
    return path.read_bytes() if path.is_file() else None


def _word(text: str) -> str:
    """Return a host's name as a part of a path and of a branch may be."""
    return re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", text)).strip(".-")
