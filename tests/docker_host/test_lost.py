"""Processes that Docker has lost: found by their control group, and by whole ids alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.docker_host.lost import end_lost

MINE, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def _say_group(proc: Path, pid: int, group: str) -> None:
    """Have a folder say of a process what /proc says of one in a container."""
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cgroup").write_text(f"9:name=systemd:{group}\n0::{group}\n")


@pytest.mark.parametrize("group", [f"/docker/{MINE}", f"/system.slice/docker-{MINE}.scope"])
def test_what_is_in_the_group_of_a_container_that_is_gone_is_killed(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]", group: str
) -> None:
    _say_group(tmp_path, sleeper.pid, group)
    (tmp_path / "self").mkdir()
    assert end_lost([OTHER], tmp_path) == []
    assert end_lost([OTHER, MINE], tmp_path) == [sleeper.pid]
    assert sleeper.wait(10) == -9


@pytest.mark.parametrize("damaged", ["", "/", "a", MINE[:12], "None"])
def test_part_of_an_id_names_nothing(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]", damaged: str
) -> None:
    _say_group(tmp_path, sleeper.pid, f"/docker/{MINE}")
    assert end_lost([damaged], tmp_path) == []
    assert sleeper.poll() is None
