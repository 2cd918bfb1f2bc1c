"""Preflight's look at the neighbour: nothing is touched."""

from typing import Any

from bench.errors import AuditionError
from bench.neighbour.container import Neighbour
from bench.neighbour.snapshot import take_snapshot
from bench.neighbour.spec import NeighbourSpec
from bench.records.run import Check


def look_at_neighbour(spec: NeighbourSpec) -> tuple[list[Check], dict[str, Any]]:
    """Return preflight's checks of the neighbour, and the facts for the record; nothing is touched."""
    if spec.container is None:
        if spec.mode == "none":
            return [], {}
        missing = f"neighbour_mode is {spec.mode} and neighbour_container is not set: name the container"
        return [Check(name="neighbour", ok=False, detail=missing, severity="gate")], {}
    if spec.mode != "none" and not spec.url:
        missing = (
            f"neighbour_mode is {spec.mode} and neighbour_url is not set: its p50 proves that it is back"
        )
        return [Check(name="neighbour", ok=False, detail=missing, severity="gate")], {}
    from bench.client.chat import measure_chat
    from bench.docker_host.host import DockerHost
    from bench.neighbour.lease_files import LeaseDirectory
    from bench.neighbour.readiness import NotReady, check_serving
    from bench.neighbour.restarters import find_removers, find_restarters
    from bench.neighbour.snapshot import check_can_pause, check_well

    try:
        with DockerHost() as docker_host:
            neighbour = Neighbour(
                docker_host, spec.container, LeaseDirectory(spec.lease_dir).find_id(spec.container)
            )
            snapshot = take_snapshot(neighbour)
            if spec.mode == "pause":
                check_can_pause(snapshot)
            elif spec.mode == "parallel":
                check_well(snapshot)
            others = find_restarters(neighbour.inspect())
        if spec.url:
            check_serving(spec.url)
    except (AuditionError, NotReady) as error:
        left_alone = spec.mode == "none"
        found = Check(
            name="neighbour", ok=False, detail=str(error), severity="warning" if left_alone else "gate"
        )
        return [found], {}
    latency = measure_chat(spec.url) if spec.url else None
    checks = [Check(name="neighbour", ok=True, value=snapshot.status, severity="gate")]
    if snapshot.name != spec.container:
        renamed = f"is called {snapshot.name} now; set neighbour_container to that"
        checks.append(
            Check(name="neighbour_name", ok=False, value=snapshot.name, detail=renamed, severity="warning")
        )
    if others:
        detail = "may start it again during a pause: " + "; ".join(others)
        checks.append(
            Check(name="neighbour_restarters", ok=False, value=others, detail=detail, severity="warning")
        )
    if spec.mode == "pause" and (pruning := find_removers()):
        detail = f"would remove the paused neighbour for good; switch it off meanwhile: {'; '.join(pruning)}"
        checks.append(
            Check(name="neighbour_removers", ok=False, value=pruning, detail=detail, severity="warning")
        )
    return checks, {
        "snapshot": snapshot.model_dump(mode="json"),
        "latency_before": latency.model_dump(mode="json") if latency else None,
        "restarters": others,
        "ready_s": _ready_s(spec),
    }


def _ready_s(spec: NeighbourSpec) -> float | None:
    """Return how long the neighbour took to be ready when it was last given back, None when it never was."""
    from bench.neighbour.lease_files import LeaseDirectory

    ended = LeaseDirectory(spec.lease_dir).history()
    took = [each.ready_s for each in ended if each.terms.get("container") == spec.container]
    return next((each for each in reversed(took) if each is not None), None)
