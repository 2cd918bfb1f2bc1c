"""What an engine's server refuses before it costs anything, over real sockets; its adapter hums."""

import asyncio
import base64
import contextlib
import gc
import io
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import uvicorn

from bench.serving import limits
from bench.serving.adapter import BadReference, LoadedInfo, Samples, SpeechRequest, UnknownVoice
from bench.serving.config import EngineConfig
from bench.serving.server import create_app
from tests.support.mangle import mangle
from tests.support.pace import limit

RATE = 24_000


class Hums:
    """Says a second of hum for each character, as fast as it is made; refuses a clip of the words `no`."""

    sample_rate_hz = RATE

    def __init__(self) -> None:
        self.names: list[str] = []
        self.texts: list[str] = []
        self.made = 0
        self.pause_s = 0.0
        self.wait = threading.Event()
        self.wait.set()

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        return LoadedInfo("hums", "1", "cpu", dict(profile))

    def voices(self) -> list[str]:
        return ["own", *self.names]

    def register(self, name: str, audio: Path, text: str) -> None:
        samples, _ = soundfile.read(audio, dtype="float32")
        if text == "no" or not samples.size:
            raise BadReference("not this one")
        self.names.append(name)

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        if request.voice not in self.voices():
            raise UnknownVoice(request.voice)
        self.texts.append(request.text)
        self.wait.wait(60)
        for _ in request.text:
            self.made += 1
            time.sleep(self.pause_s)
            yield np.full(RATE, 0.25, np.float32)

    def memory(self) -> None:
        return None

    def read_back(self) -> dict[str, Any]:
        return {}


class Served:
    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        self.folder, self.adapter = tmp_path, Hums()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = EngineConfig(model="hums", adapter="tests:Hums", profile={}, weights={}, nonce="n")
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(config, self.adapter), log_level="critical", timeout_graceful_shutdown=1
            )
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=limit(60))
        end = time.monotonic() + limit(60)
        while self.client.get("/health").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.02)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        self.adapter.wait.set()
        self._server.should_exit = True
        self._thread.join(60)
        self.client.close()

    def say(self, **body: Any) -> httpx.Response:
        return self.client.post("/v1/audio/speech", json={"input": "a", "voice": "own"} | body)

    def register(self, audio: bytes, name: str = "new", text: str = "yes") -> httpx.Response:
        files = {"audio_sample": ("clip", audio)}
        return self.client.post("/v1/audio/voices", data={"name": name, "ref_text": text}, files=files)

    def kept(self) -> list[Path]:
        return list(self.folder.rglob("*.wav"))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    server = Served(tmp_path, monkeypatch)
    yield server
    server.close()


def _clip(seconds: float, rate: int = RATE, channels: int = 1, kind: str = "WAV") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.zeros((int(seconds * rate), channels), np.float32), rate, format=kind)
    return out.getvalue()


def _error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text[:300]
    return str(answer.json()["error"]["message"])


