"""Qwen3-TTS through upstream's real package, tiny random weights and, at the end, the engine server over HTTP.

The package wants an environment of its own, so the cases live in qwen3tts_inside/ and run there in one process; each is
reported here under its own name.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import soundfile

from bench.catalog.loader import load
from bench.engines.launch import LaunchSpec, launch
from tests.support import inside, make_qwen3tts_venv
from tests.support.chatterbox_words import REVISION, text
from tests.support.voiced import voiced

INSIDE = Path(__file__).parent / "qwen3tts_inside" / "inside_qwen3tts.py"
WORDS = "The kettle was hot before anybody came down for breakfast."
pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]  # the environment may have to be built first


@pytest.fixture(scope="session")
def python(needs_venv: None) -> Path:
    return make_qwen3tts_venv.python()


@pytest.fixture(scope="session")
def outcomes(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What went wrong, by the case's name; an empty list is a pass."""
    return inside.outcomes(python, INSIDE, tmp_path_factory.mktemp("inside") / "report.xml", {})


@pytest.mark.parametrize("case", inside.cases(INSIDE))
def test_inside(case: str, outcomes: dict[str, list[str]]) -> None:
    assert case in outcomes, "the case did not run"
    assert outcomes[case] == []


def test_over_http(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights"
    subprocess.run(
        [python, "-m", "tests.support.tiny_qwen3tts", weights, "--tiny", "--size", "1.7b"],
        check=True,
        capture_output=True,
        cwd=inside.ROOT,
    )
    entry = load("qwen3_tts_17b")
    assert entry.run.kind == "engine"
    entry.run.adapter = "tests.support.tiny_qwen3tts:Tiny"
    entry.weights[:] = [file.model_copy(update={"revision": REVISION}) for file in entry.weights]
    monkeypatch.chdir(inside.ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the engine inherits it
    monkeypatch.setenv("PYTHONPATH", str(inside.ROOT))  # this venv has no bench, and the engine runs with -P
    spec = LaunchSpec(
        entry=entry, profile="graphed", run_id="test", install="venv", log=tmp_path / "engine.log",
        python=str(python), weights=weights,
    )  # fmt: skip
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, voiced(4.0), 24000, subtype="PCM_16")
    body = {"input": text(6), "voice": "mine", "seed": 4}
    with launch(spec) as engine, httpx.Client(base_url=engine.url, timeout=300) as client:
        assert engine.health["revision"] == f"qwen-tts 0.1.1, weights {REVISION}"
        assert engine.health["profile"]["chunks"] == "stream"
        sample = {"audio_sample": clip.read_bytes()}
        wordless = client.post("/v1/audio/voices", files=sample, data={"name": "x"})
        assert wordless.status_code == 400
        said = {"name": "mine", "ref_text": WORDS}
        taken = client.post("/v1/audio/voices", files=sample, data=said)
        assert taken.status_code == 201, taken.text

        def ask() -> tuple[bytes, int]:
            with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                pieces = list(answer.iter_raw())
            return b"".join(pieces), len(pieces)

        first, pieces = ask()
        assert len(first) == round(2.4 * 24000) * 2
        assert pieces > 1, "it came in one piece"
        with client.stream("POST", "/v1/audio/speech", json=body | {"seed": 9}) as answer:
            next(answer.iter_raw())  # and gone
        together: list[bytes] = []
        threads = [threading.Thread(target=lambda: together.append(ask()[0])) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert together == [first] * 3
        assert client.post("/v1/audio/speech", json={"input": "x", "voice": "nobody"}).status_code == 404


def test_the_measurement_on_a_gpu_goes_through(python: Path, tmp_path: Path) -> None:
    """`tests.gpu.job_qwen3tts` with a tiny model on the CPU: as on a GPU, but for the GPU's memory, which is null."""
    command = [sys.executable, "-m", "tests.gpu.job_qwen3tts", "--out", str(tmp_path), "--tiny", "--each", "2",
               "--profiles", "graphed", "--engine-python", str(python)]  # fmt: skip
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=inside.ROOT, env=one_core, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = json.loads((tmp_path / "job_qwen3tts.json").read_text())
    assert [length["audio_s"] for length in row["lengths"]] == [[2.4], [4.8], [9.6]]
    assert [(length["takes"], length["failed"]) for length in row["lengths"]] == [(1, 0)] * 3
    assert all(length["ttfa_p50_ms"] > 0 and length["rtf_p50"] > 0 for length in row["lengths"])
    found = json.loads((tmp_path / "parts.json").read_text())
    assert found["graphed float32"]["same_codes"] and found["graphed_whole float32"]["same_codes"]
    assert found["graphed_whole float32"]["wave_rel_err"] < 1e-5
    assert found["graphed float32"]["ms"].keys() > found["upstream float32"]["ms"].keys()
