"""Borrowing on a real Docker engine from a real container: in order, and with bad input and bad luck."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from bench.client.chat import measure_chat
from bench.docker_host.host import DockerHost, DockerSilent
from bench.docker_host.networks import keep_network
from bench.engines.launch import EngineFailed
from bench.errors import BadInput, NeighbourNotBack
from bench.install.module import remove
from bench.neighbour import lease, watcher_control
from bench.neighbour.lease import LeaseRequest, borrow
from bench.neighbour.lease_files import LeaseDirectory, LeaseHeld, LeaseLost
from bench.neighbour.look import look_at_neighbour
from bench.neighbour.owner import read_status, restore
from bench.neighbour.proof import NeighbourSlower, Proof
from bench.neighbour.spec import NeighbourSpec
from bench.neighbour.watcher_container import name_watcher
from bench.records.neighbour import NeighbourRecord
from tests.neighbour.conftest import Asking
from tests.support.disks import mounted
from tests.support.docker import DockerEnv
from tests.support.neighbours import (
    ChatNeighbour,
    await_cleared,
    chat_image,
    chat_neighbour,
    exists,
    free_port,
    run_engine,
    until,
)


def always_alive() -> bool:
    return True


LIMIT = 1000.0
"""A limit on the p50 ratio that no noise of the machine reaches."""


@pytest.mark.parametrize("policy", ["no", "on-failure", "unless-stopped", "always"])
def test_it_is_lent_and_comes_back_as_it_was(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path, policy: str
) -> None:
    saved: list[str] = []
    with chat_neighbour(docker_env, policy=policy) as neighbour:
        retries = neighbour.inspect()["HostConfig"]["RestartPolicy"]["MaximumRetryCount"]
        request = asking(neighbour, ratio_limit=LIMIT)
        with borrow(
            request,
            always_alive,
            docker_host=docker_host,
            proof=proof,
            save=lambda now: saved.append(now.state),
        ) as grant:
            assert not neighbour.running()
            assert not neighbour.serves()
            assert neighbour.policy() == "always"  # a power loss now would bring it back
            watcher = neighbour.client.api.inspect_container(name_watcher(neighbour.name))["HostConfig"]
            assert watcher["ReadonlyRootfs"] and not watcher["Privileged"] and watcher["UsernsMode"] == "host"
            assert watcher["CapDrop"] == ["ALL"] and len(watcher["CapAdd"]) == 1
            assert watcher["SecurityOpt"] == ["no-new-privileges:true"]
            spoken = run_engine(neighbour.client, "run-1")
            of_others = run_engine(neighbour.client, "run-2")
        try:
            assert neighbour.running()
            assert neighbour.policy() == policy
            assert neighbour.inspect()["HostConfig"]["RestartPolicy"]["MaximumRetryCount"] == retries
            assert not exists(neighbour.client, spoken)
            assert exists(neighbour.client, of_others)
        finally:
            neighbour.client.api.remove_container(of_others, force=True)
        await_cleared(neighbour)
    record = grant.record
    assert saved[0] == "held" and saved[-1] == "restored"
    assert record.pauses == 1 and record.down_s is not None and record.down_s > 0
    assert record.restored_by == "watcher"
    assert record.before.snapshot is not None and record.after.snapshot is not None
    assert record.before.snapshot.container_id == record.after.snapshot.container_id
    assert len(record.before.latency) == 1 and len(record.after.latency) == 1
    told = remove(lease_dir.parent, "run-1", check=True)["leases"]  # what teardown fetches
    assert [each["lease_id"] for each in told] == [each.lease_id for each in record.leases]
    assert NeighbourRecord.model_validate_json(record.model_dump_json()) == record
    assert sorted(each.name for each in lease_dir.iterdir()) == ["history.jsonl", "lock", "status.json"]


def test_one_that_its_owner_renames_meanwhile_is_found_by_its_id(
    docker_env: DockerEnv,
    docker_host: DockerHost,
    asking: Asking,
    proof: Proof,
    lease_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    with chat_neighbour(docker_env) as neighbour, chat_neighbour(docker_env) as another:
        new = f"{neighbour.name}-renamed"
        request = asking(neighbour, ratio_limit=LIMIT)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
            neighbour.client.api.rename(neighbour.id, new)
            another.client.api.rename(another.id, neighbour.name)
        another.client.api.rename(another.id, another.name)
        assert neighbour.running() and grant.record.state == "restored"
        assert f"{neighbour.name} is back, under the name {new}: the same container" in grant.record.verdict
        now = read_status(neighbour.name, url=neighbour.url, lease_dir=lease_dir, docker_host=docker_host)
        assert now.well and now.sentence.startswith(f"{new} (which was {neighbour.name}) is running")
        looked, _ = look_at_neighbour(
            NeighbourSpec(container=neighbour.name, url=neighbour.url, mode="pause", lease_dir=lease_dir)
        )
        assert [(each.name, each.ok) for each in looked[:2]] == [
            ("neighbour", True),
            ("neighbour_name", False),
        ]
        with (
            pytest.raises(LeaseLost, match="the owner took it back"),
            borrow(request, always_alive, docker_host=docker_host, proof=proof) as taken_back,
        ):
            neighbour.client.api.rename(neighbour.id, f"{new}-again")
            taken = restore(neighbour.name, lease_dir=lease_dir, docker_host=docker_host, url=neighbour.url)
            assert taken.well and taken.name == f"{new}-again" and neighbour.running()
            until(lambda: taken_back.lost is not None, 10.0, "the holder knows")
        neighbour.client.api.rename(neighbour.id, neighbour.name)


@pytest.mark.parametrize("left", ["nothing", "the watcher", "the watcher and the lease"])
def test_a_watcher_that_was_made_and_not_started_keeps_nobody_out(
    docker_env: DockerEnv,
    docker_host: DockerHost,
    asking: Asking,
    proof: Proof,
    monkeypatch: pytest.MonkeyPatch,
    left: str,
) -> None:
    class Ended(BaseException):
        """A signal that comes between a container's creation and its start."""

    def end(_container: Container) -> None:
        raise Ended

    with chat_neighbour(docker_env) as neighbour:
        request = asking(neighbour, ratio_limit=LIMIT)
        with monkeypatch.context() as changed:
            changed.setattr(Container, "start", end)
            if left != "nothing":  # a process that is killed clears nothing away
                changed.setattr(lease, "_remove_own_watcher", lambda *_: None)
            if left == "the watcher and the lease":
                changed.setattr(LeaseDirectory, "discard", lambda _: None)
            with (
                pytest.raises(Ended),
                borrow(request, always_alive, docker_host=docker_host, proof=proof),
            ):
                pytest.fail("it was lent")
        assert exists(neighbour.client, name_watcher(neighbour.name)) == (left != "nothing")
        monkeypatch.setattr(watcher_control, "LEAVING_LIMIT_S", 0.5)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
            assert not neighbour.running()
        assert neighbour.running() and grant.record.state == "restored"


