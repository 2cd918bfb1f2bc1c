"""Private names of libraries that we use: the list in requirements/README.md is whole, and each is what it was.

A release of a library may change these without a word. So the list names the release that was looked at, and this fails
when a lock has another one: look at the new one, then write its number into the list.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import async_status
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.plugins.connection import ConnectionBase
from ansible.plugins.lookup import LookupBase

from tests.docs.tables import REPO

OURS = ("bench", "benchmarks", "library", "action_plugins", "callback_plugins", "lookup_plugins")
DOCUMENTED = {"_exit", "_replace"}
"""Of `os` and of named tuples: public in spite of their names."""
ROW = re.compile(r"^\| ([\w-]+) ([\d.]+) \| `(\w+)` \|", re.M)
LISTED = ROW.findall((REPO / "requirements" / "README.md").read_text("utf-8"))
"""Library, release, name."""
LOCKS = {
    "ansible-core": ("controller.txt", "test.txt"),
    "f5-tts": ("engine-f5.txt",),
    "torch": ("engine-f5.txt",),
}

CALLED: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "_execute_module": ((), {"module_name": "", "module_args": {}, "task_vars": {}, "wrap_async": True}),
    "_low_level_execute_command": (("true",), {}),
    "_make_tmp_path": ((), {}),
    "_remove_tmp_path": (("/tmp/one",), {}),
    "_transfer_file": (("here", "there"), {}),
}
"""Methods of `ActionBase`, with arguments as we give them."""
SET = {"_requires_connection": True, "_supports_async": False, "_supports_check_mode": True}
"""What we set on our classes, and what Ansible has where nobody does."""
HELD = {"_connection": ActionBase, "_loader": LookupBase, "_task": ActionBase}
SHOWN = ("_display", "_last_task_banner", "_print_task_banner")
"""What our callback uses of Ansible's default one, beside a task's `_uuid`."""
"""What a plugin holds from the moment it is made."""
ASYNC_DIR, REFERENCES = "_async_dir", "_ref_audio_cache"
"""An argument of a module; a dictionary of `utils_infer`, which tests/serving/f5_inside uses in the package itself."""


def _private(name: object) -> bool:
    return isinstance(name, str) and re.match("_[a-z]", name) is not None


def _names_of_ansible() -> set[str]:
    """Return every private name that a plugin inherits, instance attributes too."""
    found = {
        name for base in (ActionBase, LookupBase) for name in (*dir(base), *base.__init__.__code__.co_names)
    }
    return {name for name in found if _private(name)}


def _names_in(path: Path) -> tuple[set[str], set[str]]:
    """Return the private names that a file uses of anything, and those that it gives a meaning."""
    used, given = set[str](), set[str]()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            (given if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given.add(node.id)
        elif isinstance(node, ast.Dict):
            used |= {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            used |= set(_imported(node))
    return {name for name in used if _private(name)}, {name for name in given if _private(name)}


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]:
        yield from name.split(".")


@pytest.mark.slow
def test_the_list_is_whole() -> None:
    inherited = _names_of_ansible()
    used, given, plugins = set[str](), set[str](), set[str]()
    for path in (path for folder in OURS for path in (REPO / folder).rglob("*.py")):
        here = _names_in(path)
        used, given = used | here[0], given | here[1]
        if re.search(r"\((ActionBase|LookupBase|HostedAction|ControllerAction)\)", path.read_text("utf-8")):
            plugins |= here[0] | here[1]
    assert {name for _, _, name in LISTED} == (used - given - DOCUMENTED) | (plugins & inherited)
    assert len(LISTED) == len({name for _, _, name in LISTED}) >= 10


@pytest.mark.parametrize("library", LOCKS)
def test_the_locks_have_the_release_that_was_looked_at(library: str) -> None:
    assert {name for name, _, _ in LISTED} == LOCKS.keys()
    (release,) = {release for name, release, _ in LISTED if name == library}
    for lock in LOCKS[library]:
        text = (REPO / "requirements" / lock).read_text("utf-8")
        assert re.findall(rf"^{library}==(\S+)", text, re.M) == [release], lock


def test_each_name_of_ansible_has_a_test() -> None:
    names = {name for library, _, name in LISTED if library == "ansible-core"}
    assert names == {*CALLED, *SET, *HELD, *SHOWN, "_uuid", ASYNC_DIR}


@pytest.mark.parametrize("name", CALLED)
def test_a_method_takes_what_we_give(name: str) -> None:
    given, by_name = CALLED[name]
    inspect.signature(getattr(ActionBase, name)).bind(None, *given, **by_name)


def test_what_we_set_means_what_it_did() -> None:
    assert {name: getattr(ActionBase, name) for name in SET} == SET


@pytest.mark.parametrize("name", HELD)
def test_a_plugin_holds_what_we_ask_of_it(name: str) -> None:
    assert name.removeprefix("_") in inspect.signature(HELD[name].__init__).parameters
    assert name in HELD[name].__init__.__code__.co_names


def test_a_task_and_a_connection_have_what_we_use_of_them() -> None:
    assert {"async_val", "check_mode", "args"} <= Task.fattributes.keys()
    inspect.signature(Task.copy).bind(None)
    inspect.signature(ConnectionBase.fetch_file).bind(None, "there", "here")


def test_the_default_callback_names_a_task_as_we_have_it_do() -> None:
    callback = Default()
    assert all(hasattr(callback, name) for name in SHOWN)
    assert callback._last_task_banner is None
    assert "self._last_task_banner = task._uuid" in inspect.getsource(Default._print_task_banner)
    assert callable(callback._display.display) and Task()._uuid != Task()._uuid


def test_async_status_takes_its_folder() -> None:
    assert f"{ASYNC_DIR}=dict(type=" in inspect.getsource(async_status)
