"""The store of model weights on a host: pinned, verified, complete or not there at all.

    <store>/<owner>--<name>/<revision>/<path>     a verified file, read-only
    <store>/partial/...                           what is still arriving, resumed by the next call
    <store>/quarantine/...                        the last file of that name with a wrong hash
    <store>/known.json                            what each file was when it was verified

A file in its place has been verified: it is moved there only after its SHA-256 was found right. While its
size and modification time are what `known.json` remembers, it is not read again. For a file whose SHA-256 the
catalog does not know, the one of the first download is remembered and every later one is held to it.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from bench.catalog.entry import WeightFile
from bench.errors import BadInput, DiskFull, OutOfReach
from bench.storage.atomic import write_atomically
from bench.storage.digests import sha256_file
from bench.weights.hub import Found, Hub, HubError, Progress, endpoint_of, strip_urls, token_from

__all__ = [
    "FileReport",
    "HubError",
    "WeightsReport",
    "WrongHash",
    "ensure",
    "list_missing",
    "path_of",
    "revision_of",
]

MARGIN_BYTES = 1024**3
"""Room left free beyond the weights, for the host's other work."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class WrongHash(OutOfReach):
    """A file is not what the catalog, or its first sight, says; it was put into quarantine."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file. `first_sight`: its hash was unknown until now and is held to from here on."""

    repo: str
    revision: str
    path: str
    bytes: int
    sha256: str
    status: Literal["present", "downloaded", "resumed"]
    first_sight: bool
    bytes_fetched: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What `ensure` found and did; `changed` is false when all was there, and then nothing was asked."""

    store: str
    endpoint: str
    changed: bool
    bytes_downloaded: int
    files: list[FileReport]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def path_of(store: Path, file: WeightFile) -> Path:
    """Return where a file of weights lies in the store.

    Raises:
        BadInput: repo or path is not a plain relative one.
    """
    inner = PurePosixPath(file.path)
    if not _REPO.fullmatch(file.repo) or inner.is_absolute() or ".." in inner.parts or "\\" in file.path:
        raise BadInput(f"weights {file.repo}/{file.path}: repo or path is not one of a hub.")
    return revision_of(store, file) / inner


def revision_of(store: Path, file: WeightFile) -> Path:
    """Return the folder of the file's repository at its revision."""
    return store / file.repo.replace("/", "--") / file.commit


def list_missing(weights: Sequence[WeightFile], store: Path) -> list[WeightFile]:
    """Return the files that `ensure` would fetch, without asking anyone or changing anything."""
    known = _read_known(store)
    return [file for file in weights if not _is_verified(file, store, known)]


def ensure(
    weights: Sequence[WeightFile],
    store: Path,
    *,
    endpoint: str | None = None,
    token_file: Path | None = None,
    margin_bytes: int = MARGIN_BYTES,
    rehash: bool = False,
    progress: Progress | None = None,
) -> WeightsReport:
    """Make the store hold these files, verified. With all of them there, no request is made.

    Args:
        weights: the catalog entry's list.
        store: the store's folder; made if need be.
        endpoint: the hub; None for HF_ENDPOINT or the public one. Proxies come from the environment.
        token_file: file with the token; None for HF_TOKEN, if it is set.
        margin_bytes: what must stay free on the disk.
        rehash: read and hash the files that are there, too.
        progress: called as bytes arrive.

    Raises:
        BadInput: an address, token file or path that cannot be used, or a file that can name code and is not pinned.
        DiskFull: not enough room; found out before anything is fetched where the sizes are known.
        HubError: the hub did not give a file; the next call goes on where this one stopped.
        WrongHash: a file is not what it should be; the message names it and where it was put.
    """
    chosen = endpoint_of(endpoint)
    for file in weights:
        path_of(store, file)
        # A run that an earlier version began may list such a file.
        if (why := file.explain_unpinned()) is not None:
            raise BadInput(f"weights: {why}.")
    known = _read_known(store)
    if not rehash and all(_is_verified(file, store, known) for file in weights):
        # Nothing is written, so a store that was filled by somebody else, or cannot be written, will do.
        return WeightsReport(
            str(store),
            strip_urls(chosen),
            False,
            0,
            [_report_present(one, store, known) for one in weights],
        )
    store.mkdir(parents=True, exist_ok=True)
    with _locked(store):
        known = _read_known(store)
        held = [_check_present(file, store, known, rehash=rehash) for file in weights]
        wanted = [file for file, report in zip(weights, held, strict=True) if report is None]
        hub = Hub(chosen, token_from(token_file)) if wanted else None
        if hub is not None:
            _check_room(wanted, hub, store, margin_bytes)
        reports = [
            report or _fetch(file, hub, store, known, progress)
            for file, report in zip(weights, held, strict=True)
        ]
    fetched = sum(one.bytes_fetched for one in reports)
    return WeightsReport(str(store), strip_urls(chosen), bool(wanted), fetched, reports)


