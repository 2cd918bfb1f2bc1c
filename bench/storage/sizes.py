"""How much files take, and how that is said."""

from pathlib import Path


def count_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; a link counts as itself."""
    if path.is_dir() and not path.is_symlink():
        return sum(count_bytes(each) for each in path.iterdir())
    return path.lstat().st_size


def spell_bytes(size: int) -> str:
    """Spell bytes in GiB, or in MiB below one, for a terminal."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
