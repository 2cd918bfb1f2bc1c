"""What is made of the declared settings: the roles' argument specs and defaults, the modules' options.

A setting is a field of a `Settings` (bench/records/settings.py). `python -m tests.docs.generate` writes the files;
test_settings.py fails while one of them differs.
"""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.controller.host_settings import HostSettings, RoleSettings
from bench.controller.request import RunRequest
from bench.neighbour.module import NeighbourTask
from bench.neighbour.spec import NeighbourRole
from bench.publish.settings import PublishRole, PublishTask
from bench.records.base import PHASES
from bench.records.settings import GIB, Given
from bench.weights.settings import WeightsRole, WeightsTask

REPO = Path(__file__).resolve().parents[2]
COMMAND = "python -m tests.docs.generate"

WORKED_OUT = {
    "runs_dir": "common_bench.repo ~ '/runs'",
    "chain": "[model]",
    "host": "inventory_hostname",
    "weights_store": "common_state_dir ~ '/weights'",
    "weights_python": "common_bench.venv ~ '/bin/python'",
    "neighbour_python": "common_bench.venv ~ '/bin/python'",
    "publish_repo": "common_bench.repo",
}
"""What counts where a variable is not given, in Ansible's words, for those whose default is no constant."""
KEPT = {"state_dir": "common_state_dir", "manage_packages": "common_manage_packages"}
"""Variables that role common keeps under a name of its own, for tasks that want them alone."""
IN_STATE_DIR = {"neighbour_state_dir": "common_state_dir ~ '/lease'"}
"""Fields that common fills from another variable: a host's lease directory is in its `state_dir`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One field as a user gives it."""

    name: str
    """Of the variable, or of the module's option."""
    key: str
    """Of the field."""
    field: FieldInfo
    given: Given
    model: type[BaseModel]
    prefix: str

    @property
    def default(self) -> Any:
        """Return what counts where nothing is given; null for nothing."""
        if self.given.default is not None:
            return self.given.default
        value = None if self.field.is_required() else self.field.get_default(call_default_factory=True)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return str(value) if isinstance(value, Path) else value


def declared(model: type[BaseModel], prefix: str = "") -> Iterator[Declared]:
    """Yield a model's fields in order, those of a model inside it under its field's name."""
    for name, field in model.model_fields.items():
        given = ([Given()] + [each for each in field.metadata if isinstance(each, Given)])[-1]
        if (inner := _model(field.annotation)) is not None:
            yield from declared(inner, f"{prefix}{name}_")
        else:
            yield Declared(f"{prefix}{given.name or name}", name, field, given, model, prefix)


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def spec(one: Declared, *, role: bool) -> dict[str, Any]:
    """Return what an argument spec says of a field.

    A role's variable that is text may be empty, which is "not given"; a module's is null then.

    Raises:
        KeyError: nobody says what the field means, or Ansible has no type for it.
    """
    kind, choices, elements, inner = _kind(one.field.annotation)
    found: dict[str, Any] = {"description": _description(one, choices), "type": one.given.kind or kind}
    if elements:
        found["elements"] = elements
    if choices:
        found["choices"] = choices
    default = one.default
    if one.field.is_required() and not (role and one.name in WORKED_OUT):
        found["required"] = True
    elif not (role and one.name in WORKED_OUT):
        if default is None and role and kind in ("str", "path"):
            found["type"], default = one.given.kind or "str", ""
        if default is not None:
            found["default"] = default
    if inner is not None:
        found["options"] = {each.name: spec(each, role=False) for each in declared(inner)}
    return found


_KINDS = {str: "str", int: "int", float: "float", bool: "bool", Path: "path"}


