"""The neighbour's container: what may be done to it, and nothing else.

`Neighbour` can inspect, stop, start and set the restart policy of one container that is not ours; it has no
way to create, recreate or remove one. Only the watcher stops and starts the neighbour while a lease exists.
"""

import difflib
from typing import Any

from docker import errors as docker_errors

from bench.docker_host.host import DockerHost
from bench.errors import BadInput
from bench.records.neighbour import RestartPolicy


def read_policy(inspected: dict[str, Any]) -> RestartPolicy:
    """Read the restart policy from Docker's inspection; an empty name is `no`."""
    raw = inspected["HostConfig"]["RestartPolicy"]
    return RestartPolicy(name=raw["Name"] or "no", maximum_retry_count=raw.get("MaximumRetryCount") or 0)


def spell_policy(policy: RestartPolicy) -> dict[str, Any]:
    """Return the policy as the Engine API writes it."""
    return {"Name": policy.name, "MaximumRetryCount": policy.maximum_retry_count}


class Neighbour:
    """One named container that is not ours. It can be looked at, stopped, started; never made or removed."""

    def __init__(
        self, docker_host: DockerHost, name: str, container_id: str | None = None, *, by_id: bool = False
    ) -> None:
        """Name the container; nothing is asked of Docker yet.

        Args:
            docker_host: the connection to Docker.
            name: as its owner calls it.
            container_id: its id, where that is known: it stays the same container when its owner renames it.
            by_id: that very container, even where another has its name now; else the name counts first.
        """
        self._docker = docker_host
        self.name = name
        names = [name, container_id] if container_id else [name]
        self._names = names[::-1] if by_id else names

    def inspect(self) -> dict[str, Any]:
        """Return Docker's inspection.

        Raises:
            BadInput: there is no container of exactly this name, or with this id.
            DockerSilent: Docker does not answer.
        """
        with self._docker.answering():
            for name in self._names:
                try:
                    found: dict[str, Any] = self._docker.api.inspect_container(name)
                except docker_errors.NotFound:
                    continue
                # Docker also takes the start of an id for a name; the neighbour is named in full or not at all.
                if name in (found["Name"].lstrip("/"), found["Id"]):
                    return found
            names = [n.lstrip("/") for c in self._docker.api.containers(all=True) for n in c["Names"] or []]
        near = difflib.get_close_matches(self.name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise BadInput(
            f"There is no container named {self.name!r} on this host.{hint} Name the neighbour as "
            "`docker ps -a` lists it, or set the mode to `none` where there is none."
        )

    def stop(self, timeout_s: int = 60) -> None:
        """Stop it in order, by SIGKILL after `timeout_s`."""
        with self._docker.answering():
            self._docker.api.stop(self.inspect()["Id"], timeout=timeout_s)

    def start(self) -> None:
        """Start it as it is."""
        with self._docker.answering():
            self._docker.api.start(self.inspect()["Id"])

    def set_policy(self, policy: RestartPolicy) -> None:
        """Set its restart policy in place; the container stays the same."""
        with self._docker.answering():
            self._docker.api.update_container(self.inspect()["Id"], restart_policy=spell_policy(policy))
