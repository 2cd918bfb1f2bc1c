"""The context of an engine's image: the same bytes for the same content, and the tag that follows it."""

import io
import os
import re
import tarfile
from pathlib import Path

import pytest

from bench.controller.parts import find_engine_part, pack_part
from bench.controller.wheel import REPO
from bench.engines.image import build, context


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "engine.txt"
    path.write_text("a==1 --hash=sha256:00\n")
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "engine.tar"
    path.write_bytes(pack_part(find_engine_part(REPO, "bench.serving.flite:Flite")))
    return path


def _write(lock: Path, code: Path) -> bytes:
    out = io.BytesIO()
    context.write_context(out, lock, code)
    return out.getvalue()


def test_the_same_content_gives_the_same_bytes(lock: Path, code: Path) -> None:
    first = _write(lock, code)
    os.utime(lock, (1, 1))
    lock.chmod(0o600)
    assert _write(lock, code) == first


def test_holds_the_dockerfile_the_lock_and_the_code_and_nothing_else(lock: Path, code: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(_write(lock, code))) as archive, tarfile.open(code) as sent:
        names = set(archive.getnames())
        beside = {"Dockerfile", "requirements.txt", "pip_check.py"}
        assert names == {*beside, *(f"code/{name}" for name in sent.getnames())}
    assert "code/bench/serving/flite.py" in names


def test_the_tag_follows_the_lock_the_code_and_the_base(lock: Path) -> None:
    plain = context.name_image("f5", lock, "code")
    assert plain == context.name_image("f5", lock, "code")
    names = {
        plain,
        context.name_image("f5", lock, "code", base="debian:13"),
        context.name_image("f5", lock, "other"),
    }
    lock.write_text("a==2 --hash=sha256:00\n")
    assert len({*names, context.name_image("f5", lock, "code")}) == 4


def test_every_setting_that_a_build_passes_on_is_one_that_the_dockerfile_or_docker_takes() -> None:
    text = context.DOCKERFILE.read_text()
    taken = set(re.findall(r"^ARG (PIP_\w+)", text, re.MULTILINE))
    assert {name for name in build.PASSED_ON if name.startswith("PIP_")} == taken
    assert {name.upper() for name in build.PASSED_ON} - taken == {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}


def test_upstreams_code_lies_beside_ours(lock: Path, code: Path, tmp_path: Path) -> None:
    (tmp_path / "sources" / "speech").mkdir(parents=True)
    (tmp_path / "sources" / "speech" / "say.py").write_text("WORD = 'hello'\n")
    out = io.BytesIO()
    context.write_context(out, lock, code, tmp_path / "sources")
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive, tarfile.open(code) as sent:
        assert set(archive.getnames()) - {f"code/{name}" for name in sent.getnames()} == {
            "Dockerfile", "requirements.txt", "pip_check.py", "code/speech/say.py",
        }  # fmt: skip
        said = archive.extractfile("code/speech/say.py")
        assert said is not None and said.read() == b"WORD = 'hello'\n"
