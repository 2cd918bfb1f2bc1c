"""Processes of containers that Docker has lost.

A Docker (20.10) that is killed in the moment between a container's creation and its start holds afterwards that it was
never started: asked to, it removes the container, and leaves its process running. Nothing that goes by Docker can find
that one; the kernel still names the container in the process's control group.
"""

import os
import re
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{64}")


def end_lost(container_ids: Collection[str], proc: Path = Path("/proc")) -> list[int]:
    """Kill what is left of containers that were removed; return the processes, those of other users left out.

    What is no whole id of a container names nothing: a part of one could be in the name of any group.
    """
    whole = [each for each in container_ids if _ID.fullmatch(each)]
    found = []
    for entry in proc.iterdir() if whole else ():
        with suppress(OSError):  # gone meanwhile, or another user's
            if entry.name.isdigit() and _is_in(entry / "cgroup", whole):
                os.kill(int(entry.name), signal.SIGKILL)
                found.append(int(entry.name))
    return found


def _is_in(groups: Path, container_ids: Collection[str]) -> bool:
    text = groups.read_text()
    return any(each in text for each in container_ids)
