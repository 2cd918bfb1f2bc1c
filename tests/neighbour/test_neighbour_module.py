"""The module and the role through real Ansible, on the local Docker engine."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.docker_host.host import DockerHost
from bench.neighbour.module import NeighbourTask, ensure
from bench.neighbour.watcher_container import name_watcher, tag_watcher
from tests.support.docker import REPOSITORY, DockerEnv
from tests.support.neighbours import chat_neighbour

BIN = Path(sys.executable).parent


def with_bench(env: DockerEnv) -> dict[str, str]:
    """Return an environment in which this interpreter finds bench, as the venv on a host does."""
    return {**env.environ(), "PYTHONPATH": str(REPOSITORY)}


def ansible(
    env: DockerEnv, arguments: dict[str, Any], *, check: bool = False, python: str = sys.executable
) -> Any:
    """Run the module on this machine; return its answer."""
    command = [
        str(BIN / "ansible"), "localhost", "-i", "localhost,", "-c", "local", "-m", "bench_neighbour",
        "-a", json.dumps(arguments), "-e", f"ansible_python_interpreter={python}", *(["--check"] if check else []),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as tree:
        done = subprocess.run(
            [*command, "-t", tree], cwd=REPOSITORY, env=with_bench(env), capture_output=True, text=True
        )
        answer = Path(tree) / "localhost"
        assert answer.exists(), done.stdout + done.stderr
        return {**json.loads(answer.read_text()), "failed": done.returncode != 0}


def test_inspect_stop_and_start(
    docker_env: DockerEnv, docker_host: DockerHost, lease_dir: Path, watcher_base: str
) -> None:
    with chat_neighbour(docker_env) as chat:
        common: dict[str, Any] = {
            "container": chat.name, "url": chat.url, "state_dir": str(lease_dir), "watcher_base": watcher_base,
        }  # fmt: skip
        looked = ansible(docker_env, {**common, "state": "inspected"})
        assert looked["changed"] is False and looked["neighbour"]["well"] is True
        stopped = {**common, "state": "stopped", "run_id": "by-hand", "ttl_s": 60}
        assert ansible(docker_env, stopped)["changed"] is True
        assert not chat.running()
        assert ansible(docker_env, stopped)["changed"] is False
        other = ansible(docker_env, {**stopped, "run_id": "another"})
        assert other["failed"] is True and "held by run by-hand" in other["msg"]
        assert ansible(docker_env, {**common, "state": "started"})["changed"] is True
        assert chat.serves()
        wrong = ansible(docker_env, {"state": "inspected", "container": "nobody-by-that-name"})
        assert wrong["failed"] is True and "no container named" in wrong["msg"]


def test_check_mode_before_bench_is_on_the_host(docker_env: DockerEnv) -> None:
    # Debian's own Python has none of what bench imports.
    bare = ansible(docker_env, {"state": "prepared"}, check=True, python="/usr/bin/python3")
    assert bare["changed"] is True and "not on this host yet" in bare["msg"]
    assert ansible(docker_env, {"state": "prepared"}, python="/usr/bin/python3")["failed"] is True


def test_the_role_twice_changes_nothing(
    docker_env: DockerEnv, client: Any, watcher_base: str, tmp_path: Path
) -> None:
    # A base of its own name, so that the watcher's image on it is surely not there yet.
    client.images.get(watcher_base).tag("audition-test-base", tmp_path.name)
    base = f"audition-test-base:{tmp_path.name}"
    variables = {
        "neighbour_watcher_base": base, "neighbour_state_dir": str(tmp_path / "lease"),
        "neighbour_python": sys.executable,
    }  # fmt: skip
    hosts = tmp_path / "hosts.ini"
    hosts.write_text("localhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n")
    play = tmp_path / "play.yml"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": ["neighbour"]}]))
    command = [
        str(BIN / "ansible-playbook"), "-i", str(hosts), str(play), "-e", json.dumps(variables),
    ]  # fmt: skip
    environment = {**with_bench(docker_env), "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")}
    changed = []
    for extra in (["--check"], [], []):
        done = subprocess.run(
            [*command, *extra], cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        changed.append("changed=2" in done.stdout)
        if extra:
            assert not (tmp_path / "lease").exists()
    assert changed == [True, True, False]
    for name in (tag_watcher(base), base):
        client.images.remove(name)


def test_the_owner_takes_it_back_with_whatever_bench_is_on_the_host(
    docker_env: DockerEnv, docker_host: DockerHost, watcher_base: str, tmp_path: Path
) -> None:
    # The worst day: the run and the watcher are gone, the neighbour is down, and no package is to be had. What
    # the host has is the venv of another version; here it is this interpreter under such a name.
    state = tmp_path / "state"
    other = state / "venvs" / "bench-of-another-day"
    with chat_neighbour(docker_env, policy="no") as chat:
        inventory = tmp_path / "hosts.yml"
        variables = {
            "ansible_connection": "local", "model": "espeak", "baseline": "flite", "reference_audio": "voice.wav",
            "state_dir": str(state), "neighbour_mode": "pause", "neighbour_container": chat.name,
            "neighbour_url": chat.url, "neighbour_watcher_base": watcher_base,
        }  # fmt: skip
        inventory.write_text(json.dumps({"audition_hosts": {"hosts": {"gpu-host": variables}}}))

        def audition(action: str) -> subprocess.CompletedProcess[str]:
            command = [str(BIN / "audition"), "neighbour", action, "gpu-host", "-i", str(inventory)]
            return subprocess.run(
                command, cwd=REPOSITORY, env=with_bench(docker_env), capture_output=True, text=True
            )

        none = audition("status")
        assert none.returncode == 2 and "docker start NAME" in none.stdout + none.stderr
        assert not state.exists()  # looking changes nothing
        (other / "bin").mkdir(parents=True)
        (other / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (other / "bin" / "python").chmod(0o755)
        (other / ".audition-complete").touch()
        held = NeighbourTask(
            state="stopped", container=chat.name, url=chat.url, run_id="lost", lease_dir=state / "lease",
            watcher_base=watcher_base,
        )  # fmt: skip
        assert ensure(held, docker_host=docker_host).changed and not chat.running()
        chat.client.api.remove_container(name_watcher(chat.name), force=True)
        back = audition("restore")
        assert back.returncode == 0, back.stdout + back.stderr
        assert "and serves. Nobody holds it." in back.stdout
        assert chat.serves() and chat.policy() == "no"
        assert [each.name for each in (state / "venvs").iterdir()] == [other.name]
