"""The engine's HTTP API, over real sockets, with a real voice and with faulty ones."""

import base64
import contextlib
import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from bench.audio.wav import read_mono
from bench.catalog.loader import load
from bench.engines.launch import Engine, LaunchSpec, launch
from tests.support import entries

pytestmark = pytest.mark.needs("espeak-ng")

TEXT = "The quick brown fox jumps over the lazy dog."


@contextlib.contextmanager
def _running(tree: dict[str, Any], folder: Path) -> Iterator[Engine]:
    spec = LaunchSpec(
        entry=entries.entry(tree),
        profile="upstream",
        run_id="test",
        install="system",
        log=folder / f"{tree['name']}.log",
    )
    with launch(spec) as engine:
        yield engine


@pytest.fixture(scope="module")
def espeak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with _running(entries.raw("espeak"), tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Engine]]:
    monkeypatch.setenv("PYTHONPATH", str(entries.FAULTY))
    with contextlib.ExitStack() as running:
        yield lambda kind: running.enter_context(_running(entries.faulty(kind), tmp_path))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A man's voice; en-us alone is higher."""
    wav = tmp_path_factory.mktemp("clip") / "rms.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", TEXT, "-o", str(wav)], check=True)
    return wav.read_bytes()


def _say(engine: Engine, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{engine.url}/v1/audio/speech", json={"input": TEXT, "voice": "en-us"} | body, timeout=60
    )


