"""A playbook that is killed at any instruction of a task of ours: the task's own process does nothing more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.pace import limit
from tests.support.play import REPO

pytestmark = pytest.mark.slow

PLUGIN = """
import multiprocessing, os, time
from pathlib import Path

from bench.controller.{base} import {name}

FOLDER = Path(os.environ["FOLDER"])

def begin(where):
    if where == os.environ["MOMENT"]:
        (FOLDER / "pid.new").write_text(str(os.getpid()))
        (FOLDER / "pid.new").rename(FOLDER / "pid")
        while not (FOLDER / "killed").exists():
            time.sleep(0.01)
        time.sleep(0.5)  # the kernel needs a moment at most

class ActionModule({name}):
    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        if multiprocessing.parent_process():
            begin("before our first instruction")

    def prepare(self):
        pass

    @staticmethod
    def step(check=False):
        begin("at work")
        (FOLDER / "went on").touch()
        return {{}}

    def work(self):
        return self.step()
"""
PLAY = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks: [{slow: {}}]\n"


@pytest.fixture(params=["before our first instruction", "at work"])
def moment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[("hosted_action", "HostedAction"), ("controller_action", "ControllerAction")])
def playbook(
    request: pytest.FixtureRequest, tmp_path: Path, moment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    base, name = request.param
    (tmp_path / "action_plugins").mkdir()
    (tmp_path / "action_plugins" / "slow.py").write_text(PLUGIN.format(base=base, name=name))
    (tmp_path / "play.yml").write_text(PLAY)
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "play.yml"],
            cwd=tmp_path, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(REPO), "FOLDER": str(tmp_path), "MOMENT": moment},
        )  # fmt: skip
    yield started
    started.kill()
    started.wait()


def test_a_task_ends_with_its_playbook(playbook: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    end = time.monotonic() + limit(60)
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < end and playbook.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    task = psutil.Process(int((tmp_path / "pid").read_text()))
    assert os.getsid(task.pid) != os.getsid(playbook.pid), "whoever kills the group does not reach it"
    os.killpg(playbook.pid, signal.SIGKILL)
    playbook.wait()
    (tmp_path / "killed").touch()
    task.wait(limit(30))
    assert not (tmp_path / "went on").exists()
