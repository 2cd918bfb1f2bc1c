"""The owner's commands, what is looked for by preflight, readiness, and latency beside an engine."""

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.docker_host.host import DockerHost
from bench.errors import BadInput, NeighbourNotBack
from bench.neighbour import owner
from bench.neighbour import restarters as looked_for
from bench.neighbour.container import Neighbour
from bench.neighbour.felt import felt_latency, summarise_felt
from bench.neighbour.lease import borrow
from bench.neighbour.lease_files import LeaseHeld, LeaseLost
from bench.neighbour.look import look_at_neighbour
from bench.neighbour.owner import read_status, restore
from bench.neighbour.proof import Proof
from bench.neighbour.readiness import check_serving, wait_ready
from bench.neighbour.restarters import find_removers, find_restarters
from bench.neighbour.snapshot import list_differences, prove_same, take_snapshot
from bench.neighbour.spec import NeighbourSpec
from bench.neighbour.watcher_container import name_watcher, tag_watcher
from bench.records.neighbour import NeighbourRecord
from tests.neighbour.conftest import Asking
from tests.neighbour.test_lease import LIMIT, always_alive
from tests.support.docker import DockerEnv
from tests.support.neighbours import await_cleared, chat_neighbour, exists, until
from tests.support.pace import limit


def test_status_tells_who_holds_it_and_restore_takes_it_back(
    docker_env: DockerEnv,
    docker_host: DockerHost,
    asking: Asking,
    proof: Proof,
    lease_dir: Path,
    watcher_base: str,
) -> None:
    with chat_neighbour(docker_env) as chat:
        free = read_status(chat.name, url=chat.url, lease_dir=lease_dir, docker_host=docker_host)
        assert free.well and free.serves and free.lease is None
        with (
            pytest.raises(LeaseLost, match="the owner took it back"),
            borrow(
                asking(chat, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
            ) as grant,
        ):
            held = read_status(chat.name, url=chat.url, lease_dir=lease_dir, docker_host=docker_host)
            assert not held.well and not held.serves
            assert held.lease is not None and held.lease.run_id == "run-1"
            assert held.watcher == "running"
            assert "run-1" in held.sentence and held.lease.until_utc in held.sentence
            back = restore(
                chat.name,
                url=chat.url,
                lease_dir=lease_dir,
                watcher_base=watcher_base,
                docker_host=docker_host,
            )
            assert back.well and back.serves
            until(lambda: grant.lost is not None, 10.0, "the holder knows")
            grant.check()
        assert chat.policy() == "unless-stopped"


def test_restore_without_a_watcher_and_without_a_lease(
    docker_env: DockerEnv,
    docker_host: DockerHost,
    asking: Asking,
    proof: Proof,
    lease_dir: Path,
    watcher_base: str,
) -> None:
    where: dict[str, Any] = {"lease_dir": lease_dir, "watcher_base": watcher_base, "docker_host": docker_host}
    with chat_neighbour(docker_env, policy="no") as chat:
        chat.client.api.stop(chat.id, timeout=5)
        assert restore(chat.name, url=chat.url, **where).well
        assert chat.policy() == "no"
        with (
            pytest.raises(LeaseLost, match="taken back"),
            borrow(
                asking(chat, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
            ) as grant,
        ):
            # The worst day: somebody removed the watcher, so nothing is left to watch the renewals.
            chat.client.api.remove_container(name_watcher(chat.name), force=True)
            assert not chat.running() and chat.policy() == "always"
            assert restore(chat.name, url=chat.url, **where).well
            until(lambda: grant.lost is not None, 10.0, "the holder knows")
            grant.check()
        assert chat.running()
        assert chat.policy() == "no"
        await_cleared(chat)


def test_a_watcher_that_is_removed_with_its_image(
    docker_env: DockerEnv,
    docker_host: DockerHost,
    asking: Asking,
    proof: Proof,
    lease_dir: Path,
    watcher_base: str,
) -> None:
    base = f"audition-test-base:{uuid.uuid4().hex[:8]}"
    with chat_neighbour(docker_env, policy="no") as chat:
        chat.client.images.get(watcher_base).tag(base)
        with (
            pytest.raises(NeighbourNotBack, match=f"start {chat.name} cannot be: .* restore` does without"),
            borrow(asking(chat, watcher_base=base), always_alive, docker_host=docker_host, proof=proof),
        ):
            chat.client.api.remove_container(name_watcher(chat.name), force=True)
            for image in (tag_watcher(base), base):
                chat.client.images.remove(image)
        assert not chat.running()
        where: dict[str, Any] = {"lease_dir": lease_dir, "watcher_base": base, "docker_host": docker_host}
        assert restore(chat.name, url=chat.url, **where).well
        assert chat.policy() == "no"


def test_restore_keeps_the_lease_until_the_neighbour_is_up_with_its_policy(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path, watcher_base: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    where: dict[str, Any] = {"lease_dir": lease_dir, "watcher_base": watcher_base, "docker_host": docker_host}
    with chat_neighbour(docker_env, policy="no") as chat:
        with (
            pytest.raises(LeaseLost, match="taken back"),
            borrow(
                asking(chat, ratio_limit=LIMIT), always_alive, docker_host=docker_host, proof=proof
            ) as grant,
        ):
            chat.client.api.remove_container(name_watcher(chat.name), force=True)
            with monkeypatch.context() as broken:  # a watcher that does nothing, and a time that is soon over
                broken.setattr(owner, "run_restorer", lambda *_: None)
                with pytest.raises(NeighbourNotBack, match="The lease is kept: restore again"):
                    restore(chat.name, limit_s=2.0, **where)
            assert not chat.running() and (lease_dir / "lease.json").exists()
            # What is legible last is what the watcher wrote; the policy to put back is there too.
            (lease_dir / "lease.json").write_text("{rub")
            assert restore(chat.name, url=chat.url, **where).well
            until(lambda: grant.lost is not None, 10.0, "the holder knows")
            grant.check()
        assert chat.running() and chat.policy() == "no"


def test_who_waits_for_a_leftover_does_not_keep_the_next_one_waiting(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path
) -> None:
    with chat_neighbour(docker_env, environment={"CHAT_READY_S": "0,0,6,0"}) as chat:
        request = asking(chat, ratio_limit=LIMIT)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof):
            left = (lease_dir / "lease.json").read_bytes()
        (lease_dir / "status.json").unlink()
        (lease_dir / "lease.json").write_bytes(left)
        chat.client.api.stop(chat.id, timeout=5)
        outcome: list[str] = []

        def first() -> None:
            with borrow(request, always_alive, docker_host=docker_host, proof=proof) as grant:
                outcome.append(grant.record.state)

        waiting = threading.Thread(target=first)
        waiting.start()
        until(lambda: exists(chat.client, name_watcher(chat.name)), 20.0, "the leftover is being restored")
        began = time.monotonic()
        with pytest.raises(LeaseHeld, match="run-1"), borrow(request, always_alive, docker_host=docker_host):
            pytest.fail("the block was entered")
        assert time.monotonic() - began < limit(5.0)
        waiting.join(90.0)
        assert outcome == ["held"]


def test_a_lease_left_without_a_watcher_is_settled_by_the_next_run(
    docker_env: DockerEnv, docker_host: DockerHost, asking: Asking, proof: Proof, lease_dir: Path
) -> None:
    with chat_neighbour(docker_env, policy="no") as chat:
        request = asking(chat, ratio_limit=LIMIT)
        with borrow(request, always_alive, docker_host=docker_host, proof=proof):
            left = (lease_dir / "lease.json").read_bytes()
        (lease_dir / "status.json").unlink()
        (lease_dir / "lease.json").write_bytes(
            left
        )  # as a process leaves it that dies before its watcher is up
        chat.client.api.stop(chat.id, timeout=5)
        with borrow(
            request, always_alive, docker_host=docker_host, proof=proof
        ) as grant:  # it was put right first
            assert not chat.running()
        assert chat.running() and chat.policy() == "no"
        assert grant.record.state == "restored"
        (lease_dir / "lease.json").write_text("rubbish")
        with pytest.raises(BadInput, match="damaged"), borrow(request, always_alive, docker_host=docker_host):
            pytest.fail("the block was entered")


def test_the_same_container_and_another(docker_env: DockerEnv, docker_host: DockerHost) -> None:
    with chat_neighbour(docker_env) as one, chat_neighbour(docker_env) as two:
        before = take_snapshot(Neighbour(docker_host, one.name))
        prove_same(before, take_snapshot(Neighbour(docker_host, one.name)))
        with pytest.raises(NeighbourNotBack, match="container id"):
            prove_same(before, take_snapshot(Neighbour(docker_host, two.name)))
        one.client.api.stop(one.id, timeout=5)
        one.client.api.update_container(one.id, restart_policy={"Name": "always"})
        found = list_differences(before, take_snapshot(Neighbour(docker_host, one.name)))
        assert any(each.startswith("restart policy") for each in found)
        assert any(each.startswith("it is exited") for each in found)
        assert len(found) == 2


def test_health_alone_is_not_readiness(docker_env: DockerEnv) -> None:
    with chat_neighbour(docker_env, environment={"CHAT_STUCK": "1"}) as chat:
        assert chat.serves()  # /health answers
        with pytest.raises(NeighbourNotBack, match="/v1/chat/completions"):
            wait_ready(chat.url, limit_s=1.0)
        with pytest.raises(BadInput, match="/v1/chat/completions"):
            check_serving(chat.url, timeout_s=2.0)


def test_what_its_clients_felt(docker_env: DockerEnv) -> None:
    with chat_neighbour(docker_env) as chat:
        record = NeighbourRecord(mode="parallel", name=chat.name, url=chat.url, run_id="r")
        record.before.readiness = check_serving(chat.url)
        with felt_latency(record, every_s=0.01):
            time.sleep(2.0)
    assert record.felt is not None
    assert record.felt.errors == 0 and len(record.felt.values_ms) >= 1
    assert record.felt.p50_ms is not None and record.felt.p50_ms >= 20.0


def test_nothing_felt_is_no_figure() -> None:
    assert summarise_felt([], errors=3).p50_ms is None
    assert summarise_felt([1.0, 2.0, 3.0], errors=0).p50_ms == 2.0


def inspected(name: str, **labels: str) -> dict[str, Any]:
    return {"Name": f"/{name}", "Config": {"Labels": {k.replace("__", "."): v for k, v in labels.items()}}}


def test_what_would_restart_it(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (units / "vllm.service").write_text(
        "[Service]\nExecStart=/usr/bin/docker start -a vllm-gemma4\nRestart=always\n"
    )
    (units / "other.service").write_text(
        "[Service]\n# vllm-gemma4 lived here\nExecStart=/bin/vllm-gemma4-not\n"
    )
    (units / "stack.service").write_text("[Service]\nExecStart=docker compose -f /srv/llm/compose.yml up\n")
    cron = tmp_path / "crontab"
    cron.write_text("*/5 * * * * root docker start vllm-gemma4\n")
    plain = find_restarters(inspected("vllm-gemma4"), (units,), (cron,))
    assert plain == [
        f"systemd unit {units / 'vllm.service'} names vllm-gemma4",
        f"cron table {cron} names vllm-gemma4",
    ]
    composed = inspected("chat")
    composed["Config"]["Labels"] = {
        "com.docker.compose.project": "llm",
        "com.docker.compose.service": "chat",
        "com.docker.compose.project.working_dir": "/srv/llm",
        "com.docker.compose.project.config_files": "/srv/llm/compose.yml",
        "autoheal": "true",
    }
    found = find_restarters(composed, (units,), (cron,))
    assert len(found) == 3
    assert "stack.service" in found[0] and "compose project llm" in found[1] and "autoheal" in found[2]
    assert find_restarters(inspected("quiet"), (units,), (tmp_path / "none",)) == []


def test_what_a_user_may_not_list_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = tmp_path / "crontabs"
    tables.mkdir()

    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)  # root, as whom the tests may run, is refused nothing
    assert find_restarters(inspected("vllm-gemma4"), (), (tables,)) == []


def test_what_would_remove_it_while_it_is_stopped(tmp_path: Path) -> None:
    units, daily = tmp_path / "units", tmp_path / "cron.daily"
    units.mkdir()
    daily.mkdir()
    (units / "tidy.service").write_text("[Service]\nExecStart=/usr/bin/docker system prune --force\n")
    (units / "images.service").write_text("[Service]\nExecStart=/usr/bin/docker image prune --all --force\n")
    (daily / "tidy").write_text("#!/bin/sh\n# docker system prune -f\ndocker container prune -f\n")
    assert find_removers((units,), (daily,)) == [
        f"systemd unit {units / 'tidy.service'} says `system prune`",
        f"cron table {daily / 'tidy'} says `container prune`",
    ]


def test_preflight_warns_of_what_would_start_or_remove_it(
    docker_env: DockerEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    monkeypatch.setattr(looked_for, "find_removers", lambda: ["systemd unit tidy.timer says `system prune`"])
    with chat_neighbour(docker_env, labels={"autoheal": "true"}) as chat:
        spec = NeighbourSpec(mode="pause", container=chat.name, url=chat.url)
        checks, facts = look_at_neighbour(spec)
        beside, _ = look_at_neighbour(spec.model_copy(update={"mode": "parallel"}))
    warned = {each.name: each.detail or "" for each in checks if each.severity == "warning" and not each.ok}
    assert set(warned) == {"neighbour_restarters", "neighbour_removers"}
    assert "autoheal" in warned["neighbour_restarters"] and "tidy.timer" in warned["neighbour_removers"]
    assert facts["latency_before"]["total_ms"]["p50"] > 0
    assert "neighbour_removers" not in {each.name for each in beside}
