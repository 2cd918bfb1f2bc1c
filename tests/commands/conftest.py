"""Two runs of real, very short speech under one runs directory: sealed, timed, ready to be rated."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.listening.score import seal
from bench.records.base import Phase
from bench.records.run import Install, Manifest, Phases, PhaseState, Preflight, Rule
from bench.records.take import Take
from bench.storage.digests import sha256_bytes
from bench.storage.record_file import load_record, save_record
from benchmarks import listening_run
from tests.support.once import make_once

FIRST = "espeak-here-20261122T101500Z"
SECOND = "espeak-here-20261122T111500Z"
RULE = b"pairs: 4\n"
HOST = {"hostname": "here", "machine": "x86_64", "cpus": 2, "mem_total_bytes": 2**33, "gpu": {"names": []}}


def timed(take: Take, number: int, scale: float) -> Take:
    assert take.audio_s is not None
    ttfa = scale * (100.0 + number)
    return take.model_copy(
        update={
            "ttfb_ms": ttfa - 2, "ttfa_ms": ttfa, "ttfa_audible_ms": ttfa + 20, "total_ms": ttfa + 50,
            "rtf": (ttfa + 50) / 1000 / take.audio_s, "streamed": True, "chunks": 3, "stalls": 0,
            "stall_ms": 0.0, "start_buffer_ms": 0.0, "reference_cached": True,
        }
    )  # fmt: skip


def set_latency(run_dir: Path, scale: float) -> None:
    for side in ("candidate", "baseline"):
        path = run_dir / side / "takes.jsonl"
        lines = path.read_text().splitlines()
        takes = [timed(Take.model_validate_json(line), n, scale) for n, line in enumerate(lines)]
        path.write_text("".join(take.model_dump_json() + "\n" for take in takes))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "commanded", _build)


def _build(runs_dir: Path) -> None:
    run_dir = runs_dir / FIRST
    manifest = listening_run.build(
        run_dir, texts=listening_run.WORDS[:4], candidate="flite kal", rule=Rule(pairs=4)
    )
    rule_sha256 = sha256_bytes(RULE)
    (run_dir / "rule.yml").write_bytes(RULE)
    inputs = manifest.inputs.model_copy(update={"rule_sha256": rule_sha256})
    save_record(manifest.model_copy(update={"rule_sha256": rule_sha256, "inputs": inputs}), run_dir)
    save_record(Preflight(host=HOST, checks=[], forecast={}), run_dir)
    save_record(Install(ok=True, steps=[], total_s=1.0, limit_s=60.0), run_dir)
    done = PhaseState(status="done", started_utc="a", ended_utc="b")
    phases: tuple[Phase, ...] = ("preflight", "install", "benchmark", "baseline")
    save_record(Phases(phases=dict.fromkeys(phases, done)), run_dir)
    set_latency(run_dir, 1.0)
    seal(run_dir)


@pytest.fixture
def runs_dir(built: Path, tmp_path: Path) -> Path:
    """A copy of one's own, with the one run and `latest`."""
    copy = Path(shutil.copytree(built, tmp_path / "runs"))
    (copy / "latest").symlink_to(FIRST)
    return copy


@pytest.fixture
def another(runs_dir: Path) -> Callable[..., Path]:
    """Makes the second run, with latencies `scale` times the first's, on `host`."""

    def make(scale: float, host: str = "here") -> Path:
        copy = Path(shutil.copytree(runs_dir / FIRST, runs_dir / SECOND))
        again = load_record(Manifest, copy).model_copy(update={"run_id": SECOND, "host": host})
        save_record(again, copy)
        if scale != 1.0:  # takes are immutable once sealed
            set_latency(copy, scale)
            shutil.rmtree(copy / "listening")
            seal(copy, channels=())
        return copy

    return make
