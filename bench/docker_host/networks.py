"""The networks that published engines run on: one of each kind a host, labelled, gone with the last who used it.

On the internal one a container reaches no machine but this host, and publishes no port: it is asked at the address that
Docker's inspection gives.
"""

import contextlib

from docker import errors as docker_errors

from bench.docker_host.host import DockerHost
from bench.errors import BadInput

NETWORK_LABEL = "audition.network"
"""Label on a network of ours; the watcher goes by it too (bench/neighbour/watcher/watcher.py)."""
INTERNAL, OPEN = "audition-internal", "audition-open"


def keep_network(docker_host: DockerHost, *, internal: bool) -> str:
    """Return the name of this host's network of a kind; it is made where it is not there.

    Raises:
        BadInput: a network of that name is there and not ours.
    """
    name = INTERNAL if internal else OPEN
    with docker_host.answering():
        with contextlib.suppress(docker_errors.APIError):  # 409: it is there, or another job has just made it
            docker_host.api.create_network(
                name, driver="bridge", internal=internal, check_duplicate=True, labels={NETWORK_LABEL: name}
            )
        found = docker_host.api.inspect_network(name)
    if (found.get("Labels") or {}).get(NETWORK_LABEL) != name or bool(found.get("Internal")) != internal:
        raise BadInput(
            f"Docker has a network {name} that is not ours; rename or remove it, then run the same command again."
        )
    return name


def remove_networks(docker_host: DockerHost) -> list[str]:
    """Remove our networks that nothing runs on; return their names."""
    removed = []
    with docker_host.answering():
        for each in docker_host.api.networks(filters={"label": [NETWORK_LABEL]}):
            with contextlib.suppress(docker_errors.APIError):  # in use, or gone already
                docker_host.api.remove_network(each["Id"])
                removed.append(str(each["Name"]))
    return removed
