"""A sealed run of real, very short speech, made once; and a client that rates through the real server."""

import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile as sf
import uvicorn

from bench.listening import server as server_module
from bench.listening.raters import invite
from bench.listening.score import seal
from bench.listening.server import create_app
from bench.records.run import Manifest
from bench.storage.digests import sha256_bytes, sha256_file
from bench.storage.record_file import load_record, save_record
from benchmarks.listening_run import WORDS, build
from tests.support.once import make_once

MakeRun = Callable[[], Path]


@pytest.fixture(scope="session")
def spoken_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten takes of each side and a reference, not sealed."""
    return make_once(
        tmp_path_factory, "spoken", lambda run_dir: build(run_dir, texts=WORDS, candidate="flite kal")
    )


@pytest.fixture(scope="session")
def sealed_once(spoken_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed copy. A folder with a `spoken_once` of its own needs a `sealed_once` of its own: pytest keeps one."""
    return make_once(tmp_path_factory, "sealed", lambda run_dir: seal_copy(spoken_once, run_dir))


def seal_copy(spoken: Path, run_dir: Path, *, practice: bool = True) -> Path:
    """Copy a run and seal it."""
    shutil.copytree(spoken, run_dir)
    seal(run_dir, channels=("wideband",), practice=practice)
    return run_dir


@pytest.fixture
def spoken(spoken_once: Path, tmp_path: Path) -> Path:
    """A copy of one's own, to break."""
    return Path(shutil.copytree(spoken_once, tmp_path / "spoken"))


@pytest.fixture
def run_dir(sealed_once: Path, tmp_path: Path) -> Path:
    """A sealed copy of one's own."""
    return Path(shutil.copytree(sealed_once, tmp_path / "run"))


def seconds_of(clip: bytes) -> float:
    return float(sf.info(io.BytesIO(clip)).duration)


@dataclass
class Client:
    """A rater's side of the real server, without a browser."""

    http: httpx.Client
    token: str
    trials: list[dict[str, Any]] = field(default_factory=list)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {self.token}"})

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(path, json=body, headers={"Authorization": f"Bearer {self.token}"})

    def session(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/session").json()
        self.trials = found["trials"]
        return found

    def fetch(self, trial: dict[str, Any]) -> float:
        """Fetch both clips and return their seconds."""
        clips = [self.get(f"/api/clips/{trial[side]}").content for side in ("a", "b")]
        assert len(clips[0]) == len(clips[1]), "both clips of a pair have the same number of bytes"
        return seconds_of(clips[0])

    def hear(self, trial: dict[str, Any]) -> httpx.Response:
        seconds = self.fetch(trial)
        whole = [[0, seconds]]
        return self.post(f"/api/trials/{trial['id']}/heard", {"a": whole, "b": whole})

    def answer(self, trial: dict[str, Any], revision: int = 0, **scores: Any) -> httpx.Response:
        body = {"a": 3, "b": 4, "revision": revision} | scores
        return self.post(f"/api/trials/{trial['id']}/answer", body)

    def rate(self, trial: dict[str, Any], **scores: Any) -> None:
        assert self.hear(trial).status_code == 200
        assert self.answer(trial, **scores).status_code == 200

    def rate_all(self) -> None:
        for trial in self.session()["trials"]:
            self.rate(trial)
        assert self.post("/api/finish").json() == {"finished": True}


@dataclass
class Live:
    """A running server on a port of its own."""

    run_dir: Path
    url: str
    book: Any
    sounds: Any

    def client(self, name: str = "ann", *, hears: bool = True) -> Client:
        """A rater's client. `hears`: they have passed the sound check, which takes ears."""
        token = invite(self.run_dir, name)[2:]
        if hears:
            self.book.note_sound(self.book.rater_of(token))
        # No certificates: to load them takes longer than most of what is asked here.
        return Client(httpx.Client(base_url=self.url, timeout=20, verify=False), token)


def start(run_dir: Path, *, behind_tls_proxy: bool = False) -> tuple[Live, Callable[[], None]]:
    app = create_app(run_dir)
    runner = uvicorn.Server(server_module.config(app, "127.0.0.1", 0, behind_tls_proxy=behind_tls_proxy))
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    while not runner.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = runner.servers[0].sockets[0].getsockname()[1]

    def stop() -> None:
        runner.should_exit = True
        thread.join(10)
        app.state.sitting.close()

    return Live(run_dir, f"http://127.0.0.1:{port}", app.state.book, app.state.sounds), stop


@pytest.fixture
def live(run_dir: Path) -> Iterator[Live]:
    """The server as people meet it."""
    found, stop = start(run_dir)
    yield found
    stop()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests that are about something else claim to have listened, and ask as fast as they can."""
    monkeypatch.setattr("bench.listening.heard.SLACK_S", 1e9)
    monkeypatch.setattr(server_module, "RATER_LIMIT", (1e6, 1_000_000))
    monkeypatch.setattr(server_module, "ADDRESS_LIMIT", (1e6, 1_000_000))


def ask_for(run_dir: Path, **changed: Any) -> None:
    """Put another rule in force: its file, its hash and the manifest's copy."""
    manifest = load_record(Manifest, run_dir)
    rule = manifest.rule.model_copy(update=changed)
    (run_dir / "rule.yml").write_text(rule.model_dump_json())
    digest = sha256_file(run_dir / "rule.yml")
    inputs = manifest.inputs.model_copy(update={"rule_sha256": digest})
    save_record(manifest.model_copy(update={"rule": rule, "rule_sha256": digest, "inputs": inputs}), run_dir)


def ask_a_second_question(run_dir: Path, question: str | None) -> None:
    """Commit a run to a second question."""
    manifest = load_record(Manifest, run_dir)
    digest = question and sha256_bytes(question.encode())
    inputs = manifest.inputs.model_copy(update={"second_question_sha256": digest})
    save_record(manifest.model_copy(update={"second_question": question, "inputs": inputs}), run_dir)
