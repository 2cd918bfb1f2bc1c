"""The terms of a lease: every part holds one declaration, and the watcher, which cannot import it, reads the same."""

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.neighbour.lease import LeaseRequest
from bench.neighbour.lease_files import Terms
from bench.neighbour.module import NeighbourTask
from bench.neighbour.spec import LeaseLimits, NeighbourSpec
from bench.neighbour.watcher_container import WATCHER_CONTEXT

FOR_PEOPLE = {"agreed_utc", "until_utc", "holder", "container"}
"""Terms that only people read."""


def _read(path: Path) -> tuple[set[str], set[str]]:
    """Return the terms that the watcher cannot do without, and those that it looks for."""
    needed, looked_for = set[str](), set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("self.terms", "terms"):
            assert isinstance(node.slice, ast.Constant)
            needed.add(str(node.slice.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.terms.get":
            assert isinstance(node.args[0], ast.Constant)
            looked_for.add(str(node.args[0].value))
    return needed, looked_for


def test_the_watcher_reads_the_terms_and_all_of_them() -> None:
    needed, looked_for = _read(WATCHER_CONTEXT / "watcher.py")
    assert needed | looked_for | FOR_PEOPLE == set(Terms.model_fields)
    assert not (needed | looked_for) & FOR_PEOPLE


def test_terms_request_and_task_have_the_defaults_of_the_spec() -> None:
    spec = NeighbourSpec.model_fields
    for model in (LeaseRequest, Terms, NeighbourTask):
        own = {"mode", "container", "url"}
        shared = (spec.keys() & model.model_fields.keys()) - own
        assert len(shared) >= 4
        for name in shared:
            assert model.model_fields[name].default == spec[name].default, f"{model.__name__}.{name}"
    assert LeaseLimits.model_fields.keys() <= Terms.model_fields.keys()


@pytest.mark.parametrize(
    "wrong", [{"ttl_s": 61.0}, {"ttl_s": 0}, {"ratio_limit": 0}, {"floor_bytes": -1}, {"ready_limit_s": 0}]
)
def test_what_no_lease_could_keep_is_refused_with_the_spec(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        NeighbourSpec.model_validate(wrong)
