"""Dependencies point the way that docs/architecture.md says."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.docs.tables import REPO, imported, imports

PURE = {
    "audio": {"storage"},
    "docker_host": set[str](),
    "memory": set[str](),
    "metrics": {"audio"},
    "records": set[str](),
    "summaries": set[str](),
    "text": set[str](),
    "verdict": {"storage", "summaries"},
}
"""Rooms that import nothing of ours but `records`, `errors` and what is named here."""
SHARED = {"records", "errors"}
ROOMS = {path.parent.name for path in (REPO / "bench").glob("*/__init__.py")}
CONTROLLERS = {"commands", "controller", "listening", "publish", "report"}
"""Rooms that no host needs."""
ON_HOSTS = ROOMS - CONTROLLERS - {"selftest"}
MODULES = sorted((REPO / "library").glob("*.py"))


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_nothing_of_ours(room: str) -> None:
    assert imports()[room] <= SHARED | PURE[room]


def test_no_room_imports_itself_by_way_of_others() -> None:
    tuple(TopologicalSorter(imports()).static_order())


@pytest.mark.parametrize("room", sorted(ROOMS - {"commands"}))
def test_rooms_import_no_command(room: str) -> None:
    assert "commands" not in imports()[room]


@pytest.mark.parametrize("room", sorted(ON_HOSTS))
def test_what_a_host_needs_does_not_import_the_controllers_side(room: str) -> None:
    assert not imports()[room] & CONTROLLERS


@pytest.mark.parametrize("room", sorted(ON_HOSTS))
def test_what_a_host_runs_needs_no_ansible(room: str) -> None:
    for path in (REPO / "bench" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] in ("ansible", "ansible_runner") for name in names), path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_import_bench_in_main_alone(path: Path) -> None:
    assert not imported(path, top_level_only=True)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "main"]
    for node in inside:
        assert "bench" not in ast.unparse(node).split(), f"{path.name}: {node.name}"


@pytest.mark.slow
def test_no_folder_of_tests_imports_anothers() -> None:
    found = []
    for path in (REPO / "tests").rglob("*.py"):
        folder = path.relative_to(REPO / "tests").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            there = {name.split(".")[1] for name in names if name.startswith("tests.")}
            found += [
                f"{path.relative_to(REPO)} imports tests.{other}" for other in there - {folder, "support"}
            ]
    assert not found


def test_there_are_modules_and_rooms() -> None:
    assert len(MODULES) >= 8
    assert ON_HOSTS < ROOMS