@dataclass
class _Raw:
    """An answer as it comes off the wire: its head, and its chunks one by one."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse

    def chunk(self) -> bytes:
        """Return the next piece as the server framed it (RFC 9112, 7.1)."""
        assert self.response.fp is not None
        size = int(self.response.fp.readline().split(b";")[0], 16)
        data = self.response.fp.read(size)
        assert self.response.fp.readline() == b"\r\n"
        return data


def _raw(engine: Engine, **body: Any) -> _Raw:
    connection = http.client.HTTPConnection(urlsplit(engine.url).netloc, timeout=60)
    wanted = json.dumps({"input": TEXT, "voice": "en-us"} | body)
    connection.request("POST", "/v1/audio/speech", wanted, {"Content-Type": "application/json"})
    return _Raw(connection, connection.getresponse())


def _samples(pcm: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    assert len(pcm) % 2 == 0
    return np.frombuffer(pcm, "<i2")


# Formats


def test_pcm_is_chunked_s16le_and_its_rate_is_in_the_headers(espeak: Engine) -> None:
    answer = _say(espeak)
    assert answer.status_code == 200
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["content-type"] == "audio/pcm;rate=22050;channels=1"
    assert answer.headers["x-sample-rate"] == "22050"
    spoken = _samples(answer.content)
    assert 1.5 * 22050 < spoken.size < 6 * 22050
    assert np.abs(spoken).max() > 3000, "it is heard"


def test_the_wav_header_leaves_together_with_the_first_samples(espeak: Engine) -> None:
    raw = _raw(espeak, response_format="wav")
    first = raw.chunk()
    assert first[:4] == b"RIFF" and first[8:16] == b"WAVEfmt "
    assert int.from_bytes(first[24:28], "little") == 22050
    assert first[40:44] == b"\xff\xff\xff\xff", "how long it will be is not known yet"
    assert len(first) > 44
    assert raw.chunk(), "and more comes after"
    raw.connection.close()


def test_server_sent_events_carry_the_same_samples_and_say_when_they_are_done(espeak: Engine) -> None:
    answer = _say(espeak, stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1] == {"type": "speech.audio.done"}
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == _say(espeak).content


def test_without_streaming_the_answer_has_its_length_and_a_whole_wav_header(
    espeak: Engine, tmp_path: Path
) -> None:
    answer = _say(espeak, response_format="wav", stream=False)
    assert int(answer.headers["content-length"]) == len(answer.content)
    (tmp_path / "said.wav").write_bytes(answer.content)
    samples, rate_hz = read_mono(tmp_path / "said.wav")
    streamed = _samples(_say(espeak).content)
    assert rate_hz == 22050
    assert samples.size == streamed.size
    assert answer.content[44:] == streamed.tobytes()


def test_speed_changes_how_long_it_takes_to_say(espeak: Engine) -> None:
    assert len(_say(espeak, speed=1.6).content) < 0.8 * len(_say(espeak).content)


# What is refused


@pytest.mark.parametrize("voice", ["nobody", "", None])
def test_an_unknown_voice_is_404_and_the_message_lists_the_voices(espeak: Engine, voice: str | None) -> None:
    answer = _say(espeak, voice=voice)
    assert answer.status_code == 404
    assert answer.json()["error"]["kind"] == "unknown_voice"
    assert "en-us" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"response_format": "mp3"}, "response_format"),
        ({"speed": 9}, "speed"),
        ({"seed": 2**64}, "seed"),
        ({"stream_format": "telegraph"}, "stream_format"),
    ],
)
def test_a_wrong_field_is_422_and_is_named(espeak: Engine, body: dict[str, Any], named: str) -> None:
    answer = _say(espeak, **body)
    assert answer.status_code == 422
    assert answer.json()["error"]["kind"] == "invalid_request"
    assert named in answer.json()["error"]["message"]


def test_a_body_that_is_not_json_is_422_with_a_json_answer(espeak: Engine) -> None:
    url = f"{espeak.url}/v1/audio/speech"
    answer = httpx.post(url, content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["kind"] == "invalid_request"


# References


def test_a_registered_voice_and_the_same_reference_sent_along_speak_alike(
    espeak: Engine, clip: bytes
) -> None:
    made = httpx.post(
        f"{espeak.url}/v1/audio/voices",
        data={"name": "man", "ref_text": TEXT, "consent": "given"},
        files={"audio_sample": ("man.wav", clip)},
        timeout=60,
    )
    assert (made.status_code, made.json()) == (201, {"name": "man"})
    assert "man" in httpx.get(f"{espeak.url}/v1/audio/voices").json()["voices"]
    registered = _say(espeak, voice="man").content
    url = "data:audio/wav;base64," + base64.b64encode(clip).decode()
    assert _say(espeak, voice=None, ref_audio=url, ref_text=TEXT).content == registered
    assert _say(espeak, voice=None, ref_audio=url.partition(",")[2], ref_text=TEXT).content == registered
    assert _say(espeak).content != registered, "the reference changes the voice"


def test_a_voice_of_the_models_own_is_not_replaced(espeak: Engine, clip: bytes) -> None:
    before = _say(espeak, voice="en-us").content
    made = httpx.post(
        f"{espeak.url}/v1/audio/voices",
        data={"name": "en-us", "ref_text": TEXT},
        files={"audio_sample": ("man.wav", clip)},
        timeout=60,
    )
    assert (made.status_code, made.json()["error"]["kind"]) == (400, "bad_reference")
    assert "under another name" in made.json()["error"]["message"]
    assert _say(espeak, voice="en-us").content == before


def test_of_a_reference_sent_along_the_server_says_whether_it_had_it(espeak: Engine, clip: bytes) -> None:
    sent = {
        "voice": None,
        "ref_audio": base64.b64encode(clip).decode(),
        "ref_text": "other words than elsewhere",
    }
    told = [_say(espeak, **sent).headers.get("x-reference-cached") for _ in range(2)]
    assert told == ["false", "true"]
    assert "x-reference-cached" not in _say(espeak).headers


def test_a_reference_that_cannot_serve_is_400(espeak: Engine) -> None:
    for sent in ("not base64!", base64.b64encode(b"not audio").decode()):
        answer = _say(espeak, voice=None, ref_audio=sent)
        assert answer.status_code == 400
        assert answer.json()["error"]["kind"] == "bad_reference"
    files = {"audio_sample": ("x.wav", b"not audio")}
    answer = httpx.post(f"{espeak.url}/v1/audio/voices", data={"name": "x"}, files=files)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "bad_reference")
    assert "x" not in httpx.get(f"{espeak.url}/v1/audio/voices").json()["voices"]


# Health


def test_health_says_what_runs_and_models_names_it(espeak: Engine) -> None:
    health = httpx.get(f"{espeak.url}/health").json()
    assert health["ready"] is True
    assert health["model"] == "espeak"
    assert health["revision"].startswith("eSpeak NG")
    assert health["profile"] == load("espeak").profiles["upstream"]
    assert health["device"] == "cpu"
    assert health["sample_rate_hz"] == 22050
    assert health["nonce"] == espeak.health["nonce"] and len(health["nonce"]) >= 32
    models = httpx.get(f"{espeak.url}/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["espeak"]


# Failures


def test_a_failure_in_mid_stream_cuts_the_connection(faulty: Callable[[str], Engine]) -> None:
    engine = faulty("Cut")
    raw = _raw(engine)
    assert raw.response.status == 200
    with pytest.raises(http.client.IncompleteRead) as cut:
        raw.response.read()
    assert cut.value.partial, "what was made before had been sent"
    with pytest.raises(httpx.RemoteProtocolError):
        _say(engine, stream_format="sse")
    whole = _say(engine, stream=False)
    assert (whole.status_code, whole.json()["error"]["kind"]) == (500, "synthesis_failed")


@pytest.mark.parametrize(("kind", "said"), [("NotANumber", "NaN"), ("Empty", "no audio")])
def test_a_failure_before_any_audio_is_an_http_error(
    faulty: Callable[[str], Engine], kind: str, said: str
) -> None:
    answer = _say(faulty(kind))
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "synthesis_failed"
    assert said in answer.json()["error"]["message"]


def test_the_engine_speaks_on_after_a_failure(faulty: Callable[[str], Engine], clip: bytes) -> None:
    engine = faulty("OneInTen")
    sent = {"voice": None, "ref_audio": base64.b64encode(clip).decode()}
    assert [_say(engine, **sent).status_code for _ in range(8)] == [200] * 6 + [500, 200]


def test_a_client_that_goes_away_stops_its_own_solve(faulty: Callable[[str], Engine]) -> None:
    engine = faulty("Slow")
    raw = _raw(engine)
    assert raw.chunk()
    raw.response.close()
    raw.connection.close()
    end = time.monotonic() + 30
    while httpx.get(f"{engine.url}/health").json()["memory"]["left_early"] == 0:
        assert time.monotonic() < end, "it still speaks to nobody"
        time.sleep(0.1)
    assert httpx.get(f"{engine.url}/health").json()["memory"]["pieces"] < 1200


def test_nobody_is_spoken_to_who_left_before_his_turn(faulty: Callable[[str], Engine]) -> None:
    engine = faulty("Slow")
    before = _raw(engine)
    assert before.chunk()
    for stream in (True, False):
        left = http.client.HTTPConnection(urlsplit(engine.url).netloc, timeout=60)
        body = json.dumps({"input": TEXT, "voice": "en-us", "stream": stream})
        left.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
        left.close()
    # What came after their leaving is answered, so that has been seen, however slow the machine.
    for _ in range(10):
        httpx.get(f"{engine.url}/health")
    before.response.close()
    before.connection.close()
    last = _raw(engine)
    assert last.chunk()
    said = httpx.get(f"{engine.url}/health").json()["memory"]
    assert (said["left_early"], said["begun"]) == (1, 2), "the first was cut short, the last is on"


def test_whoever_wants_it_whole_and_leaves_ends_his_solve(faulty: Callable[[str], Engine]) -> None:
    engine = faulty("Slow")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{engine.url}/v1/audio/speech",
            json={"input": TEXT, "voice": "en-us", "stream": False},
            timeout=1.0,
        )
    end = time.monotonic() + 30
    while httpx.get(f"{engine.url}/health").json()["memory"]["left_early"] == 0:
        assert time.monotonic() < end, "it still speaks to nobody"
        time.sleep(0.1)


def test_the_model_is_loaded_and_used_in_one_thread(faulty: Callable[[str], Engine], clip: bytes) -> None:
    # A thread that has not used a GPU pays some 200 ms first (docs/RESEARCH-F5-TTS.md).
    engine = faulty("Threaded")
    sent = {"voice": None, "ref_audio": base64.b64encode(clip).decode()}
    assert [_say(engine, **body).status_code for body in ({}, sent, {"input": "fail"}, {})] == [
        200,
        200,
        500,
        200,
    ]
    left = _raw(engine, input=TEXT * 20)
    assert left.chunk()
    left.response.close()
    left.connection.close()
    with ThreadPoolExecutor(3) as clients:
        assert [a.status_code for a in clients.map(lambda _: _say(engine), range(3))] == [200] * 3
    said = httpx.get(f"{engine.url}/health").json()["memory"]
    assert said["calls"] > 20
    assert said["threads"] == 1


def test_requests_at_the_same_time_queue_and_each_gets_its_own_words(espeak: Engine) -> None:
    texts = [f"This is sentence number {number}." for number in range(1, 6)]
    alone = [_say(espeak, input=text).content for text in texts]
    together: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.update({i: _say(espeak, input=texts[i]).content}))
        for i in range(len(texts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [together[i] for i in range(len(texts))] == alone
