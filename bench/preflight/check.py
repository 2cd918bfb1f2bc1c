"""What preflight asks of a host before anything is installed or stopped there."""

import os
import platform
import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.catalog.entry import Entry
from bench.client.network import measure_network
from bench.client.probe import ServerUnusable
from bench.client.target import Target
from bench.errors import AuditionError
from bench.install.provision import is_complete
from bench.jobs.abandoned import JOBS, remove_abandoned
from bench.memory.meminfo import read_available_bytes, read_meminfo
from bench.memory.nvml import read_gpu_facts, read_gpu_names
from bench.neighbour.look import look_at_neighbour
from bench.preflight.card import check_card
from bench.preflight.spec import HostReport, HostSpec
from bench.records.run import Check
from bench.weights.store import list_missing

GIB = 2**30
_INSTALL_BYTES = {"system": GIB // 2, "venv": 12 * GIB, "container": 20 * GIB, "image": 20 * GIB, "http": 0}
"""Room an installation wants: torch with its CUDA libraries is about 6 GB unpacked, twice that while installing."""
_JOB_BYTES = GIB // 5
_LOOK_FOR_GPU = """
import glob, sys
found = glob.glob("/dev/nvidia[0-9]*")
print(*found)
sys.exit(not found)
"""
_TAKES_S = 120.0
"""Twenty takes and their warm-ups, generously."""


def check_host(spec: HostSpec, token: str | None = None, *, looking: bool = False) -> HostReport:
    """Make every check; one that cannot be made has `ok` null and says why. `looking`: nothing is written."""
    if not looking:
        remove_abandoned(spec.state_dir / JOBS)
    checks = [*_disk(spec), _memory(spec), _gpu(spec), _docker(spec), _gpu_container(spec)]
    checks += [_port(spec), _served(spec)]
    checks.append(_baseline(spec, token))
    checks += check_card(
        spec.entry, spec.weights_store, endpoint=spec.weights_endpoint, token_file=spec.weights_token_file,
        looking=looking,
    )  # fmt: skip
    neighbour_checks, neighbour_facts = look_at_neighbour(spec.neighbour)
    return HostReport(
        host=read_facts() | {"neighbour": neighbour_facts},
        checks=[check for check in checks if check is not None] + neighbour_checks,
        forecast=_forecast(spec, neighbour_facts),
    )


def read_facts() -> dict[str, Any]:
    """Return what a record says of the machine."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return {
        "hostname": socket.gethostname(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "os": release.get("PRETTY_NAME"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "mem_total_bytes": read_meminfo("MemTotal"),
        "mem_available_bytes": read_available_bytes(),
        "gpu": read_gpu_facts(),
    }


def _disk(spec: HostSpec) -> list[Check]:
    """Return a check for each disk that the installation fills: what is in place already needs no room."""
    needs = [(spec.state_dir, _JOB_BYTES), (spec.weights_store, _weights_bytes(spec)), _environment(spec)]
    disks: dict[int, tuple[Path, int]] = {}
    for place, size in needs:
        device = _existing(place).stat().st_dev
        first, before = disks.get(device, (place, 0))
        disks[device] = first, before + size
    checks = []
    for number, (place, needed) in enumerate(disks.values(), start=1):
        free = shutil.disk_usage(_existing(place)).free
        checks.append(
            Check(
                name="disk_gib" if number == 1 else f"disk_gib_{number}",
                ok=free >= needed,
                value=round(free / GIB, 2),
                limit=round(needed / GIB, 2),
                detail=f"{free / GIB:.1f} GiB are free at {place}, {needed / GIB:.1f} GiB are wanted",
                severity="gate",
            )
        )
    return checks


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())


def _weights_bytes(spec: HostSpec) -> int:
    try:
        wanted = list_missing(spec.entry.weights, spec.weights_store)
    except AuditionError:  # the install phase says what is wrong with the store
        wanted = spec.entry.weights
    return sum(file.bytes or 0 for file in wanted)


def _environment(spec: HostSpec) -> tuple[Path, int]:
    """Return where the engine's environment goes and how much it still takes there."""
    size = _INSTALL_BYTES[spec.install]
    if spec.engine_python and is_complete(Path(spec.engine_python).parent.parent):
        size = 0
    if not spec.in_docker or (spec.install == "container" and spec.image is None):
        return spec.state_dir, size
    from bench.docker_host.host import DockerHost
    from bench.engines.published import find_platform, name_reference

    try:
        with DockerHost() as docker_host:
            root = docker_host.root()
            image = spec.image or name_reference(spec.entry, find_platform(docker_host))
            # Docker's root is a path of another machine where it runs in a virtual one.
            return root if root.is_dir() else spec.state_dir, 0 if docker_host.has_image(image) else size
    except (
        AuditionError
    ):  # `docker` is a check of its own; that there is no image for this machine, install says
        return spec.state_dir, size


def _memory(spec: HostSpec) -> Check:
    free, wanted = read_available_bytes(), _engine_bytes(spec.entry)
    if spec.neighbour.mode == "parallel" and wanted is not None:
        wanted += spec.neighbour.floor_bytes or 0
    if free is None or wanted is None:
        why = "the entry does not say what it needs" if wanted is None else "MemAvailable cannot be read"
        return Check(name="memory_gib", ok=None, detail=why, severity="warning")
    pausing = spec.neighbour.mode == "pause"
    return Check(
        name="memory_gib",
        ok=free >= wanted or (None if pausing else False),
        value=round(free / GIB, 2),
        limit=round(wanted / GIB, 2),
        detail=f"{free / GIB:.1f} GiB are free, {wanted / GIB:.1f} GiB are wanted"
        + ("; pausing the neighbour frees more" if pausing and free < wanted else ""),
        severity="warning" if pausing else "gate",
    )


def _engine_bytes(entry: Entry) -> int | None:
    gib = entry.started.memory_gib if entry.started else 0.0
    return None if gib is None else int(gib * GIB)


def _gpu(spec: HostSpec) -> Check | None:
    if not (spec.entry.started and spec.entry.started.gpu):
        return None
    found = read_gpu_facts()
    errors = ", ".join(f"{k}: {v}" for k, v in found["errors"].items())
    return Check(
        name="gpu",
        ok=bool(found["count"]) or None,
        value=found.get("names", []),
        detail=""
        if found["count"]
        else f"no GPU is seen through NVML ({errors}); the engine would run on the CPU",
        severity="warning",
    )


def _docker(spec: HostSpec) -> Check | None:
    if not spec.in_docker and spec.neighbour.mode == "none":
        return None
    from bench.docker_host.host import DockerHost

    try:
        with DockerHost() as docker_host:
            return Check(name="docker", ok=True, value=docker_host.version(), severity="gate")
    except AuditionError as error:
        return Check(name="docker", ok=False, detail=str(error), severity="gate")


def _gpu_container(spec: HostSpec) -> Check | None:
    """See that Docker can give a container the GPU that this host has, before anything is installed for it."""
    if not spec.in_docker or not (spec.entry.started and spec.entry.started.gpu):
        return None
    name, names = "gpu_container", read_gpu_names()
    if not names:
        return None  # `gpu` has said so
    from bench.docker_host.host import DockerHost
    from bench.neighbour.watcher_container import tag_watcher

    image = tag_watcher(spec.neighbour.watcher_base)
    try:
        with DockerHost() as docker_host:
            if not docker_host.has_image(image):
                detail = "no image is here yet to look from; the install phase's GPU check does"
                return Check(name=name, ok=None, value=names, detail=detail)
            code, said = docker_host.run_once(
                image, ["python3", "-c", _LOOK_FOR_GPU], run_id="preflight", gpu=True
            )
    except AuditionError as error:
        code, said = 1, str(error)
    if code == 0:
        return Check(name=name, ok=True, value=said.split(), severity="gate")
    detail = f"the host has {names[0]} and a container does not see it ({said}); install the NVIDIA Container Toolkit"
    return Check(name=name, ok=False, value=names, detail=detail, severity="gate")


def _port(spec: HostSpec) -> Check | None:
    if not spec.engine_port or spec.install == "image":  # which publishes no port
        return None
    try:
        socket.create_server(("127.0.0.1", spec.engine_port)).close()
    except OSError as error:
        return Check(
            name="engine_port",
            ok=False,
            value=spec.engine_port,
            detail=f"port {spec.engine_port} is taken by another server ({error.strerror}); stop it or set "
            "engine_port to another (0 takes any free one)",
            severity="gate",
        )
    return Check(name="engine_port", ok=True, value=spec.engine_port, severity="gate")


def _served(spec: HostSpec) -> Check | None:
    """A candidate that somebody else serves must answer; how fast is the benchmark's matter."""
    if spec.entry.started is not None:
        return None
    where = urlsplit(spec.model_url or "")
    try:
        port = where.port or {"https": 443}.get(where.scheme, 80)
        socket.create_connection((where.hostname or "", port), timeout=5.0).close()
    except (OSError, ValueError) as error:
        detail = (
            f"{spec.entry.title} does not answer at {spec.model_url} ({error}); start it, or mend model_url"
        )
        return Check(name="model_reachable", ok=False, value=spec.model_url, detail=detail, severity="gate")
    return Check(name="model_reachable", ok=True, value=spec.model_url, severity="gate")


def _baseline(spec: HostSpec, token: str | None) -> Check:
    """A baseline out of reach is a warning: the run goes on and ends `awaiting_baseline`."""
    name = "baseline_reachable"
    if spec.baseline.started is not None or spec.baseline.stranger is None:
        return Check(name=name, ok=True, value="run by Audition", severity="warning")
    try:
        cost = measure_network(
            Target.from_run(spec.baseline.stranger, spec.baseline_url or "", token), n=5, timeout_s=5.0
        )
        why = cost.error
    except (ServerUnusable, OSError) as error:
        why = str(error)
    if why is not None:
        detail = (
            f"{spec.baseline.title} at {spec.baseline_url} does not answer ({why}); the run goes on without"
        )
        return Check(name=name, ok=False, value=spec.baseline_url, detail=detail, severity="warning")
    return Check(name=name, ok=True, value=cost.model_dump(mode="json"), severity="warning")


def _forecast(spec: HostSpec, neighbour: dict[str, Any]) -> dict[str, Any]:
    """Say what the run will need and which mode suits, before anything is stopped."""
    free, wanted = read_available_bytes(), _engine_bytes(spec.entry)
    floor = spec.neighbour.floor_bytes or 0
    has_neighbour = spec.neighbour.container is not None
    fits: bool | None = None if free is None or wanted is None else free - wanted >= floor
    recommended = "none" if not has_neighbour else "parallel" if fits else "pause"
    pausing = spec.neighbour.mode == "pause" and spec.entry.started is not None
    return {
        "memory_needed_bytes": wanted,
        "memory_free_bytes": free,
        "memory_floor_bytes": floor,
        "mode_chosen": spec.neighbour.mode,
        "mode_recommended": recommended,
        "outage_expected_s": _outage_s(spec.entry) if pausing else 0.0,
        "outage_basis": "the engine's start limit and two minutes of takes; the neighbour's own start comes on top",
        "neighbour_ready_s": neighbour.get("ready_s"),
    }


def _outage_s(entry: Entry) -> float:
    start_s = entry.started.start_timeout_s if entry.started else 0.0
    return start_s + _TAKES_S
