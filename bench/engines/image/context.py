"""The build context of an engine's image, the same bytes for the same content, and the tag made from it."""

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from docker import errors as docker_errors

import bench
from bench.errors import AuditionError

BENCH = Path(bench.__file__).parent
SERVED = ("__init__.py", "py.typed", "errors.py", "records.py", "audio", "catalog", "engines", "text")
"""What of bench the engine server imports; a change elsewhere makes no new image."""
DEFAULT_BASE = "python:3.12-slim"
_LOG_TAIL = 3000


class ImageFailed(AuditionError):
    """The image could not be built; the message ends with the failed step's last words."""


def tag(model: str, requirements: Path, *, base: str = DEFAULT_BASE) -> str:
    """Return `audition-engine-<model>:<hash>`: of the context's bytes and the base's name."""
    digest = hashlib.sha256(base.encode() + b"\0")
    write(cast("IO[bytes]", _Hashed(digest)), requirements)
    return f"audition-engine-{model}:{digest.hexdigest()[:16]}"


def write(out: IO[bytes], requirements: Path) -> None:
    """Write the context as a tar: Dockerfile, requirements.txt (the engine's lock, with hashes), bench/."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, source in _members(requirements):
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            info.size = source.stat().st_size
            with source.open("rb") as stream:
                archive.addfile(info, stream)


def build(
    client: Any,
    model: str,
    requirements: Path,
    *,
    base: str = DEFAULT_BASE,
    build_args: Mapping[str, str] | None = None,
    network: str | None = None,
) -> tuple[str, bool]:
    """Build the image unless the engine has it; return its tag and whether it was built.

    `client` is a `docker.DockerClient`. `network` is the one the build's commands use; null is Docker's default.

    Raises:
        ImageFailed: a step failed; the message ends with what it wrote last.
    """
    name = tag(model, requirements, base=base)
    if client.images.list(name=name):
        return name, False
    with tempfile.TemporaryFile() as context:
        write(context, requirements)
        context.seek(0)
        try:
            client.images.build(
                fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True, network_mode=network,
                buildargs={"BASE": base, **(build_args or {})},
            )  # fmt: skip
        except docker_errors.BuildError as error:
            log = "".join(str(line.get("stream", "")) for line in error.build_log)
            raise ImageFailed(f"The image {name} could not be built: {error}\n{log[-_LOG_TAIL:]}") from error
    return name, True


def _members(requirements: Path) -> Iterator[tuple[str, Path]]:
    """Yield names in the context in a fixed order, with the file of each."""
    yield "Dockerfile", Path(__file__).with_name("Dockerfile")
    yield "requirements.txt", requirements
    for part in SERVED:
        top = BENCH / part
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                yield f"bench/{file.relative_to(BENCH).as_posix()}", file


class _Hashed:
    """A file that keeps nothing of what is written to it but the hash."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes, /) -> int:
        self._digest.update(data)
        return len(data)