def _kind(annotation: Any) -> tuple[str, list[str], str, type[BaseModel] | None]:
    """Return Ansible's type, choices, type of a list's elements, and the model that those are."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is Literal:
        return "str", [str(each) for each in get_args(annotation)], "", None
    if get_origin(annotation) is list:
        (element,) = get_args(annotation)
        inner = _model(element)
        return "list", [], "dict" if inner else _KINDS[element], inner
    if get_origin(annotation) is dict:
        return "dict", [], "", None
    return _KINDS[annotation], [], "", None


def _description(one: Declared, choices: list[str]) -> str | list[str]:
    if one.field.description is None:
        raise KeyError(f"{one.model.__name__}.{one.name}: say under the field what it means")
    options = {name: f"{one.prefix}{name}" for name in one.model.model_fields}

    def marked(found: re.Match[str]) -> str:
        word = found[1]
        if word in choices:
            return f"V({word})"
        return f"O({options[word]})" if word in options else f"C({word})"

    said = re.sub(r"`([^`]+)`", marked, one.field.description)
    if one.given.times == GIB:
        said = said.removesuffix(".") + "; in GiB."
    paragraphs = [" ".join(each.split()) for each in said.split("\n\n")]
    return paragraphs if len(paragraphs) > 1 else paragraphs[0]


@dataclass(frozen=True, slots=True)
class Role:
    """A role with variables of its own."""

    short: str
    description: list[str]
    models: tuple[tuple[type[BaseModel], str], ...]
    """Each with the prefix of its variables."""
    filled: Collection[str] = ()
    """Fields that the role fills from another variable."""

    def variables(self) -> dict[str, Declared]:
        """Return the role's variables, by name, those of one first word side by side.

        Raises:
            ValueError: two fields declare one variable, or a field says that another declares it and that one differs.
        """
        found: dict[str, Declared] = {}
        elsewhere: list[Declared] = []
        for model, prefix in self.models:
            for one in declared(model, prefix):
                if one.given.elsewhere:
                    elsewhere.append(one)
                elif not one.given.internal and one.name not in self.filled:
                    if one.name in found:
                        raise ValueError(f"{one.name} is declared twice")
                    found[one.name] = one
        for one in elsewhere:
            there = found.get(one.name, one)
            if (there.default, there.field.annotation) != (one.default, one.field.annotation):
                raise ValueError(
                    f"{one.name} differs between {there.model.__name__} and {one.model.__name__}"
                )
        words = list(dict.fromkeys(name.split("_")[0] for name in found))
        return dict(sorted(found.items(), key=lambda item: words.index(item[0].split("_")[0])))


ROLES = {
    "common": Role(
        "The public variables of Audition",
        [
            "What Ansible holds every variable to that a user may set, and what docs/variables.md lists.",
            "They are read in this role's defaults and nowhere else.",
        ],
        ((RunRequest, ""), (HostSettings, ""), (RoleSettings, "")),
        filled=IN_STATE_DIR,
    ),
    "weights": Role(
        "Put a model's weights into the host's store",
        [
            "Pinned by revision, verified by SHA-256, resumed after an interruption. With every file in place not one "
            "request is made.",
            "The result is registered as C(weights_report).",
        ],
        ((WeightsRole, "weights_"),),
    ),
    "neighbour": Role(
        "Prepare a host for borrowing its GPU",
        [
            "Makes the lease directory and builds the watcher's image; a second run changes nothing. The neighbour "
            "itself is neither stopped nor started here. docs/neighbour.md says how borrowing works.",
        ],
        ((NeighbourRole, "neighbour_"),),
    ),
    "publish": Role(
        "Put a decided run on a branch, push it, open a pull request",
        [
            "Works on the controller. Does nothing unless asked by one of its variables, and nothing for a run that "
            "still waits for ratings or for the baseline.",
            "Clips go only where the reference's rights and the models' licences allow it; docs/publish.md says what "
            "goes.",
        ],
        ((PublishRole, "publish_"),),
    ),
}


class _Ansibles(yaml.SafeDumper):
    """Writes lists inside mappings indented, and double quotes around nothing and templates."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent, always."""
        del indentless
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = not text or "{{" in text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Ansibles.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Ansibles, sort_keys=False, width=100, allow_unicode=True))


def argument_specs(role: str, _text: str) -> str:
    """Return roles/<role>/meta/argument_specs.yml."""
    it = ROLES[role]
    main = {
        "short_description": it.short,
        "description": it.description,
        "options": {name: spec(one, role=True) for name, one in it.variables().items()},
    }
    return f"---\n# Made by `{COMMAND}` from bench's settings.\n" + _yaml({"argument_specs": {"main": main}})


def role_defaults(role: str, _text: str) -> str:
    """Return roles/<role>/defaults/main.yml of a role whose variables are its own."""
    parts = [f"---\n# Made by `{COMMAND}` from bench's settings.\n"]
    for name, one in ROLES[role].variables().items():
        said = spec(one, role=True)
        if said.get("required"):
            continue
        value = f"{{{{ {WORKED_OUT[name]} }}}}" if name in WORKED_OUT else said["default"]
        words = re.sub(r"\b[CVO]\(([^)]*)\)", r"\1", str(said["description"]))
        comment = textwrap.fill(words, 110, initial_indent="# ", subsequent_indent="# ")
        parts.append(f"\n{comment}\n{_yaml({name: value})}")
    return "".join(parts)


def common_defaults(text: str) -> str:
    """Return roles/common/defaults/main.yml with its made part as it should be."""
    public = ROLES["common"].variables()
    made = "".join(f'{KEPT[name]}: "{_template(public[name])}"\n' for name in KEPT)
    made += "\n# What decides which run a phase works on (bench/controller/request.py).\ncommon_run:\n"
    made += "".join(_places(RunRequest))
    made += "\n# How this host is treated (bench/controller/host_settings.py).\ncommon_host:\n"
    made += "".join(_places(HostSettings))
    return replaced(
        text, r"(?<=# Made by `python -m tests\.docs\.generate`:\n).*?(?=\n# End of what is made)", made
    )


