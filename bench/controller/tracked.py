"""A voice that git keeps goes wherever the repository goes: refused in this checkout, warned of elsewhere."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.errors import BadInput


def check_untracked(files: Iterable[Path], checkout: Path) -> list[str]:
    """Return a warning for each repository other than `checkout` that tracks some of `files`.

    Nothing is said where git is missing or does not answer: then nobody can know.

    Raises:
        BadInput: `checkout` itself tracks one of them, staged ones included.
    """
    warnings = []
    for folder, names in _by_folder(files).items():
        tracked = _ask(folder, "ls-files", "--", *names).splitlines()
        if not tracked:
            continue
        top = Path(_ask(folder, "rev-parse", "--show-toplevel").strip())
        listed = ", ".join(str(folder / Path(name).name) for name in tracked)
        if top == checkout.resolve():
            raise BadInput(
                f"{listed}: this checkout's git tracks the reference, so a push would publish somebody's voice. "
                f"Take it out with `git -C {top} rm --cached FILE` and keep it in inventory/NAME/private/, which "
                "git ignores; if it was committed, take it out of the history as well."
            )
        warnings.append(
            f"The reference ({listed}) is tracked by the git repository {top}: whoever can read that repository "
            "has the voice. Move it out of there unless that is meant."
        )
    return warnings


def _by_folder(files: Iterable[Path]) -> dict[Path, list[str]]:
    """Return the names by the folder they really lie in: what a link leads to is the voice."""
    found: dict[Path, list[str]] = {}
    for file in files:
        real = file.resolve()
        found.setdefault(real.parent, []).append(real.name)
    return found


def _ask(folder: Path, *words: str) -> str:
    """Return what git answers, nothing where it refuses. No program that the repository's settings name is run."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *words],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
