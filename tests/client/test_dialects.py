import asyncio
import base64
from pathlib import Path

import pytest

from bench.catalog.entry import HttpRun
from bench.client.dialects import DIALECTS, Say, find_dialect
from bench.client.target import Target, Voice
from bench.client.timing import HttpRequest, send_once
from bench.errors import BadInput
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import pcm, wav


@pytest.fixture
def clone(tmp_path: Path) -> Voice:
    file = tmp_path / "reference.wav"
    file.write_bytes(wav(pcm()))
    return Voice.clone(file, "What was said.", name="ada")


def received(request: HttpRequest) -> Asked:
    with serving(lambda _: Reply()) as server:
        moved = HttpRequest(
            request.method, request.url.replace(":65001", f":{server.port}"), request.headers, request.body
        )
        asyncio.run(send_once(moved, None, 5))
        return server.asked[0]


def ask(name: str, say: Say, **target: object) -> Asked:
    return received(find_dialect(name).speak(Target("http://127.0.0.1:65001/base", **target), say))  # type: ignore[arg-type]


def test_openai_asks_for_a_stream_in_both_words() -> None:
    got = ask("openai", Say("Hello.", Voice.by_name("ada"), seed=7, model="m"), request={"speed": 1.1})
    assert got.path == "/base/v1/audio/speech"
    assert got.json() == {
        "model": "m", "input": "Hello.", "voice": "ada", "response_format": "pcm", "stream": True,
        "stream_format": "audio", "seed": 7, "speed": 1.1,
    }  # fmt: skip


def test_the_entry_overrides_and_removes_fields_and_sets_the_path() -> None:
    got = ask("openai", Say("x", Voice()), request={"stream": None, "response_format": "opus"}, path="/speak")
    assert got.path == "/base/speak"
    assert got.json()["response_format"] == "opus"
    assert "stream" not in got.json()
    assert "voice" not in got.json()


def test_strict_openai_sends_nothing_the_specification_lacks() -> None:
    got = ask("openai_file", Say("x", Voice.by_name("alloy")))
    assert set(got.json()) == {"model", "input", "voice", "response_format"}


def test_openai_carries_a_reference_as_a_data_url(clone: Voice) -> None:
    body = ask("openai_sse", Say("x", clone, inline=True)).json()
    assert base64.b64decode(body["ref_audio"].removeprefix("data:audio/wav;base64,")) == wav(pcm())
    assert body["ref_text"] == "What was said."
    assert body["stream_format"] == "sse"
    assert "voice" not in body


def test_openai_registers_a_voice(clone: Voice) -> None:
    got = received(find_dialect("openai").register(Target("http://127.0.0.1:65001"), clone))
    assert got.path == "/v1/audio/voices"
    assert got.form() == {
        "name": b"ada",
        "ref_text": b"What was said.",
        "consent": b"true",
        "audio_sample": wav(pcm()),
    }


def test_devnen(clone: Voice) -> None:
    named = ask("devnen", Say("x", Voice.by_name("Emily.wav"))).json()
    assert (named["voice_mode"], named["predefined_voice_id"]) == ("predefined", "Emily.wav")
    cloned = ask("devnen", Say("x", clone))
    assert cloned.path == "/base/tts"
    assert (cloned.json()["voice_mode"], cloned.json()["reference_audio_filename"]) == ("clone", "ada.wav")
    upload = received(find_dialect("devnen").register(Target("http://127.0.0.1:65001"), clone))
    assert upload.path == "/upload_reference"
    assert upload.form() == {"files": wav(pcm())}
    assert b'filename="ada.wav"' in upload.body


def test_travisvn(clone: Voice) -> None:
    named = ask("travisvn", Say("x", Voice.by_name("ada")), request={"exaggeration": 0.3})
    assert named.path == "/base/v1/audio/speech"
    assert named.json()["voice"] == "ada"
    assert named.json()["exaggeration"] == 0.3
    cloned = ask("travisvn_stream", Say("x", clone, inline=True), request={"exaggeration": 0.3})
    assert cloned.path == "/base/v1/audio/speech/stream/upload"
    assert cloned.form()["voice_file"] == wav(pcm())
    assert cloned.form()["exaggeration"] == b"0.3"


def test_cosyvoice(clone: Voice, tmp_path: Path) -> None:
    got = ask("cosyvoice", Say("Say this.", clone, inline=True))
    assert got.path == "/base/inference_zero_shot"
    assert got.form() == {
        "tts_text": b"Say this.",
        "prompt_text": b"What was said.",
        "prompt_wav": wav(pcm()),
    }
    wordless = Voice.clone(tmp_path / "reference.wav", None)
    assert ask("cosyvoice", Say("x", wordless, inline=True)).path == "/base/inference_cross_lingual"
    named = ask("cosyvoice", Say("x", Voice.by_name("speaker")))
    assert named.path == "/base/inference_sft"
    assert named.form()["spk_id"] == b"speaker"


@pytest.mark.parametrize("name", list(DIALECTS))
def test_every_dialect_sends_the_token(name: str) -> None:
    target = Target.from_run(_http(), "http://127.0.0.1:65001", token="t0ken")
    got = received(find_dialect(name).speak(target, Say("x", Voice.by_name("v"))))
    assert got.headers["authorization"] == "Bearer t0ken"


def _http() -> HttpRun:
    return HttpRun(kind="http")


def test_an_unknown_dialect_lists_the_known_ones() -> None:
    with pytest.raises(BadInput, match="cosyvoice"):
        find_dialect("klingon")
