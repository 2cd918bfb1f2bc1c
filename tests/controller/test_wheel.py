"""The wheel: the same tree gives the same bytes and the same venv, another part of it for hosts another."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from bench.controller.parts import find_host_part
from bench.controller.wheel import REPO, build
from bench.errors import AuditionError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is made of."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("bench", "library"):
        shutil.copytree(REPO / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "requirements").mkdir()
    for lock in ("host.txt", "host-whisper.txt"):
        shutil.copy(REPO / "requirements" / lock, copy / "requirements" / lock)
    shutil.copy(REPO / "pyproject.toml", copy / "pyproject.toml")
    return copy


def _copy(tree: Path, to: Path) -> Path:
    return Path(shutil.copytree(tree, to, ignore=shutil.ignore_patterns(".cache")))


def test_the_same_tree_gives_the_same_bytes_wherever_it_is(tree: Path, tmp_path: Path) -> None:
    other = _copy(tree, tmp_path / "elsewhere")
    (other / "bench" / "__pycache__").mkdir(exist_ok=True)
    (other / "bench" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"stale")
    with (other / "pyproject.toml").open("a") as settings:
        settings.write("\n[tool.of-no-host]\nline-length = 80\n")
    first, second = build(tree), build(other)
    assert (first.sha256, first.venv_key) == (second.sha256, second.venv_key)
    assert first.venv("/state") == f"/state/venvs/bench-{first.venv_key}"


def test_the_wheel_holds_what_runs_on_a_host_and_nothing_else(tree: Path) -> None:
    with zipfile.ZipFile(build(tree).path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == set(find_host_part(tree).files)


def test_another_lock_is_another_venv_and_another_host_file_another_wheel(tree: Path, tmp_path: Path) -> None:
    changed = _copy(tree, tmp_path / "changed")
    (changed / "bench/errors.py").write_text((changed / "bench/errors.py").read_text() + "\n# edited\n")
    assert build(changed).sha256 != build(tree).sha256
    assert build(changed).venv_key != build(tree).venv_key
    locked = _copy(tree, tmp_path / "locked")
    (locked / "requirements/host.txt").write_text("# another lock\n")
    assert build(locked).sha256 == build(tree).sha256
    assert build(locked).venv_key != build(tree).venv_key


def test_a_host_that_recognises_words_has_a_venv_of_its_own_with_the_same_wheel(tree: Path) -> None:
    plain, whisper = build(tree), build(tree, whisper=True)
    assert whisper.sha256 == plain.sha256 and whisper.venv_key != plain.venv_key
    assert whisper.lock.name == "host-whisper.txt"

    def pins(lock: Path) -> set[str]:
        return {line for line in lock.read_text().splitlines() if line and not line.startswith(" ")}

    assert pins(plain.lock) < pins(whisper.lock), "the same versions, and more packages"
    more = {pin.partition("==")[0] for pin in pins(whisper.lock) - pins(plain.lock)}
    assert {"faster-whisper", "ctranslate2"} <= more and not {"torch", "resemblyzer"} & more


def test_a_wheel_that_cannot_be_built_says_why(tree: Path, tmp_path: Path) -> None:
    broken = _copy(tree, tmp_path / "broken")
    (broken / "pyproject.toml").write_text("[project\n")
    with pytest.raises(AuditionError, match=r"building bench's wheel failed"):
        build(broken)
    unfit = _copy(tree, tmp_path / "unfit")
    text = (
        (unfit / "pyproject.toml")
        .read_text()
        .replace('requires-python = ">=3.11,<3.13"', 'requires-python = "3"')
    )
    (unfit / "pyproject.toml").write_text(text)
    with pytest.raises(AuditionError, match=r"building bench's wheel failed: [\s\S]*Invalid specifier"):
        build(unfit)
    assert not list((unfit / ".cache/wheels").glob("*/*.whl"))


@pytest.mark.parametrize(("model", "whisper"), [("", False), ("tiny.en", True)])
def test_the_role_and_the_plugins_mean_the_same_venv(model: str, whisper: bool) -> None:
    defaults = yaml.safe_load((REPO / "roles/common/defaults/main.yml").read_text())
    given = {"common_bench": defaults["common_bench"], "common_state_dir": "/state", "whisper_model": model}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "ansible.builtin.debug",
         "-a", "var=common_bench.python", "-e", json.dumps(given)],
        cwd=REPO, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert build(REPO, whisper=whisper).python("/state") in done.stdout, done.stdout + done.stderr
