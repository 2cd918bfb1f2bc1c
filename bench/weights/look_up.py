"""What a hub has of a repository: its newest commit, and each file's size and SHA-256, to be written into an entry.

Large files' hashes are stated by the hub, and every download is held to them; small ones have none there, so they are
fetched and hashed here.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.catalog.entry import WeightFile
from bench.errors import BadInput
from bench.storage.digests import sha256_file
from bench.weights.hub import Hub, HubError, be_quiet, strip_urls

LEFT_OUT = (".gitattributes", ".gitignore")
"""Files of a repository that no model reads."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit; `files` are those that were asked for."""

    repo: str
    commit: str
    files: list[WeightFile]


def look_up(hub: Hub, repo: str, commit: str | None, paths: Sequence[str]) -> Repository:
    """Return `repo` at `commit`, by default at its newest, with the files of these `paths`; `*` is all of them.

    Raises:
        HubError: the hub does not answer, or not so.
        BadInput: it has no such file.
    """
    import huggingface_hub

    be_quiet()
    api = huggingface_hub.HfApi(endpoint=hub.endpoint, token=hub.token or False)
    try:
        told = api.model_info(repo, revision=commit, files_metadata=True)
    except Exception as error:  # noqa: BLE001 - the errors come from four libraries
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"HTTP {status}" if status else strip_urls(str(error).splitlines()[0])
        raise HubError(f"{strip_urls(hub.endpoint)} does not say what {repo} holds: {why}.") from None
    if told.sha is None or told.siblings is None:
        raise HubError(f"{strip_urls(hub.endpoint)} names no commit of {repo}; it is no hub, or an old one.")
    held = {each.rfilename: each for each in told.siblings}
    wanted = [name for name in held if name not in LEFT_OUT] if "*" in paths else list(paths)
    if missing := [name for name in wanted if name not in held]:
        raise BadInput(f"{repo} at {told.sha[:12]} has no {', '.join(missing)}; it has: {', '.join(held)}.")
    return Repository(repo, told.sha, [_describe(hub, repo, told.sha, held[name]) for name in sorted(wanted)])


def _describe(hub: Hub, repo: str, commit: str, held: Any) -> WeightFile:
    """Return a file with its size and hash."""
    if held.lfs is not None:
        return WeightFile(
            repo=repo, revision=commit, path=held.rfilename, bytes=held.lfs.size, sha256=held.lfs.sha256
        )
    file = WeightFile(repo=repo, revision=commit, path=held.rfilename)
    with tempfile.TemporaryDirectory(prefix="audition-pin-") as scratch:
        fetched = Path(scratch) / "file"
        hub.fetch(file, hub.find(file), fetched, None)
        return file.model_copy(update={"bytes": fetched.stat().st_size, "sha256": sha256_file(fetched)})
