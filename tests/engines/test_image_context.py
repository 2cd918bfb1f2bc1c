"""The context of an engine's image: the same bytes for the same content, and the tag that follows it."""

import io
import os
import re
import tarfile
from pathlib import Path

import pytest

from bench.engines.image import build, context


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "engine.txt"
    path.write_text("a==1 --hash=sha256:00\n")
    return path


def _names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def _bytes(lock: Path) -> bytes:
    out = io.BytesIO()
    context.write(out, lock)
    return out.getvalue()


def test_the_same_content_gives_the_same_bytes(lock: Path) -> None:
    first = _bytes(lock)
    os.utime(lock, (1, 1))
    lock.chmod(0o600)
    assert _bytes(lock) == first


def test_holds_what_is_served_and_nothing_else(lock: Path) -> None:
    names = _names(_bytes(lock))
    assert {
        "Dockerfile",
        "requirements.txt",
        "bench/serving/server.py",
        "bench/serving/f5/adapter.py",
    } <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("bench/host")]


def test_the_tag_follows_the_lock_and_the_base(lock: Path) -> None:
    plain = context.tag("f5", lock)
    assert plain == context.tag("f5", lock)
    other = context.tag("f5", lock, base="debian:13")
    lock.write_text("a==2 --hash=sha256:00\n")
    assert len({plain, context.tag("f5", lock), other}) == 3


def test_every_setting_that_a_build_passes_on_is_one_that_the_dockerfile_or_docker_takes() -> None:
    text = Path(context.__file__).with_name("Dockerfile").read_text()
    taken = set(re.findall(r"^ARG (PIP_\w+)", text, re.MULTILINE))
    assert {name for name in build.PASSED_ON if name.startswith("PIP_")} == taken
    assert {name.upper() for name in build.PASSED_ON} - taken == {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
