"""Docker access: what it can do to the neighbour, and that it touches nothing without our label."""

from pathlib import Path
from typing import Any

import pytest

from bench.docker_host.host import DockerHost, OurContainer
from bench.engines.container import run_engine
from bench.errors import BadInput
from bench.install.module import remove
from bench.neighbour.container import Neighbour, read_policy
from bench.neighbour.watcher_container import build_watcher, tag_watcher
from bench.records.neighbour import RestartPolicy
from tests.support.docker import BASE_IMAGE, DockerEnv, base_image
from tests.support.neighbours import chat_neighbour, exists, until
from tests.support.neighbours import run_engine as run_labelled


def test_a_neighbour_can_be_looked_at_stopped_and_started_and_nothing_else() -> None:
    can = {name for name in vars(Neighbour) if not name.startswith("_")}
    assert can == {"inspect", "stop", "start", "set_policy"}


def test_stop_start_and_policy_leave_it_the_same_container(
    docker_env: DockerEnv, docker_host: DockerHost
) -> None:
    with chat_neighbour(docker_env, policy="on-failure") as chat:
        neighbour = Neighbour(docker_host, chat.name)
        before = neighbour.inspect()
        neighbour.stop(timeout_s=5)
        assert not chat.running()
        neighbour.set_policy(RestartPolicy(name="always"))
        assert chat.policy() == "always"
        neighbour.set_policy(read_policy(before))
        neighbour.start()
        after = neighbour.inspect()
        assert after["Id"] == before["Id"]
        assert after["HostConfig"] == before["HostConfig"]
        until(chat.serves, 20.0, "it serves again")


def test_only_containers_of_the_run_are_ended(
    docker_env: DockerEnv, docker_host: DockerHost, client: Any
) -> None:
    with chat_neighbour(docker_env) as chat:
        mine = run_labelled(client, "docker-test-1")
        other = run_labelled(client, "docker-test-2")
        try:
            assert [each.id for each in docker_host.labelled("docker-test-1")] == [mine]
            stranger = OurContainer(
                id=chat.id, name=chat.name, run_id="docker-test-1", role="", state="running"
            )
            with pytest.raises(BadInput, match="left alone"):
                docker_host.remove(stranger)
            assert chat.running()
            assert len(docker_host.remove_run("docker-test-1")) == 1
            assert docker_host.remove_run("docker-test-1") == []
            assert not exists(client, mine)
            assert exists(client, other)
        finally:
            docker_host.remove_run("docker-test-2")


def test_teardown_finds_the_runs_containers_where_docker_host_says(
    docker_env: DockerEnv, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = run_labelled(client, "docker-test-3")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert remove(tmp_path, "docker-test-3") == {"changed": False, "removed": [], "leases": []}, (
        "no Docker is no error"
    )
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    assert remove(tmp_path, "docker-test-3")["changed"]
    assert not exists(client, mine)


def test_the_watchers_image_is_named_by_its_context(
    docker_host: DockerHost, watcher_base: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tag, _built = build_watcher(docker_host, watcher_base)
    assert build_watcher(docker_host, watcher_base) == (tag, False)
    assert tag_watcher("another:base") != tag
    for name in ("Dockerfile", "watcher.py"):
        (tmp_path / name).write_text("# edited")
    monkeypatch.setattr("bench.neighbour.watcher_container.WATCHER_CONTEXT", tmp_path)
    assert tag_watcher(watcher_base) != tag


def test_a_base_that_cannot_be_had_is_said(docker_host: DockerHost) -> None:
    with pytest.raises(BadInput, match="neighbour_watcher_base"):
        build_watcher(docker_host, "localhost:1/there-is-no-such-image:1")


SERVER = (
    "import http.server as s; print('hello', flush=True);"
    "s.HTTPServer(('', 9000), s.SimpleHTTPRequestHandler).serve_forever()"
)


def test_an_engine_has_a_port_on_this_machine_alone_and_a_log(
    docker_env: DockerEnv, docker_host: DockerHost, client: Any, tmp_path: Path
) -> None:
    base_image(docker_env)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model").write_text("w")
    made = run_engine(
        image=BASE_IMAGE,
        run_id="docker-test-3",
        environment={"A": "1"},
        command=["python3", "-c", SERVER],
        container_port=9000,
        host_port=None,
        weights=tmp_path / "weights",
        gpu=False,
        log=tmp_path / "engine.log",
        docker_host=docker_host,
    )
    try:
        inspected = client.api.inspect_container(made.id)
        assert made.exit_code() is None
        assert made.pid == inspected["State"]["Pid"] > 0
        assert inspected["NetworkSettings"]["Ports"]["9000/tcp"][0]["HostIp"] == "127.0.0.1"
        assert made.host_port > 0
        assert {mount["Destination"]: mount["RW"] for mount in inspected["Mounts"]} == {
            "/weights": False,
            "/var/cache/engine": True,
        }
        until(lambda: "hello" in (tmp_path / "engine.log").read_text(), 20.0, "the log is copied")
    finally:
        made.remove()
    made.remove()
    assert made.exit_code() == -1
    with pytest.raises(BadInput, match="run the install phase"):
        run_engine(
            image="audition-no-such-image:1", run_id="docker-test-3", environment={}, command=[],
            container_port=1, host_port=None, weights=None, gpu=False, log=tmp_path / "log", docker_host=docker_host,
        )  # fmt: skip
