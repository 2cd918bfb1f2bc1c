"""A server that has the token may say it back anywhere, cut anywhere: no record keeps six characters of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from bench.client.chat import measure_chat
from bench.client.network import measure_network
from bench.client.probe import ServerUnusable
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.records.run import Utterance
from tests.support.raw_server import Asked, Reply, serving

SECRET = "sk-9Qx7LmZ2vBtR4wKp"
PARTS = {SECRET[at : at + 6] for at in range(len(SECRET) - 5)}
OFFSETS = range(170, 215)
"""Around where an excerpt is cut: 200 characters."""

Say = Callable[[str], Reply]


def _event(data: str) -> Reply:
    return Reply(f"data: {data}\n\n".encode(), "200 OK", {"Content-Type": "text/event-stream"})


TALKERS: dict[str, Say] = {
    "text": lambda said: Reply(said.encode(), "401 Unauthorized", {"Content-Type": "text/plain"}),
    "html": lambda said: Reply(f"<html><p>{said}</p></html>".encode(), "500 Broken", {"Content-Type": "text/html"}),
    "json": lambda said: Reply.of({"error": {"message": said}}, "401 Unauthorized"),
    "json without a message": lambda said: Reply.of([{"header": said}], "422 Unprocessable"),
    "escaped": lambda said: Reply(
        json.dumps({"detail": said}).replace("9", "\\u0039").encode(), "400 Bad", {"Content-Type": "application/json"}
    ),
    "as if it were audio": lambda said: Reply(said.encode(), "200 OK", {"Content-Type": "text/plain"}),
    "an event": lambda said: _event(json.dumps({"error": {"message": said}})),
    "no event": lambda said: _event(said),
    "elsewhere": lambda said: Reply(b"", "307 Elsewhere", {"Location": f"http://127.0.0.1/{said}"}),
    "a content type": lambda said: Reply(b"x", "200 OK", {"Content-Type": f"text/{said.replace(' ', '')}"}),
}  # fmt: skip


def _leaks(text: str) -> list[str]:
    return [part for part in PARTS if part in text or part.lower() in text]


@pytest.mark.parametrize("talker", TALKERS)
def test_in_no_take_wherever_it_is_cut(tmp_path: Path, talker: str) -> None:
    said = iter("x" * offset + SECRET + " and more of it" for offset in OFFSETS)

    def handler(asked: Asked) -> Reply:
        return TALKERS[talker](next(said)) if asked.method == "POST" else Reply.of({"data": []})

    with serving(handler) as server:
        target = Target(server.url, dialect="openai", token=SecretStr(SECRET))
        spoken = (Utterance(id=f"u{offset}", text="a") for offset in OFFSETS)
        result = run_takes(target, spoken, Voice.by_name("v"), tmp_path, warmups=0)
    assert result.takes == len(OFFSETS) and not result.ok
    assert SECRET[:3] not in (tmp_path / "takes.jsonl").read_text(), "cut before it was looked for"
    assert _leaks((tmp_path / "takes.jsonl").read_text() + result.model_dump_json()) == []


@pytest.mark.parametrize("dialect", ["openai", "auto"])
def test_in_no_name_of_a_model_and_no_refusal(tmp_path: Path, dialect: str) -> None:
    def handler(asked: Asked) -> Reply:
        if asked.path == "/v1/models":
            return Reply.of({"data": [{"id": f"\x1b[2Jmodel of {SECRET}"}]})
        assert asked.method == "GET" or f"model of {SECRET}" in asked.json().get(
            "model", f"model of {SECRET}"
        )
        pcm = {"Content-Type": "audio/pcm;rate=24000"}
        return (
            Reply(b"\x10\x20" * 24000, headers=pcm)
            if asked.path == "/v1/audio/speech"
            else Reply(status="404 None")
        )

    with serving(handler) as server:
        target = Target(server.url, dialect=dialect, token=SecretStr(SECRET))
        result = run_takes(target, [Utterance(id="a", text="a")], Voice.by_name("v"), tmp_path, warmups=0)
    assert result.ok == 1
    assert result.detection.model == "model of [token]"
    assert _leaks(result.model_dump_json()) == []


def test_in_no_refusal_to_register(tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    for offset in OFFSETS:
        with serving(lambda asked, at=offset: TALKERS["text"]("x" * at + SECRET)) as server:  # type: ignore[misc]
            target = Target(server.url, dialect="openai", token=SecretStr(SECRET))
            with pytest.raises(ServerUnusable) as refused:
                run_takes(target, [], Voice.clone(clip, "words"), tmp_path / "out")
        assert _leaks(str(refused.value)) == []


def test_in_no_figure_of_the_neighbour() -> None:
    def handler(asked: Asked) -> Reply:
        if asked.path == "/v1/models":
            return Reply.of({"data": [{"id": f"{SECRET}-chat"}]})
        if asked.method == "POST":
            assert asked.json()["model"] == f"{SECRET}-chat", "the server is asked by the name it gave"
        return TALKERS["text"]("x" * 190 + SECRET)

    with serving(handler) as server:
        got = measure_chat(server.url, token=SECRET, n=1, discard=0)
        cost = measure_network(Target(server.url, token=SecretStr(SECRET)), n=1)
    assert got.model == "[token]-chat" and got.error is not None
    assert _leaks(got.model_dump_json() + cost.model_dump_json()) == []
