"""What `ansible-doc` says of a module is what the module takes."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.docs.tables import REPO

MODULES = sorted((REPO / "library").glob("*.py"))
ON_HOSTS = [path for path in MODULES if "def main" in path.read_text(encoding="utf-8")]
ON_CONTROLLER = [path for path in MODULES if path not in ON_HOSTS]
PLAIN = {"type": "str", "required": False, "choices": None, "default": None, "elements": None}


class _TakenError(Exception):
    """Ends a module's `main` where it would read its arguments."""


def _taken(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Return the argument_spec that the module gives to AnsibleModule."""
    found: dict[str, dict[str, Any]] = {}

    def take(argument_spec: dict[str, dict[str, Any]], **_more: Any) -> None:
        found.update(argument_spec)
        raise _TakenError

    monkeypatch.setattr(module, "AnsibleModule", take)
    with pytest.raises(_TakenError):
        module.main()
    return found


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _documented(module: ModuleType) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = yaml.safe_load(module.DOCUMENTATION)["options"]
    return options


def _facts(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: option.get(key, plain) for key, plain in PLAIN.items()}
        for name, option in options.items()
    }


def test_there_are_modules_of_both_kinds() -> None:
    assert len(ON_HOSTS) == 7
    assert len(ON_CONTROLLER) == 3


@pytest.mark.parametrize("path", ON_HOSTS, ids=lambda path: path.stem)
def test_documented_options_are_those_the_module_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _load(path)
    assert _facts(_documented(module)) == _facts(_taken(module, monkeypatch))


@pytest.mark.parametrize("path", ON_CONTROLLER, ids=lambda path: path.stem)
def test_documented_options_are_those_the_plugin_takes(path: Path) -> None:
    documented = _documented(_load(path))
    plugin = _load(REPO / "action_plugins" / path.name).ActionModule
    assert {name for name, option in documented.items() if option.get("required")} == set(plugin.required)
    assert {n: o.get("default") for n, o in documented.items() if not o.get("required")} == plugin.defaults


@pytest.mark.parametrize("path", ON_HOSTS, ids=lambda path: path.stem)
def test_no_path_is_kept_out_of_the_messages_that_name_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _taken(_load(path), monkeypatch)
    assert [
        name for name, option in spec.items() if option.get("type") == "path" and option.get("no_log")
    ] == []
