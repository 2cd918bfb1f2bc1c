"""The watcher's bad luck, on a Docker that plays it: what a real engine does only on its worst day."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.docker_host.host import DockerHost, DockerSilent
from bench.neighbour.lease_files import LeaseDirectory
from tests.neighbour.fake_docker import (
    ENGINE,
    NEIGHBOUR,
    Answer,
    FakeDocker,
    fake_docker,
    lease_on,
    reach,
)
from tests.support.pace import limit

pytestmark = pytest.mark.slow

START = f"POST /containers/{NEIGHBOUR}/start"
STOP = f"POST /containers/{NEIGHBOUR}/stop"


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_docker(tmp_path) as fake:
        yield fake


def test_a_stop_that_outlives_the_watcher_is_waited_for(docker: FakeDocker, tmp_path: Path) -> None:
    def slow_stop(_method: str, path: str) -> Answer | None:
        if "/stop" not in path:
            return None
        if docker.calls.count(STOP) == 1:  # Docker goes on with it although the caller has gone
            time.sleep(3.0)
            docker.running = False
        while docker.running:
            time.sleep(0.01)
        return 204, None

    docker.odd = slow_stop
    with lease_on(docker, tmp_path, hold=False) as lease:
        reach(lease, "armed")
        lease.directory.ask(lease.terms, "stop")
        reach(lease, "stopping")
        time.sleep(0.5)
        lease.kill()
        lease.watch()
        assert lease.exit_code() == 0
    time.sleep(3.0)  # whatever was under way is over
    assert docker.running and docker.policy == "no"
    assert docker.calls.count(STOP) == 2 and docker.calls.count(START) == 1


def test_an_engine_that_cannot_be_removed_does_not_keep_the_neighbour_down(
    docker: FakeDocker, tmp_path: Path
) -> None:
    docker.engine = True
    docker.odd = lambda method, _: (500, {"message": "could not kill"}) if method == "DELETE" else None
    with lease_on(docker, tmp_path) as lease:
        lease.directory.ask(lease.terms, "release")
        reach(lease, "restoring")
        time.sleep(2.0)
        lease.kill()  # its time is counted over its lives
        lease.watch()
        began = time.monotonic()
        while not docker.running:
            assert time.monotonic() - began < limit(3.0)
            time.sleep(0.05)
        docker.odd = lambda _method, _path: None
        assert lease.exit_code() == 0
        status = lease.status()
    assert status is not None and any("engine cannot be ended" in each["what"] for each in status.events)
    assert docker.policy == "no"


@pytest.mark.parametrize("damage", ["{rub", None, '{"lease_id": "another"}', '{"state": 7}'])
def test_a_lost_record_and_a_new_life_still_give_it_back(
    docker: FakeDocker, tmp_path: Path, damage: str | None
) -> None:
    with lease_on(docker, tmp_path) as lease:
        lease.kill()
        record = lease.directory.path / "status.json"
        record.unlink() if damage is None else record.write_text(damage)
        lease.watch()
        assert lease.exit_code() == 0
    assert docker.running and docker.policy == "no"


def test_a_lost_record_in_the_middle_of_a_stop(docker: FakeDocker, tmp_path: Path) -> None:
    docker.odd = lambda _, path: time.sleep(2.0) if "/stop" in path else None
    with lease_on(docker, tmp_path, hold=False) as lease:
        reach(lease, "armed")
        lease.directory.ask(lease.terms, "stop")
        reach(lease, "stopping")
        time.sleep(0.3)
        lease.kill()
        (lease.directory.path / "status.json").write_text("{rub")
        lease.watch()
        assert lease.exit_code() == 0
    assert docker.running and docker.policy == "no"


def test_a_start_that_is_answered_404_is_not_a_container_gone(docker: FakeDocker, tmp_path: Path) -> None:
    refusals = [0]

    def no_network(_method: str, path: str) -> Answer | None:
        if "/start" not in path or refusals[0] == 2:
            return None
        refusals[0] += 1
        return 404, {"message": "network deadbeef not found"}

    docker.odd = no_network
    with lease_on(docker, tmp_path) as lease:
        lease.directory.ask(lease.terms, "release")
        assert lease.exit_code() == 0
    assert refusals == [2] and docker.running and docker.policy == "no"


def test_a_container_that_is_gone_ends_the_lease(docker: FakeDocker, tmp_path: Path) -> None:
    with lease_on(docker, tmp_path) as lease:
        docker.odd = lambda _, path: (404, {"message": "no such container"}) if NEIGHBOUR in path else None
        assert lease.exit_code() == 0
        status = lease.status()
    assert status is not None and status.policy_restored is False
    assert any("somebody removed it" in each["what"] for each in status.events)


@pytest.mark.parametrize("changes", [{}, {"restore_only": True}, {"mode": "parallel"}])
def test_a_container_that_is_gone_before_the_first_look_keeps_no_watcher_at_work(
    docker: FakeDocker, tmp_path: Path, changes: dict[str, Any]
) -> None:
    docker.odd = lambda _, path: (404, {"message": "no such container"}) if NEIGHBOUR in path else None
    with lease_on(docker, tmp_path, hold=False, **changes) as lease:
        assert lease.exit_code(10.0) == 0
        assert lease.directory.terms() is None  # the next run is not told that somebody holds it


def test_a_container_that_is_gone_in_the_watchers_second_life(docker: FakeDocker, tmp_path: Path) -> None:
    with lease_on(docker, tmp_path, hold=False, mode="parallel") as lease:
        reach(lease, "held")
        lease.kill()
        docker.odd = lambda _, path: (404, {"message": "no such container"}) if NEIGHBOUR in path else None
        lease.watch()
        assert lease.exit_code(10.0) == 0


def test_a_neighbour_that_falls_in_parallel_mode_is_brought_back(docker: FakeDocker, tmp_path: Path) -> None:
    docker.policy = "always"
    policy = {"Name": "always", "MaximumRetryCount": 0}
    with lease_on(docker, tmp_path, hold=False, mode="parallel", policy=policy) as lease:
        reach(lease, "held")
        docker.engine, docker.running = True, False
        assert lease.exit_code() == 0
        status = lease.status()
    assert docker.running and not docker.engine
    assert status is not None and status.reason == "the neighbour went down beside the engine"
    assert f"DELETE /containers/{ENGINE}" in docker.calls


def test_a_neighbour_that_docker_started_anew_in_parallel_mode_ends_the_lease(
    docker: FakeDocker, tmp_path: Path
) -> None:
    with lease_on(docker, tmp_path, hold=False, mode="parallel") as lease:
        reach(lease, "held")
        docker.starts += 1
        assert lease.exit_code() == 0
    assert START not in docker.calls and docker.running


def test_the_policy_is_put_back_before_it_is_ready(docker: FakeDocker, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/health"
    with lease_on(docker, tmp_path, health_url=nobody, ready_wait_s=600.0) as lease:
        lease.directory.ask(lease.terms, "release")
        began = time.monotonic()
        while docker.policy != "no" or not docker.running:
            assert time.monotonic() - began < limit(10.0)
            time.sleep(0.05)
        time.sleep(0.5)
        assert lease.is_at("restoring")  # it waits for /health still, and would start it again
        docker.running = False
        while not docker.running:
            assert time.monotonic() - began < limit(20.0)
            time.sleep(0.05)
        status = lease.status()
    assert status is not None and status.policy_restored


def test_a_proxy_is_not_asked_for_the_neighbours_health(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Docker's client hands proxies of ~/.docker/config.json to containers; Python knows no such no_proxy.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with lease_on(docker, tmp_path, health_url=f"http://127.0.0.1:{server.server_port}/health") as lease:
            lease.directory.ask(lease.terms, "release")
            assert lease.exit_code() == 0
            status = lease.status()
        server.shutdown()
    assert status is not None and status.ready is True


def test_it_is_not_started_into_less_memory_than_it_gave_up(docker: FakeDocker, tmp_path: Path) -> None:
    with lease_on(docker, tmp_path, floor_wait_s=2.0) as lease:
        lease.kill()
        status = lease.status()
        assert status is not None
        # As if stopping it had freed more than this machine has: it cannot come free, and it is started late.
        raw = {**status.model_dump(), "available_bytes_before_stop": 0, "available_bytes_held": 2**60}
        lease.directory._write("status.json", raw)
        lease.directory.ask(lease.terms, "release")
        lease.watch()
        assert lease.exit_code() == 0
        ended = lease.status()
    assert docker.running and ended is not None
    assert ended.floor_reached is False and ended.room_wanted_bytes == int(2**60 * 0.95)


def test_a_retiring_watcher_leaves_another_runs_lease(docker: FakeDocker, tmp_path: Path) -> None:
    with lease_on(docker, tmp_path) as lease:
        lease.end()
        other = lease.terms.model_copy(update={"lease_id": "another"})
        lease.directory.agree(other)
        lease.watch()  # its terms and the file differ: it gives back what it held, and no more
        assert lease.exit_code() == 0
        assert lease.directory.terms() == other
        assert (lease.directory.path / "renewal.json").exists()
    assert docker.running


def test_a_holder_that_was_frozen_leaves_nothing_when_it_goes_on(docker: FakeDocker, tmp_path: Path) -> None:
    with lease_on(docker, tmp_path, ttl_s=1.0) as lease:
        lease.freeze()
        assert lease.exit_code() == 0 and docker.running
        directory = lease.directory
        assert not directory.renew(lease.terms)
        directory.ask(lease.terms, "release")
        assert sorted(each.name for each in directory.path.iterdir()) == [
            "history.jsonl",
            "lock",
            "status.json",
        ]
        other = lease.terms.model_copy(update={"lease_id": "another"})
        directory.agree(other)
        assert not directory.renew(lease.terms)
        directory.ask(lease.terms, "release")
        assert json.loads((directory.path / "renewal.json").read_text())["lease_id"] == "another"
        assert not (directory.path / "request.json").exists()


@pytest.mark.parametrize("name", ["renewal.json", "request.json"])
def test_nor_where_the_lease_ends_while_it_writes(docker: FakeDocker, tmp_path: Path, name: str) -> None:
    class Slow(LeaseDirectory):
        def _write(self, written: str, value: Any) -> None:
            for each in ("lease.json", "renewal.json", "request.json"):  # the watcher retires now
                (self.path / each).unlink(missing_ok=True)
            super()._write(written, value)

    with lease_on(docker, tmp_path, hold=False) as lease:
        lease.end()
        slow = Slow(lease.directory.path)
        if name == "renewal.json":
            assert not slow.renew(lease.terms)
        else:
            slow.ask(lease.terms, "release")
        assert not (slow.path / name).exists()


def test_a_stop_that_could_not_be_recorded_is_no_pause(docker: FakeDocker, tmp_path: Path) -> None:
    with lease_on(docker, tmp_path, hold=False) as lease:
        reach(lease, "armed")
        blocked = lease.directory.path / ".status.json.watcher"
        blocked.mkdir()  # the watcher's scratch file: it cannot write, as on a full disk
        lease.directory.ask(lease.terms, "stop")
        while not any("refused" in call for call in docker.calls) and lease.process is not None:
            if lease.process.poll() is not None:
                break
            time.sleep(0.05)
        assert lease.exit_code() == 3
        status = lease.status()
    assert STOP not in docker.calls
    assert status is not None and not status.touched


def test_a_docker_that_accepts_and_hangs(docker: FakeDocker, tmp_path: Path) -> None:
    docker.odd = lambda _method, _path: time.sleep(3.0)
    with pytest.raises(DockerSilent, match="does not answer"):
        DockerHost(f"unix://{docker.socket}", timeout_s=1).version()


@pytest.mark.parametrize("name", ["renewal.json", "lease.json"])
def test_a_damaged_file_gives_it_back(docker: FakeDocker, tmp_path: Path, name: str) -> None:
    with lease_on(docker, tmp_path) as lease:
        lease._ended.set()  # the holder's next renewal would mend it
        time.sleep(0.6)
        (lease.directory.path / name).write_text('{"lease_id": "')
        assert lease.exit_code() == 0
        status = lease.status()
    assert docker.running and docker.policy == "no"
    assert status is not None and "damaged" in (status.reason or "")
