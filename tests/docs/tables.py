"""The tables of docs/, made from the specs and the code they describe.

`python -m tests.docs.generate` puts them between their markers; test_tables.py fails while a page differs.
"""

import ast
import functools
import inspect
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from ansible.errors import ExitCode
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bench.catalog.entry import EngineRun, Entry, Licence
from bench.catalog.loader import available, load
from bench.client.dialects import DIALECTS
from bench.commands.schema import FILES
from bench.controller.run import MINIMUM_FREE_BYTES, NEEDS, ONCE
from bench.errors import AuditionError, BadInput
from bench.inputs.clip import MAX_S
from bench.install.spec import DOWNLOADS_LIMIT_S
from bench.jobs.control import HEARTBEAT_LIMIT_S
from bench.records.base import PHASES, Phase

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "docs"
HOST_ROLES = ("weights", "neighbour", "publish")
"""Roles with variables of their own; all others take theirs from role common."""

MAKES: dict[Phase, str] = {
    "preflight": "the run directory with `manifest.json` and both references; bench's venv on the host; "
    "`preflight.json`",
    "install": "the engine on the host and its receipt; `install.json`; of a baseline that Audition installs, too: "
    "`install-baseline.json`",
    "benchmark": "`preset/`, `candidate/`, `memory.json`; with a neighbour `neighbour.json`",
    "baseline": "`baseline/`",
    "teardown": "nothing in the run; removes the run's jobs from the host",
    "score": "`listening/` with the sealed pairs; `metrics.json`",
    "verdict": "`verdict.json`, `report.html`, `report.md`, `report.json`",
    "publish": "where asked, a branch with the verdict, a push, a pull request",
}
"""What each phase leaves; what it needs comes from bench.controller.run."""

EXIT_MEANINGS: dict[ExitCode, str] = {
    ExitCode.SUCCESS: "every decision, a refused licence and a failed installation among them; runs that wait for "
    "ratings or for the baseline",
    ExitCode.GENERIC_ERROR: "ansible-playbook could not begin: a playbook or an inventory that it cannot read, an "
    "inventory without a host in the group `audition_hosts`, a `--limit` that leaves none of it",
    ExitCode.HOST_FAILED: "a task failed: bad input, a phase that must be run first, a neighbour that is not back, an "
    "unknown tag, or a fault of the host (full disk, Docker silent, a hub or a package index out of reach); the "
    "message says what to do",
    ExitCode.HOST_UNREACHABLE: "a host is out of reach; also a playbook with a syntax error",
    ExitCode.INVALID_CLI_OPTION: "an option that `ansible-playbook` does not have",
    ExitCode.KEYBOARD_INTERRUPT: "interrupted with Ctrl-C",
    ExitCode.UNKNOWN_ERROR: "a bug: an error that nobody foresaw",
}

OWN_MEANINGS = {
    0: "done; of `verdict` and `survey`: every decision, waiting for ratings among them",
    1: "it could not be done, for a reason the message gives; of `selftest`: the client measures wrong here",
    2: "bad input, a phase that must be run first, a full disk, Docker silent, ratings or clips that are not as they "
    "were sealed, a neighbour that is held by another run or is not back; also a command line that is none",
    4: "of `survey`: a host is out of reach",
    130: "interrupted",
    141: "whoever read what it prints has left, as `| head` does",
}
"""Of `audition`. The codes that error classes carry are compared with these."""

