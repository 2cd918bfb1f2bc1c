"""Dependencies point the way that docs/architecture.md says."""

import ast
from pathlib import Path

import pytest

from tests.docs.tables import REPO, imported, imports

PURE = {"audio": set[str](), "metrics": {"audio"}, "text": set[str](), "verdict": set[str]()}
SHARED = {"records", "errors"}
ROOMS = {path.parent.name for path in (REPO / "bench").glob("*/__init__.py")}
TOP = {path.stem for path in (REPO / "bench").glob("[a-z]*.py")}
ON_HOSTS = {
    "audio",
    "catalog",
    "client",
    "engines",
    "host",
    "inputs",
    "listening",
    "metrics",
    "report",
    "text",
    "verdict",
}
"""Rooms that a host needs, or that people may use by themselves."""
MODULES = sorted((REPO / "library").glob("*.py"))


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_nothing_of_ours(room: str) -> None:
    assert imports()[room] <= SHARED | PURE[room]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_no_command(room: str) -> None:
    assert not imports()[room] & (TOP - SHARED)


@pytest.mark.parametrize("room", sorted(ON_HOSTS))
def test_rooms_do_not_import_the_controllers_side(room: str) -> None:
    assert not imports()[room] & {"controller", "publish"}


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


def test_there_are_modules_and_rooms() -> None:
    assert len(MODULES) >= 8
    assert ON_HOSTS < ROOMS
