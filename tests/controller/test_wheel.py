"""The wheel: the same tree gives the same bytes and the same venv, another tree another."""

import shutil
import zipfile
from pathlib import Path

import pytest

from bench.controller.wheel import REPO, build
from bench.errors import AuditionError


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is made of."""
    copy = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "bench", copy / "bench", ignore=ignore)
    (copy / "requirements").mkdir()
    shutil.copy(REPO / "requirements/host.txt", copy / "requirements/host.txt")
    shutil.copy(REPO / "pyproject.toml", copy / "pyproject.toml")
    (copy / "README.md").write_text("One.")
    return copy


def test_the_same_tree_gives_the_same_bytes_wherever_it_is(tree: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tree, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(".cache")))
    (other / "README.md").write_text("Another text, which is no part of what runs on a host.")
    (other / "bench" / "__pycache__").mkdir(exist_ok=True)
    (other / "bench" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"stale")
    first, second = build(tree), build(other)
    assert (first.sha256, first.venv_key) == (second.sha256, second.venv_key)
    assert first.venv("/state") == f"/state/venvs/bench-{first.venv_key}"


def test_the_wheel_holds_what_runs_on_a_host(tree: Path) -> None:
    with zipfile.ZipFile(build(tree).path) as wheel:
        names = set(wheel.namelist())
    missing = [
        str(path.relative_to(tree))
        for path in (tree / "bench").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and str(path.relative_to(tree)) not in names
    ]
    assert missing == []
    assert not [name for name in names if name.startswith(("tests/", "build/"))]


def test_another_lock_is_another_venv_and_another_source_another_wheel(tree: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(tree, tmp_path / "changed", ignore=shutil.ignore_patterns(".cache")))
    (changed / "bench/errors.py").write_text((changed / "bench/errors.py").read_text() + "\n# edited\n")
    assert build(changed).sha256 != build(tree).sha256
    locked = Path(shutil.copytree(tree, tmp_path / "locked"))
    (locked / "requirements/host.txt").write_text("# another lock\n")
    assert build(locked).sha256 == build(tree).sha256
    assert build(locked).venv_key != build(tree).venv_key


def test_a_wheel_that_cannot_be_built_says_why(tree: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tree, tmp_path / "broken", ignore=shutil.ignore_patterns(".cache")))
    (broken / "pyproject.toml").write_text("[project\n")
    with pytest.raises(AuditionError, match=r"building bench's wheel failed"):
        build(broken)
    assert not list((broken / ".cache/wheels").glob("*/*.whl"))