KEY_MEANINGS = {
    "name": "the model's name: what `model` and `baseline` say, and the file's own name without `.yml`",
    "title": "as people read it",
    "version.package": "the package, image or service that is evaluated",
    "licences.code": "licence of the code",
    "licences.weights": "licence of the weights; null for a model that has none",
    "*.spdx": "SPDX identifier, or `LicenseRef-…`",
    "*.commercial_use": "whether commercial use is allowed; `intended_use: commercial` is refused where it is not",
    "clone_encoder.status": "`open`: the encoder ships. `withheld`: its weights are kept back, so the run ends at "
    "once. `none`: the model does not clone and makes no claim to",
    "clone_encoder.source": "where that is stated",
    "clone_encoder.note": "added to what preflight prints",
    "reference.min_s": "shortest reference in seconds",
    "reference.max_s": "longest reference in seconds",
    "reference.transcript": "whether the model reads the reference's words",
    "reference.trailing_silence_s": "silence to add after the speech, in seconds",
    "preset.name": "name of the voice as the engine knows it",
    "preset.licence": "licence of the voice's recording",
    "preset.audio": "for the record: the clip of the package that the engine makes it of",
    "preset.text": "for the record: the words of that clip",
    "version.asked": "the version that was asked for, where another one runs",
    "version.reason": "why they differ",
    "run.kind": "`engine`: Audition serves it. `http`: somebody serves it. `image`: Audition starts the image "
    "of a container that somebody publishes",
    "run.system_packages": "Debian packages to install on the host",
    "run.gpu": "whether the engine uses a GPU",
    "run.start_timeout_s": "limit from start to ready, in seconds",
    "run.memory_source": "what `memory_gib` rests on",
    "run.path": "path of the speech request, where it is not the dialect's own",
    "served.kind": "`http`",
    "served.path": "as `run.path`",
    "notes": "what a reader of the entry should know; printed nowhere",
}
"""Meanings of the keys that bench/catalog/entry.py leaves without a string of their own."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


@functools.cache
def options(role: str) -> dict[str, dict[str, Any]]:
    """Return a role's options from its argument_specs."""
    path = REPO / "roles" / role / "meta" / "argument_specs.yml"
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    return found


@functools.cache
def set_by_plays() -> set[str]:
    """Return the variables that our own plays hand to a role; nobody else sets them."""
    found: set[str] = set()
    for path in [*REPO.glob("playbooks/*.yml"), *REPO.glob("roles/*/tasks/*.yml")]:
        for task in _tasks(yaml.safe_load(path.read_text())):
            if any(key.endswith(("include_role", "import_role")) for key in task):
                found |= set(task.get("vars", {}))
    return found