def test_an_absent_container_and_a_wrong_name(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        near = asking(neighbour, container=neighbour.name + "x")
        with (
            pytest.raises(BadInput, match=f"Did you mean {neighbour.name}"),
            borrow(near, always_alive, docker_host=docker_host, proof=proof),
        ):
            pass
        by_id = asking(neighbour, container=neighbour.id[:12])
        with (
            pytest.raises(BadInput, match="no container named"),
            borrow(by_id, always_alive, docker_host=docker_host),
        ):
            pass
        assert neighbour.running()
        assert neighbour.starts() == 1


def test_a_container_that_is_half_measured_stopped_frozen_or_would_be_removed(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        partial = Proof(measure=lambda url: measure_chat(url, n=2, discard=0), min_samples=5)
        refused(asking(neighbour), docker_host, partial, "2 samples, and 5 are needed")
        neighbour.client.api.pause(neighbour.id)
        refused(asking(neighbour), docker_host, proof, "docker unpause")
        neighbour.client.api.unpause(neighbour.id)
        neighbour.client.api.stop(neighbour.id, timeout=5)
        refused(asking(neighbour), docker_host, proof, "is exited")
        assert not neighbour.running()  # its owner stopped it: that is left as it is
    with chat_neighbour(docker_env, auto_remove=True) as neighbour:
        refused(asking(neighbour), docker_host, proof, "--rm")
        beside = asking(neighbour, mode="parallel", measure=False)  # it is not stopped there
        with borrow(beside, always_alive, docker_host=docker_host, proof=proof) as grant:
            pass
        assert neighbour.running()
        assert grant.record.state == "restored" and grant.record.before.latency == []


def refused(request: LeaseRequest, docker_host: DockerHost, proof: Proof, why: str) -> None:
    with (
        pytest.raises(BadInput, match=why),
        borrow(request, always_alive, docker_host=docker_host, proof=proof),
    ):
        pytest.fail("the block was entered")


def test_unhealthy_before(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    check = {"test": ["CMD", "false"], "interval": 200_000_000, "retries": 1, "timeout": 10**9}
    with chat_neighbour(docker_env, healthcheck=check) as neighbour:

        def unhealthy() -> bool:
            return bool(neighbour.inspect()["State"]["Health"]["Status"] == "unhealthy")

        until(unhealthy, 20.0, "Docker calls it unhealthy")
        refused(asking(neighbour), docker_host, proof, "unhealthy before we touch it")
        assert neighbour.starts() == 1


def test_docker_not_answering(
    docker_env: DockerEnv, asking: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DockerSilent, match="systemctl start docker"):
        DockerHost(f"unix://{tmp_path}/none.sock")
    with pytest.raises(BadInput, match="Unset DOCKER_HOST"):
        DockerHost("tcp://127.0.0.1:2375")
    with chat_neighbour(docker_env) as neighbour:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        with pytest.raises(DockerSilent), borrow(asking(neighbour), always_alive):
            pytest.fail("the block was entered")
        assert neighbour.running()


def test_the_second_run_is_told_who_holds_it_and_until_when(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, tmp_path: Path
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        first = asking(neighbour, ratio_limit=LIMIT)
        with borrow(first, always_alive, docker_host=docker_host, proof=proof):
            terms = LeaseDirectory(first.lease_dir).terms()
            assert terms is not None
            second = asking(neighbour, run_id="run-2")
            with (
                pytest.raises(LeaseHeld) as caught,
                borrow(second, always_alive, docker_host=docker_host, proof=proof),
            ):
                pytest.fail("the block was entered")
            assert "run-1" in str(caught.value)
            assert terms.until_utc in str(caught.value)
            assert not neighbour.running()  # the first still has it
        assert neighbour.running()


def test_a_damaged_lease_gives_the_neighbour_back_at_once(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        with (
            pytest.raises(LeaseLost, match="lease file damaged"),
            borrow(
                asking(neighbour, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
            ) as grant,
        ):
            spoken = run_engine(neighbour.client, "run-1")
            (lease_dir / "lease.json").write_text('{"lease_id": "')
            until(neighbour.running, 20.0, "the neighbour runs")
            until(lambda: grant.lost is not None, 10.0, "the holder knows")
            assert not exists(neighbour.client, spoken)
        assert neighbour.policy() == "unless-stopped"
        assert grant.record.state == "restored"
        assert "damaged" in (grant.record.leases[-1].reason or "")


@pytest.fixture
def small_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with mounted(tmp_path / "disk", "64k") as disk:
        yield disk


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(b"x" * 1024)
            except OSError:
                return


def test_a_full_disk_refuses_before_stopping(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, small_disk: Path
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        request = asking(neighbour, lease_dir=small_disk)
        LeaseDirectory(small_disk).prepare()
        fill(small_disk)
        refused(request, docker_host, proof, "was not stopped. Free some space")
        assert neighbour.starts() == 1
        assert neighbour.policy() == "unless-stopped"
        await_cleared(neighbour)
        (small_disk / "filler").unlink()
        with borrow(
            request.model_copy(update={"ratio_limit": LIMIT}),
            always_alive,
            docker_host=docker_host,
            proof=proof,
        ):
            fill(small_disk)  # and one that fills up in the meantime keeps nothing down
        assert neighbour.running()
        assert neighbour.policy() == "unless-stopped"


class Teapot(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"I am something else")

    def log_message(self, format: str, *args: Any) -> None:
        return


def test_something_else_answers_on_the_port(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    other = HTTPServer(("127.0.0.1", 0), Teapot)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        with chat_neighbour(docker_env) as neighbour:
            url = f"http://127.0.0.1:{other.server_port}"
            refused(asking(neighbour, url=url), docker_host, proof, "I am something else")
            nobody = f"http://127.0.0.1:{free_port()}"
            refused(asking(neighbour, url=nobody), docker_host, proof, "does not serve at")
            assert neighbour.starts() == 1
    finally:
        other.shutdown()


def test_another_chat_server_answers_on_the_port(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env) as neighbour, chat_neighbour(docker_env) as other:
        request = asking(neighbour, url=other.url, ratio_limit=LIMIT)
        refused(request, docker_host, proof, "another program serves there")
        assert neighbour.running()
        assert neighbour.policy() == "unless-stopped"


def test_it_fails_to_start_once(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env, policy="no", environment={"CHAT_FAIL_STARTS": "2"}) as neighbour:
        with borrow(
            asking(neighbour, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
        ) as grant:
            pass
        assert neighbour.running()
        assert neighbour.policy() == "no"
        assert neighbour.starts() == 3
    assert grant.record.state == "restored"


def test_it_takes_its_time_to_become_ready(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    await_slow_start(docker_env, docker_host, asking, proof, ready_s=4)


@pytest.mark.slow
def test_it_takes_90_s_to_become_ready(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    patient = Proof(measure=proof.measure, min_samples=5, ready_limit_s=180.0, settle_s=0.5)
    await_slow_start(docker_env, docker_host, asking, patient, ready_s=90)


def await_slow_start(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, ready_s: int
) -> None:
    with chat_neighbour(docker_env, environment={"CHAT_READY_S": f"0,{ready_s}"}) as neighbour:
        request = asking(neighbour, ratio_limit=LIMIT, ready_limit_s=proof.ready_limit_s)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
            released = time.monotonic()
        assert time.monotonic() - released >= ready_s
        assert neighbour.serves()
        assert neighbour.starts() == 2
    assert grant.record.after.readiness is not None
    assert grant.record.state == "restored"


def test_a_drift_is_a_failed_run_with_the_neighbour_up(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env, environment={"CHAT_LATENCY_MS": "20,120"}) as neighbour:
        with (
            pytest.raises(NeighbourSlower, match="up and the same, but slower"),
            borrow(
                asking(neighbour, ratio_limit=1.2), always_alive, docker_host=docker_host, proof=proof
            ) as grant,
        ):
            pass
        assert neighbour.running()
        record = grant.record
        assert record.state == "slower"
        assert record.ratio is not None and record.ratio > 1.2
        assert len(record.after.latency) == 2  # one settle and retry; every sample kept


def test_a_drift_is_said_although_the_candidate_failed_too(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env, environment={"CHAT_LATENCY_MS": "20,120"}) as neighbour:
        with (
            pytest.raises(
                NeighbourSlower, match=r"slower.*the attempt itself had failed: no voice"
            ) as caught,
            borrow(asking(neighbour, ratio_limit=1.2), always_alive, docker_host=docker_host, proof=proof),
        ):
            raise EngineFailed("no voice")
        assert isinstance(caught.value.__cause__, EngineFailed)
        assert neighbour.running()


def test_unhealthy_for_a_while_after_the_start(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    # Healthy before; after the restart Docker's check fails until some seconds after it generates again.
    test = "test $(cat /var/chat-starts) = 1 || test $(($(date +%s) - $(stat -c %Y /var/chat-starts))) -gt 8"
    # A check that a busy machine is slow with is no failed one.
    check = {"test": ["CMD-SHELL", test], "interval": 300_000_000, "retries": 1, "timeout": 60 * 10**9}
    with chat_neighbour(docker_env, healthcheck=check) as neighbour:

        def healthy() -> bool:
            return bool(neighbour.inspect()["State"]["Health"]["Status"] == "healthy")

        until(healthy, 60.0, "Docker calls it healthy")
        with borrow(
            asking(neighbour, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
        ) as grant:
            pass
        after = grant.record.after.snapshot
        assert after is not None and (grant.record.state, after.health) == ("restored", "healthy")
        assert healthy()


@pytest.mark.parametrize("how", ["SIGKILL", "docker kill"])
def test_the_watcher_is_killed_while_the_neighbour_is_stopping(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path, how: str
) -> None:
    # Docker goes on with a stop whoever asked for it; and after `docker kill` it does not restart the watcher.
    with chat_neighbour(docker_env, environment={"CHAT_STOP_S": "5"}) as neighbour:
        saboteur = threading.Thread(target=kill_watcher, args=(neighbour, lease_dir, "stopping", how))
        saboteur.start()
        refused_or_lost = pytest.raises(LeaseLost, match="stopping the neighbour was interrupted")
        with (
            refused_or_lost,
            borrow(asking(neighbour, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof),
        ):
            pytest.fail("the block was entered")
        saboteur.join()
        time.sleep(6.0)  # the stop that was under way is over by now
        assert neighbour.running() and neighbour.policy() == "unless-stopped"
        await_cleared(neighbour)


def test_docker_kill_of_the_watcher_while_it_restores(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path
) -> None:
    with chat_neighbour(docker_env, environment={"CHAT_READY_S": "0,4"}) as neighbour:
        with borrow(
            asking(neighbour, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
        ) as grant:
            args = (neighbour, lease_dir, "restoring", "docker kill")
            saboteur = threading.Thread(target=kill_watcher, args=args)
            saboteur.start()
        saboteur.join()
        assert neighbour.running() and neighbour.policy() == "unless-stopped"
        assert grant.record.state == "restored" and grant.record.leases[-1].watcher_starts == 2
        await_cleared(neighbour)


def kill_watcher(neighbour: ChatNeighbour, lease_dir: Path, state: str, how: str) -> None:
    directory = LeaseDirectory(lease_dir)
    until(lambda: (now := directory.status()) is not None and now.state == state, 60.0, state)
    time.sleep(0.5)
    name = name_watcher(neighbour.name)
    if how == "SIGKILL":
        os.kill(neighbour.client.api.inspect_container(name)["State"]["Pid"], signal.SIGKILL)
    else:
        neighbour.client.api.kill(name)


def test_a_controller_that_is_gone_and_a_deadline(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        alive = [True]
        with (
            pytest.raises(LeaseLost, match="controller is gone"),
            borrow(
                asking(neighbour, ratio_limit=LIMIT), lambda: alive[0], docker_host=docker_host, proof=proof
            ) as grant,
        ):
            alive[0] = False
            until(neighbour.running, 20.0, "the neighbour runs")
            grant.check()
        # On a slow machine the deadline may pass before the neighbour is stopped: it holds then too.
        kept: list[NeighbourRecord] = []
        late = asking(neighbour, ratio_limit=LIMIT, hard_limit_s=4.0)
        with (
            pytest.raises(LeaseLost, match="hard deadline"),
            borrow(late, always_alive, docker_host=docker_host, proof=proof, save=kept.append) as grant,
        ):
            until(neighbour.running, 20.0, "the neighbour runs")
            until(lambda: grant.lost is not None, 10.0, "the holder knows")
            grant.check()
        assert neighbour.running()
        assert neighbour.policy() == "unless-stopped"
        assert len(kept[-1].leases) == 2  # both attempts of the run are told of
        assert kept[-1].leases[0].stopped and kept[-1].pauses >= 1


def test_parallel_mode_ends_the_engine_before_the_neighbour_starves(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env) as neighbour:
        request = asking(neighbour, mode="parallel", ratio_limit=LIMIT)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
            assert neighbour.serves()
        assert grant.record.pauses == 0 and grant.record.state == "restored"
        starving = request.model_copy(update={"watch_bytes": 2**60})
        network = keep_network(docker_host, internal=True)
        spoken = run_engine(neighbour.client, "run-1", network=network)
        with (
            pytest.raises(LeaseLost, match="MemAvailable fell below"),
            borrow(starving, always_alive, docker_host=docker_host, proof=proof) as grant,
        ):
            until(lambda: not exists(neighbour.client, spoken), 20.0, "the engine is ended")
            until(lambda: not docker_host.api.networks(names=[network]), 10.0, "and its network is gone")
            until(lambda: grant.lost is not None, 10.0, "the holder knows")
        assert neighbour.starts() == 1
        assert grant.record.down_s == 0


def test_its_owner_starts_it_while_it_is_lent(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof
) -> None:
    with chat_neighbour(docker_env, policy="no") as neighbour:
        with (
            pytest.raises(LeaseLost, match="started by another"),
            borrow(
                asking(neighbour, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
            ) as grant,
        ):
            spoken = run_engine(neighbour.client, "run-1")
            neighbour.client.api.start(neighbour.id)
            until(lambda: grant.lost is not None, 20.0, "the holder knows")
            until(lambda: not exists(neighbour.client, spoken), 20.0, "the engine is ended")
        assert neighbour.running()
        assert neighbour.policy() == "no"


def test_its_owner_makes_it_anew_while_it_is_lent(
    docker_env: DockerEnv,
    docker_host: DockerHost,
    asking: Asking,
    proof: Proof,
    lease_dir: Path,
    watcher_base: str,
) -> None:
    with chat_neighbour(docker_env) as chat:
        request = asking(chat, ratio_limit=LIMIT)
        with (
            pytest.raises(NeighbourNotBack, match=f"{chat.name} is not as it was: container id"),
            borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant,
        ):
            left = (lease_dir / "lease.json").read_bytes()
            chat.client.api.remove_container(chat.id, force=True)
            anew = chat.client.containers.run(
                chat_image(docker_env), name=chat.name, detach=True, network_mode="host",
                environment={"CHAT_PORT": str(chat.port), "CHAT_ADDRESS": chat.address},
            )  # fmt: skip
            until(lambda: grant.lost is not None, 20.0, "the holder knows")
            grant.check()
        await_cleared(chat)
        # Its watcher was removed before it had seen that: neither the owner nor the next run is kept waiting.
        for stopped in (False, True):
            (lease_dir / "status.json").unlink()
            (lease_dir / "lease.json").write_bytes(left)
            if stopped:
                anew.stop(timeout=5)
            back = restore(
                chat.name, url=chat.url, lease_dir=lease_dir, watcher_base=watcher_base, docker_host=docker_host,
                limit_s=30.0,
            )  # fmt: skip
            assert back.well and back.snapshot.container_id == anew.id and back.snapshot.policy.name == "no"
        (lease_dir / "lease.json").write_bytes(left)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
            pass
        assert grant.record.state == "restored"


def test_a_watcher_that_is_removed_before_it_has_cleared_away_leaves_no_lease(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path
) -> None:
    names = ("lease.json", "renewal.json")
    directory = LeaseDirectory(lease_dir)
    with chat_neighbour(docker_env) as chat:
        request = asking(chat, mode="parallel", ratio_limit=LIMIT)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof):
            left = {name: (lease_dir / name).read_bytes() for name in names}
        await_cleared(chat)
    for name, held in left.items():
        (lease_dir / name).write_bytes(held)
    terms = directory.terms()
    assert terms is not None
    status = watcher_control.await_return(docker_host, directory, terms, "none is started", 30.0)
    assert status is not None and status.state == "restored"
    assert not any((lease_dir / name).exists() for name in names)


STEPPED_CLOCK = """
import os, time
def shifted(real):
    def clock(*given):
        back = 3600.0 if os.path.exists("/lease/clock-back") else 0.0
        return real(*given) if given else real(time.time_ns() / 1e9 - back)
    return clock
time.gmtime = shifted(time.gmtime)
_time = time.time
time.time = lambda: _time() - (3600.0 if os.path.exists("/lease/clock-back") else 0.0)
"""


def test_the_clock_is_set_back_an_hour(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path,
    watcher_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # The machine's clock is everybody's: the watcher's and the holder's own view of it is set back instead.
    context = tmp_path / "stepped"
    context.mkdir()
    (context / "sitecustomize.py").write_text(STEPPED_CLOCK)
    (context / "Dockerfile").write_text(
        f"FROM {watcher_base}\nCOPY sitecustomize.py /usr/lib/python3/dist-packages/sitecustomize.py\n"
        "RUN rm -f /etc/python3*/sitecustomize.py /usr/lib/python3.11/sitecustomize.py\n"
    )
    with chat_neighbour(docker_env) as neighbour:
        neighbour.client.images.build(path=str(context), tag="audition-test-stepped:1", rm=True)
        request = asking(neighbour, ratio_limit=LIMIT, watcher_base="audition-test-stepped:1", ttl_s=3.0)
        real = time.time
        with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
            before = LeaseDirectory(lease_dir).status()
            (lease_dir / "clock-back").touch()
            monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
            time.sleep(4.5)  # past the TTL: had a clock step counted, it would be over, or would never be
            grant.check()
            assert not neighbour.running()
        (lease_dir / "clock-back").unlink()
        events = [each["utc"] for each in json.loads((lease_dir / "status.json").read_text())["events"]]
    assert before is not None
    assert min(events) < before.events[0]["utc"]  # the watcher did live an hour back
    assert grant.record.state == "restored"
    assert grant.record.down_s is not None and 4.0 < grant.record.down_s < 60.0
