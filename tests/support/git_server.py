"""A git server, as a bare repository, and its owner's clone."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


def make(folder: Path, files: Mapping[str, str]) -> tuple[Path, Path]:
    """Make `server.git` and `repo`, its clone, below `folder`, with one commit of `files` on main; return both."""
    folder.mkdir(parents=True, exist_ok=True)
    server, repo = folder / "server.git", folder / "repo"
    git(folder, "init", "-q", "--bare", "-b", "main", str(server))
    git(folder, "clone", "-q", str(server), str(repo))
    git(repo, "checkout", "-q", "-b", "main")
    git(repo, "config", "user.name", "Ann Other")
    git(repo, "config", "user.email", "ann@example.org")
    for name, text in files.items():
        (repo / name).write_text(text, encoding="utf-8")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "First")
    git(repo, "push", "-q", "origin", "main")
    return server, repo


def git(repo: Path, *words: str) -> str:
    """Run git there and return what it printed."""
    done = subprocess.run(["git", "-C", str(repo), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
