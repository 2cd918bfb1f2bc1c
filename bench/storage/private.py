"""Folders that hold somebody's voice or words: for their owner alone, whatever the umask."""

import os
from pathlib import Path

FOLDER, FILE = 0o700, 0o600


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, and let its owner alone in."""
    if not folder.is_dir():
        for above in reversed(folder.parents):
            if not above.is_dir():
                above.mkdir(mode=FOLDER, exist_ok=True)
                above.chmod(FOLDER)
        folder.mkdir(mode=FOLDER, exist_ok=True)
    if folder.stat().st_mode & 0o777 != FOLDER:
        folder.chmod(FOLDER)


def close_tree(folder: Path) -> None:
    """Let a folder's owner alone at all that is in it; links are left alone, and what they point at too."""
    for place, folders, files in os.walk(folder):
        Path(place).chmod(FOLDER)
        for name in files:
            path = Path(place) / name
            if not path.is_symlink():
                path.chmod(FILE)
        del folders
