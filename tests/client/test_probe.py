import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.client.probe import PROBE_TEXT, ServerUnusable, settle
from bench.client.takes import WARMUP
from bench.client.target import Target, Voice
from bench.client.voicecheck import CHECK_TEXT
from bench.inputs import utterances
from bench.records.passes import Detection
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, pcm, wav

PCM = {"Content-Type": f"audio/pcm;rate={RATE}"}
NOT_FOUND = Reply.of({"detail": "Not Found"}, "404 Not Found")


def server_with(paths: list[str], speech: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    def handler(asked: Asked) -> Reply:
        if asked.path == "/openapi.json" and paths:
            return Reply.of({"openapi": "3.1.0", "paths": {path: {} for path in paths}})
        if asked.path == "/v1/models":
            return Reply.of({"data": [{"id": "chatterbox"}]})
        if asked.method == "POST" and (not paths or asked.path in paths):
            return speech(asked)
        return NOT_FOUND

    return handler


def probe(handler: Callable[[Asked], Reply], voice: str = "v", **more: object) -> Detection:
    with serving(handler) as server:
        found, _ = asyncio.run(settle(Target(server.url, **more), Voice.by_name(voice), 5))  # type: ignore[arg-type]
        return found


def test_our_own_server() -> None:
    found = probe(server_with(["/v1/audio/speech", "/health"], lambda asked: Reply(pcm(), headers=PCM)))
    assert (found.dialect, found.chosen_by, found.container) == ("openai", "probe", "raw")
    assert (found.model, found.sample_rate_hz) == ("chatterbox", RATE)


def test_a_server_without_pcm_is_asked_for_wav() -> None:
    def speech(asked: Asked) -> Reply:
        if asked.json()["response_format"] == "pcm":
            return Reply.of({"detail": [{"msg": "response_format must be wav"}]}, "422 Unprocessable")
        return Reply(wav(pcm()), headers={"Content-Type": "audio/wav"})

    found = probe(server_with(["/v1/audio/speech"], speech))
    assert (found.dialect, found.container) == ("openai_wav", "wav")
    assert any("openai: http_422" in line for line in found.evidence)


def test_a_strict_server_gets_no_field_of_others() -> None:
    def speech(asked: Asked) -> Reply:
        if "stream" in asked.json():
            return Reply.of({"error": {"message": "unknown field stream"}}, "400 Bad Request")
        return Reply(wav(pcm()))

    assert probe(server_with(["/v1/audio/speech"], speech)).dialect == "openai_file"


def test_devnen_travisvn_and_cosyvoice_by_their_routes() -> None:
    whole = Reply(wav(pcm()), headers={"Content-Type": "audio/wav"})
    devnen = server_with(["/tts", "/upload_reference", "/v1/audio/speech"], lambda asked: whole)
    assert probe(devnen).dialect == "devnen"
    routes = ["/v1/audio/speech", "/v1/audio/speech/stream", "/v1/audio/speech/upload"]
    assert probe(server_with(routes, lambda asked: whole)).dialect == "travisvn_stream"
    assert probe(server_with([routes[0], routes[2]], lambda asked: whole)).dialect == "travisvn"
    cosy = server_with(["/inference_sft", "/inference_zero_shot"], lambda asked: Reply(pcm()))
    assert probe(cosy, sample_rate_hz=22050).dialect == "cosyvoice"


def test_a_server_without_openapi_is_found_by_asking() -> None:
    def handler(asked: Asked) -> Reply:
        return Reply(wav(pcm())) if asked.path == "/tts" else NOT_FOUND

    assert probe(handler).dialect == "devnen"


def test_the_entry_overrides_the_probe_and_no_sentence_is_asked_for() -> None:
    with serving(lambda asked: NOT_FOUND) as server:
        found, _ = asyncio.run(settle(Target(server.url, dialect="cosyvoice"), Voice.by_name("v"), 5))
        assert all(asked.method == "GET" for asked in server.asked)
    assert (found.dialect, found.chosen_by) == ("cosyvoice", "entry")


def test_the_entry_names_the_model() -> None:
    found = probe(server_with([], lambda asked: Reply(pcm(), headers=PCM)), request={"model": "mine"})
    assert found.model == "mine"


def test_a_server_that_speaks_nothing_known_says_what_was_tried() -> None:
    with pytest.raises(ServerUnusable) as caught:
        probe(lambda asked: Reply(b"<html>", headers={"Content-Type": "text/html"}))
    assert caught.value.kind == "not_audio"
    assert "openai_wav" in str(caught.value)
    assert "catalog entry" in str(caught.value)


def test_a_refused_voice_is_said_with_the_servers_words() -> None:
    refuse = server_with([], lambda asked: Reply.of({"error": {"message": "no voice v"}}, "404 Not Found"))
    with pytest.raises(ServerUnusable, match="no voice v"):
        probe(refuse)


def test_nothing_that_is_asked_beforehand_is_a_timed_sentence() -> None:
    sentences = Path(utterances.__file__).with_name("utterances.txt")
    timed = {said.text for said in utterances.read(sentences)}
    assert len(timed) == 10
    assert not timed & {PROBE_TEXT, WARMUP.text, CHECK_TEXT}
