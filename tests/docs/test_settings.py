"""A setting is declared once: what Ansible reads of it is made, and is as the declaration makes it."""

import ast
from collections import Counter
from typing import Annotated

import pytest

from bench.records.settings import (
    ELSEWHERE,
    GIB,
    P50_RATIO_LIMIT,
    PYTHON_IMAGE,
    Given,
    Settings,
)
from tests.docs.settings import COMMAND, MADE, ROLES, Role, declared, module, phases, spec
from tests.docs.tables import DOCS, REPO, public_options


class Said(Settings):
    """Each kind of declaration."""

    way: Annotated[str, Given(default="venv")] = ""
    """How; `way` and `http` are marked.

    A second paragraph.
    """
    floor_bytes: Annotated[int, Given("floor_gib", "float", times=GIB, default=8)] = 0
    """What stays free."""


class Silent(Settings):
    way: str = ""


class Again(Settings):
    way: Annotated[str, ELSEWHERE] = "system"


def _role(*models: type[Settings]) -> Role:
    return Role("", [], tuple((model, "my_") for model in models))


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_is_current(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    assert MADE[name](text) == text, f"{name} is not what the settings say; run `{COMMAND}`"


def test_every_role_with_variables_is_made() -> None:
    public = {role for role, options in public_options().items() if options}
    assert public == set(ROLES)


def test_a_declaration_says_name_type_default_and_meaning() -> None:
    found = {name: spec(one, role=True) for name, one in _role(Said).variables().items()}
    assert found == {
        "my_way": {
            "description": ["How; O(my_way) and C(http) are marked.", "A second paragraph."],
            "type": "str",
            "default": "venv",
        },
        "my_floor_gib": {"description": "What stays free; in GiB.", "type": "float", "default": 8},
    }


def test_a_declaration_without_a_meaning_is_refused() -> None:
    with pytest.raises(KeyError, match=r"Silent\.my_way: say under the field what it means"):
        [spec(one, role=True) for one in declared(Silent, "my_")]


def test_a_variable_that_is_declared_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="my_way is declared twice"):
        _role(Said, Silent).variables()


def test_a_variable_that_differs_where_it_arrives_is_refused() -> None:
    with pytest.raises(ValueError, match="my_way differs between Said and Again"):
        _role(Said, Again).variables()


def test_what_is_declared_elsewhere_is() -> None:
    every = {name for role in ROLES.values() for name in role.variables()}
    elsewhere = {
        one.name
        for role in ROLES.values()
        for model, prefix in role.models
        for one in declared(model, prefix)
        if one.given.elsewhere
    }
    assert elsewhere and elsewhere <= every


def test_a_file_without_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        phases("---\n")
    with pytest.raises(ValueError, match="0 places"):
        module(Said, "")


def test_a_value_that_rooms_share_stands_once() -> None:
    found: Counter[object] = Counter()
    serving = REPO / "bench" / "serving"  # an engine knows no neighbour; its models have numbers of their own
    for path in (REPO / "bench").rglob("*.py"):
        shared = (PYTHON_IMAGE,) if path.is_relative_to(serving) else (PYTHON_IMAGE, P50_RATIO_LIMIT)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in shared:
                found[node.value] += 1
    assert found == {PYTHON_IMAGE: 1, P50_RATIO_LIMIT: 1}
    for path in (REPO / "bench").rglob("Dockerfile"):
        assert PYTHON_IMAGE not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("measuring.md", f"p50 after is at most {P50_RATIO_LIMIT} times p50 before"),
        ("neighbour.md", f"p50 against before, limit {P50_RATIO_LIMIT},"),
    ],
)
def test_prose_names_the_limit(page: str, said: str) -> None:
    assert said in (DOCS / page).read_text(encoding="utf-8")
