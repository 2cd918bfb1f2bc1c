"""The containers that a run leaves on a host."""

import os
from pathlib import Path

from bench.errors import BadInput

_SOCKET = Path("/var/run/docker.sock")


def remove_containers(run_id: str) -> list[str]:
    """Remove the run's containers, and the networks that nothing runs on any more; return their names. Nothing is done
    where there is no Docker that could have run some."""
    if not os.environ.get("DOCKER_HOST") and not _SOCKET.exists():
        return []  # without the SDK, which takes longer to import than to be told so
    from bench.docker_host.host import DockerHost, DockerSilent
    from bench.docker_host.networks import remove_networks

    try:
        with DockerHost() as docker_host:
            removed = docker_host.remove_run(run_id)
            return removed + remove_networks(docker_host)
    except (DockerSilent, BadInput):  # no Docker, or one that no job of ours can have used
        return []
