"""What else would start a stopped neighbour, which ends a pause early, or remove it: found by preflight."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNIT_DIRECTORIES = tuple(
    Path(each)
    for each in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
        "/etc/systemd/user",
        "/etc/containers/systemd",  # quadlets
    )
)
UNIT_SUFFIXES = (".service", ".timer", ".container")
CRON_FILES = tuple(
    Path(each)
    for each in (
        "/etc/crontab",
        "/etc/anacrontab",
        "/etc/cron.d",
        "/etc/cron.hourly",
        "/etc/cron.daily",
        "/etc/cron.weekly",
        "/etc/cron.monthly",
        "/var/spool/cron/crontabs",
    )
)
PRUNES = re.compile(r"\b(?:system|container)\s+prune\b")
ORCHESTRATORS = {
    "com.docker.swarm.service.name": "Docker Swarm's service",
    "io.kubernetes.pod.name": "the Kubernetes pod",
    "nomad.alloc_id": "the Nomad allocation",
}


def find_restarters(
    inspected: dict[str, Any],
    unit_directories: tuple[Path, ...] = UNIT_DIRECTORIES,
    cron_files: tuple[Path, ...] = CRON_FILES,
) -> list[str]:
    """Return, in words, what may start this container again; empty when nothing was found.

    `inspected` is Docker's inspection. Looked at: systemd units and cron tables that name the container, its
    compose project or its compose file; labels of compose, orchestrators and autoheal.
    """
    name = inspected["Name"].lstrip("/")
    labels: dict[str, str] = dict(inspected["Config"].get("Labels") or {})
    compose_files = labels.get("com.docker.compose.project.config_files", "").split(",")
    needles = {name, *(each.strip() for each in compose_files)} - {""}
    found = [
        f"{kind} {path} names {word}"
        for kind, path, word in _everywhere(
            unit_directories, cron_files, lambda line: _named_in(line, needles)
        )
    ]
    project = labels.get("com.docker.compose.project")
    if project:
        service = labels.get("com.docker.compose.service", "?")
        where = labels.get("com.docker.compose.project.working_dir", "?")
        found.append(f"compose project {project} ({where}), service {service}: `docker compose up` starts it")
    found += [f"{what} {labels[label]}" for label, what in ORCHESTRATORS.items() if label in labels]
    if labels.get("autoheal", "").lower() in ("true", "1", "yes"):
        found.append("label autoheal: an autoheal container restarts it when unhealthy")
    return found


def find_removers(
    unit_directories: tuple[Path, ...] = UNIT_DIRECTORIES, cron_files: tuple[Path, ...] = CRON_FILES
) -> list[str]:
    """Return, in words, what removes every stopped container, a paused neighbour among them.

    Looked at: systemd units and cron tables that say `docker system prune` or `docker container prune`.
    """

    def prunes(line: str) -> str | None:
        found = PRUNES.search(line)
        return found and found.group()

    return [
        f"{kind} {path} says `{words}`"
        for kind, path, words in _everywhere(unit_directories, cron_files, prunes)
    ]


_Find = Callable[[str], str | None]


def _everywhere(
    directories: tuple[Path, ...], cron_files: tuple[Path, ...], find: _Find
) -> list[tuple[str, Path, str]]:
    """Return what `find` finds in a line of each systemd unit and each cron table, once a file."""
    found = [("systemd unit", *each) for each in _files(_units(directories), find)]
    return found + [("cron table", *each) for each in _files(cron_files, find)]


def _units(directories: tuple[Path, ...]) -> tuple[Path, ...]:
    seen: set[Path] = set()
    units: list[Path] = []
    for directory in directories:
        if not directory.is_dir():
            continue
        for path in sorted(directory.glob("**/*")):
            real = path.resolve()
            if path.suffix in UNIT_SUFFIXES and real not in seen:
                seen.add(real)
                units.append(path)
    return tuple(units)


def _files(paths: tuple[Path, ...], find: _Find) -> list[tuple[Path, str]]:
    found = []
    for given in paths:
        for path in _listed(given):
            word = _in_file(path, find)
            if word:
                found.append((path, word))
    return found


def _listed(given: Path) -> list[Path]:
    try:
        return sorted(given.iterdir())
    except NotADirectoryError:
        return [given]
    except OSError:  # not there, or another user's: users may not list each other's cron tables
        return []


def _in_file(path: Path, find: _Find) -> str | None:
    try:
        text = path.read_text(errors="replace")
    except OSError:  # another user's, or gone
        return None
    active = (line for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))
    return next((word for line in active if (word := find(line))), None)


def _named_in(line: str, needles: set[str]) -> str | None:
    words = line.replace("=", " ").replace('"', " ").replace("'", " ").split()
    return next((each for each in sorted(needles) if each in words), None)