def _check_present(
    file: WeightFile, store: Path, known: dict[str, Any], *, rehash: bool
) -> FileReport | None:
    """Return the report of a file that is in its place and right, or None where it must be fetched.

    A file whose size or time is not as remembered is read; one that is wrong goes into quarantine.
    """
    path = path_of(store, file)
    if not path.is_file():
        return None
    if rehash or not _is_verified(file, store, known):
        actual = sha256_file(path)
        expected = _find_expected(file, known)
        if expected is not None and actual != expected:
            _quarantine(path, store, actual)
            return None
        _remember(file, path, actual, store, known)
    return _report_present(file, store, known)


def _report_present(file: WeightFile, store: Path, known: dict[str, Any]) -> FileReport:
    """Return the report of a file that is in its place and right."""
    size, sha256 = path_of(store, file).stat().st_size, known[_key(file)]["sha256"]
    return FileReport(file.repo, file.commit, file.path, size, sha256, "present", False, 0, 0.0)


def _fetch(
    file: WeightFile, hub: Hub | None, store: Path, known: dict[str, Any], progress: Progress | None
) -> FileReport:
    """Fetch a file, verify it, and move it to its place."""
    assert hub is not None
    began = time.monotonic()
    found = hub.find(file)
    if file.bytes is not None and found.size is not None and found.size != file.bytes:
        raise WrongHash(
            f"{_name(file)}: the hub has {found.size} bytes and the catalog says {file.bytes}; nothing was "
            "fetched. Check the entry against the model's page."
        )
    expected = _find_expected(file, known)
    if file.bytes is None and found.size is None and expected is None:
        raise HubError(
            f"{_name(file)}: neither hub nor catalog says how long it is, and nobody could tell that it is whole; "
            "nothing was fetched. Ask another hub (HF_ENDPOINT), or give the file's `bytes` in the catalog entry."
        )
    path = path_of(store, file)
    partial = _partial(file, found, store)
    already = partial.stat().st_size if partial.is_file() else 0
    fetched = 0
    while True:
        start = partial.stat().st_size if partial.is_file() else 0
        hub.fetch(file, found, partial, progress)
        size = partial.stat().st_size
        fetched += size - start
        actual = sha256_file(partial)
        if (expected is None or actual == expected) and file.bytes in (None, size):
            break
        kept = _quarantine(partial, store, actual, path)
        # A partial file may have been damaged where it lay; only what came in one piece is the hub's fault.
        if start == 0:
            source = "from the catalog" if file.sha256 else f"as first seen, in {store / 'known.json'}"
            raise WrongHash(
                f"{_name(file)}: SHA-256 is {actual} ({size} bytes), and {expected} was expected ({source}). "
                f"The file was put into {kept} and is not used. A proxy or a login page may have answered in the hub's "
                "place: run install again, which fetches it anew; if that gives the same, the entry's hash is wrong."
            )
    _open_folders(path.parent, store)
    partial.chmod(0o444)
    partial.replace(path)
    _remember(file, path, actual, store, known)
    status: Literal["resumed", "downloaded"] = "resumed" if already else "downloaded"
    seconds = round(time.monotonic() - began, 3)
    first_sight = expected is None
    return FileReport(file.repo, file.commit, file.path, size, actual, status, first_sight, fetched, seconds)


