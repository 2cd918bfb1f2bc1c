"""What SECURITY.md says of containers is what every call that makes one asks Docker for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.tables import REPO

PAGE = (REPO / "SECURITY.md").read_text("utf-8")


def _rows() -> dict[str, list[str]]:
    table = PAGE[PAGE.index("| what | as which user") :].partition("\n\n")[0].splitlines()[2:]
    return {
        cells[0]: cells for line in table if (cells := [cell.strip() for cell in line.strip("|").split("|")])
    }


def _options(call: ast.Call, tree: ast.AST) -> dict[str, ast.expr]:
    """The keywords of a call; those of `**options` from the dictionary of that name."""
    found = {word.arg: word.value for word in call.keywords if word.arg}
    if any(word.arg is None for word in call.keywords):
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
                keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
                if "cap_drop" in keys:
                    found |= dict(zip(map(str, keys), node.value.values, strict=True))
    return found


def _made() -> Iterator[tuple[Path, dict[str, ast.expr]]]:
    for path in sorted((REPO / "bench").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search(
                r"containers\.(create|run)$|create_container$", ast.unparse(node.func)
            ):
                yield path.relative_to(REPO), _options(node, tree)


@pytest.mark.slow
def test_each_container_is_made_as_the_page_says() -> None:
    made = list(_made())
    assert sorted(str(path) for path, _ in made) == [
        "bench/docker_host/host.py", "bench/engines/container.py", "bench/engines/published.py",
        "bench/neighbour/watcher_container.py",
    ], "a container that SECURITY.md does not know"  # fmt: skip
    for path, options in made:
        assert ast.literal_eval(options["cap_drop"]) == ["ALL"], path
        assert ast.literal_eval(options["read_only"]) is True, path
        assert "no-new-privileges" in ast.unparse(options["security_opt"]), path
        assert "privileged" not in options and "pid_mode" not in options and "devices" not in options, path
        watcher = "watcher" in str(path)
        granted = ast.literal_eval(options["cap_add"]) if "cap_add" in options else []
        assert granted == (["DAC_OVERRIDE"] if watcher else []), path
        assert ("socket" in ast.unparse(options.get("volumes", ast.Constant("")))) is False or watcher, path


@pytest.mark.parametrize(
    "what",
    [
        "an engine as a container",
        "a published image (`run.kind: image`)",
        "the check of an image's GPU",
        "the watcher",
    ],
)
def test_the_page_says_so(what: str) -> None:
    row = _rows()[what]
    rights = row[2] if what != "the check of an image's GPU" else _rows()["an engine as a container"][2]
    assert "no-new-privileges" in rights and "read-only root" in rights
    assert ("DAC_OVERRIDE" in rights) == (what == "the watcher")


def test_an_engine_is_no_root_in_its_container() -> None:
    user = re.search(r"^USER (\d+):", (REPO / "bench/engines/image/Dockerfile").read_text(), re.M)
    assert user is not None and _rows()["an engine as a container"][1] == f"{user[1]} in it"
