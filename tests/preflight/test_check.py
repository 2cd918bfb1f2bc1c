"""Preflight's checks of a host."""

from pathlib import Path
from typing import Any

import pytest

from bench.catalog.loader import load
from bench.docker_host.host import DockerHost
from bench.neighbour.spec import NeighbourSpec
from bench.neighbour.watcher_container import build_watcher, tag_watcher
from bench.preflight import check
from bench.preflight.check import check_host
from bench.preflight.spec import HostReport, HostSpec
from bench.records.run import Check
from bench.storage.digests import sha256_bytes
from tests.support import entries
from tests.support.docker import DockerEnv
from tests.support.hub import Hub
from tests.support.strangers import obliging

SERVED: dict[str, Any] = {"run": {"kind": "http", "dialect": "openai", "voice": "slt"}, "preset": None}


def _report(state_dir: Path, *, looking: bool = False, **changes: Any) -> HostReport:
    spec = HostSpec(
        entry=load("espeak"),
        install="system",
        baseline=load("flite"),
        baseline_url=None,
        state_dir=state_dir,
        weights_store=state_dir / "weights",
        engine_port=0,
        neighbour=NeighbourSpec(),
    )
    return check_host(spec.model_copy(update=changes), looking=looking)


def _check(name: str, state_dir: Path, **changes: Any) -> Check:
    return next(check for check in _report(state_dir, **changes).checks if check.name == name)


def test_a_machine_that_suits_passes_and_is_described(tmp_path: Path) -> None:
    report = _report(tmp_path / "not" / "there" / "yet")
    assert {check.name for check in report.checks} == {"disk_gib", "memory_gib", "baseline_reachable"}
    assert all(check.ok for check in report.checks)
    assert report.host["cpus"] >= 1 and report.host["mem_total_bytes"] > 2**28
    assert report.forecast["mode_recommended"] == "none"
    assert report.forecast["outage_expected_s"] == 0.0
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "value", "name"), [("run.memory_gib", 1e6, "memory_gib"), ("weights", None, "disk_gib")]
)
def test_too_little_room_is_a_gate_with_both_figures(
    tmp_path: Path, place: str, value: Any, name: str
) -> None:
    weights = [{"repo": "a/b", "revision": "0" * 40, "path": "w", "bytes": 10**16}]
    entry = entries.entry(entries.raw("big", **{place: weights if name == "disk_gib" else value}))
    check = _check(name, tmp_path, entry=entry)
    assert (check.ok, check.severity) == (False, "gate")
    assert check.value is not None and check.limit > check.value
    assert "GiB are free" in check.detail and "GiB are wanted" in check.detail


@pytest.mark.slow
def test_only_this_very_environment_needs_no_room(tmp_path: Path) -> None:
    mine, other = tmp_path / "engines/f5-1", tmp_path / "engines/f5-0"
    for venv in (mine, other):
        venv.mkdir(parents=True)
    wanted = {"entry": load("f5"), "install": "venv", "engine_python": str(mine / "bin/python")}
    (other / ".audition-complete").touch()
    beside_another = _check("disk_gib", tmp_path, **wanted)
    (mine / ".audition-complete").touch()
    assert beside_another.limit - _check("disk_gib", tmp_path, **wanted).limit == pytest.approx(12, abs=0.02)


def test_each_disk_is_asked_for_what_goes_there(tmp_path: Path) -> None:
    weights = [{"repo": "a/b", "revision": "0" * 40, "path": "w", "bytes": 10**16, "sha256": "0" * 64}]
    elsewhere = Path("/dev/shm/audition-weights")
    assert tmp_path.stat().st_dev != elsewhere.parent.stat().st_dev, "the machine has two file systems"
    entry = entries.entry(entries.raw("big", weights=weights))
    report = _report(tmp_path, looking=True, entry=entry, weights_store=elsewhere)
    first, second = (check for check in report.checks if check.name.startswith("disk_gib"))
    assert (first.ok, second.ok) == (True, False)
    assert str(elsewhere) in second.detail and not elsewhere.exists()


