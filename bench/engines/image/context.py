"""The build context of an engine's image, the same bytes for the same content, and the tag made from it."""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from bench.errors import AuditionError
from bench.records.settings import PYTHON_IMAGE

DOCKERFILE = Path(__file__).with_name("Dockerfile")
PIP_CHECK = Path(__file__).with_name("pip_check.py")


class ImageFailed(AuditionError):
    """The image could not be built."""


def name_image(model: str, lock: Path, code_sha256: str, *, base: str = PYTHON_IMAGE) -> str:
    """Return `audition-engine-<model>:<hash>`: of the base's name, the Dockerfile, the lock and all code,
    `code_sha256`: the engine's and upstream's."""
    parts = (base.encode(), DOCKERFILE.read_bytes(), lock.read_bytes(), code_sha256.encode())
    digest = hashlib.sha256(b"\0".join(parts))
    return f"audition-engine-{model}:{digest.hexdigest()[:16]}"


def write_context(out: IO[bytes], lock: Path, code: Path, sources: Path | None = None) -> None:
    """Write the context as a tar: Dockerfile, requirements.txt (the lock, with hashes), pip_check.py, code/ (the
    archive, and beside it upstream's code from the folder `sources`)."""
    beside = {"Dockerfile": DOCKERFILE, "requirements.txt": lock, PIP_CHECK.name: PIP_CHECK}
    with (
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as context,
        tarfile.open(code) as archive,
    ):
        for name, path in beside.items():
            _add(context, name, path.read_bytes())
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None, "the archive of an engine holds plain files alone"
            _add(context, f"code/{member.name}", content.read())
        if sources is not None:
            for path in sorted(each for each in sources.rglob("*") if each.is_file()):
                _add(context, f"code/{path.relative_to(sources).as_posix()}", path.read_bytes())


def build_image(
    client: Any,
    name: str,
    lock: Path,
    code: Path,
    *,
    base: str = PYTHON_IMAGE,
    build_args: Mapping[str, str] | None = None,
    network: str | None = None,
    sources: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Build the image `name` unless the engine has it; return whether it was built.

    `client` is a `docker.DockerClient`. `network` is the one the build's commands use; null is Docker's default. `say`
    is called with what Docker and the build's commands write, as they write it.

    Raises:
        ImageFailed: a step failed; what it wrote last has been said.
    """
    from bench.docker_host.host import (
        ROLE_LABEL,  # imports Docker's SDK, and who only names an image has none
    )

    if client.images.list(name=name):
        return False
    with tempfile.TemporaryFile() as context:
        write_context(context, lock, code, sources)
        context.seek(0)
        told = client.api.build(
            fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True, network_mode=network,
            buildargs={"BASE": base, **(build_args or {})}, labels={ROLE_LABEL: "engine"}, decode=True,
        )  # fmt: skip
        for line in told:
            if "error" in line:
                raise ImageFailed(f"The image {name} could not be built: {line['error']}")
            if text := str(line.get("stream") or _status(line)):
                say(text)
    return True


def _status(line: Mapping[str, Any]) -> str:
    """Return what becomes of the base's layers, but how far each of them is."""
    return f"{line['status']}\n" if line.get("status") and not line.get("progressDetail") else ""


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, len(data)
    archive.addfile(info, io.BytesIO(data))
