"""A small project whose playbooks have the real names and do next to nothing, for the survey to drive.

The run directories, the inputs and `playbooks/survey.yml` are the real ones; the phases are act.py beside this file,
which does what `script.json` says of each model.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.records.run import Manifest, Phases
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record

REPO = Path(__file__).resolve().parents[3]
PHASES = ("preflight", "benchmark", "teardown", "verdict")

_CONFIG = f"""\
[defaults]
inventory = inventory
library = {REPO}/library
action_plugins = action_plugins
lookup_plugins = {REPO}/lookup_plugins
roles_path = {REPO}/roles
gathering = explicit
interpreter_python = /usr/bin/python3
"""


@dataclass(slots=True)
class Project:
    """The project's folder, and the survey as a process."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def runs_dir(self) -> Path:
        return self.folder / "runs"

    @property
    def temp(self) -> Path:
        return self.folder / "tmp"

    def add_phase(self, phase: str) -> None:
        task: dict[str, Any] = {
            "name": phase.capitalize(),
            "act": {"run": "{{ common_run }}", "phase": phase, "folder": str(self.folder)},
        }
        play = {"name": phase, "hosts": "audition_hosts", "gather_facts": False, "tasks": [task]}
        (self.folder / "playbooks" / f"{phase}.yml").write_text(yaml.safe_dump([play], sort_keys=False))
        site = self.folder / "site.yml"
        phases = yaml.safe_load(site.read_text()) if site.exists() else []
        site.write_text(
            yaml.safe_dump([*phases, {"import_playbook": f"playbooks/{phase}.yml", "tags": [phase]}])
        )

    def script(self, **models: dict[str, Any]) -> None:
        (self.folder / "script.json").write_text(json.dumps(models))

    def start(self, *arguments: str, command: str = "survey") -> "subprocess.Popen[str]":
        environment = {**os.environ, "TMPDIR": str(self.temp), **self.environment}
        environment.pop("ANSIBLE_CONFIG", None)
        return subprocess.Popen(
            [sys.executable, "-m", "bench.commands.cli", "--project", str(self.folder), command, *arguments],
            cwd=REPO, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def survey(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        try:
            said, _ = process.communicate(timeout=200)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, said

    def runs(self, model: str) -> list[Path]:
        return sorted(p for p in self.runs_dir.glob(f"{model}-box-*Z") if not p.is_symlink())

    def verdict(self, model: str) -> Verdict:
        return load_record(Verdict, self.runs(model)[-1])

    def phases(self, model: str) -> list[str]:
        return list(load_record(Phases, self.runs(model)[-1]).phases)

    def played(self) -> list[str]:
        """Return `<model> <phase>` of every phase that ran, in order."""
        log = self.folder / "played"
        return log.read_text().splitlines() if log.exists() else []

    def manifest(self, model: str) -> Manifest:
        return load_record(Manifest, self.runs(model)[-1])


def make(folder: Path, reference: tuple[Path, Path, Path]) -> Project:
    for name in ("playbooks", "inventory/group_vars", "action_plugins", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "ansible.cfg").write_text(_CONFIG)
    shutil.copyfile(REPO / "playbooks" / "survey.yml", folder / "playbooks" / "survey.yml")
    shutil.copyfile(Path(__file__).with_name("act.py"), folder / "action_plugins" / "act.py")
    project = Project(folder)
    for phase in PHASES:
        project.add_phase(phase)
    hosts = {"audition_hosts": {"hosts": {"box": {"ansible_connection": "local"}}}}
    (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(hosts))
    audio, transcript, rights = map(str, reference)
    given = {
        "model": "f5",
        "baseline": "chatterbox",
        "baseline_url": "http://127.0.0.1:1",
        "model_url": "{{ {'cosyvoice2': 'http://127.0.0.1:2'}[model] | default('') }}",
        "chain": ["f5", "cosyvoice2"],
        "reference_audio": audio,
        "reference_transcript": transcript,
        "reference_rights": rights,
        "runs_dir": str(folder / "runs"),
    }
    names = [*given, "question"]
    run = {name: f"{{{{ {name} }}}}" for name in names} | {"host": "{{ inventory_hostname }}"}
    variables = {**given, "question": "Which is it?", "common_run": run}
    (folder / "inventory" / "group_vars" / "audition_hosts.yml").write_text(yaml.safe_dump(variables))
    project.script(f5={"decision": "awaiting_ratings"})
    return project
