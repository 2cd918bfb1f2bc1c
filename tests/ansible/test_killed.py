"""A controller that is killed in mid-benchmark: its job on the host ends itself, and the next run goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.jobs.control import HEARTBEAT_LIMIT_S
from bench.records.run import Phases
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support import entries
from tests.support.pace import limit
from tests.support.play import REPO, TEN_WORDS, inventory, lines, play

pytestmark = pytest.mark.timeout(1800)


def _of_job(state_dir: Path, run_id: str) -> list[psutil.Process]:
    """The processes that do a job of the run, and the engines they started."""
    found = []
    for pid_file in (state_dir / "jobs" / run_id).glob("benchmark-*/pid"):
        try:
            job = psutil.Process(int(pid_file.read_text().split()[0]))
            found += [job, *job.children(recursive=True)]
        except (psutil.Error, ValueError, IndexError):
            continue
    return found


def _wait(until: Callable[[], bool], limit_s: float, what: str) -> float:
    begun = time.monotonic()
    while not until():
        assert time.monotonic() - begun < limit(limit_s), what
        time.sleep(0.5)
    return time.monotonic() - begun


def test_a_killed_controllers_job_ends_itself_and_the_next_run_goes_on(
    demo: Demo, state_dir: Path, private: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del demo  # the host's venv is made by then
    hosts_file = inventory(
        tmp_path / "hosts.yml",
        {"left": {}},
        model="slow",
        state_dir=str(state_dir),
        runs_dir=str(tmp_path / "runs"),
        catalog_dir=str(entries.write(tmp_path / "catalog", entries.faulty("Slow"))),
        utterances_file=str(lines(tmp_path / "ten.txt", TEN_WORDS)),
    )
    monkeypatch.setenv("PYTHONPATH", entries.hum(tmp_path / "hum", 20))
    begun = play(private(), None, "--tags", "preflight,install", inventory=hosts_file)
    assert begun.rc == 0, begun.text[-4000:]
    run_id = (tmp_path / "runs" / "latest").readlink().name

    entries.hum(tmp_path / "hum", None)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "site.yml", "-i", str(hosts_file)]
    with (tmp_path / "log").open("w") as log:
        controller = subprocess.Popen(
            [*command, "--tags", "benchmark"], cwd=REPO, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, "ANSIBLE_CONFIG": str(REPO / "ansible.cfg")},
        )  # fmt: skip
    try:
        _wait(lambda: len(_of_job(state_dir, run_id)) > 1, 180, (tmp_path / "log").read_text())
    finally:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    family = _of_job(state_dir, run_id)
    took = _wait(
        lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family),
        HEARTBEAT_LIMIT_S + 60,
        "the job outlived its controller",
    )
    assert took > 1, "it was alive when its controller was killed"
    assert "benchmark" not in load_record(Phases, tmp_path / "runs" / run_id).phases

    entries.hum(tmp_path / "hum", 20)
    again = play(private(), None, "--tags", "benchmark", inventory=hosts_file)
    assert again.rc == 0, again.text[-4000:]
    state = load_record(Phases, tmp_path / "runs" / run_id).phases["benchmark"]
    assert (state.status, state.error) == ("done", None)
    assert len((tmp_path / "runs" / run_id / "candidate/takes.jsonl").read_text().splitlines()) == 12
    assert not (state_dir / "jobs" / run_id).exists(), "the killed attempt is gone too, and its reference"
