"""`ansible-playbook site.yml -e model=f5` on this machine: a venv, weights from a local hub, all phases, twice.

The weights are a tiny checkpoint, the lock is the tests' for a CPU; all else is what a host without a neighbour
gets: role weights, the provisioner with hashes and `pip check`, the GPU check, the real package behind our server.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import bench.catalog
from bench.records.run import Install, Phases, Preflight
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support import cpu_lock, entries, make_f5_venv, tiny_f5
from tests.support.hub import Hub
from tests.support.play import REPO, TEN_WORDS, Played, inventory, lines, play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CARD = b"# F5-TTS\n\nA flow-matching model. Everything it needs is in this repository.\n"


@dataclass(frozen=True, slots=True)
class F5Run:
    run_dir: Path
    store: Path
    hub: Hub
    first: Played
    asked_first: int
    again: Played


def _entry(weights: Path) -> tuple[dict[str, Any], dict[str, dict[str, dict[str, bytes]]]]:
    """The catalog's entry with the tiny weights' hashes, and the hub's files."""
    tree = yaml.safe_load(Path(bench.catalog.__file__).with_name("f5.yml").read_text())
    files: dict[str, dict[str, dict[str, bytes]]] = {}
    for one in tree["weights"]:
        place = weights / one["repo"].replace("/", "--") / tiny_f5.REVISION / one["path"]
        data = place.read_bytes()
        files.setdefault(one["repo"], {tiny_f5.REVISION: {}})[tiny_f5.REVISION][one["path"]] = data
        one["revision"] = tiny_f5.REVISION
        one |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    files["SWivid/F5-TTS"][tiny_f5.REVISION]["README.md"] = CARD
    tree["profiles"]["upstream"] |= {"arch": tiny_f5.ARCH, "nfe_step": 4}
    tree["run"]["requirements"] = str(cpu_lock.make())
    return tree, files


@pytest.fixture(scope="module")
def f5(
    demo: Demo, state_dir: Path, private: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[F5Run]:
    del demo  # the host's venv is made by then
    root = tmp_path_factory.mktemp("f5")
    subprocess.run(
        [str(make_f5_venv.python()), "-m", "tests.support.tiny_f5", str(root / "made")],
        cwd=REPO, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    tree, files = _entry(root / "made")
    with Hub(files) as hub:
        hosts_file = inventory(
            root / "hosts.yml",
            {"titanic": {}},
            model="f5",
            state_dir=str(state_dir),
            runs_dir=str(root / "runs"),
            weights_store=str(root / "store"),
            catalog_dir=str(entries.write(root / "catalog", tree)),
            utterances_file=str(lines(root / "ten.txt", TEN_WORDS)),
        )
        environ = {
            "HF_ENDPOINT": hub.url,
            "PIP_FIND_LINKS": str(cpu_lock.HOME),
            "PIP_COMPILE": "0",  # it would take longer than all the rest
            "OMP_NUM_THREADS": "1",
        }
        first = play(private(), None, inventory=hosts_file, environ=environ)
        asked_first = len(hub.requests)
        again = play(private(), None, inventory=hosts_file, environ=environ)
        run_dir = (root / "runs" / "latest").resolve()
        yield F5Run(run_dir, root / "store", hub, first, asked_first, again)
    for venv in (state_dir / "engines").glob("f5-*"):
        shutil.rmtree(venv)


def test_it_ends_well_and_awaits_people(f5: F5Run) -> None:
    assert f5.first.rc == 0, f5.first.text[-6000:]
    assert not [task for task in f5.first.tasks if task.status in ("failed", "unreachable")]
    assert load_record(Verdict, f5.run_dir).decision == "awaiting_ratings"
    noted = load_record(Phases, f5.run_dir).phases
    assert {phase for phase in noted if noted[phase].status == "done"} >= {
        "preflight", "install", "benchmark", "baseline", "teardown", "score", "verdict",
    }  # fmt: skip


def test_the_card_and_each_file_were_asked_for_once_and_are_in_the_store(f5: F5Run) -> None:
    fetched = [asked.path for asked in f5.hub.requests if asked.method == "GET" and asked.status == 200]
    assert sorted(fetched) == sorted(
        ["README.md", "F5TTS_v1_Base/model_1250000.safetensors", "pytorch_model.bin"]
    )
    checks = {check.name: check for check in load_record(Preflight, f5.run_dir).checks}
    assert checks["model_card"].value["sha256"] == hashlib.sha256(CARD).hexdigest()
    assert checks["clone_encoder"].ok
    assert (f5.store / tiny_f5.CHECKPOINT).is_file()
    shown = [line for line in f5.first.text.splitlines() if "weights | SWivid/F5-TTS/" in line]
    assert shown and " of " in shown[-1]


def test_the_record_says_what_was_installed_and_how_long_each_step_took(f5: F5Run) -> None:
    record = load_record(Install, f5.run_dir)
    assert (record.ok, record.error) == (True, None)
    names = [step.name for step in record.steps]
    assert names[0] == "system packages"
    assert names[-5:] == ["venv", "packages", "pip check", "gpu check", "smoke sentence"]
    assert record.total_s == pytest.approx(sum(step.seconds for step in record.steps), abs=5)
    assert (record.asked, record.ran["install"]) == ({"version": "1.1.18", "install": "venv"}, "venv")
    assert record.ran["version"].startswith("f5-tts 1.1.22")
    assert record.settings["nfe_step"] == 4
    first_sight = {one["path"]: one["first_sight"] for one in record.weights}
    assert first_sight == {"F5TTS_v1_Base/model_1250000.safetensors": False, "pytorch_model.bin": False}
    assert record.gpu_check["error"] is None
    assert record.gpu_check["torchaudio"].startswith("2.11.0")
    assert record.smoke is not None and record.smoke.audio_s


@pytest.mark.parametrize("side", ["preset", "candidate"])
def test_the_real_package_spoke_every_sentence(f5: F5Run, side: str) -> None:
    takes = [Take.model_validate_json(line) for line in (f5.run_dir / side / "takes.jsonl").open()]
    timed = [take for take in takes if not take.warmup]
    assert [take.error for take in timed] == [None] * 10
    assert {take.sample_rate_hz for take in timed} == {24000}
    assert all(take.ttfa_ms for take in timed)


def test_again_changes_nothing_and_asks_no_hub(f5: F5Run) -> None:
    assert f5.again.rc == 0, f5.again.text[-4000:]
    assert [(task.play, task.name) for task in f5.again.tasks if task.changed] == []
    assert len(f5.hub.requests) == f5.asked_first