# Bytes


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "chunked"])
def test_a_body_over_the_limit_is_413_and_takes_no_memory(served: Served, stated: bool) -> None:
    piece = b"A" * 2**20
    pieces = [b'{"input": "a", "ref_audio": "', *([piece] * 100), b'"}']
    headers = {"Content-Type": "application/json"}
    if stated:
        headers["Content-Length"] = str(sum(map(len, pieces)))
    tracemalloc.start()
    try:
        answer = served.client.post("/v1/audio/speech", content=iter(pieces), headers=headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "the request's body is larger than 24 MiB" in _error(answer, 413)
    assert peak < 3 * limits.MAX_BODY_BYTES
    assert served.say().status_code == 200


def test_a_reference_over_the_limit_is_413_either_way(served: Served) -> None:
    large = _clip(90, rate=96_000)
    assert limits.MAX_REFERENCE_BYTES < len(large) < limits.MAX_BODY_BYTES * 3 // 4
    for answer in (
        served.register(large),
        served.say(voice=None, ref_audio=base64.b64encode(large).decode()),
    ):
        assert "larger than 16 MiB" in _error(answer, 413)
    assert served.kept() == [] and served.adapter.voices() == ["own"]


# Seconds, rates, channels: by the header


@pytest.mark.slow
def test_hours_in_a_small_flac_are_refused_before_they_are_decoded(served: Served) -> None:
    flac = _clip(3600, rate=48_000, kind="FLAC")
    assert len(flac) < 2_000_000
    assert "lasts 3600 s; at most 120 s" in _error(served.register(flac), 413)
    assert served.kept() == []


@pytest.mark.parametrize("rate", [1, 200, 7999, 192_001, 4_000_000])
def test_a_rate_that_no_speech_has_is_400(served: Served, rate: int) -> None:
    clip = bytearray(_clip(1.0))
    clip[24:28] = rate.to_bytes(4, "little")
    assert f"states {rate} Hz; 8000 to 192000 Hz" in _error(served.register(bytes(clip)), 400)


def test_more_channels_than_ears_are_413(served: Served) -> None:
    assert "3 channels; at most 2" in _error(served.register(_clip(1.0, channels=3)), 413)


def test_what_is_within_the_limits_is_taken(served: Served) -> None:
    for number, clip in enumerate(
        (_clip(1.0, 8000), _clip(119.0, 8000, 2), _clip(2.0, 192_000, kind="FLAC"))
    ):
        assert served.register(clip, f"v{number}").status_code == 201
        assert served.say(voice=f"v{number}").status_code == 200


# Words


@pytest.mark.parametrize("text", ["cut\0here", "half \ud800 of one"])
@pytest.mark.parametrize("field", ["input", "voice", "model", "ref_text"])
def test_a_text_that_would_be_cut_in_silence_is_422(served: Served, field: str, text: str) -> None:
    body = json.dumps({"input": "a", "voice": "own", field: text})
    headers = {"Content-Type": "application/json"}
    answer = served.client.post("/v1/audio/speech", content=body, headers=headers)
    assert field in _error(answer, 422)
    assert served.adapter.texts == []


def test_nor_is_one_taken_in_a_form(served: Served) -> None:
    assert "name: " in _error(served.register(_clip(1.0), name="a\0b"), 422)
    assert "ref_text: " in _error(served.register(_clip(1.0), text="a\0b"), 422)
    assert "ref_text: " in _error(served.register(_clip(1.0), text="x" * 10_001), 422)
    assert served.adapter.voices() == ["own"]


# What stays


def test_a_refused_reference_does_not_stay_on_the_disk(served: Served) -> None:
    clip = _clip(1.0)
    assert "not this one" in _error(served.register(clip, text="no"), 400)
    assert served.kept() == []
    assert served.register(clip, "one").status_code == 201
    assert "not this one" in _error(served.register(clip, "two", text="no"), 400)
    assert len(served.kept()) == 1, "it is the first voice's too"


def test_voices_and_their_clips_have_an_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_VOICES", 3)
    assert [served.register(_clip(1.0), name).status_code for name in ("a", "b")] == [201, 201]
    assert "3 voices are registered" in _error(served.register(_clip(1.1), "c"), 429)
    assert served.register(_clip(1.0), "b").status_code == 201, "known already"
    monkeypatch.setattr(limits, "MAX_VOICES", 1000)
    monkeypatch.setattr(limits, "MAX_KEPT_BYTES", len(_clip(1.0)) + 10)
    assert "the references kept have" in _error(served.register(_clip(1.2), "d"), 429)
    assert len(served.kept()) == 1


# Who does not read


@pytest.mark.slow
def test_who_reads_nothing_is_given_up_and_fills_no_memory(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES", 40 * RATE * 2)
    monkeypatch.setattr(limits, "SEND_LIMIT_S", 2.0)
    with _without_gc(), _ask_deaf(served, "a" * 20_000) as deaf:
        assert served.say().status_code == 200, "the next is answered"
        assert served.adapter.made < 2000
        _wait_for_place(served, monkeypatch)
        deaf.settimeout(limit(60))
        with contextlib.suppress(ConnectionResetError):
            heard = b""
            while more := deaf.recv(1 << 20):
                heard += more
            assert not heard.endswith(b"0\r\n\r\n"), "cut, and never taken for whole"


def test_who_leaves_in_the_middle_leaves_no_place_taken(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.adapter.pause_s = 0.01
    with _without_gc():
        with _ask_deaf(served, "a" * 20_000) as deaf:
            assert deaf.recv(100)
        _wait_for_place(served, monkeypatch)
        assert served.adapter.made < 20_000


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    """What is given back must not wait for the collector, whose time nobody knows."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _ask_deaf(served: Served, text: str) -> socket.socket:
    """Ask for a text over a connection from which nothing is read."""
    deaf = socket.create_connection(("127.0.0.1", served.port))
    body = json.dumps({"input": text, "voice": "own"}).encode()
    deaf.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)  # fmt: skip
    return deaf


def _wait_for_place(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REQUESTS", 1)
    end = time.monotonic() + limit(15)
    while served.say().status_code == 429:
        assert time.monotonic() < end, "the place of who does not read is still taken"
        time.sleep(0.1)


@pytest.mark.slow
def test_whoever_wants_hours_whole_is_told_to_stream(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES", 40 * RATE * 2)
    assert "ask for it as a stream" in _error(served.say(input="a" * 60, stream=False), 413)
    served.adapter.pause_s = 0.02  # no faster than it is gathered
    with _without_gc():
        assert "ask for it as a stream" in _error(served.say(input="a" * 60, stream=False), 413)
        _wait_for_place(served, monkeypatch)
    assert served.say(input="a" * 30, stream=False).status_code == 200
    assert len(served.say(input="a" * 30).content) == 30 * RATE * 2


def test_only_so_many_requests_wait(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REQUESTS", 1)
    served.adapter.wait.clear()
    told: list[int] = []
    waiting = threading.Thread(target=lambda: told.append(served.say().status_code))
    waiting.start()
    end = time.monotonic() + limit(60)
    while not served.adapter.texts:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "1 requests wait or are answered" in _error(served.say(), 429)
    assert "1 requests wait or are answered" in _error(served.register(_clip(1.0)), 429)
    served.adapter.wait.set()
    waiting.join(60)
    assert told == [200]
    assert [served.say().status_code for _ in range(3)] == [200] * 3


JSON_WORDS = (
    b"{", b"[", b'"', b":", b",", b'\\ud800', b"1e999", b"NaN", b"9" * 400, b'"stream":', b'"seed":-1', b"null",
    b'"ref_audio":"UklGRg=="', b'"voice":"none"', b'"response_format":"mp3"', b'"speed":0',
)  # fmt: skip
FORM_WORDS = (
    b"--b",
    b"--b--\r\n",
    b"\r\n\r\n",
    b'name="name"',
    b'filename="x"',
    b"RIFF",
    b"Content-Type: ",
    b"; charset=utf-99",
)


@pytest.mark.slow
def test_whatever_body_comes_is_answered_by_audio_or_by_a_refusal_that_says_why(served: Served) -> None:
    clip = _clip(0.001)
    sent = {"ref_audio": base64.b64encode(clip).decode(), "ref_text": "yes"}
    said = {"input": "a", "voice": "own", "stream": False}
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    form = (
        part % (b"audio_sample", b'; filename="c.wav"', clip) + part % (b"name", b"", b"new") + b"--b--\r\n"
    )
    kinds = {
        "speech": (
            "application/json",
            [json.dumps(each).encode() for each in (said, said | sent)],
            JSON_WORDS,
        ),
        "voices": ("multipart/form-data; boundary=b", [form], FORM_WORDS),
    }

    def check(path: str, body: bytes) -> None:
        headers = {"Content-Type": kinds[path][0]}
        with served.client.stream("POST", f"/v1/audio/{path}", content=body, headers=headers) as answer:
            if answer.status_code < 300:
                return
            assert 400 <= answer.status_code < 500, (answer.status_code, answer.read())
            assert answer.read() and len(answer.content) < 50_000

    for path, (_, seeds, words) in kinds.items():
        mangle(partial(check, path), seeds, words)
    assert served.client.get("/health").status_code == 200
    assert served.say().status_code == 200