def _open_folders(folder: Path, store: Path) -> None:
    """Make a folder below the store that everybody may read, whatever the umask: an engine runs as another user."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in (folder, *folder.parents):
        mode = one.stat().st_mode
        if mode & 0o555 != 0o555:  # only then: the store's own folder may be somebody else's
            one.chmod(mode | 0o555)
        if one == store:
            break


def _check_room(wanted: Sequence[WeightFile], hub: Hub, store: Path, margin_bytes: int) -> None:
    """Refuse before the first byte where the files would not fit; a size the catalog lacks is asked for."""
    sizes = [file.bytes for file in wanted]
    for known_only in (True, False):
        # What is known is checked before anyone is asked; asking comes only where that leaves room.
        if not known_only:
            pairs = zip(wanted, sizes, strict=True)
            sizes = [hub.find(file).size if size is None else size for file, size in pairs]
        arrived = sum(one.stat().st_size for file in wanted for one in _partials(file, store))
        needed = max(0, sum(size or 0 for size in sizes) - arrived)
        free = shutil.disk_usage(store).free
        if needed + margin_bytes > free:
            raise DiskFull(
                f"{store}: the weights need {spell_size(needed)} and {spell_size(margin_bytes)} must stay free, but "
                f"there are {spell_size(free)}; free some space or set weights_store to a larger disk. Nothing "
                "was fetched."
            )
        if None not in sizes:
            return


def _partial(file: WeightFile, found: Found, store: Path) -> Path:
    """Return where the file arrives; what arrived under another identity is removed.

    The name holds a hash of the hub's ETag, so bytes of two versions never meet in one file.
    """
    tag = hashlib.sha256(found.etag.encode()).hexdigest()[:16]
    home = path_of(store / "partial", file)
    partial = home.with_name(f"{home.name}.{tag}")
    for other in _partials(file, store):
        if other != partial:
            other.unlink()
    return partial


def _partials(file: WeightFile, store: Path) -> list[Path]:
    """Return what has arrived of a file, under whatever identity."""
    home = path_of(store / "partial", file)
    found = home.parent.glob(f"{glob.escape(home.name)}.*")
    return [one for one in found if re.fullmatch(r"[0-9a-f]{16}", one.suffix[1:])]


def _quarantine(path: Path, store: Path, actual: str, home: Path | None = None) -> Path:
    """Move a wrong file aside, under its own hash; one such file is kept for each name."""
    inner = (home or path).relative_to(store)
    folder = (store / "quarantine" / inner).parent
    folder.mkdir(parents=True, exist_ok=True)
    for older in folder.glob(f"{glob.escape(inner.name)}.sha256-*"):
        older.unlink()
    kept = folder / f"{inner.name}.sha256-{actual[:16]}"
    path.replace(kept)
    return kept


def _find_expected(file: WeightFile, known: dict[str, Any]) -> str | None:
    """Return the hash the file is held to: the catalog's, else the one of its first sight, else None."""
    remembered = known.get(_key(file), {}).get("sha256")
    return file.sha256 or (str(remembered) if remembered else None)


def _is_verified(file: WeightFile, store: Path, known: dict[str, Any]) -> bool:
    """Return whether the file is in its place as it was when it was verified against what is expected now."""
    path = path_of(store, file)
    entry = known.get(_key(file))
    if entry is None or not path.is_file() or entry["sha256"] != _find_expected(file, known):
        return False
    stat = path.stat()
    return bool(entry["bytes"] == stat.st_size and entry["mtime_ns"] == stat.st_mtime_ns)


def _remember(file: WeightFile, path: Path, sha256: str, store: Path, known: dict[str, Any]) -> None:
    stat = path.stat()
    known[_key(file)] = {
        "sha256": sha256,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "source": "catalog" if file.sha256 else "first sight",
    }
    write_atomically(
        store / "known.json",
        json.dumps({"schema_version": 1, "files": known}, indent=2, sort_keys=True).encode() + b"\n",
    )


def _read_known(store: Path) -> dict[str, Any]:
    path = store / "known.json"
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_bytes())
        files = raw["files"]
        good = raw["schema_version"] == 1 and all(
            {"sha256", "bytes", "mtime_ns"} <= entry.keys() for entry in files.values()
        )
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        good = False
    if not good:
        # Silently starting over would forget the hashes that first sights are held to.
        raise BadInput(
            f"{path}: not a list of known files; restore it, or move it away and check the weights anew."
        )
    return dict(files)


@contextlib.contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Let one process at a time change the store; the lock goes with its process."""
    with (store / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _key(file: WeightFile) -> str:
    return f"{file.repo}@{file.commit}/{file.path}"


def _name(file: WeightFile) -> str:
    return f"{file.repo}/{file.path} at {file.commit[:12]}"


def spell_size(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count / 1024**3:.2f} GiB" if count >= 1024**3 // 10 else f"{count / 1024**2:.2f} MiB"
