"""Read catalog entries, with errors that name the file, the key and the line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from bench.catalog.entry import Entry
from bench.errors import BadInput

HERE = Path(__file__).parent


def _paths(extra: Path | None) -> dict[str, Path]:
    found = {path.stem: path for path in HERE.glob("*.yml")}
    if extra is not None:
        if not extra.is_dir():
            raise BadInput(
                f"catalog_dir {extra} is not a directory; give the folder that holds your entries."
            )
        found |= {path.stem: path for path in extra.glob("*.yml") if path.is_file()}
    return found


def available(extra: Path | None = None) -> list[str]:
    """Return the names of the models the catalog knows, the user's own folder `extra` included."""
    return sorted(_paths(extra))


def load(name: str, extra: Path | None = None) -> Entry:
    """Read one entry; `extra` is the user's own folder of entries, which wins over ours.

    Raises:
        BadInput: no such model (the message lists what there is), or a wrong or missing key (the message
            names file, key and line).
    """
    paths = _paths(extra)
    if name not in paths:
        raise BadInput(f"unknown model '{name}'; the catalog has: {', '.join(sorted(paths))}.")
    return read(paths[name])


def read(path: Path) -> Entry:
    """Read the entry in `path`; see `load` for the errors."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict) or tree is None:
        raise BadInput(f"{path}: a catalog entry is a mapping of keys; see docs/adding-a-model.md.")
    for key in _given_twice(tree):
        raise BadInput(f"{path}:{key.start_mark.line + 1}: {key.value}: is given a second time; keep one.")
    try:
        entry = Entry.model_validate(raw)
    except ValidationError as error:
        faults = [
            f"{path}:{_line(tree, fault['loc'])}: {'.'.join(map(str, fault['loc'])) or '-'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise BadInput("; ".join(faults) + ". See docs/adding-a-model.md for every key.") from error
    if entry.name != path.stem:
        raise BadInput(f"{path}:{_line(tree, ('name',))}: name: must be '{path.stem}', as the file is named.")
    return entry


def _given_twice(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield each key that its mapping has above already: YAML would have the last one win in silence."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        yield from (key for n, (key, _) in enumerate(node.value) if key.value in names[:n])
    if isinstance(node, yaml.CollectionNode):
        for inner in node.value:
            yield from _given_twice(inner[1] if isinstance(node, yaml.MappingNode) else inner)


def _line(tree: yaml.Node, location: Sequence[int | str]) -> int:
    """Return the 1-based line of the deepest node that exists along `location`.

    pydantic puts the tag of a discriminated union into the location; a step that is no key is passed over.
    """
    node = tree
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    line, node = key.start_mark.line + 1, value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line
