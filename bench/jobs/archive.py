"""Tars between controller and host: plain ones of a stated size, with regular files and directories, and nothing that
leads out.

Debian 12's Python (3.11.2) has no extraction filters, so the members are checked here. A compressed tar, or a sparse
file in one, could unpack to a thousand times what was sent; a plain one holds what it is long. What is unpacked is for
its owner alone, whatever the umask: references and takes are people's voices.
"""

import errno
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from bench.errors import AuditionError
from bench.storage.private import FILE, make_private

MOST_MEMBERS = 100_000
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_ITS_OWN_FAULT = (
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ELOOP,
)


def unpack(tar: Path, folder: Path, size: int | None = None, *, private: bool = True) -> None:
    """Unpack `tar` into `folder`.

    Args:
        tar: a tar as `pack` makes it.
        folder: made where it is missing.
        size: bytes of `tar` as whoever sent it says; None where it is not said.
        private: files have 0600 and folders 0700; else what the umask leaves, for code that others may run.

    Raises:
        AuditionError: it did not arrive whole, or not as a plain tar; or a member is a link, a device, sparse, there
            twice, or has a path that leads out of `folder`.
        OSError: the disk is full, or the folder cannot be written.
    """
    make = make_private if private else _make_open
    make(folder)
    try:
        if size is not None and (found := tar.stat().st_size) != size:
            raise tarfile.ReadError(f"{found} bytes and {size} were sent")
        with tarfile.open(tar, "r:") as archive:
            seen = set[PurePosixPath]()
            for member in archive:
                target = _find_place(member, folder, seen)
                try:
                    _extract(archive, member, target, make)
                except OSError as error:
                    if error.errno not in _ITS_OWN_FAULT:
                        raise
                    raise AuditionError(
                        f"the tar holds {member.name!r}, which has no place; not unpacked."
                    ) from error
    # Beside its own errors tarfile lets through what numbers and names in a header make it stumble over.
    except (tarfile.TarError, ValueError, EOFError, OverflowError, LookupError) as error:
        raise AuditionError(
            f"{tar.name} did not arrive whole ({error}); run the same command again."
        ) from error


def _find_place(member: tarfile.TarInfo, folder: Path, seen: set[PurePosixPath]) -> Path:
    name = PurePosixPath(member.name)
    plain = member.isdir() or (member.type in _PLAIN and not member.issparse() and member.size >= 0)
    if name.is_absolute() or ".." in name.parts or not plain:
        raise AuditionError(f"the tar holds {member.name!r}, which is no plain file; not unpacked.")
    if name in seen or len(seen) >= MOST_MEMBERS:
        raise AuditionError(
            f"the tar holds {member.name!r} twice, or more than {MOST_MEMBERS} files; not unpacked."
        )
    seen.add(name)
    return folder / name


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, make: Callable[[Path], None]
) -> None:
    if member.isdir():
        make(target)
        return
    make(target.parent)
    source = archive.extractfile(member)
    assert source is not None
    # Not through a link that lies there, and readable to nobody else from its first byte on.
    mode = FILE if make is make_private else 0o666
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with source, os.fdopen(handle, "wb") as stream:
        if mode == FILE:
            os.fchmod(handle, FILE)  # it may have been there
        shutil.copyfileobj(source, stream)


def _make_open(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def pack(folder: Path, tar: Path) -> int:
    """Put everything in `folder` into `tar`, which its owner alone may read; returns its size in bytes."""
    tar.unlink(missing_ok=True)
    handle = os.open(tar, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE)
    with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(folder, arcname=".")
    return tar.stat().st_size
