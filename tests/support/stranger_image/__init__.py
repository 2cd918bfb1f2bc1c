"""An image as somebody else publishes one: a real neural voice behind a server that knows nothing of Audition.

Built on the tests' Debian from the packages of this process's own environment, so both have the same Python (3.11).
"""

import contextlib
import hashlib
import io
import re
import tarfile
from importlib.metadata import distribution
from pathlib import Path

from tests.support.docker import DockerEnv, base_image

HERE = Path(__file__).parent
NAME = "somebody/neural"
_UNUSED = {"..", "__pycache__", "tests", "tools", "transformers", "quantization", "datasets"}
"""Folders of packages of which speaking uses nothing, and scripts beside them: every byte is packed and sent twice."""
DOCKERFILE = """
FROM {base}
COPY srv /srv
ENV PYTHONPATH=/srv/site PYTHONDONTWRITEBYTECODE=1
USER 1234
LABEL org.opencontainers.image.title="a neural voice"
ENTRYPOINT ["python3", "/srv/server.py"]
"""


def publish(env: DockerEnv, port: int) -> tuple[str, str]:
    """Build the image where it is not there, push it into the registry on `port`, and return repository and digest."""
    files = {name: path for each in _closure("hibari-tts") for name, path in _files(each)}
    text = DOCKERFILE.format(base=base_image(env)).encode()
    names = "".join(sorted(_closure("hibari-tts", versions=True)))
    key = hashlib.sha256(text + (HERE / "server.py").read_bytes() + names.encode()).hexdigest()[:12]
    built, repository = f"audition-test-neural:{key}", f"127.0.0.1:{port}/{NAME}"
    with contextlib.closing(env.client(timeout_s=600)) as client:
        if not client.images.list(name=built):
            with contextlib.closing(_context(text, files)) as context:
                client.images.build(fileobj=context, custom_context=True, tag=built, rm=True)
        client.api.tag(built, repository, "latest")
        told = client.api.push(repository, tag="latest", stream=True, decode=True)
        digest = next(line["aux"]["Digest"] for line in told if "aux" in line)
    return repository, str(digest)


def _context(text: bytes, files: dict[str, Path]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
        folder = tarfile.TarInfo("srv/cache")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o777
        archive.addfile(folder)
        archive.add(HERE / "server.py", "srv/server.py")
        for name, path in files.items():
            archive.add(path, f"srv/site/{name}")
    out.seek(0)
    return out


def _closure(root: str, *, versions: bool = False) -> set[str]:
    """Return the distributions that one needs, itself among them; with their versions, for a hash."""
    found: set[str] = set()
    todo = [root]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        needed = [each for each in distribution(name).requires or [] if "extra ==" not in each]
        todo += [re.split(r"[^\w.-]", each)[0] for each in needed if _applies(each)]
    return {f"{name}=={distribution(name).version}" for name in found} if versions else found


def _applies(requirement: str) -> bool:
    """Return whether a requirement is for this Python; the few markers that there are say which it is not for."""
    return "python_version <" not in requirement and "sys_platform ==" not in requirement


def _files(name: str) -> list[tuple[str, Path]]:
    listed = distribution(name).files or []
    return [
        (str(each), Path(str(each.locate())))
        for each in listed
        if not _UNUSED & set(each.parts) and Path(str(each.locate())).is_file()
    ]
