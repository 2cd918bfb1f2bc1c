"""Which Audition this is: its version, the commit of its checkout, the versions of what it runs on.

Imports nothing but Python's own: `audition --version` is quick.
"""

import subprocess
from pathlib import Path


def read_version() -> str:
    """Return the version of Audition, as its package was installed here."""
    from importlib import metadata

    return metadata.version("audition")


def read_versions() -> dict[str, str]:
    """Return the versions a record names, of what runs on the controller."""
    import platform
    from importlib import metadata

    found = {"audition": read_version(), "python": platform.python_version()}
    for package in ("ansible-core", "numpy", "pydantic"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_commit(folder: Path) -> str | None:
    """Return the commit the code is at, `-dirty` appended where the tree was edited; None outside a checkout."""
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        edited = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if edited else commit


def say_version(folder: Path) -> str:
    """Return the version as people read it, for instance `0.2.0 (1a2b3c4, edited)`.

    The commit is that of `folder` where it is a checkout of its own: a package that was installed beneath somebody
    else's checkout has none.
    """
    found = read_commit(folder) if (folder / ".git").exists() else None
    if found is None:
        return read_version()
    commit, _, edited = found.partition("-")
    return f"{read_version()} ({commit[:7]}{', edited' if edited else ''})"
