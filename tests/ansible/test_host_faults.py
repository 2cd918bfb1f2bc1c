"""What goes wrong on a host or on the controller's disk says nothing of the candidate, and can be put right.

Each ends with 2, decides nothing, and the same command goes on with the same run.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records.base import Phase
from bench.records.run import Install, Phases, PhaseState
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from tests.ansible.conftest import Demo
from tests.support import entries
from tests.support.disks import mounted
from tests.support.index import Index
from tests.support.neighbours import free_port
from tests.support.play import TEN_WORDS, Played, inventory, lines, play
from tests.support.strangers import obliging

pytestmark = pytest.mark.timeout(1800)

Private = Callable[[], Path]


def _phase(run_dir: Path, phase: Phase) -> PhaseState:
    return load_record(Phases, run_dir).phases[phase]


# Install


def test_a_taken_port_and_packages_out_of_reach_do_not_disqualify(
    demo: Demo, state_dir: Path, private: Private, tmp_path: Path
) -> None:
    del demo  # the host's venv is made by then
    port = free_port()
    trees = [entries.raw("mine"), entries.raw("wanting", **{"run.system_packages": ["audition-has-no-such"]})]
    hosts_file = inventory(
        tmp_path / "hosts.yml",
        {"port": {"model": "mine", "engine_port": port}, "packages": {"model": "wanting", "manage_packages": True}},
        state_dir=str(state_dir),
        runs_dir=str(tmp_path / "runs"),
        catalog_dir=str(entries.write(tmp_path / "catalog", *trees)),
    )  # fmt: skip
    (tmp_path / "apt.conf").write_text('Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "/dev/null";')
    no_sources = {"APT_CONFIG": str(tmp_path / "apt.conf")}

    def tagged(phase: str, *options: str) -> Played:
        return play(private(), None, "--tags", phase, *options, inventory=hosts_file, environ=no_sources)

    begun = tagged("preflight")
    assert begun.rc == 0, begun.text[-4000:]
    with obliging(port):
        failed = tagged("install")
    assert failed.rc == 2
    assert f"port {port} is already taken" in failed.why("port")
    assert "Install the system packages that are missing" in failed.why("packages")
    for host in ("port", "packages"):
        (run_dir,) = (tmp_path / "runs").glob(f"*-{host}-*Z")
        assert (_phase(run_dir, "install").status, _phase(run_dir, "install").fault) == ("failed", "host")
        assert not (run_dir / Install.file_name).exists()
        assert not (state_dir / "jobs" / run_dir.name).exists()

    again = tagged("install", "--limit", "port")
    assert again.rc == 0, again.text[-4000:]
    (run_dir,) = (tmp_path / "runs").glob("*-port-*Z")
    assert (_phase(run_dir, "install").status, load_record(Install, run_dir).ok) == ("done", True)


def test_a_package_index_that_is_down_decides_nothing_and_the_same_command_goes_on(
    demo: Demo, state_dir: Path, private: Private, tmp_path: Path
) -> None:
    del demo  # the host's venv is made by then
    with Index() as index:
        (tmp_path / "lock.txt").write_text(index.wheel("nothing_at_all", "1.0"))
        tree = entries.raw(
            "mine", **{"run.install": ["venv"], "run.requirements": str(tmp_path / "lock.txt")}
        )
        hosts_file = inventory(
            tmp_path / "hosts.yml",
            {"away": {"model": "mine"}},
            state_dir=str(state_dir),
            runs_dir=str(tmp_path / "runs"),
            catalog_dir=str(entries.write(tmp_path / "catalog", tree)),
        )
        asks_it = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": index.url, "PIP_RETRIES": "0"}
        asks_it |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_NO_CACHE_DIR": "1"}

        def site() -> Played:
            return play(private(), None, inventory=hosts_file, environ=asks_it)

        index.pages = 503
        failed = site()
        assert failed.rc == 2
        assert "too many 503" in failed.why("away") and "run the same command again" in failed.why("away")
        (run_dir,) = (tmp_path / "runs").glob("mine-away-*Z")
        assert (_phase(run_dir, "install").status, _phase(run_dir, "install").fault) == ("failed", "host")
        assert not (run_dir / Install.file_name).exists() and not (run_dir / Verdict.file_name).exists()

        index.pages = None
        again = site()
        assert again.rc == 0, again.text[-4000:]
        assert list((tmp_path / "runs").glob("mine-away-*Z")) == [run_dir]
        installed = load_record(Install, run_dir)
        assert [(step.name, step.detail) for step in installed.steps[:4]] == [
            ("system packages", ""), ("venv", ""), ("packages", ""), ("pip check", ""),
        ]  # fmt: skip
        # The package is there and holds no engine: that is the model's own doing.
        assert not installed.ok and "smoke sentence" in str(installed.error)
        assert load_record(Verdict, run_dir).reason == "install_failed"


# Teardown


def test_a_neighbour_that_is_not_well_fails_teardown_until_it_is(
    demo: Demo,
    copied: Path,
    state_dir: Path,
    private: Private,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run_dir = copied / demo.run_id
    phases = load_record(Phases, run_dir).phases
    del phases["teardown"]
    save_record(Phases(phases=phases), run_dir)
    given = {"state_dir": str(state_dir), "runs_dir": str(copied), "run_id": demo.run_id}
    absent = {
        "neighbour_mode": "pause",
        "neighbour_container": "nobody",
        "neighbour_url": "http://127.0.0.1:1",
    }
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    failed = play(private(), given | absent, "--tags", "teardown")
    assert failed.rc == 2
    assert "Docker does not answer" in failed.why("local")
    assert (_phase(run_dir, "teardown").status, _phase(run_dir, "teardown").fault) == ("failed", "host")
    again = play(private(), given, "--tags", "teardown")
    assert again.rc == 0, again.text[-4000:]
    assert (_phase(run_dir, "teardown").status, _phase(run_dir, "teardown").error) == ("done", None)


def test_a_refused_run_beside_a_neighbour_is_torn_down_without_touching_the_host(
    private: Private, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "model": "f5",
        "intended_use": "commercial",
        "neighbour_mode": "pause",
        "neighbour_container": "nobody",
        "neighbour_url": "http://127.0.0.1:1",
        "state_dir": str(tmp_path / "state"),
        "runs_dir": str(tmp_path / "runs"),
    }
    played = play(private(), given)
    assert played.rc == 0, played.text[-4000:]
    (run_dir,) = (tmp_path / "runs").glob("*Z")
    assert load_record(Verdict, run_dir).reason == "licence"
    assert _phase(run_dir, "teardown").status == "done"
    # What the run committed to rules: another use, given later, does not open the gate.
    again = play(
        private(), given | {"run_id": run_dir.name, "intended_use": "personal"}, "--tags", "preflight"
    )
    assert again.rc == 0, again.text[-4000:]
    assert [task.name for task in again.tasks if task.changed] == []
    assert not (tmp_path / "state").exists()


# The controller's disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk whose size can be changed; nothing but what is written takes memory."""
    with mounted(tmp_path / "disk", "300m") as disk:
        yield disk