def _tasks(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for each in node:
            yield from _tasks(each)
    elif isinstance(node, dict):
        yield node
        for key in ("tasks", "block", "rescue", "always"):
            yield from _tasks(node.get(key))


def public_options() -> dict[str, dict[str, dict[str, Any]]]:
    """Return every variable that a user may set, by role: common's, and what other roles have beside them."""
    common = options("common")
    ours = set_by_plays()
    return {"common": common} | {
        role: {name: spec for name, spec in options(role).items() if name not in common and name not in ours}
        for role in HOST_ROLES
    }


def variables(role: str) -> str:
    """Return the table of a role's public variables."""
    rows = [
        [
            f"`{name}`",
            str(spec["type"]) + (f" of {spec['elements']}" if "elements" in spec else ""),
            ", ".join(f"`{choice}`" for choice in spec.get("choices", [])),
            _default(spec),
            _words(spec["description"]),
        ]
        for name, spec in public_options()[role].items()
    ]
    return markdown(["variable", "type", "choices", "default", "meaning"], rows)


def _default(spec: dict[str, Any]) -> str:
    if spec.get("required"):
        return "must be given"
    if "default" not in spec:
        return "see meaning"
    value = spec["default"]
    if value in ("", {}, []):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(description: str | list[str]) -> str:
    text = description if isinstance(description, str) else " ".join(description)
    return re.sub(r"\b[CVO]\(([^)]*)\)", r"`\1`", text)


def site_tags() -> list[str]:
    """Return the tags in site.yml, in order."""
    plays = yaml.safe_load((REPO / "site.yml").read_text())
    return [tag for play in plays for tag in play["tags"]]


def tags() -> str:
    """Return the table of tags: one a phase."""
    rows = []
    for phase in (p for p in PHASES if p in site_tags()):
        needs = ", ".join(f"`{need}`" for need in NEEDS[phase]) or "nothing"
        again = "never: its takes are sealed" if phase in ONCE else "changes nothing where nothing changed"
        rows.append([f"`{phase}`", needs, MAKES[phase], again])
    return markdown(["tag", "needs", "makes", "run again"], rows)


def exit_codes() -> str:
    """Return the table of exit codes of `ansible-playbook`."""
    rows = [[f"`{int(code)}`", meaning] for code, meaning in EXIT_MEANINGS.items()]
    return markdown(["code", "when"], rows)


@functools.cache
def error_classes() -> dict[int, list[str]]:
    """Return the names of all our errors by the exit code that their class carries.

    Read from the sources: an engine's modules import only where its package is installed.
    """
    classes: dict[str, list[tuple[list[str], int | None]]] = defaultdict(list)
    homes: dict[str, list[str]] = defaultdict(list)
    for path in sorted((REPO / "bench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                classes[node.name].append((bases, _class_exit_code(node)))
                homes[node.name].append(path.stem)
    found: dict[int, set[str]] = defaultdict(set)
    for name, definitions in classes.items():
        for home, (bases, own) in zip(homes[name], definitions, strict=True):
            code = own if name == AuditionError.__name__ else _inherited(bases, own, classes)
            if code is not None:
                found[code].add(name if len(definitions) == 1 else f"{home}.{name}")
    return {code: sorted(names) for code, names in sorted(found.items())}


def _class_exit_code(node: ast.ClassDef) -> int | None:
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant):
            for target in each.targets:
                if isinstance(target, ast.Name) and target.id == "exit_code":
                    return int(each.value.value)  # type: ignore[arg-type]
    return None


def _inherited(
    bases: list[str], own: int | None, classes: dict[str, list[tuple[list[str], int | None]]]
) -> int | None:
    """Return the exit code of a class that descends from AuditionError, or None for another class."""
    for base in bases:
        if base == AuditionError.__name__:
            return AuditionError.exit_code if own is None else own
        for above, code in classes.get(base, []):
            if (inherited := _inherited(above, code, classes)) is not None:
                return inherited if own is None else own
    return None


def own_codes() -> str:
    """Return the table of exit codes of the command `audition`."""
    return markdown(["code", "when"], [[f"`{code}`", meaning] for code, meaning in OWN_MEANINGS.items()])


def limits() -> str:
    """Return the table of every limit in time and space that a phase keeps."""
    common = options("common")

    def default(name: str) -> str:
        return f"`{name}`, {common[name]['default']} s"

    entry = EngineRun.model_fields["start_timeout_s"].default
    rows = [
        ["a take", default("take_timeout_s"), "the take has failed (`timeout`), the pass goes on"],
        [
            "a job: the passes of benchmark or of baseline, the smoke sentence",
            default("pass_timeout_s"),
            "the engine is ended, the neighbour given back, the phase has failed",
        ],
        [
            "making a model's venv or image, downloads left out",
            default("install_timeout_s"),
            "the installation has failed; the candidate is out (`install_failed`)",
        ],
        [
            "waiting for an installation's downloads",
            f"{DOWNLOADS_LIMIT_S / 3600:.0f} h",
            "exit 2: somebody should look at the network",
        ],
        [
            "an engine's start",
            f"the entry's `run.start_timeout_s`, {entry:.0f} s unless it says",
            "the engine has failed, which is the candidate's fault",
        ],
        [
            "a download of weights",
            f"`weights_timeout_s`, {options('weights')['weights_timeout_s']['default']} s",
            "exit 2; what arrived is kept, and the same command goes on",
        ],
        [
            "the controller's silence",
            f"{HEARTBEAT_LIMIT_S:.0f} s",
            "the job on the host ends itself and gives the neighbour back",
        ],
        ["free disk under `runs_dir`", f"{MINIMUM_FREE_BYTES // 2**20} MiB", "no run is begun"],
        ["length of the reference", f"{MAX_S:.0f} s", "refused, from its header alone"],
    ]
    return markdown(["what", "limit", "past it"], rows)


def catalog_keys() -> str:
    """Return the table of every key of a catalog entry."""
    rows = [[f"`{key}`", kind, default, meaning] for key, kind, default, meaning in key_rows()]
    return markdown(["key", "type", "default", "meaning"], rows)


def key_rows() -> list[tuple[str, str, str, str]]:
    """Return each key of a catalog entry with its type, default and meaning.

    Raises:
        KeyError: a key has neither a string in entry.py nor a meaning here.
    """
    rows = list(_keys(Entry, ""))
    return [row for i, row in enumerate(rows) if row[0] not in {r[0] for r in rows[:i]}]


def _keys(
    model: type[BaseModel], prefix: str, kinds: dict[str, list[str]] | None = None
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        default = (
            "must be given" if field.is_required() else _value(field.get_default(call_default_factory=True))
        )
        kind, inner, many = _kind(field.annotation)
        meaning = field.description or KEY_MEANINGS.get(key) or KEY_MEANINGS.get(f"*.{name}")
        if inner and meaning is None:
            meaning = (inspect.getdoc(inner[0]) or "").split("\n\n")[0]
        if meaning is None:
            raise KeyError(
                f"{key}: give it a string in bench/catalog/entry.py or a meaning in tests/docs/tables.py"
            )
        if key == "run":
            yield key, "mapping", default, "how it is run; its keys depend on `run.kind`"
            having: dict[str, list[str]] = defaultdict(list)
            for which in inner:
                for each in which.model_fields:
                    having[each] += get_args(which.model_fields["kind"].annotation)
            for which in inner:
                yield from _keys(which, "run.", having)
            continue
        if kinds and name == "kind":
            kind = ", ".join(f"`{each}`" for each in kinds[name])
        elif kinds:
            meaning = f"({', '.join(kinds[name])}) {meaning}"
        yield key, kind, default, meaning
        for which in inner:
            yield from _keys(which, f"{key}[]." if many else f"{key}.")


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, BaseModel):
        return "as below"
    if value in ("", [], {}):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(annotation: Any) -> tuple[str, list[type[BaseModel]], bool]:
    """Return a type in words, the models inside it, and whether it is a list of them."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        parts = [part for part in inner if part is not type(None)]
        models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
        lists = [inside for part in parts for _, inside, many in [_kind(part)] if many and inside]
        if lists and not models:
            return " or ".join(_kind(part)[0] for part in parts), lists[0], True
        words = [_kind(part)[0] for part in parts]
        null = " or null" if len(parts) < len(inner) else ""
        return " or ".join(dict.fromkeys(words)) + null, models, False
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner), [], False
    if origin is list:
        word, models, _ = _kind(inner[0])
        return f"list of {word}", models, True
    if origin is dict:
        return "mapping", [], False
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping", [annotation], False
    return (
        {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, "any"),
        [],
        False,
    )


def models() -> str:
    """Return the table of all that the catalog has, made of the entries alone."""
    rows = [_model(load(name)) for name in available()]
    head = ["model", "runs", "code", "weights", "clone encoder", "reference", "pinned", "proved"]
    return markdown(head, rows)


_RUNS = {
    "engine": "installed by Audition",
    "image": "published image, started by Audition",
    "http": "served by somebody",
}


def _model(entry: Entry) -> list[str]:
    licences, limits = entry.licences, entry.reference
    words = {"required": "with its words", "unused": "no words needed"}[limits.transcript]
    null = [] if entry.started is None else entry.unpinned()
    runs = _RUNS[entry.run.kind] + (", or served by somebody" if entry.served else "")
    return [
        f"`{entry.name}`: {entry.title}",
        runs,
        _licence(licences.code),
        _licence(licences.weights) if licences.weights else "none",
        entry.clone_encoder.status,
        f"{limits.min_s:g} to {limits.max_s:g} s, {words}",
        "by its host" if entry.started is None else f"no: {', '.join(null)}" if null else "yes",
        "; ".join(entry.proofs()) or "nothing",
    ]


def _licence(licence: Licence) -> str:
    return licence.spdx if licence.commercial_use else f"{licence.spdx}, no commercial use"


def dialects() -> str:
    """Return the table of the dialects that a server may speak."""
    yes = {True: "yes", False: "no"}
    rows = [["`auto`", "found out by asking", "", ""]]
    for name, dialect in DIALECTS.items():
        says = (inspect.getdoc(sys.modules[type(dialect).__module__]) or "").split("\n\n")[0]
        rows.append([f"`{name}`", says, yes[dialect.can_register], yes[dialect.can_inline]])
    return markdown(["dialect", "whose", "registers a reference", "sends it with each request"], rows)


def example(name: str) -> str:
    """Return a catalog entry that docs/adding-a-model.md shows."""
    page = (DOCS / "adding-a-model.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```yaml\n(.*?)```", page, re.DOTALL)
    if found is None:
        raise ValueError(f"docs/adding-a-model.md has no example {name}")
    return found[1]


def mistakes() -> dict[str, tuple[str, str]]:
    """Return, by what was done wrong, the file's name and its text."""
    good = example("house_voice.yml")
    return {
        "a key left out": ("house_voice.yml", good.replace("  min_s: 3\n", "")),
        "a key misspelt": ("house_voice.yml", good.replace("  dialect:", "  dialekt:")),
        "a wrong value": ("house_voice.yml", good.replace("status: open", "status: maybe")),
        "limits the wrong way round": ("house_voice.yml", good.replace("min_s: 3", "min_s: 30")),
        "another name than the file's": ("their_voice.yml", good),
        "not a mapping": ("house_voice.yml", "- name: house_voice\n"),
    }


@functools.cache
def entry_errors() -> str:
    """Return the table of mistakes in an entry and what is said of each."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for wrong, (name, text) in mistakes().items():
            path = Path(scratch) / name
            path.write_text(text, encoding="utf-8")
            try:
                load(path.stem, Path(scratch))
            except BadInput as error:
                said = (
                    str(error)
                    .replace(scratch, "catalog")
                    .removesuffix(" See docs/adding-a-model.md for every key.")
                )
                rows.append([wrong, said])
            else:
                raise AssertionError(f"{wrong}: nothing was said")
            path.unlink()
    return markdown(["what", "what is said"], rows)


def schemas() -> str:
    """Return the table of the models of a run's files, and the schemas of those that others read."""
    rows = [
        [
            each.files,
            f"`{_home(each.model)}`",
            f"[{each.schema}.json](schema/{each.schema}.json)" if each.schema else "",
        ]
        for each in FILES
    ]
    return markdown(["what", "model", "schema"], rows)


def _home(model: type[BaseModel]) -> str:
    return f"{model.__module__}.{model.__name__}"


@functools.cache
def imports() -> dict[str, set[str]]:
    """Return which rooms of bench each room imports, lazily or not; a file at the top is a room of its own."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((REPO / "bench").rglob("*.py")):
        room = room_of(path.relative_to(REPO).with_suffix("").parts)
        found[room] |= {room_of(tuple(name.split("."))) for name in imported(path)} - {room}
    return found


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module by its path."""
    return parts[1] if len(parts) > 1 else parts[0]


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Return the modules of bench that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "bench":
            found |= {f"bench.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name == "bench" or name.startswith("bench.")}


def rooms() -> str:
    """Return the table of the rooms and what each imports of the others."""
    rows = []
    for room, others in sorted(imports().items()):
        path = REPO / "bench" / room / "__init__.py"
        if path.is_file():
            names = ", ".join(f"`{other}`" for other in sorted(others - {"bench"}))
            rows.append([f"`{room}`", _first_words(path), names or "none"])
    return markdown(["room", "in its own words", "imports of ours"], rows)


def files() -> str:
    """Return the table of the files at the top of bench."""
    found = sorted((REPO / "bench").glob("[a-z]*.py"))
    return markdown(["file", "in its own words"], [[f"`{path.name}`", _first_words(path)] for path in found])


def _first_words(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "variables.md": {
        "common variables": lambda: variables("common"),
        "weights variables": lambda: variables("weights"),
        "neighbour variables": lambda: variables("neighbour"),
        "publish variables": lambda: variables("publish"),
        "tags": tags,
        "exit codes": exit_codes,
        "exit codes of audition": own_codes,
    },
    "phases.md": {"limits": limits},
    "records.md": {"schemas": schemas},
    "adding-a-model.md": {"dialects": dialects, "keys": catalog_keys, "errors of entries": entry_errors},
    "models.md": {"models": models},
    "architecture.md": {"rooms": rooms, "files": files},
}
"""The tables of each page, by the name in their markers."""


def marked(name: str, table: str) -> str:
    """Return a table between its markers."""
    return f"<!-- {name}: made by `python -m tests.docs.generate` -->\n{table}\n<!-- end of {name} -->"


def filled(page: str, text: str) -> str:
    """Return a page's text with its tables as they should be.

    Raises:
        ValueError: the page lacks the markers of a table.
    """
    for name, make in TABLES[page].items():
        pattern = re.compile(rf"<!-- {name}: [^\n]*-->\n.*?<!-- end of {name} -->", re.DOTALL)
        text, count = pattern.subn(lambda _, name=name, make=make: marked(name, make()), text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"docs/{page} has {count} places for the table of {name}")
    return text
