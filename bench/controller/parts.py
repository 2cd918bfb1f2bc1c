"""Which files of bench go where: what a host runs, what an engine runs.

Each is the import closure of what is started there, found by reading the sources, with the data that its modules read.
Names of venvs, images and receipts come from a part's content: an edit of the rating page changes nothing on a host, an
edit of an adapter that model's engine alone.
"""

import ast
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.storage.atomic import write_atomically
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file

DATA: dict[str, Sequence[str]] = {
    "bench.catalog.loader": ("*.yml",),
    "bench.controller.prepare": ("../inputs/rule.yml", "../inputs/utterances.txt"),
    "bench.engines.image.context": ("Dockerfile",),
    "bench.listening.server": ("page/*",),
    "bench.neighbour.watcher_container": ("watcher/Dockerfile", "watcher/watcher.py"),
    "bench.publish.pages": ("templates/*.md",),
    "bench.report.page": ("*.css", "*.js", "*.html"),
}
"""Files beside a module that it reads, by patterns from its folder."""
SERVED = "bench.serving."
"""Modules that are named in strings to be started run on a host, these in an engine's own environment."""
ENGINE_ROOTS = ("bench.serving.server", "bench.serving.gpu_check")
_MODULE = re.compile(r"bench(\.[a-z_]\w*)+")


@dataclass(frozen=True, slots=True)
class Part:
    """Files by the name that they have where they go, and the hash of names and contents."""

    files: dict[str, Path]
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Return the files' size."""
        return sum(path.stat().st_size for path in self.files.values())


def find_host_part(repo: Path) -> Part:
    """Return what a host runs: the closure of what the modules in `library/` call."""
    roots = {name for path in (repo / "library").glob("*.py") for name in _read_imports(path)}
    return _find(repo, "host", tuple(sorted(roots)))


def find_engine_part(repo: Path, adapter: str) -> Part:
    """Return what a model's engine runs: the server, the GPU check, and its adapter (`module:Class`).

    An adapter that is no module of bench is taken from `sys.path` or PYTHONPATH; one that is nowhere is left out, and
    the engine says so when it starts.
    """
    module = adapter.partition(":")[0]
    return _find(repo, module, (*ENGINE_ROOTS, module))


def pack_part(part: Part) -> bytes:
    """Return a part as a plain tar: the same content gives the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in part.files.items():
            data = path.read_bytes()
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o644, len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@lru_cache(maxsize=64)
def _find(repo: Path, what: str, roots: tuple[str, ...]) -> Part:
    """Follow the imports, once a source tree: the names of a part's files are kept in `.cache/parts`."""
    outside = [path for root in roots if (path := _find_outside(root)) is not None]
    key = sha256_bytes(f"{_hash_tree(repo)}{[(str(p), sha256_file(p)) for p in outside]}{roots}".encode())[
        :24
    ]
    kept = repo / ".cache" / "parts" / f"{what}-{key}.json"
    try:
        names: dict[str, str] = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        names = {name: str(path) for name, path in sorted(_follow(repo, roots))}
        write_atomically(kept, canonical_json(names))
    files = {name: repo / path for name, path in names.items()}
    content = canonical_json({name: sha256_file(path) for name, path in files.items()})
    return Part(files, sha256_bytes(content))


def _hash_tree(repo: Path) -> str:
    sources = sorted(p for p in (repo / "bench").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    sources += sorted((repo / "library").glob("*.py"))
    return sha256_bytes("".join(f"{p.relative_to(repo)}:{sha256_file(p)};" for p in sources).encode())


def _follow(repo: Path, roots: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files of the closure of `roots`: the name of each where it goes, and where it is (under `repo`)."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        module = todo.pop()
        path = _find_module(repo, module)
        if module in seen or path is None:
            continue
        seen.add(module)
        if path.is_relative_to(repo / "bench"):
            relative = path.relative_to(repo)
            yield relative.as_posix(), relative
            todo += [".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 1)]
            for data in _find_data(path, module):
                yield data.relative_to(repo).as_posix(), data.relative_to(repo)
        else:
            yield f"{module.replace('.', '/')}.py", path
        todo += _read_imports(path)


def _find_data(path: Path, module: str) -> Iterator[Path]:
    for pattern in DATA.get(module, ()):
        yield from (found.resolve() for found in path.parent.glob(pattern) if found.is_file())


def _find_module(repo: Path, module: str) -> Path | None:
    if module != "bench" and not module.startswith("bench."):
        return _find_outside(module)
    path = repo.joinpath(*module.split("."))
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def _find_outside(module: str) -> Path | None:
    """Return the file of a module that somebody put beside ours."""
    if module.startswith("bench."):
        return None
    places = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    found = (Path(place) / f"{module.replace('.', '/')}.py" for place in places if place)
    return next((path for path in found if path.is_file() and "site-packages" not in path.parts), None)


def _read_imports(path: Path) -> list[str]:
    """Return the modules of bench that a file imports, at its top or later, or names in a string to be started."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            found += [] if node.value.startswith(SERVED) else [node.value]
    return [name for name in found if name == "bench" or name.startswith("bench.")]
