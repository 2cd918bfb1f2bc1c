"""What else would start a stopped neighbour: found by preflight, because it would end a pause early."""

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
CRON_FILES = tuple(Path(each) for each in ("/etc/crontab", "/etc/cron.d", "/var/spool/cron/crontabs"))
ORCHESTRATORS = {
    "com.docker.swarm.service.name": "Docker Swarm's service",
    "io.kubernetes.pod.name": "the Kubernetes pod",
    "nomad.alloc_id": "the Nomad allocation",
}


def restarters(
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
    found = [f"systemd unit {path} names {word}" for path, word in _units(unit_directories, needles)]
    found += [f"cron table {path} names {word}" for path, word in _files(cron_files, needles)]
    project = labels.get("com.docker.compose.project")
    if project:
        service = labels.get("com.docker.compose.service", "?")
        where = labels.get("com.docker.compose.project.working_dir", "?")
        found.append(f"compose project {project} ({where}), service {service}: `docker compose up` starts it")
    found += [f"{what} {labels[label]}" for label, what in ORCHESTRATORS.items() if label in labels]
    if labels.get("autoheal", "").lower() in ("true", "1", "yes"):
        found.append("label autoheal: an autoheal container restarts it when unhealthy")
    return found


def _units(directories: tuple[Path, ...], needles: set[str]) -> list[tuple[Path, str]]:
    seen: set[Path] = set()
    units: list[Path] = []
    for directory in directories:
        if not directory.is_dir():
            continue
        for path in sorted(directory.glob("**/*")):
            real = path.resolve()
            if path.suffix in UNIT_SUFFIXES and real.is_file() and real not in seen:
                seen.add(real)
                units.append(path)
    return _files(tuple(units), needles)


def _files(paths: tuple[Path, ...], needles: set[str]) -> list[tuple[Path, str]]:
    found = []
    for given in paths:
        for path in sorted(given.iterdir()) if given.is_dir() else [given]:
            word = _named_in(path, needles)
            if word:
                found.append((path, word))
    return found


def _named_in(path: Path, needles: set[str]) -> str | None:
    try:
        text = path.read_text(errors="replace")
    except OSError:  # another user's, or gone
        return None
    active = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    for needle in sorted(needles):
        for line in active:
            if needle in line.replace("=", " ").replace('"', " ").replace("'", " ").split():
                return needle
    return None
