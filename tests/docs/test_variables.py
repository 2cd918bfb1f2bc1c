"""What docs/variables.md says is what Ansible applies: role common is played, and its results are compared."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import ExitCode
from ansible.executor.task_queue_manager import TaskQueueManager

from bench.controller.request import RunRequest
from bench.errors import AuditionError, BadInput, NeighbourNotBack, PhaseMissing
from bench.records.base import PHASES
from tests.docs.tables import (
    DOCS,
    EXIT_MEANINGS,
    HOST_ROLES,
    OWN_MEANINGS,
    REPO,
    error_classes,
    options,
    public_options,
    set_by_plays,
    site_tags,
)

ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
MADE = ("common_run", "common_host", "common_state_dir", "common_manage_packages")
REQUIRED = {"model": "espeak", "baseline": "flite", "reference_audio": "voice.wav"}
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Place:
    """Where a variable arrives, and how its value is written there."""

    path: str
    written: Callable[[Any], Any] = lambda value: value


PLACES = {
    "state_dir": Place("common_state_dir"),
    "manage_packages": Place("common_manage_packages"),
    "neighbour_floor_gib": Place("common_host.neighbour.floor_bytes", lambda gib: int(gib * GIB)),
    **{
        name: Place(f"common_host.{name}")
        for name in (
            "engine_install",
            "engine_port",
            "warmups",
            "take_timeout_s",
            "pass_timeout_s",
            "install_timeout_s",
            "engine_image_base",
            "sources_mirror",
            "baseline_token_env",
            "model_token_env",
            "baseline_voice_accepted",
            "model_voice_accepted",
            "share_baseline",
            "similarity_python",
            "sources_mirror",
            "whisper_model",
        )
    },
    **{
        f"neighbour_{name}": Place(f"common_host.neighbour.{name}")
        for name in (
            "container",
            "url",
            "drop_caches",
            "watcher_base",
            "ready_limit_s",
            "settle_s",
            "ratio_limit",
        )
    },
}
"""Every variable that is not an entry of its own name in common_run."""

TITANS = {
    "model",
    "profile",
    "baseline",
    "baseline_url",
    "baseline_token_env",
    "reference_audio",
    "reference_transcript",
    "reference_rights",
    "neighbour_mode",
    "neighbour_container",
    "neighbour_url",
    "neighbour_floor_gib",
    "publish_base",
}
"""What the inventory of Titan decides for itself; of all others it shows the default."""

EFFECTIVE = {"runs_dir": str(REPO / "runs"), "chain": ["espeak"]}
"""Defaults that the table gives in words."""


def place_of(name: str) -> Place:
    return PLACES.get(name, Place(f"common_run.{name}"))


def other_value(name: str, spec: dict[str, Any]) -> Any:
    """Return a value for a variable that is not its default."""
    if "choices" in spec:
        return next(choice for choice in spec["choices"] if choice != spec.get("default"))
    match spec["type"]:
        case "bool":
            return not spec["default"]
        case "int" | "float":
            return spec["default"] + 3
        case "list":
            return ["one", "two"]
        case _:
            return f"another-{name}"


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What role common makes of nothing, of empty strings, and of every variable set."""
    folder = tmp_path_factory.mktemp("applied")
    specs = options("common")
    empty = {n: "" for n, s in specs.items() if s["type"] in ("str", "path") and "choices" not in s}
    given = {
        "nothing": REQUIRED,
        "empty": empty | REQUIRED,
        "everything": {name: other_value(name, spec) for name, spec in specs.items()},
    }
    content = "{{ {" + ", ".join(f"'{name}': {name}" for name in MADE) + "} | to_json }}"
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {**REQUIRED, "ansible_python_interpreter": sys.executable},
        "roles": [{"role": "common"}],
        # The role's defaults are templates, so each task sees what it makes of its own variables.
        "tasks": [
            {"ansible.builtin.copy": {"content": content, "dest": f"{folder}/{case}.json"}, "vars": variables}
            for case, variables in given.items()
        ],
    }
    (folder / "applied.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [ANSIBLE, "-i", "localhost,", "-c", "local", folder / "applied.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(REPO / "ansible.cfg")},
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {case: json.loads((folder / f"{case}.json").read_text()) for case in given}
    found["given"] = given["everything"]
    return found


