"""The context of an engine's image: the same bytes for the same content, and the tag that follows it."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from bench.engines.image import context


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
        "wheels",
        "bench/engines/server.py",
        "bench/engines/f5.py",
    } <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("bench/host")]


def test_the_tag_follows_the_lock_the_base_and_the_wheels(lock: Path, tmp_path: Path) -> None:
    plain = context.tag("f5", lock)
    assert plain == context.tag("f5", lock)
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"x")
    others = {context.tag("f5", lock, base="debian:13"), context.tag("f5", lock, wheels=[wheel])}
    lock.write_text("a==2 --hash=sha256:00\n")
    assert len({plain, context.tag("f5", lock), *others}) == 4
