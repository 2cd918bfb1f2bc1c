"""The watcher's container: its image, its start and its end. What runs in it is watcher/watcher.py."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from docker import errors as docker_errors
from docker.types import LogConfig

from bench.docker_host.host import ROLE_LABEL, RUN_LABEL, DockerHost, NameTaken
from bench.errors import BadInput
from bench.neighbour.spec import KERNEL_BOOT_ID
from bench.records.settings import PYTHON_IMAGE

WATCHER_CONTEXT = Path(__file__).parent / "watcher"
WATCHER_FILES = ("Dockerfile", "watcher.py")


def build_watcher(docker_host: DockerHost, base: str = PYTHON_IMAGE) -> tuple[str, bool]:
    """Build the watcher's image unless it is there; return its tag and whether it was built.

    Raises:
        BadInput: it cannot be built, because `base` is not to be had for instance.
    """
    tag = tag_watcher(base)
    if docker_host.has_image(tag):
        return tag, False
    with docker_host.answering():
        try:
            docker_host.images.build(
                path=str(WATCHER_CONTEXT), tag=tag, buildargs={"BASE": base}, rm=True, forcerm=True,
                labels={ROLE_LABEL: "watcher"},
            )  # fmt: skip
        except (docker_errors.BuildError, docker_errors.APIError) as error:
            raise BadInput(
                f"The watcher's image could not be built on {base}: {error}. Load that image into Docker "
                "or set neighbour_watcher_base to one with Python 3.9 or newer that is there."
            ) from error
    return tag, True


def run_watcher(
    docker_host: DockerHost, image: str, terms: dict[str, Any], lease_dir: Path, boot_id: Path
) -> str:
    """Start a watcher on its terms; return its container's id.

    The socket's directory is mounted, not the socket: a restarted Docker makes a new socket. `boot_id`
    is the kernel's file, or a stand-in where a test plays a power loss.

    Raises:
        NameTaken: a watcher of this neighbour exists.
    """
    environment = {
        "AUDITION_LEASE": json.dumps(terms),
        "AUDITION_DOCKER_SOCKET": f"/docker/{docker_host.socket.name}",
        "AUDITION_LEASE_DIR": "/lease",
    }
    volumes = {
        str(docker_host.socket.parent): {"bind": "/docker", "mode": "ro"},
        str(lease_dir): {"bind": "/lease", "mode": "rw"},
    }
    if boot_id != KERNEL_BOOT_ID:
        volumes[str(boot_id.parent)] = {"bind": "/boot-id", "mode": "ro"}
        environment["AUDITION_BOOT_ID"] = f"/boot-id/{boot_id.name}"
    options: dict[str, Any] = {
        "name": terms["watcher_name"],
        "environment": environment,
        "volumes": volumes,
        "labels": {RUN_LABEL: terms["run_id"], ROLE_LABEL: "watcher"},
        "restart_policy": {"Name": "always"},
        "network_mode": "host" if terms.get("health_url") else "none",
        "cap_drop": ["ALL"],
        "cap_add": ["DAC_OVERRIDE"],  # the lease directory may be another user's
        "security_opt": ["no-new-privileges:true"],
        "userns_mode": "host",  # else a Docker with userns-remap refuses both the network and the socket
        "read_only": True,
        "log_config": LogConfig(type="json-file", config={"max-size": "1m"}),
    }
    with docker_host.answering():
        try:
            # It has to outlive an engine that eats the memory; not every host lets us ask for that.
            return _create_and_start(docker_host, image, {**options, "oom_score_adj": -999})
        except docker_errors.APIError as error:
            if error.status_code == 409:
                raise NameTaken(f"a container named {terms['watcher_name']} exists") from error
        try:
            return _create_and_start(docker_host, image, options)
        except docker_errors.APIError as error:
            raise BadInput(
                f"The watcher cannot be started, so nothing was done to the neighbour. Docker says: {error}"
            ) from error


def _create_and_start(docker_host: DockerHost, image: str, options: dict[str, Any]) -> str:
    container = docker_host.containers.create(image, **options)
    try:
        container.start()
    except docker_errors.APIError:
        container.remove(force=True)
        raise
    return str(container.id)


def find_watcher(docker_host: DockerHost, name: str) -> dict[str, Any] | None:
    """Return Docker's inspection of a watcher, None when there is no container of ours by that name."""
    with docker_host.answering():
        try:
            found: dict[str, Any] = docker_host.api.inspect_container(name)
        except docker_errors.NotFound:
            return None
    return found if found["Config"]["Labels"].get(ROLE_LABEL) == "watcher" else None


def start_watcher(docker_host: DockerHost, name: str) -> None:
    """Start a watcher again that somebody stopped; gone is well."""
    if find_watcher(docker_host, name) is None:
        return
    with docker_host.answering(), contextlib.suppress(docker_errors.NotFound):
        docker_host.api.start(name)


def end_watcher(docker_host: DockerHost, name: str) -> None:
    """Send SIGTERM to a watcher: it restores at once and retires. Gone is well."""
    if find_watcher(docker_host, name) is None:
        return
    with docker_host.answering():
        try:
            docker_host.api.kill(name, "SIGTERM")
        except docker_errors.NotFound:
            return
        except docker_errors.APIError as error:
            if error.status_code != 409:  # it does not run
                raise


def remove_watcher(docker_host: DockerHost, name: str) -> None:
    """Remove a watcher's container; only ours, and gone is well."""
    if find_watcher(docker_host, name) is None:
        return
    with docker_host.answering():
        try:
            docker_host.api.remove_container(name, force=True)
        except docker_errors.NotFound:
            return
        except docker_errors.APIError as error:
            if error.status_code != 409:
                raise


def tag_watcher(base: str) -> str:
    """Return the image's tag: a hash of the build context and of the base's name."""
    digest = hashlib.sha256(base.encode())
    for name in WATCHER_FILES:
        digest.update(b"\0" + name.encode() + b"\0" + (WATCHER_CONTEXT / name).read_bytes())
    return f"audition-watcher:{digest.hexdigest()[:16]}"


def name_watcher(container: str) -> str:
    """Return the name of a neighbour's watcher: Docker allows one of it, so two runs cannot hold at once."""
    return f"audition-watcher-{container}"