def value_at(applied: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        applied = applied[part]
    return applied


@pytest.mark.slow
@pytest.mark.parametrize("case", ["nothing", "empty"])
@pytest.mark.parametrize("name", [n for n in options("common") if n not in REQUIRED])
def test_default_is_applied(name: str, case: str, applied: dict[str, dict[str, Any]]) -> None:
    place = place_of(name)
    wanted = EFFECTIVE.get(name, options("common")[name].get("default"))
    found = value_at(applied[case], place.path)
    # Not given is an empty string to Ansible and None to bench.
    assert (found or "") == (place.written(wanted) or ""), f"{name}: the page says {wanted!r}"


@pytest.mark.parametrize("name", list(options("common")))
def test_what_is_given_arrives(name: str, applied: dict[str, dict[str, Any]]) -> None:
    place = place_of(name)
    assert value_at(applied["everything"], place.path) == place.written(applied["given"][name])


def test_every_entry_of_a_run_is_public() -> None:
    assert set(RunRequest.model_fields) - {"host"} <= set(options("common"))


@pytest.mark.parametrize("role", HOST_ROLES)
def test_defaults_of_other_roles(role: str) -> None:
    applied = yaml.safe_load((REPO / "roles" / role / "defaults" / "main.yml").read_text())
    specs = {name: spec for name, spec in options(role).items() if name not in set_by_plays()}
    assert specs.keys() | set_by_plays() >= applied.keys()
    for name, spec in specs.items():
        if "default" in spec:
            assert applied[name] == spec["default"], name
        else:
            assert "{{" in str(applied[name]), f"{name}: the table gives its default in words"


def test_titan_shows_every_variable() -> None:
    text = (REPO / "inventory/titan/group_vars/audition_hosts.yml").read_text()
    shown = set(yaml.safe_load(text))
    derived = set(re.findall(r"^# (\w+): ", text, re.MULTILINE))
    public = {name: spec for specs in public_options().values() for name, spec in specs.items()}
    assert (shown | derived, shown & derived) == (set(public), set())
    assert not [name for name in derived if "default" in public[name]], "shown as comments: what we work out"


def test_titan_shows_the_default_of_what_it_does_not_decide() -> None:
    shown = yaml.safe_load((REPO / "inventory/titan/group_vars/audition_hosts.yml").read_text())
    public = {name: spec for specs in public_options().values() for name, spec in specs.items()}
    others = {name: public[name]["default"] for name in shown.keys() - TITANS if "default" in public[name]}
    assert {name: shown[name] for name in others} == others
    assert all(shown[name] != public[name].get("default") for name in TITANS), "no longer its own"


def test_titan_shows_both_hosts_and_plays_on_one() -> None:
    groups = yaml.safe_load((REPO / "inventory/titan/hosts.yml").read_text())
    assert {name: list(group["hosts"]) for name, group in groups.items()} == {
        "audition_hosts": ["titan"],
        "baseline_hosts": ["panda"],
    }
    for playbook in (REPO / "playbooks").glob("*.yml"):
        assert {play["hosts"] for play in yaml.safe_load(playbook.read_text())} == {"audition_hosts"}


def test_tags_are_those_of_the_site() -> None:
    page = (DOCS / "variables.md").read_text(encoding="utf-8")
    section = page.split("<!-- tags:")[1].split("<!-- end of tags -->")[0]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert named == site_tags()
    assert set(named) <= set(PHASES)
    vars_file = yaml.safe_load((REPO / "roles/common/vars/main.yml").read_text())
    assert vars_file["common_phases"] == list(PHASES)


def test_each_tag_is_a_playbook_of_its_own() -> None:
    for play in yaml.safe_load((REPO / "site.yml").read_text()):
        assert play["import_playbook"] == f"playbooks/{play['tags'][0]}.yml"
        assert (REPO / play["import_playbook"]).is_file()


def test_exit_codes_are_those_of_ansible_and_of_our_errors() -> None:
    tqm = TaskQueueManager
    assert (tqm.RUN_OK, tqm.RUN_FAILED_HOSTS, tqm.RUN_UNREACHABLE_HOSTS) == (0, 2, 4)
    left_out = {ExitCode.UNICODE_ERROR}  # "obsolete, no longer used", says ansible
    assert set(EXIT_MEANINGS) == set(ExitCode) - left_out
    carried = {each.exit_code for each in (BadInput, PhaseMissing, NeighbourNotBack)}
    assert carried == {2}
    assert AuditionError.exit_code == 1
    found = error_classes()
    assert {"BadInput", "PhaseMissing", "NeighbourNotBack", "DiskFull"} <= set(found[2])
    assert {"AuditionError", "EngineFailed"} <= set(found[1])
    # 0 is no error, 4 is what the survey passes on from ansible-playbook, and 141 the shell's code for SIGPIPE.
    assert set(OWN_MEANINGS) - {0, 4, 141} == set(found)


def _played(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(ANSIBLE), *arguments], cwd=REPO, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_unknown_tag_fails_with_2() -> None:
    done = _played("-i", "inventory/local", "site.yml", "--tags", "benchmrk")
    assert done.returncode == ExitCode.HOST_FAILED
    assert "Unknown tag benchmrk" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_misspelt_variable_on_the_command_line_fails_with_2() -> None:
    done = _played("-i", "inventory/local", "site.yml", "--tags", "verdict", "-e", "modle=f5")
    assert done.returncode == ExitCode.HOST_FAILED
    assert "modle is no variable of Audition; is model meant?" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/neighbour.yml"])
@pytest.mark.parametrize(
    ("tree", "arguments"),
    [
        ({"audition_hosts": {}}, []),
        ({"audition_hosts": {"hosts": {}}, "spare": {"hosts": {"box": None}}}, []),
        (
            {"audition_hosts": {"hosts": {"titan": None}}, "spare": {"hosts": {"box": None}}},
            ["--limit", "box"],
        ),
        ({"audition_hosts": {"hosts": {"titan": None}}}, ["--limit", "box"]),
    ],
    ids=["empty", "hosts elsewhere", "limited to another", "limited to nobody"],
)
def test_a_group_without_a_host_is_no_success(
    playbook: str, tree: dict[str, object], arguments: list[str], tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(yaml.safe_dump(tree))
    done = _played("-i", str(hosts), playbook, *arguments)
    assert done.returncode == ExitCode.GENERIC_ERROR, done.stdout + done.stderr
    named = "box" if tree.keys() == {"audition_hosts"} and arguments else "audition_hosts"
    assert named in done.stderr
    assert "TASK" not in done.stdout


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/verdict.yml"])
def test_an_inventory_without_our_hosts_is_no_success(playbook: str) -> None:
    done = _played("-i", "box,", playbook)
    assert done.returncode == ExitCode.GENERIC_ERROR
    assert "audition_hosts" in done.stderr
