"""`audition neighbour`: through the real playbook; what the module does on a host is tested in tests/neighbour."""

import shutil

import pytest
import yaml

from tests.commands.survey.project import REPO, Project

pytestmark = pytest.mark.slow  # each is a play


def ask(project: Project, *words: str) -> tuple[int, str]:
    process = project.start(*words, command="neighbour")
    said, _ = process.communicate(timeout=200)
    return process.returncode, said


def test_a_host_without_a_neighbour_and_an_unknown_host(project: Project) -> None:
    shutil.copyfile(REPO / "playbooks" / "neighbour.yml", project.folder / "playbooks" / "neighbour.yml")
    variables = project.folder / "inventory" / "group_vars" / "audition_hosts.yml"
    given = yaml.safe_load(variables.read_text())
    variables.write_text(yaml.safe_dump(given | {"state_dir": str(project.folder / "state")}))
    code, said = ask(project, "status", "box")
    assert code == 2, said
    assert "audition: box: box has no neighbour: its inventory sets no neighbour_container." in said
    assert not (project.folder / "state").exists(), "nothing was installed"
    code, said = ask(project, "restore", "nobody")
    assert code == 2, said
    assert "nobody" in said
    assert "Traceback" not in said


def test_what_the_module_says_becomes_words_and_an_exit_code(project: Project) -> None:
    module = project.folder / "library" / "bench_neighbour.py"
    module.parent.mkdir()
    play = [
        {
            "name": "Neighbour",
            "hosts": "audition_hosts",
            "gather_facts": False,
            "tasks": [
                {
                    "name": "Look, or restore",
                    "bench_neighbour": {"restore": "{{ neighbour_restore }}"},
                }
            ],
        }
    ]
    (project.folder / "playbooks" / "neighbour.yml").write_text(yaml.safe_dump(play))
    config = project.folder / "ansible.cfg"
    config.write_text(config.read_text().replace(f"library = {REPO}/library", "library = library"))
    module.write_text(_MODULE)
    code, said = ask(project, "status", "box")
    assert code == 2, said
    assert said.splitlines() == [
        "llm is exited, restart policy always. espeak-box-1 holds it.",
        "  its watcher is running, renewed 3 s ago",
        "  it last said at 2026-11-22T10:15:00Z: trying again after: the port is taken",
        "  container of ours: audition-engine",
        "  would start it by itself: systemd unit llm.service",
    ]
    code, said = ask(project, "restore", "box", "-e", "unused=yes")
    assert code == 0, said
    assert said == "llm is running, restart policy always. Nobody holds it.\n"


_MODULE = """
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={"restore": {"type": "bool"}})
if module.params["restore"]:
    module.exit_json(
        changed=True,
        msg="llm is running, restart policy always. Nobody holds it.",
        neighbour={"well": True, "watcher": None, "renewed_s_ago": None, "ours": [], "restarters": []},
    )
module.exit_json(
    msg="llm is exited, restart policy always. espeak-box-1 holds it.",
    neighbour={
        "well": False, "watcher": "running", "renewed_s_ago": 3.2, "ours": [{"name": "audition-engine"}],
        "restarters": ["systemd unit llm.service"],
        "last": {"events": [{"utc": "2026-11-22T10:15:00Z", "what": "trying again after: the port is taken"}]},
    },
)
"""
