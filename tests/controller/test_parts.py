"""What of bench goes where: whole, nothing else, and named by what is in it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.catalog.entry import EngineRun
from bench.catalog.loader import available, load
from bench.controller import parts
from bench.controller.parts import DATA, find_engine_part, find_host_part, pack_part
from bench.controller.wheel import REPO, name_venv
from bench.engines.image.context import name_image
from bench.jobs.archive import unpack
from tests.support import entries

ADAPTERS = sorted({run.adapter for name in available() if isinstance(run := load(name).run, EngineRun)})
LOCK = REPO / "requirements" / "engine-f5.txt"
Edit = Callable[[str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Gives a copy of the tree with a line more in one file."""

    def edit(name: str) -> Path:
        copy = tmp_path / "tree"
        for folder in ("bench", "library"):
            shutil.copytree(REPO / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "requirements").mkdir()
        for one in ("requirements/host.txt", "pyproject.toml"):
            shutil.copy(REPO / one, copy / one)
        with (copy / name).open("a") as file:
            file.write("\n")
        return copy

    return edit


def _names(repo: Path) -> dict[str, str]:
    """Return the names of all that a host is given."""
    f5 = find_engine_part(repo, "bench.serving.f5.adapter:F5").sha256
    return {
        "bench venv": name_venv(repo),
        "f5": name_image("f5", LOCK, f5),
        "flite": find_engine_part(repo, "bench.serving.flite:Flite").sha256,
    }


@pytest.mark.parametrize(
    ("file", "renamed"),
    [
        ("bench/listening/page/page.css", set()),
        ("bench/report/page.html", set()),
        ("bench/verdict/rule.py", set()),
        ("bench/catalog/f5.yml", set()),
        ("bench/records/verdict.py", set()),
        ("bench/controller/run.py", set()),
        ("bench/serving/f5/chunking.py", {"f5"}),
        ("bench/serving/flite.py", {"flite"}),
        ("bench/serving/server.py", {"f5", "flite"}),
        ("bench/jobs/job.py", {"bench venv"}),
        ("bench/neighbour/watcher/watcher.py", {"bench venv"}),
        ("bench/engines/launch.py", {"bench venv"}),
    ],
)
def test_an_edit_renames_what_contains_the_file_and_nothing_else(
    edited: Edit, file: str, renamed: set[str]
) -> None:
    before, after = _names(REPO), _names(edited(file))
    assert {name for name in before if before[name] != after[name]} == renamed


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_engines_part_is_all_that_its_imports_need(adapter: str, tmp_path: Path) -> None:
    """Every import of every file, those inside functions too, is in the archive."""
    part = find_engine_part(REPO, adapter)
    for path in part.files.values():
        for module in parts._read_imports(path):
            if (found := parts._find_module(REPO, module)) is not None:
                assert found.relative_to(REPO).as_posix() in part.files, f"{path} imports {module}"
    # What F5, CosyVoice, Chatterbox and Qwen3-TTS import besides is in environments of their own: tests/serving/.
    if not {"f5", "cosyvoice2", "chatterbox", "qwen3tts"} & set(adapter.split(".")):
        tar = tmp_path / "engine.tar"
        tar.write_bytes(pack_part(part))
        unpack(tar, tmp_path / "code")
        code = (
            f"import bench.serving.server as s; print(s.__file__, s.load_adapter({adapter!r}).voices()[:1])"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.startswith(str(tmp_path / "code"))


def test_the_same_part_gives_the_same_archive(tmp_path: Path) -> None:
    part = find_engine_part(REPO, "bench.serving.flite:Flite")
    os.utime(part.files["bench/serving/flite.py"])
    assert pack_part(part) == pack_part(find_engine_part(REPO, "bench.serving.flite:Flite"))


def test_an_adapter_that_somebody_put_beside_ours_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(entries.FAULTY))
    part = find_engine_part(REPO, "faulty_voices:Dying")
    assert part.files["faulty_voices.py"] == entries.FAULTY / "faulty_voices.py"
    assert "bench/serving/espeak.py" in part.files, "what it imports of ours is sent as well"


def test_a_host_runs_no_file_of_the_controllers_side_and_no_adapter() -> None:
    rooms = {name.split("/")[1] for name in find_host_part(REPO).files}
    assert not rooms & {"commands", "controller", "listening", "publish", "report", "selftest", "verdict"}
    assert {n for n in find_host_part(REPO).files if "/serving/" in n} == {
        "bench/serving/__init__.py",
        "bench/serving/config.py",
    }


def test_every_data_file_is_read_by_a_module_that_says_so() -> None:
    """What setuptools packs beside the modules, and what the closures carry, is one list of files."""
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packed = {
        path.resolve()
        for package, patterns in settings.items()
        for pattern in patterns
        for path in (REPO / package.replace(".", "/")).glob(pattern)
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != "py.typed"
    }
    read = {
        path for module in DATA for path in parts._find_data(_path(module), module) if path.suffix != ".py"
    }
    assert read == packed
    for module, patterns in DATA.items():
        text = _path(module).read_text()
        for pattern in patterns:
            assert re.search(re.escape(Path(pattern).name.strip("*/")) or ".", text), f"{module}: {pattern}"


def _path(module: str) -> Path:
    return (REPO / module.replace(".", "/")).with_suffix(".py")


_NAMED = r"(?:bench|benchmarks|tests)(?:\.(?!json\b|log\b|pid\b)[A-Za-z_]\w*)*"


def _strings() -> Iterator[tuple[Path, str]]:
    """Yield every string of the Python files, and every other file whole that names modules."""
    for folder in ("bench", "benchmarks", "library", "action_plugins", "lookup_plugins", "tests"):
        for path in (REPO / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path, node.value
    for path in [REPO / "Makefile", *(REPO / "docs").glob("*.md"), *(REPO / "bench").rglob("Dockerfile")]:
        yield path, path.read_text(encoding="utf-8")


def _has(name: str) -> bool:
    """Tell whether a dotted name is a module of ours, or something that a module of ours has at its top."""
    place = REPO / name.replace(".", "/")
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    module, _, attribute = name.rpartition(".")
    files = [
        (REPO / module.replace(".", "/")).with_suffix(".py"),
        REPO / module.replace(".", "/") / "__init__.py",
    ]
    for node in ast.walk(
        ast.parse("".join(file.read_text(encoding="utf-8") for file in files if file.is_file()))
    ):
        match node:
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found) | ast.Name(id=found, ctx=ast.Store()):
                if found == attribute:
                    return True
            case ast.alias(name=found, asname=given):
                if (given or found) == attribute:
                    return True
    return False


@pytest.mark.slow
def test_what_is_named_in_strings_exists() -> None:
    """`-m` commands, code for another process, monkeypatches, Dockerfiles, pages: nothing else notices a move."""
    named: dict[str, Path] = {}
    for path, text in _strings():
        named |= dict.fromkeys(re.findall(rf"-m\W+({_NAMED})", text), path)
        named |= {text: path} if re.fullmatch(_NAMED, text) and "." in text else {}
        for module, what in re.findall(rf"from ({_NAMED}) import ([\w, ]+?)(?=;|\n|$)", text):
            named |= {f"{module}.{one.split(' as ')[0].strip()}": path for one in what.split(",")}
    assert len(named) > 40
    assert {name: str(path) for name, path in named.items() if not _has(name)} == {}
