"""F5-TTS through the real f5-tts package, a tiny checkpoint and, at the end, the engine server over HTTP.

The package wants 1.7 GB of its own environment, so the cases live in f5_inside/ and run in that environment, a file in
one process; each is reported here under its own name.
"""

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from bench.audio.wav import read_mono, write_wav_16bit
from bench.catalog.loader import load
from bench.engines.launch import LaunchSpec, launch
from bench.inputs import demo_reference, reference, transcript
from bench.storage.digests import sha256_file
from tests.support import inside, make_f5_venv, tiny_f5

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).parent / "f5_inside"
FILES: dict[str, dict[str, str]] = {
    "inside_f5": {}, "inside_graphs": {}, "inside_kernels": {"TRITON_INTERPRET": "1"},
}  # fmt: skip
"""Each with what its process is told besides: Triton reads how it is to run when it is first imported."""
CASES = [(file, case) for file in FILES for case in inside.cases(INSIDE / f"{file}.py")]
pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]  # the environment may have to be built first


OWNERS_CLIP_S = 34.7


def _owners_files(folder: Path) -> tuple[Path, Path, Path]:
    """Write a clip of the owner's kind, 34.7 s with WebVTT, from the demo's synthetic one said over again."""
    audio, vtt, rights = demo_reference.make(folder)
    samples, rate = read_mono(audio)
    once_s = len(samples) / rate
    cues = [(c.start_s + k * once_s, c.end_s + k * once_s, c.text)
            for k in range(2) for c in transcript.read(vtt).cues]  # fmt: skip
    long = np.tile(samples, 2)[: round(OWNERS_CLIP_S * rate)]
    kept = [cue for cue in cues if cue[1] < OWNERS_CLIP_S]
    floor = np.random.default_rng(1).normal(0.0, 1e-3, len(long)).astype(np.float32)
    end = round((kept[-1][1] + 0.1) * rate)
    long[end:] = floor[end:]  # a last sentence without its cue would not be in the transcript
    old = sha256_file(audio)
    write_wav_16bit(audio, long, rate)
    lines = [
        f"00:{int(a // 60):02}:{a % 60:06.3f} --> 00:{int(b // 60):02}:{b % 60:06.3f}\n{t}\n"
        for a, b, t in kept
    ]
    vtt.write_text("WEBVTT\n\n" + "\n".join(lines))
    rights.write_text(rights.read_text().replace(old, sha256_file(audio)))
    return audio, vtt, rights


@pytest.fixture(scope="session")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 34.7 s clip, cut with its transcript by `bench.inputs.reference` to what F5-TTS takes."""
    clip = reference.load(*_owners_files(tmp_path_factory.mktemp("owner")))
    assert clip.facts["audio_s"] == OWNERS_CLIP_S
    picked = reference.choose(clip, load("f5").reference)
    written = reference.write(picked, tmp_path_factory.mktemp("reference"))
    return written.wav.parent


@pytest.fixture(scope="session")
def python(needs_venv: None) -> Path:
    return make_f5_venv.python()


Outcomes = Callable[[str], dict[str, list[str]]]


@pytest.fixture(scope="session")
def outcomes(python: Path, chosen: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What went wrong in a file, by the case's name; an empty list is a pass. A file is run once."""

    @functools.cache
    def of(file: str) -> dict[str, list[str]]:
        report = tmp_path_factory.mktemp("inside") / "report.xml"
        told = {"AUDITION_TEST_REFERENCE": str(chosen), **FILES[file]}
        return inside.outcomes(
            python, INSIDE / f"{file}.py", report, told, plugin="tests.serving.f5_inside.given"
        )

    return of


@pytest.mark.parametrize(("file", "case"), CASES)
def test_inside(file: str, case: str, outcomes: Outcomes) -> None:
    found = outcomes(file)
    assert case in found, "the case did not run"
    assert found[case] == []


def test_over_http(python: Path, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    weights = tmp_path / "weights"
    subprocess.run([python, "-m", "tests.support.tiny_f5", weights], check=True, stdout=subprocess.DEVNULL)
    other = weights / "SWivid--F5-TTS" / ("f" * 40) / "F5TTS_v1_Base"
    other.mkdir(parents=True)
    (other / "model_1250000.safetensors").write_bytes(b"a revision that no entry pins any more")
    entry = load("f5")
    entry.profiles["upstream"] |= {"arch": tiny_f5.ARCH, "nfe_step": 4}
    entry.weights[:] = [file.model_copy(update={"revision": tiny_f5.REVISION}) for file in entry.weights]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the engine inherits it
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # this venv has no bench, and the engine runs with -P
    spec = LaunchSpec(
        entry=entry, profile="upstream", run_id="test", install="venv", log=tmp_path / "engine.log",
        python=str(python), weights=weights,
    )  # fmt: skip
    with launch(spec) as engine, httpx.Client(base_url=engine.url, timeout=300) as client:
        assert engine.health["profile"]["nfe_step"] == 4
        assert engine.health["revision"].endswith(tiny_f5.REVISION)
        text = next(chosen.glob("*.txt")).read_text()
        clip = next(chosen.glob("*.wav")).read_bytes()
        refused = client.post("/v1/audio/voices", files={"audio_sample": clip}, data={"name": "x"})
        assert refused.status_code == 400
        assert "no transcript" in refused.json()["error"]["message"]
        accepted = client.post(
            "/v1/audio/voices", files={"audio_sample": clip}, data={"name": "mine", "ref_text": text}
        )
        assert accepted.status_code == 201
        takes = []
        for voice in ("basic_ref_en", "mine", "mine"):
            body = {"input": "Good morning, it is me.", "voice": voice, "seed": 4, "response_format": "wav"}
            answer = client.post("/v1/audio/speech", json=body | {"stream": False})
            assert answer.status_code == 200, answer.text
            path = tmp_path / "take.wav"
            path.write_bytes(answer.content)
            samples, rate = read_mono(path)
            assert rate == 24000
            takes.append(samples)
        preset, cloned, again = takes
        np.testing.assert_array_equal(cloned, again)
        assert not np.array_equal(preset[:1000], cloned[:1000])
        assert client.post("/v1/audio/speech", json={"input": "x", "voice": "nobody"}).status_code == 404
