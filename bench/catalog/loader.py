"""Read catalog entries, with errors that name the file, the key and the line."""

from pathlib import Path

from bench.catalog.entry import Entry
from bench.errors import BadInput
from bench.storage.strict_yaml import parse_yaml

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
    return read(find_path(name, extra))


def find_path(name: str, extra: Path | None = None) -> Path:
    """Return the file of an entry, the user's own before ours.

    Raises:
        BadInput: no such model; the message lists what there is.
    """
    paths = _paths(extra)
    if name not in paths:
        raise BadInput(f"unknown model '{name}'; the catalog has: {', '.join(sorted(paths))}.")
    return paths[name]


def read(path: Path) -> Entry:
    """Read the entry in `path`; see `load` for the errors."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error
    entry, lines = parse_yaml(
        data, str(path), Entry, what="a catalog entry", see="docs/adding-a-model.md has every key."
    )
    for number, file in enumerate(entry.weights):
        if (why := file.explain_unpinned()) is not None:
            raise BadInput(f"{lines.of(('weights', number, 'path'))}: weights.{number}: {why}.")
    if entry.name != path.stem:
        raise BadInput(f"{lines.of(('name',))}: name: must be '{path.stem}', as the file is named.")
    return entry
