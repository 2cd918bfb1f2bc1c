"""Disks that fill up: file systems of a stated size, which only root can mount (`needs_root`)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory of `size` (`64k`, `2m`) on `folder`, which is made where it is not there."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        # Lazily: a process that ends a moment later may still stand in it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
