import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.client.probe import ServerUnusable, settle
from bench.client.session import _parse_retry_after
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.controller.request import RunRequest
from bench.errors import BadInput
from bench.records.run import Utterance
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, pcm

PCM = {"Content-Type": f"audio/pcm;rate={RATE}"}


def speech_under(root: str) -> object:
    def handler(asked: Asked) -> Reply:
        if asked.path == f"{root}/v1/models":
            return Reply.of({"data": [{"id": "tts-9"}]})
        found = asked.path == f"{root}/v1/audio/speech" and asked.method == "POST"
        return Reply(pcm(), headers=PCM) if found else Reply.of({"detail": "Not Found"}, "404 Not Found")

    return handler


@pytest.mark.parametrize("root", ["", "/speech"])
@pytest.mark.parametrize("given_as", ["", "/", "/v1", "/v1/"])
def test_a_base_with_v1_is_not_asked_for_it_twice(root: str, given_as: str) -> None:
    with serving(speech_under(root)) as server:  # type: ignore[arg-type]
        found, _ = asyncio.run(settle(Target(server.url + root + given_as), Voice.by_name("v"), 5))
    assert (found.dialect, found.model) == ("openai", "tts-9")
    assert not any("v1/v1" in asked.path for asked in server.asked)


def test_an_entrys_own_path_stays_under_the_base_as_given() -> None:
    with serving(lambda asked: Reply(pcm(), headers=PCM)) as server:
        asyncio.run(settle(Target(server.url + "/v1", path="/say"), Voice.by_name("v"), 5))
    assert "POST /v1/say" in server.paths()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h:1/?key=abc", "after a ? or #"),
        ("http://h:1?", "after a ? or #"),
        ("http://h:1/v1#speech", "after a ? or #"),
        ("http://h:1/v1/audio/speech", "that of a request (/v1/audio/speech)"),
        ("http://h:1/v1/audio/speech/stream/", "that of a request"),
        ("http://h:1/inference_zero_shot", "that of a request"),
        ("h:1", "must look like"),
        ("http://u:p@h:1", "carries a user"),
    ],
)
def test_a_url_that_no_request_could_be_made_of_is_refused(url: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        Target(url)
    assert says in str(refused.value)
    assert "abc" not in str(refused.value)


def test_a_run_refuses_it_before_anything_is_done(tmp_path: Path) -> None:
    request = RunRequest.of(
        {
            "model": "espeak", "baseline": "chatterbox", "baseline_url": "http://panda:8772/v1?key=abc", "host": "h",
            "reference_audio": "a.wav", "runs_dir": str(tmp_path), "intended_use": "research",
        }
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"^baseline_url: .*after a \? or #"):
        request.baseline_entry()


def test_what_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    nobody = Reply.of({"detail": "Not Found"}, "404 Not Found")
    with serving(lambda asked: nobody) as server:
        with pytest.raises(ServerUnusable) as caught:
            asyncio.run(settle(Target(server.url + "/v1"), Voice.by_name("v"), 5))
        said = [Utterance(id="a", text="Yes.")]
        run_takes(Target(server.url, dialect="openai"), said, Voice.by_name("v"), tmp_path, warmups=0)
    assert f"POST {server.url}/v1/audio/speech" in str(caught.value)
    assert f"POST {server.url}/v1/audio/speech" in (tmp_path / "takes.jsonl").read_text()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", pytest.approx(253402300799 - time.time(), abs=1e5)),
        ("Fri, 99 Dec 2026 23:59:59 GMT", None),
        ("Fri, 31 Dec 2026 23:59:59 +99999999999", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, float("inf")),
    ],
)
def test_retry_after_is_a_number_a_date_or_nothing(value: str, seconds: float | None) -> None:
    assert _parse_retry_after(value) == seconds


@given(
    st.one_of(
        st.text(max_size=60), st.from_regex(r"\w{3}, \d{1,12} \w{3} \d{1,12} \d{1,9}:\d\d:\d\d [+-]?\w{1,12}")
    )
)
def test_no_retry_after_raises(value: str) -> None:
    found = _parse_retry_after(value)
    assert found is None or found >= 0


@pytest.mark.parametrize("value", ["Fri, 31 Dec 99999999999 23:59:59 GMT", "9" * 400])
def test_a_retry_after_beyond_the_calendar_is_one_failed_take(value: str, tmp_path: Path) -> None:
    busy = Reply(b"later", "429 Too Many Requests", {"Retry-After": value})

    def handler(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        return busy if asked.json()["input"] == "No." else Reply(pcm(), headers=PCM)

    said = [Utterance(id="a", text="No."), Utterance(id="b", text="Yes.")]
    with serving(handler) as server:
        result = run_takes(Target(server.url, dialect="openai"), said, Voice.by_name("v"), tmp_path)
    assert (result.ok, result.failed) == (1, {"http_429": 1})
