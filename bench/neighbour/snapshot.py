"""What the neighbour was before it was touched, and the proof that it is the same container after."""

from typing import Any

from bench.errors import BadInput, NeighbourNotBack
from bench.neighbour.container import Neighbour, read_policy
from bench.records.neighbour import Snapshot
from bench.storage.clock import utc_now
from bench.storage.digests import canonical_json, sha256_bytes


def take_snapshot(neighbour: Neighbour) -> Snapshot:
    """Ask Docker about the neighbour.

    Raises:
        BadInput: there is no such container.
        DockerSilent: Docker does not answer.
    """
    found = neighbour.inspect()
    state, config, host = found["State"], found["Config"], found["HostConfig"]
    return Snapshot(
        taken_utc=utc_now(),
        name=found["Name"].lstrip("/"),
        container_id=found["Id"],
        created=found["Created"],
        image_id=found["Image"],
        image=config["Image"],
        command=[found["Path"], *found["Args"]],
        config_sha256=_config_sha256(config, host),
        policy=read_policy(found),
        running=state["Running"],
        status=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        exit_code=None if state["Running"] else state["ExitCode"],
        started_at=state["StartedAt"],
        finished_at=state["FinishedAt"],
        restart_count=found["RestartCount"],
        auto_remove=bool(host.get("AutoRemove")),
        labels=dict(config.get("Labels") or {}),
    )


def _config_sha256(config: dict[str, Any], host: dict[str, Any]) -> str:
    # Named one by one, and empty is empty: a restarted Docker writes null where it wrote [] before.
    kept = [[key, part.get(key) or None] for part, keys in ((config, _CONFIG), (host, _HOST)) for key in keys]
    return sha256_bytes(canonical_json(kept))


_CONFIG = ("Image", "Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Labels")
_HOST = (
    "Binds", "Mounts", "PortBindings", "NetworkMode", "IpcMode", "PidMode", "Runtime", "Privileged", "Devices",
    "DeviceRequests", "ShmSize", "Ulimits", "Memory", "MemorySwap", "NanoCpus", "CpuShares", "CpusetCpus",
)  # fmt: skip


def check_can_pause(now: Snapshot) -> None:
    """Check that the neighbour may be stopped for a while and will be able to come back.

    Raises:
        BadInput: it is not up and well, or stopping would remove it.
    """
    if now.auto_remove:
        raise BadInput(
            f"{now.name} was started with --rm: stopping it would remove it. Start it without --rm, "
            "or set neighbour_mode to parallel."
        )
    check_well(now)


def check_well(now: Snapshot) -> None:
    """Check that the neighbour is up and well before anything is done.

    Raises:
        BadInput: it is not; the message says what to do.
    """
    name = now.name
    if now.status == "restarting":
        raise BadInput(f"{name} is restarting over and over ({now.restart_count} times): mend it first.")
    if now.status == "paused":
        raise BadInput(f"{name} is frozen (`docker pause`): `docker unpause {name}` first.")
    if not now.running:
        raise BadInput(
            f"{name} is {now.status} (exit code {now.exit_code}), so what it was like cannot be measured and it "
            f"could not be proved to be back. `docker start {name}`, or set neighbour_mode to none."
        )
    if now.health == "unhealthy":
        raise BadInput(
            f"Docker calls {name} unhealthy before we touch it: mend it first (`docker inspect {name}`)."
        )


def list_differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Return what differs between two moments of what must be one container; empty when it is the same.

    Its id, image, command, configuration and restart policy must be the same, and it must run.
    """
    found = [
        f"{what}: {old} before, {new} now"
        for what, old, new in (
            ("container id", before.container_id, after.container_id),
            ("created", before.created, after.created),
            ("image", before.image_id, after.image_id),
            ("command", before.command, after.command),
            ("configuration", before.config_sha256, after.config_sha256),
            ("restart policy", before.policy, after.policy),
        )
        if old != new
    ]
    if not after.running:
        found.append(f"it is {after.status} (exit code {after.exit_code})")
    if after.health == "unhealthy":
        found.append("Docker calls it unhealthy")
    return found


def prove_same(before: Snapshot, after: Snapshot) -> None:
    """Check that the neighbour runs and is the very container it was.

    Raises:
        NeighbourNotBack: it is not; the message says in what.
    """
    found = list_differences(before, after)
    if found:
        raise NeighbourNotBack(
            f"{before.name} is not as it was: {'; '.join(found)}. `audition neighbour status` shows it, "
            "`audition neighbour restore` tries again."
        )
