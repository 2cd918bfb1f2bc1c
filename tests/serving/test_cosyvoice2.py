"""CosyVoice 2 through upstream's real code, a tiny checkpoint and, at the end, the engine server over HTTP.

Upstream wants an environment of its own, so the cases live in cosyvoice2_inside/inside_cosyvoice2.py and run there in
one process; each is reported here under its own name. With AUDITION_COSYVOICE_MIRROR they run on the exact commits
that the catalog pins instead of on the wheel of the package index (`make test-cosyvoice2 MIRROR=...`).
"""

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import soundfile

from bench.catalog.loader import load
from bench.engines.launch import LaunchSpec, launch
from tests.support import inside, make_cosyvoice2_venv
from tests.support import tiny_cosyvoice2 as tiny
from tests.support.voiced import voiced

INSIDE = Path(__file__).parent / "cosyvoice2_inside"
FILES: dict[str, dict[str, str]] = {"inside_cosyvoice2": {}, "inside_kernels": {"TRITON_INTERPRET": "1"}}
"""Each with what its process is told besides: Triton reads how it is to run when it is first imported."""
CASES = [(file, case) for file in FILES for case in inside.cases(INSIDE / f"{file}.py")]
SPOKEN = "This is the voice that everybody should hear in this test."
pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]  # the environment may have to be built first


@pytest.fixture(scope="session")
def python(needs_venv: None) -> Path:
    return make_cosyvoice2_venv.python()


@pytest.fixture(scope="session")
def outcomes(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, list[str]]]:
    """What went wrong in a file, by the case's name; an empty list is a pass. A file is run once."""

    @functools.cache
    def of(file: str) -> dict[str, list[str]]:
        report = tmp_path_factory.mktemp("inside") / "report.xml"
        return inside.outcomes(python, INSIDE / f"{file}.py", report, FILES[file])

    return of


@pytest.mark.parametrize(("file", "case"), CASES, ids=[case for _, case in CASES])
def test_inside(file: str, case: str, outcomes: Callable[[str], dict[str, list[str]]]) -> None:
    found = outcomes(file)
    assert case in found, "the case did not run"
    assert found[case] == []


def test_over_http(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights"
    subprocess.run(
        [python, "-m", "tests.support.tiny_cosyvoice2", weights],
        check=True,
        capture_output=True,
        cwd=inside.ROOT,
    )
    entry = load("cosyvoice2")
    entry.weights[:] = [file.model_copy(update={"revision": tiny.REVISION}) for file in entry.weights]
    monkeypatch.chdir(inside.ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the engine inherits it
    monkeypatch.setenv("PYTHONPATH", str(inside.ROOT))  # this venv has no bench, and the engine runs with -P
    spec = LaunchSpec(
        entry=entry, profile="graphed_fp32", run_id="test", install="venv", log=tmp_path / "engine.log",
        python=str(python), weights=weights,
    )  # fmt: skip
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, voiced(4.0), 24000, subtype="PCM_16")
    body = {"input": tiny.text(4), "voice": "mine", "seed": 4}
    with launch(spec) as engine, httpx.Client(base_url=engine.url, timeout=300) as client:
        assert engine.health["revision"].endswith(tiny.REVISION)
        assert engine.health["profile"]["solver"] == "graphed"
        sample = {"audio_sample": clip.read_bytes()}
        refused = client.post("/v1/audio/voices", files=sample, data={"name": "x"})
        assert refused.status_code == 400
        assert "no transcript" in refused.json()["error"]["message"]
        taken = client.post("/v1/audio/voices", files=sample, data={"name": "mine", "ref_text": SPOKEN})
        assert taken.status_code == 201, taken.text

        def ask() -> tuple[bytes, int]:
            with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                pieces = list(answer.iter_raw())
            return b"".join(pieces), len(pieces)

        first, pieces = ask()
        assert len(first) == round(3.2 * 24000) * 2
        assert pieces > 1, "it came in one piece"
        with client.stream("POST", "/v1/audio/speech", json=body | {"input": tiny.text(12)}) as answer:
            next(answer.iter_raw())  # and gone: 9.6 s were asked for
        together: list[bytes] = []
        threads = [threading.Thread(target=lambda: together.append(ask()[0])) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert together == [first] * 3
        assert client.post("/v1/audio/speech", json={"input": "x", "voice": "nobody"}).status_code == 404


def test_the_measurement_on_a_gpu_goes_through(python: Path, tmp_path: Path) -> None:
    """`tests.gpu.job_cosyvoice2` with a tiny model on the CPU: as on a GPU, but for the GPU's memory, which is null."""
    command = [sys.executable, "-m", "tests.gpu.job_cosyvoice2", "--out", str(tmp_path), "--tiny", "--each", "2",
               "--profiles", "graphed_fp32", "--engine-python", str(python)]  # fmt: skip
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=inside.ROOT, env=one_core, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = json.loads((tmp_path / "job_cosyvoice2.json").read_text())
    assert [length["audio_s"] for length in row["lengths"]] == [[1.6], [2.4], [3.2]]
    assert [(length["takes"], length["failed"]) for length in row["lengths"]] == [(1, 0)] * 3
    assert all(length["ttfa_p50_ms"] > 0 and length["rtf_p50"] > 0 for length in row["lengths"])
    found = json.loads((tmp_path / "parts.json").read_text())
    assert found["graphed_fp32"]["same_tokens"] and found["graphed"]["same_tokens"]
    assert found["graphed_fp32"]["wave_rel_err"] < 1e-5 < found["graphed"]["wave_rel_err"] < 0.02
    assert found["graphed"]["ms"].keys() > found["fixed"]["ms"].keys()
