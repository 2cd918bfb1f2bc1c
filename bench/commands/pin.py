"""`audition pin ENTRY`: look up what an entry leaves null and write an entry of one's own, to be read over.

Nothing is taken from memory, and nothing is used that was not read over: what is written is a new file, and no run
looks at it before its folder is named in `catalog_dir`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.catalog.entry import Entry, ImageRun
from bench.catalog.loader import find_path, load, read
from bench.errors import AuditionError, BadInput
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.weights.hub import Hub, endpoint_of, strip_urls, token_from
from bench.weights.look_up import Repository, look_up
from bench.weights.store import spell_size

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pin:
    """What is pinned, and where the entry goes."""

    entry: str
    catalog_dir: Path | None
    tag: str | None
    """Of the image, in place of the entry's."""
    out: Path
    """Folder for the entry."""


def pin_entry(wanted: Pin, say: Say) -> int:
    """Look everything up that is null, write the entry, say what was found; return 0.

    Raises:
        BadInput: there is nothing to look up, a file of that name is there, or the image has no tag to ask for.
        AuditionError: the hub, the registry or Docker did not answer.
    """
    entry = load(wanted.entry, wanted.catalog_dir)
    target = wanted.out / f"{entry.name}.yml"
    if target.exists():
        raise BadInput(f"{target} is there already; remove it, or name another folder in --out.")
    tree: dict[str, Any] = yaml.safe_load(find_path(wanted.entry, wanted.catalog_dir).read_bytes())
    found = [*_pin_weights(entry, tree, say), *_pin_image(entry, tree, wanted.tag, say)]
    if not found:
        raise BadInput(f"{entry.name} leaves nothing null that could be looked up.")
    head = (
        f"# {entry.name}, pinned by `audition pin` on {utc_now()[:10]}: {'; '.join(found)}.\n"
        "# Read it over before you use it; comments of the original are not in it.\n"
    )
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=110)
    wanted.out.mkdir(parents=True, exist_ok=True)
    write_atomically(target, (head + body).encode())
    read(target)
    say(f"written: {target}. Read it over, then name its folder in catalog_dir.")
    return 0


def _pin_weights(entry: Entry, tree: dict[str, Any], say: Say) -> list[str]:
    """Put commits, sizes and hashes into `tree`; return what was found, a few words each."""
    lacking = [file for file in entry.weights if file.revision is None or None in (file.bytes, file.sha256)]
    if not lacking:
        return []
    hub = Hub(endpoint_of(None), token_from(None))
    pinned: list[dict[str, Any]] = [
        file.model_dump(mode="json") for file in entry.weights if file not in lacking
    ]
    said = []
    for repo, commit in dict.fromkeys((file.repo, file.revision) for file in lacking):
        paths = [file.path for file in lacking if (file.repo, file.revision) == (repo, commit)]
        found = look_up(hub, repo, commit, paths)
        pinned += [file.model_dump(mode="json") for file in found.files]
        said.append(_spell(found, hub))
        say(said[-1])
    tree["weights"] = pinned
    return said


def _spell(found: Repository, hub: Hub) -> str:
    size = spell_size(sum(file.bytes or 0 for file in found.files))
    host = strip_urls(hub.endpoint).partition("://")[2]
    return f"{found.repo} at {found.commit} by {host}, {len(found.files)} files, {size}"


def _pin_image(entry: Entry, tree: dict[str, Any], tag: str | None, say: Say) -> list[str]:
    """Put digests into `tree`; a platform for which there is no image is taken out of it."""
    run = entry.run
    if not isinstance(run, ImageRun) or (tag is None and None not in run.platforms.values()):
        return []
    named = tag or run.tag
    if named is None:
        raise BadInput(f"{entry.name} names no tag of {run.image}: say which in --tag.")
    from bench.docker_host.host import DockerHost
    from bench.engines.image.distribution import ask_registry

    with DockerHost() as docker_host:
        digest, platforms = ask_registry(docker_host, f"{run.image}:{named}")
    kept: Mapping[str, str] = {
        name: old if old and tag is None else digest
        for name, old in run.platforms.items()
        if name in platforms
    }
    if not kept:
        raise AuditionError(
            f"{run.image}:{named} is for {', '.join(platforms)}, and {entry.name} for {', '.join(run.platforms)}."
        )
    tree["run"] |= {"tag": named, "platforms": dict(kept)}
    gone = [name for name in run.platforms if name not in kept]
    said = f"{run.image}:{named} is {digest} for {', '.join(kept)}"
    said += f", and there is none for {', '.join(gone)}" if gone else ""
    say(said)
    return [said]
