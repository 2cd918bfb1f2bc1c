"""A run of tests that is told to end does so in order: fixtures give back what they took, and the summary is there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.docker import REPOSITORY

SUITE = """
import pathlib, subprocess, time
import pytest

HERE = pathlib.Path(__file__).parent

@pytest.fixture
def dear(worker_id):
    child = subprocess.Popen(["sleep", "600"])
    (HERE / f"{worker_id}.began").write_text(str(child.pid))
    yield
    time.sleep(SECONDS)
    child.kill()
    child.wait()
    (HERE / f"{worker_id}.ended").touch()

@pytest.mark.parametrize("n", [1, 2])
def test_waits(dear, n):
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        if not SWALLOWS:
            raise
    time.sleep(600)
"""
TEAR_DOWN_S = 6.0
"""Longer than pytest-xdist waits before it interrupts a worker again."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "everybody", "swallows"),
    [(signal.SIGTERM, False, False), (signal.SIGTERM, False, True), (signal.SIGINT, True, False)],
    ids=["make's TERM", "a test that swallows it", "Ctrl-C"],
)
def test_a_signal_ends_both_workers_with_their_fixtures_and_a_summary(
    tmp_path: Path, how: signal.Signals, everybody: bool, swallows: bool
) -> None:
    (tmp_path / "test_it.py").write_text(
        SUITE.replace("SECONDS", str(TEAR_DOWN_S)).replace("SWALLOWS", str(swallows))
    )
    (tmp_path / "pytest.ini").touch()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.support.ending",
        "-n",
        "2",
    ]
    with subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command, str(tmp_path)],  # as in the background
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        began = [tmp_path / "gw0.began", tmp_path / "gw1.began"]
        while not all(path.exists() and path.read_text() for path in began):
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.1)
        processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        assert len(processes) == 5, "a controller, two workers and a child of each"
        (os.killpg if everybody else os.kill)(run.pid, how)
        said, _ = run.communicate(timeout=120)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert how.name in said and "no tests ran" in said
    assert (tmp_path / "gw0.ended").exists() and (tmp_path / "gw1.ended").exists()
    assert not [process for process in processes if process.is_running()]
