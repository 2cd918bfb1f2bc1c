"""A job that is killed, and a disk of the host that is full: what people are told, through Ansible itself."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.controller.failures import KILLED, quote_failure
from tests.support.disks import mounted
from tests.support.play import REPO

pytestmark = pytest.mark.slow

PLUGIN = """
import json, os, sys
from pathlib import Path

from bench.controller.hosted_action import HostedAction

class ActionModule(HostedAction):
    def prepare(self):
        pass

    @property
    def module_variables(self):
        return self.variables | {"ansible_python_interpreter": sys.executable}

    def work(self):
        done = self.follow("victim", {"how": os.environ["HOW"]}, os.environ["JOB"], 60)
        Path(os.environ["SAID"]).write_text(json.dumps(done, default=str))
        return {}
"""
VICTIM = """#!/usr/bin/python
import os, signal, sys
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={"how": {"type": "str"}})
from bench.jobs.follow import sign

sign(Path(os.environ["JOB"]))
how = module.params["how"]
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "broken":
    raise RuntimeError("what it broke off with")
if how == "full":
    (Path(os.environ["JOB"]) / "progress.jsonl").write_bytes(b"x" * 100_000)
if how == "own words":
    module.fail_json(msg="its own words", fault="candidate")
module.exit_json(ended=True)
"""


@pytest.fixture
def small_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with mounted(tmp_path / "disk", "64k") as disk:
        yield disk


def _follow(folder: Path, how: str, job: Path) -> tuple[dict[str, object], str]:
    """Have a job followed that ends so; return what its task was told, and all that was shown."""
    for path, text in (("action_plugins/victim.py", PLUGIN), ("library/victim.py", VICTIM)):
        (folder / path).parent.mkdir()
        (folder / path).write_text(text)
    (folder / "play.yml").write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks: [{victim: {}}]\n"
    )
    job.mkdir()
    said = folder / "said.json"
    environment = {
        "PYTHONPATH": str(REPO), "HOW": how, "JOB": str(job), "SAID": str(said),
        "ANSIBLE_ASYNC_DIR": f"{folder}/async", "ANSIBLE_LIBRARY": f"{folder}/library:{REPO}/library",
    }  # fmt: skip
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "play.yml"],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    shown = done.stdout + done.stderr
    return (json.loads(said.read_text()) if said.exists() else {}), shown


@pytest.mark.parametrize(
    ("how", "told"),
    [("killed", KILLED), ("broken", "what it broke off with"), ("own words", "its own words")],
)
def test_a_job_that_ends_before_its_answer(tmp_path: Path, how: str, told: str) -> None:
    said, shown = _follow(tmp_path, how, tmp_path / "job")
    assert said["msg"] == told, shown
    assert said["fault"] == ("candidate" if how == "own words" else "host")


def test_a_full_disk_under_the_job(tmp_path: Path, small_disk: Path) -> None:
    said, shown = _follow(tmp_path, "full", small_disk / "job")
    told = str(said.get("msg") or shown)
    assert "A disk of the host is full" in told and "Make room there" in told
    assert "Traceback" not in told and "Summary(" not in told


def test_words_that_ansible_keeps_in_objects_are_not_shown() -> None:
    class Event:
        msg = "its message"

    class Summary:
        event = Event()

        def __str__(self) -> str:
            return "CapturedErrorSummary(event=Event(msg='...'))"

    broken = "Traceback (most recent call last):\n  x\nOSError: no"
    failed = {"failed": True, "msg": "MODULE FAILURE", "module_stderr": broken, "exception": Summary()}
    assert quote_failure(failed) == "MODULE FAILURE OSError: no"
    assert quote_failure({"failed": True, "exception": Summary()}) == "its message"
    assert quote_failure({"failed": True, "exception": broken}) == "OSError: no"
    assert quote_failure({"failed": True, "msg": "could not find job"}) == KILLED, (
        "Ansible's own disk was full"
    )
    assert quote_failure({"failed": True}) == "the job on the host left nothing and said nothing"
