"""Starting an engine: it is the one asked for, it ends with its owner, and it leaves nothing."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bench.engines.environment import for_installing
from bench.engines.launch import EngineFailed, LaunchSpec, launch
from bench.errors import BadInput
from tests.support import entries
from tests.support.strangers import obliging


@pytest.fixture(autouse=True)
def _faulty_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(entries.FAULTY))


def _spec(tree: dict[str, Any], folder: Path, **changes: Any) -> LaunchSpec:
    base = LaunchSpec(
        entry=entries.entry(tree),
        profile="upstream",
        run_id="test",
        install="system",
        log=folder / "engine.log",
    )
    return dataclasses.replace(base, **changes)


def _refused(spec: LaunchSpec) -> str:
    with pytest.raises(EngineFailed) as failed, launch(spec):
        raise AssertionError("it was taken for ready")
    return str(failed.value)


@pytest.mark.needs("espeak-ng")
def test_an_engine_that_ignores_its_profile_is_refused(tmp_path: Path) -> None:
    message = _refused(_spec(entries.faulty("Disobedient"), tmp_path))
    assert "words_per_minute: asked 175, runs 99" in message


_PASSED_ON = {
    "LC_ALL": "C.UTF-8",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "1",
    "TRITON_CACHE_DIR": "/tmp/x",
}
_KEPT_BACK = (
    "AUDITION_BASELINE_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL",
    "AWS_SECRET_ACCESS_KEY", "NVIDIA_API_KEY", "SSH_AUTH_SOCK", "DOCKER_HOST", "SOMETHING_THAT_NOBODY_HEARD_OF",
)  # fmt: skip


@pytest.mark.needs("espeak-ng")
def test_an_engines_environment_is_a_list_of_what_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _KEPT_BACK:
        monkeypatch.setenv(name, "planted-secret")
    for name, value in _PASSED_ON.items():
        monkeypatch.setenv(name, value)
    with launch(_spec(entries.raw("espeak"), tmp_path)) as engine:
        given = psutil.Process(min(engine.processes.pids())).environ()
    assert not set(given) & set(_KEPT_BACK) and "planted-secret" not in given.values()
    assert {name: given[name] for name in _PASSED_ON} == _PASSED_ON
    assert given["HF_HUB_OFFLINE"] == "1"


def test_a_step_of_an_installation_gets_what_pip_git_and_docker_need_besides() -> None:
    needed = dict.fromkeys(
        ("PIP_INDEX_URL", "https_proxy", "SSL_CERT_FILE", "DOCKER_HOST", "GIT_SSL_CAINFO"), "x"
    )
    kept_back = dict.fromkeys(("AUDITION_BASELINE_TOKEN", "HF_TOKEN", "GITHUB_TOKEN", "TWINE_PASSWORD"), "x")
    assert for_installing(needed | kept_back | _PASSED_ON) == needed | _PASSED_ON


def test_the_last_words_of_an_engine_move_no_terminal(tmp_path: Path) -> None:
    message = _refused(_spec(entries.faulty("Loud"), tmp_path))
    assert "red: no such layer" in message
    assert not any(ord(c) < 32 and c not in "\n\t" for c in message)


def test_an_engine_that_cannot_load_says_why(tmp_path: Path) -> None:
    assert "model.safetensors is not there" in _refused(_spec(entries.faulty("Unloadable"), tmp_path))


def test_an_engine_that_dies_while_it_loads_leaves_its_code_and_its_last_words(tmp_path: Path) -> None:
    message = _refused(_spec(entries.faulty("Stillborn"), tmp_path))
    assert "ended with code 3" in message
    assert "CUDA error, says the faulty engine" in message


@pytest.mark.slow
def test_an_engine_that_is_never_ready_is_ended_at_its_limit(tmp_path: Path) -> None:
    message = _refused(_spec(entries.faulty("NeverReady", **{"run.start_timeout_s": 4}), tmp_path))
    assert "not ready within 4 s (run.start_timeout_s" in message
    assert not [p for p in psutil.Process().children(recursive=True) if _is_engine(p)]


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "bench.serving.server" in process.cmdline()
    except psutil.Error:
        return False


def test_an_unknown_profile_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no profile 'fast'; it has: upstream"):
        launch(_spec(entries.raw("espeak"), tmp_path, profile="fast")).__enter__()


@pytest.fixture
def stranger() -> Iterator[int]:
    with obliging() as port:
        yield port


def test_a_taken_port_is_refused_though_its_server_says_yes_to_everything(
    tmp_path: Path, stranger: int
) -> None:
    with pytest.raises(BadInput, match=rf"port {stranger} is already taken.*engine_port"):
        launch(_spec(entries.raw("espeak"), tmp_path, port=stranger)).__enter__()
    assert httpx.get(f"http://127.0.0.1:{stranger}/health").status_code == 200, "it was left alone"


def test_who_answers_without_the_nonce_is_not_taken_for_the_engine(
    tmp_path: Path, stranger: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stranger that takes the address between start and look, as a container's published port could be.
    monkeypatch.setattr(
        "bench.engines.launch._start_process",
        lambda spec, config: (_Elsewhere(stranger), f"http://127.0.0.1:{stranger}"),
    )
    assert "not the engine just started" in _refused(_spec(entries.raw("espeak"), tmp_path))


class _Elsewhere:
    """A process that runs and is not the one that answers."""

    processes = None

    def __init__(self, port: int) -> None:
        self._port = port

    def health(self) -> Any:
        return httpx.get(f"http://127.0.0.1:{self._port}/health").json()

    def exit_code(self) -> None:
        return None

    def end(self) -> None:
        """It never was ours."""


_OWNER = """
import sys, time
from pathlib import Path
from bench.engines.environment import for_installing
from bench.engines.launch import LaunchSpec, launch
from tests.support import entries
from tests.support.strangers import obliging
spec = LaunchSpec(
    entry=entries.entry(entries.raw("espeak")), profile="upstream", run_id="t", install="system", log=Path(sys.argv[1])
)
with launch(spec) as engine:
    print(engine.health["pid"], flush=True)
    time.sleep(120)