def _places(model: type[BaseModel], prefix: str = "", indent: str = "  ") -> Iterator[str]:
    """Yield a line for each field of a model that a variable arrives in."""
    for one in declared(model, prefix):
        if one.model is model and (not one.given.internal or one.name in WORKED_OUT):
            yield f'{indent}{one.key}: "{_place(one)}"\n'
    for name, field in model.model_fields.items():
        if (inner := _model(field.annotation)) is not None:
            yield f"{indent}{name}:\n"
            yield from _places(inner, f"{prefix}{name}_", f"{indent}  ")


def _place(one: Declared) -> str:
    if one.name in IN_STATE_DIR:
        return f"{{{{ {IN_STATE_DIR[one.name]} }}}}"
    if one.given.internal:
        return f"{{{{ {WORKED_OUT[one.name]} }}}}"
    return f"{{{{ {KEPT[one.name]} }}}}" if one.name in KEPT else _template(one)


def _template(one: Declared) -> str:
    """Return what role common makes of a variable: an empty string is "not given"; 0 and false are given."""
    if one.name in WORKED_OUT and not one.given.elsewhere:
        return f"{{{{ {one.name} | default({WORKED_OUT[one.name]}, true) }}}}"
    if one.field.is_required():
        return f"{{{{ {one.name} }}}}"
    kind, default = one.given.kind or _kind(one.field.annotation)[0], one.default
    match kind:
        case "int" | "float" | "bool":
            word = str(default).lower() if kind == "bool" else default
            value = f"{one.name} | default({word}) | {kind}"
            if one.given.times > 1:
                value = f"({value} * {one.given.times}) | int"
        case _:
            literal = "none" if default is None else f"'{default}'"
            value = f"{one.name} | default({literal}, true)"
    return f"{{{{ {value} }}}}"


def phases(text: str) -> str:
    """Return roles/common/vars/main.yml with the phases as they are."""
    return replaced(text, r"(?<=^common_phases: )\[.*?\]$", f"[{', '.join(PHASES)}]")


def module(model: type[BaseModel], text: str) -> str:
    """Return a module's file with its options as the model has them: documented, and as it takes them."""
    home = f"{model.__module__}.{model.__name__}"
    options = {one.name: spec(one, role=False) for one in declared(model)}
    documented = f"  # Made by `{COMMAND}` from {home}.\n" + textwrap.indent(_yaml(options), "  ")
    text = replaced(text, r"(?<=^options:\n).*?(?=^attributes:)", documented)
    if "def main" not in text:  # its action plugin takes them
        return text
    taken = {name: _taken(name, option) for name, option in options.items()}
    made = f"# Made by `{COMMAND}`, as the options above are.\nARGUMENTS = {taken!r}\n"
    text = replaced(text, r"^# Made by `[^`]*`, as the options above are\.\nARGUMENTS = \{.*?^\}\n", made)
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--stdin-filename",
        str(REPO / "library" / "made.py"),
        "-",
    ]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


def _taken(name: str, option: Mapping[str, Any]) -> dict[str, Any]:
    taken = {key: value for key, value in option.items() if key != "description"}
    if "options" in taken:
        taken["options"] = {inner: _taken(inner, each) for inner, each in taken["options"].items()}
    if taken["type"] == "path" and "token" in name:
        taken["no_log"] = False  # the path is no secret, and messages name it
    return taken


def replaced(text: str, pattern: str, made: str) -> str:
    """Return a text with the one place that matches made anew.

    Raises:
        ValueError: there is no such place, or more than one.
    """
    text, count = re.subn(pattern, lambda _: made, text, flags=re.DOTALL | re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} places for what is made: {pattern}")
    return text


MADE: dict[str, Callable[[str], str]] = {
    **{f"roles/{role}/meta/argument_specs.yml": partial(argument_specs, role) for role in ROLES},
    **{f"roles/{role}/defaults/main.yml": partial(role_defaults, role) for role in ROLES if role != "common"},
    "roles/common/defaults/main.yml": common_defaults,
    "roles/common/vars/main.yml": phases,
    "library/bench_neighbour.py": partial(module, NeighbourTask),
    "library/bench_publish.py": partial(module, PublishTask),
    "library/bench_weights.py": partial(module, WeightsTask),
}
"""What each file should be, from what it is."""


def write() -> list[str]:
    """Write every file that is not as it should be; return their names."""
    changed = []
    for name, make in MADE.items():
        path = REPO / name
        text = path.read_text(encoding="utf-8")
        if (new := make(text)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(name)
    return changed
