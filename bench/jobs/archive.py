"""Tars between controller and host: regular files and directories, and nothing that leads out.

Debian 12's Python (3.11.2) has no extraction filters, so the members are checked here.
"""

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from bench.errors import AuditionError


def unpack(tar: Path, folder: Path) -> None:
    """Unpack `tar` into `folder`.

    Raises:
        AuditionError: it did not arrive whole; or a member is a link, a device, or has a path that leads out
            of `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                _extract(archive, member, folder)
    except tarfile.TarError as error:
        raise AuditionError(
            f"{tar.name} did not arrive whole ({error}); run the same command again."
        ) from error


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise AuditionError(f"the tar holds {member.name!r}, which is no plain file; not unpacked.")
    target = folder / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)


def pack(folder: Path, tar: Path) -> None:
    """Put everything in `folder` into `tar`."""
    with tarfile.open(tar, "w") as archive:
        archive.add(folder, arcname=".")
