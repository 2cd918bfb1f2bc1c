"""Catalog entries for tests: the demo's candidate with another name, another adapter, other licences."""

import os
from pathlib import Path
from typing import Any

import yaml

import bench.catalog
from bench.catalog.entry import Entry

FAULTY = Path(__file__).with_name("faulty")
"""Goes into PYTHONPATH where an engine of `faulty_voices` is to run."""


def raw(name: str, /, **changes: Any) -> dict[str, Any]:
    """Return espeak's entry as YAML has it, with the name and with `run.adapter=...` and the like changed."""
    text = Path(bench.catalog.__file__).with_name("espeak.yml").read_text(encoding="utf-8")
    tree: dict[str, Any] = yaml.safe_load(text) | {"name": name, "title": name.capitalize()}
    del tree["proved"]  # of what is made here nothing was
    for place, value in changes.items():
        *parents, last = place.split(".")
        node = tree
        for step in parents:
            node = node[step]
        node[last] = value
    return tree


def faulty(kind: str, /, **changes: Any) -> dict[str, Any]:
    """Return the entry of an engine of `faulty_voices`, named by its class in lower case."""
    return raw(kind.lower(), **{"run.adapter": f"faulty_voices:{kind}"} | changes)


def hum(folder: Path, pieces: int | None) -> str:
    """Have `Slow` hum so many pieces for each sentence (None: its own number); returns what PYTHONPATH is to be."""
    folder.mkdir(exist_ok=True)
    (folder / "hum_pieces").unlink(missing_ok=True)
    if pieces is not None:
        (folder / "hum_pieces").write_text(str(pieces))
    return f"{FAULTY}{os.pathsep}{folder}"


def published(name: str, image: str, platforms: dict[str, str | None], /, **run: Any) -> dict[str, Any]:
    """Return the entry of a published image: espeak's but for how it runs."""
    tree = raw(name, preset=None)
    tree["run"] = {"kind": "image", "image": image, "platforms": platforms, "port": 8000} | run
    tree["profiles"] = {"upstream": {}}
    return tree


def entry(tree: dict[str, Any]) -> Entry:
    """Return the typed entry."""
    return Entry.model_validate(tree)


def write(folder: Path, *trees: dict[str, Any]) -> Path:
    """Write entries as files of a `catalog_dir` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for tree in trees:
        (folder / f"{tree['name']}.yml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return folder
