"""The real benchmark of a case: a run directory, the job that a playbook sends, and what comes back.

`... real_job JOB_DIR` is the process on the host; it does what library/bench_takes.py does. Everything in it is
the product's own: `do_job`, `Control`, `launch` with a container, `borrowed`, and `accept` into the run.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from unittest.mock import patch

from bench.controller import host_settings, incoming, outgoing
from bench.controller.run import Run
from bench.engines.image.context import name_image
from bench.jobs import control, job
from bench.jobs.module import do_job
from bench.memory.meminfo import settle_baseline
from bench.neighbour.spec import NeighbourSpec
from tests.chaos.config import HEARTBEAT_LIMIT_S, TTL_S, Case
from tests.support import entries, whole_run
from tests.support.docker import BASE_IMAGE, REPOSITORY

MODEL = "tone"
LOCK = "host.txt"
"""Any file under requirements/: the image is ours, under the name that this lock gives it."""
TREE = entries.raw(MODEL, **{"run.install": ["container"], "run.requirements": LOCK})


def image_name() -> str:
    """Return the name under which the job looks for its engine's image."""
    code = host_settings.find_part(entries.entry(TREE)).sha256
    return name_image(MODEL, REPOSITORY / "requirements" / LOCK, code, base=BASE_IMAGE)


def prepare(folder: Path, docker_host: str, spec: NeighbourSpec) -> Run:
    """Begin a run whose install phase is done, with the host's settings beside it."""
    asked = whole_run.request(
        folder, model=MODEL, catalog_dir=entries.write(folder / "catalog", TREE), neighbour_mode=spec.mode
    )
    host = whole_run.settings(folder).model_copy(
        update={"neighbour": spec, "engine_image_base": BASE_IMAGE, "take_timeout_s": 3.0}
    )
    (folder / "host.json").write_text(host.model_dump_json())
    with patch.dict(os.environ, {"DOCKER_HOST": docker_host}):
        run = whole_run.preflight(asked, host)
    assert run.preflight_passed(), (run.path / "preflight.json").read_text()
    whole_run.install(run)
    return run


def send(case: Case) -> Path | None:
    """Put the benchmark's job where the host finds it; None when the run has none to do."""
    run = Run(Path(case.run_dir))
    if run.todo("benchmark") is not None:
        return None
    kept = host_settings.HostSettings.model_validate_json((Path(case.directory) / "host.json").read_bytes())
    host = kept.model_copy(update={"neighbour": neighbour_of(case)})
    job_dir = Path(host.job_dir(run.run_id, "benchmark"))
    job_dir.mkdir(parents=True)
    with outgoing.pack_job(run, outgoing.make_job_spec(run, "benchmark", host)) as tar:
        shutil.copyfile(tar, job_dir / "job.tar")
    return job_dir


def take_back(case: Case, job_dir: Path, started_utc: str) -> bool:
    """Take what the job left into the run, if it left anything; return whether the benchmark is done."""
    tar = job_dir / "out.tar"
    return tar.exists() and incoming.accept(Run(Path(case.run_dir)), "benchmark", tar, started_utc).ok


def neighbour_of(case: Case) -> NeighbourSpec:
    """Return how the case's neighbour is to be treated."""
    return NeighbourSpec(
        mode=case.mode,
        container=case.container,
        url=case.url,
        floor_bytes=case.watch_bytes,
        lease_dir=Path(case.lease_dir),
        watcher_base=case.watcher_base,
        ready_limit_s=60.0,
        settle_s=0.0,
        ratio_limit=1000.0,  # speed is not what is under test here
        ttl_s=TTL_S,
    )


def main() -> None:
    """Do the job as the module does, with the suite's short limits, and without what follows the pause."""
    with (
        patch.object(control, "HEARTBEAT_LIMIT_S", HEARTBEAT_LIMIT_S),
        patch.object(job, "settle_baseline", lambda timeout_s: settle_baseline(timeout_s=0.2)),
        patch.object(job, "measure_takes", lambda *_: None),  # the neighbour is back by then
    ):
        done = do_job(Path(sys.argv[1]))
    print(json.dumps({**done, "at": time.time()}), file=sys.stderr)
    sys.exit(1 if done["failed"] else 0)


if __name__ == "__main__":
    main()