"""


@pytest.mark.needs("espeak-ng")
def test_an_engine_dies_with_its_owner(tmp_path: Path) -> None:
    repo = Path(__file__).resolve().parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path / "engine.log")],
        stdout=subprocess.PIPE, cwd=repo, env={**os.environ, "PYTHONPATH": str(repo)},
    )  # fmt: skip
    assert owner.stdout is not None
    engine = psutil.Process(int(owner.stdout.readline()))
    assert engine.is_running()
    owner.kill()
    owner.wait()
    end = time.monotonic() + 30
    while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the engine outlived its owner"
        time.sleep(0.05)


@pytest.mark.needs("espeak-ng")
@pytest.mark.parametrize("killed", [False, True])
def test_an_ended_engine_leaves_no_voice_behind(tmp_path: Path, killed: bool) -> None:
    clip = tmp_path / "clip.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", "A voice of somebody.", "-o", str(clip)], check=True)
    job = tmp_path / "job"
    with launch(_spec(entries.faulty("Slow"), job)) as engine:
        files = {"audio_sample": ("clip.wav", clip.read_bytes())}
        added = httpx.post(f"{engine.url}/v1/audio/voices", data={"name": "x"}, files=files, timeout=60)
        assert added.status_code == 201
        assert list(job.rglob("*.wav")), "it is kept while the engine runs"
        talking = httpx.stream(
            "POST", f"{engine.url}/v1/audio/speech", json={"input": "Hello.", "voice": "x"}
        )
        answer = talking.__enter__()
        next(answer.iter_bytes())
        if killed:
            psutil.Process(engine.health["pid"]).kill()
        else:
            engine.end()  # in mid-sentence, as when memory runs short
    assert list(job.iterdir()) == [job / "engine.log"]


@pytest.mark.needs("espeak-ng")
def test_an_engine_runs_the_bench_of_its_own_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "checkout" / "bench"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('the bench of the working directory')\n")
    monkeypatch.chdir(other.parent)
    with launch(_spec(entries.raw("espeak"), tmp_path)) as engine:
        assert engine.health["ready"]