def test_a_gpu_that_no_container_can_see_is_a_gate(
    tmp_path: Path, docker_env: DockerEnv, watcher_base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_env.host)
    monkeypatch.setattr("bench.preflight.check.read_gpu_names", lambda: ["a GPU"])
    wanted = {
        "entry": load("f5"),
        "install": "container",
        "neighbour": NeighbourSpec(watcher_base=watcher_base),
    }
    with DockerHost(docker_env.host) as docker_host:
        build_watcher(docker_host, watcher_base)
    found = _check("gpu_container", tmp_path, **wanted)
    assert (found.ok, found.severity) == (False, "gate")
    assert "a container does not see it" in found.detail and "NVIDIA Container Toolkit" in found.detail
    # With nothing asked of Docker the same look starts, and finds none.
    with DockerHost(docker_env.host) as docker_host:
        look = ["python3", "-c", check._LOOK_FOR_GPU]
        assert docker_host.run_once(tag_watcher(watcher_base), look, run_id="test", gpu=False) == (1, "")
        assert not docker_host.labelled("test")


def test_a_need_that_is_unknown_is_null_and_not_a_pass(tmp_path: Path) -> None:
    entry = entries.entry(entries.raw("unknown", **{"run.memory_gib": None}))
    check = _check("memory_gib", tmp_path, entry=entry)
    assert (check.ok, check.limit) == (None, None)


def test_a_taken_port_is_a_gate_and_a_free_one_passes(tmp_path: Path) -> None:
    with obliging() as port:
        taken = _check("engine_port", tmp_path, engine_port=port)
    assert (taken.ok, taken.severity) == (False, "gate")
    assert f"port {port} is taken" in taken.detail
    assert _check("engine_port", tmp_path, engine_port=port).ok, "once it is free"


@pytest.mark.slow
def test_a_baseline_out_of_reach_is_a_warning_and_one_that_answers_is_none(tmp_path: Path) -> None:
    served = entries.entry(entries.raw("served", **SERVED))
    with obliging() as port:
        url = f"http://127.0.0.1:{port}"
        assert _check("baseline_reachable", tmp_path, baseline=served, baseline_url=url).ok
    gone = _check("baseline_reachable", tmp_path, baseline=served, baseline_url=url)
    assert (gone.ok, gone.severity) == (False, "warning")
    assert f"{url} does not answer" in gone.detail and "the run goes on without" in gone.detail


# The model card

REVISION = "ab" * 20
OPEN_CARD = b"# Voice\n\nA model that speaks. The speaker encoder is part of the checkpoint.\n"
WITHHELD_CARD = b"# Voice\n\nA model that speaks. The weights of the speaker encoder are not released.\n"


def _open_entry() -> Any:
    weights = [{"repo": "maker/voice", "revision": REVISION, "path": "model.bin", "bytes": 9, "sha256": None}]
    clone = {"status": "open", "source": "the paper"}
    return entries.entry(entries.raw("mine", weights=weights, clone_encoder=clone))


def _with_card(state_dir: Path, hub: Hub) -> dict[str, Check]:
    report = _report(state_dir, entry=_open_entry(), weights_endpoint=hub.url)
    return {check.name: check for check in report.checks}


@pytest.mark.parametrize(("card", "stands"), [(OPEN_CARD, True), (WITHHELD_CARD, False)])
def test_the_model_card_at_the_pinned_revision_overrules_an_entry_that_says_open(
    tmp_path: Path, card: bytes, stands: bool
) -> None:
    with Hub({"maker/voice": {REVISION: {"README.md": card, "model.bin": b"the bytes"}}}) as hub:
        found = _with_card(tmp_path, hub)
        assert found["model_card"].value == {
            "repo": "maker/voice", "revision": REVISION, "sha256": sha256_bytes(card),
        }  # fmt: skip
        assert (found["clone_encoder"].ok, found["clone_encoder"].severity) == (stands, "gate")
        assert stands or "are not released" in found["clone_encoder"].detail
        assert {asked.path for asked in hub.requests} == {"README.md"}
        before = hub.connections
        assert _with_card(tmp_path, hub)["clone_encoder"].ok is stands
        assert hub.connections == before, "the card is in the store by now"


def test_a_card_that_cannot_be_had_is_a_warning_and_the_entrys_word_stands(tmp_path: Path) -> None:
    with Hub({"maker/voice": {REVISION: {}}}) as hub:
        found = _with_card(tmp_path, hub)
    assert (found["model_card"].ok, found["model_card"].severity) == (None, "warning")
    assert "HTTP 404" in found["model_card"].detail
    assert "clone_encoder" not in found


def test_looking_asks_no_hub_for_a_card(tmp_path: Path) -> None:
    with Hub({}) as hub:
        report = _report(tmp_path, looking=True, entry=_open_entry(), weights_endpoint=hub.url)
        found = {check.name: check.ok for check in report.checks}
        assert (found["model_card"], hub.connections, list(tmp_path.iterdir())) == (None, 0, [])