def _resize(disk: Path, size_kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_kib}k", str(disk)], check=True)


def test_a_disk_that_fills_up_in_mid_run_can_be_put_right(
    demo: Demo, state_dir: Path, private: Private, disk: Path, tmp_path: Path
) -> None:
    del demo
    given = {
        "state_dir": str(state_dir),
        "runs_dir": str(disk / "runs"),
        "utterances_file": str(lines(tmp_path / "ten.txt", TEN_WORDS)),
    }
    begun = play(private(), given, "--tags", "preflight,install")
    assert begun.rc == 0, begun.text[-4000:]
    (run_dir,) = (path for path in (disk / "runs").glob("*Z") if not path.is_symlink())
    used = subprocess.run(
        ["du", "-sk", str(disk)], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    _resize(disk, int(used) + 64)
    full = play(private(), given, "--tags", "benchmark")
    assert full.rc == 2, full.text[-4000:]
    assert "is full; free some space and run the same command again" in full.why("local")
    assert "Traceback" not in full.text
    assert not (run_dir / "candidate").exists()
    assert not list(run_dir.glob(".*")), "nothing half-written is left"

    _resize(disk, 300 * 1024)
    again = play(private(), given, "--tags", "benchmark")
    assert again.rc == 0, again.text[-4000:]
    assert _phase(run_dir, "benchmark").status == "done"
    assert not (state_dir / "jobs" / run_dir.name).exists()
    assert len((run_dir / "candidate" / "takes.jsonl").read_text().splitlines()) == 12
    assert [path for path in (disk / "runs").glob("*Z") if not path.is_symlink()] == [run_dir]
