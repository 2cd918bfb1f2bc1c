import asyncio
import contextlib
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import SecretStr

from bench.catalog.entry import HttpRun
from bench.client.faults import TakeFault
from bench.client.probe import ServerUnusable
from bench.client.session import Fetched
from bench.client.takes import WARMUP, _run_unless, run_takes
from bench.client.target import Target, Voice
from bench.errors import BadInput
from bench.records.run import Utterance
from bench.records.take import Take
from tests.support.pace import limit
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, pcm, tone, wav

PCM = {"Content-Type": f"audio/pcm;rate={RATE};channels=1"}
GOOD = Reply(pieces=[(0.0, pcm(0.1)), (0.03, pcm(0.1))], headers=PCM)


def say(*ids: str) -> list[Utterance]:
    return [Utterance(id=name, text=f"text of {name}") for name in ids]


def lines(out: Path) -> list[Take]:
    return [Take.model_validate_json(line) for line in (out / "takes.jsonl").read_text().splitlines()]


def voices(speech: object) -> object:
    """A handler that knows no models and answers speech with `speech(asked, n)`."""
    count = itertools.count()

    def handler(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        return speech(asked, next(count))  # type: ignore[operator, no-any-return]

    return handler


def test_takes_are_written_as_they_were_received(tmp_path: Path) -> None:
    seen: list[Take] = []
    with serving(voices(lambda asked, n: GOOD)) as server:  # type: ignore[arg-type]
        result = run_takes(
            Target(server.url, dialect="openai"),
            say("a", "b"),
            Voice.by_name("v"),
            tmp_path,
            on_take=seen.append,
        )
    takes = lines(tmp_path)
    assert seen == takes
    assert [(take.utterance_id, take.warmup, take.wav) for take in takes] == [
        ("warmup", True, None), ("a", False, "a.wav"), ("b", False, "b.wav"),
    ]  # fmt: skip
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(samples, np.tile(tone(0.1), 2))
    assert takes[1].sha256 == hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    assert (result.takes, result.ok, result.failed, result.warmups, result.sample_rate_hz) == (
        2,
        2,
        {},
        1,
        RATE,
    )
    assert result.detection.chosen_by == "entry"
    assert result.measured_from
    assert takes[1].reference_cached is None
    assert [asked.json()["input"] for asked in server.asked[1:]] == [WARMUP.text, "text of a", "text of b"]


def test_a_failed_take_has_an_error_and_nulls_and_the_pass_goes_on(tmp_path: Path) -> None:
    def speech(asked: Asked, n: int) -> Reply:
        if n == 1:
            return Reply.of({"error": {"kind": "synthesis_failed", "message": "NaN in layer 3"}}, "500 Oops")
        if n == 2:
            return Reply(bytes(9600), headers=PCM)
        return GOOD

    with serving(voices(speech)) as server:  # type: ignore[arg-type]
        result = run_takes(
            Target(server.url, dialect="openai"), say("a", "b", "c"), Voice.by_name("v"), tmp_path
        )
    _, a, b, c = lines(tmp_path)
    assert a.error is not None and b.error is not None
    assert (a.error.kind, a.error.message) == ("http_500", "NaN in layer 3")
    assert b.error.kind == "silence"
    assert c.error is None
    figures = set(Take.model_fields) - {
        "utterance_id",
        "text",
        "voice",
        "warmup",
        "reference_cached",
        "note",
        "error",
    }
    for take in (a, b):
        assert [getattr(take, figure) for figure in figures] == [None] * len(figures)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.wav", "takes.jsonl"]
    assert (result.takes, result.ok, result.failed) == (3, 1, {"http_500": 1, "silence": 1})


def test_another_rate_in_mid_pass_fails_that_take(tmp_path: Path) -> None:
    other = Reply(pcm(), headers={"Content-Type": "audio/pcm;rate=16000"})
    with serving(voices(lambda asked, n: other if n == 2 else GOOD)) as server:  # type: ignore[arg-type]
        result = run_takes(
            Target(server.url, dialect="openai"), say("a", "b", "c"), Voice.by_name("v"), tmp_path
        )
    assert result.failed == {"wrong_rate": 1}
    assert result.ok == 2


@pytest.mark.slow
def test_retry_after_is_honoured_once_and_noted(tmp_path: Path) -> None:
    busy = Reply(b"later", "503 Busy", {"Retry-After": "1"})
    with serving(voices(lambda asked, n: busy if n == 0 else GOOD)) as server:  # type: ignore[arg-type]
        began = time.monotonic()
        result = run_takes(
            Target(server.url, dialect="openai"), say("a"), Voice.by_name("v"), tmp_path, warmups=0
        )
        took_ms = (time.monotonic() - began) * 1e3
    (take,) = lines(tmp_path)
    assert take.error is None
    assert take.note is not None and "http_503" in take.note
    assert result.noted == 1
    figures = (take.ttfb_ms, take.ttfa_ms, take.ttfa_audible_ms, take.total_ms)
    assert all(ms is not None and 1000 <= ms <= took_ms for ms in figures), (
        "the clock began with the first request"
    )
    assert take.rtf == pytest.approx((take.total_ms or 0.0) / 1e3 / (take.audio_s or 1.0))


def test_a_server_that_stays_busy_fails_after_the_one_retry(tmp_path: Path) -> None:
    busy = Reply(b"later", "429 Slow down", {"Retry-After": "0"})
    with serving(voices(lambda asked, n: busy)) as server:  # type: ignore[arg-type]
        run_takes(Target(server.url, dialect="openai"), say("a"), Voice.by_name("v"), tmp_path, warmups=0)
        assert len(server.asked) == 3
    (take,) = lines(tmp_path)
    assert take.error is not None and take.error.kind == "http_429"


def test_a_redirect_says_where_to_and_an_odd_retry_after_is_none(tmp_path: Path) -> None:
    answers = [
        Reply(status="301 Moved", headers={"Location": "https://elsewhere/v1"}),
        Reply(b"later", "503 Busy", {"Retry-After": "\u00b2"}),
    ]
    with serving(voices(lambda asked, n: answers[n])) as server:  # type: ignore[arg-type]
        run_takes(
            Target(server.url, dialect="openai"), say("a", "b"), Voice.by_name("v"), tmp_path, warmups=0
        )
    moved, busy = (take.error for take in lines(tmp_path))
    assert moved is not None and (moved.kind, "https://elsewhere/v1" in moved.message) == ("http_301", True)
    assert busy is not None and (busy.kind, busy.message) == ("http_503", "later")


def test_a_reference_is_registered_once_and_takes_say_so(tmp_path: Path) -> None:
    reference = tmp_path / "ref.wav"
    reference.write_bytes(wav(pcm()))

    def speech(asked: Asked, n: int) -> Reply:
        return Reply.of({"name": "x"}, "201 Created") if asked.path == "/v1/audio/voices" else GOOD

    voice = Voice.clone(reference, "words")
    with serving(voices(speech)) as server:  # type: ignore[arg-type]
        result = run_takes(Target(server.url, dialect="openai"), say("a", "b"), voice, tmp_path / "out")
    posts = [asked.path for asked in server.asked if asked.method == "POST"]
    assert posts == ["/v1/audio/voices"] + ["/v1/audio/speech"] * 3
    assert server.asked[-1].json()["voice"] == voice.label
    assert result.registration_ms is not None
    assert {take.reference_cached for take in lines(tmp_path / "out")} == {True}


def test_a_server_without_registration_gets_the_reference_each_time(tmp_path: Path) -> None:
    reference = tmp_path / "ref.wav"
    reference.write_bytes(wav(pcm()))

    def speech(asked: Asked, n: int) -> Reply:
        return Reply.of({}, "404 Not Found") if asked.path == "/v1/audio/voices" else GOOD

    with serving(voices(speech)) as server:  # type: ignore[arg-type]
        target = Target(server.url, dialect="openai")
        result = run_takes(target, say("a"), Voice.clone(reference, "words"), tmp_path / "out")
        assert "ref_audio" in server.asked[-1].json()
        assert result.reference_cached is None
        with pytest.raises(ServerUnusable) as caught:
            run_takes(target, say("a"), Voice.clone(reference, "words", how="register"), tmp_path / "more")
    assert caught.value.kind == "http_404"


def test_a_server_that_reads_the_reference_anew_is_recorded_as_not_cached(tmp_path: Path) -> None:
    reference = tmp_path / "ref.wav"
    reference.write_bytes(wav(pcm()))
    with serving(voices(lambda asked, n: GOOD)) as server:  # type: ignore[arg-type]
        target = Target(server.url, dialect="cosyvoice", sample_rate_hz=RATE)
        result = run_takes(target, say("a"), Voice.clone(reference, "words"), tmp_path / "out")
    assert result.reference_cached is False


@pytest.mark.slow
def test_stop_ends_the_pass_in_the_middle_of_a_take(tmp_path: Path) -> None:
    slow = Reply(pieces=[(0.0, pcm(0.1)), (20.0, pcm(0.1))], headers=PCM)
    asked_at: list[float] = []

    def stop() -> str | None:
        asked_at.append(time.monotonic())
        return "the lease is gone" if len(asked_at) > 3 else None

    with serving(voices(lambda asked, n: slow)) as server:  # type: ignore[arg-type]
        began = time.monotonic()
        result = run_takes(
            Target(server.url, dialect="openai"),
            say("a", "b"),
            Voice.by_name("v"),
            tmp_path,
            warmups=0,
            stop=stop,
        )
        assert time.monotonic() - began < limit(15)
    assert result.stopped == "the lease is gone"
    assert result.failed == {"stopped": 1}
    (take,) = lines(tmp_path)
    assert take.error is not None and take.error.message == "the lease is gone"


def test_a_take_that_ends_as_the_pass_is_stopped_keeps_its_own_end() -> None:
    seen = threading.Event()

    def stop() -> str:
        seen.set()
        return "the engine ended with code 9"

    async def cut_off() -> Fetched:
        while not seen.is_set():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        return Fetched(None, TakeFault("aborted", "the server closed the connection"))

    fetched, reason = asyncio.run(_run_unless(stop, cut_off()))
    assert reason == "the engine ended with code 9"
    assert fetched.fault is not None and fetched.fault.kind == "aborted"


def test_stop_between_takes_leaves_no_half_take(tmp_path: Path) -> None:
    done: list[Take] = []
    with serving(voices(lambda asked, n: GOOD)) as server:  # type: ignore[arg-type]
        result = run_takes(
            Target(server.url, dialect="openai"), say("a", "b", "c"), Voice.by_name("v"), tmp_path, warmups=0,
            on_take=done.append, stop=lambda: "enough" if len(done) == 2 else None,
        )  # fmt: skip
    assert (result.takes, result.ok, result.stopped) == (2, 2, "enough")


def test_utterances_are_taken_one_at_a_time(tmp_path: Path) -> None:
    drawn = written = 0

    def endless() -> Iterator[Utterance]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Utterance(id=f"u{drawn}", text="x")

    def on_take(take: Take) -> None:
        nonlocal written
        written += 1
        assert len(lines(tmp_path)) == written
        assert drawn <= written + 1

    with serving(voices(lambda asked, n: Reply(pcm(), headers=PCM))) as server:  # type: ignore[arg-type]
        result = run_takes(
            Target(server.url, dialect="openai"), endless(), Voice.by_name("v"), tmp_path,
            on_take=on_take, stop=lambda: "enough" if written == 20 else None,
        )  # fmt: skip
    assert result.ok == 19


def test_takes_are_never_overwritten(tmp_path: Path) -> None:
    with serving(voices(lambda asked, n: GOOD)) as server:  # type: ignore[arg-type]
        target = Target(server.url, dialect="openai")
        run_takes(target, say("a"), Voice.by_name("v"), tmp_path)
        with pytest.raises(BadInput, match="already holds takes"):
            run_takes(target, say("a"), Voice.by_name("v"), tmp_path)
        with pytest.raises(BadInput, match="two utterances"):
            run_takes(target, say("b", "b"), Voice.by_name("v"), tmp_path / "other")


def test_the_timed_takes_alone_are_in_the_window(tmp_path: Path) -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def window() -> Iterator[None]:
        events.append("opened")
        yield
        events.append("closed")

    def speech(asked: Asked, n: int) -> Reply:
        events.append(asked.json()["input"])
        return GOOD

    with serving(voices(speech)) as server:  # type: ignore[arg-type]
        run_takes(
            Target(server.url, dialect="openai"), say("a", "b"), Voice.by_name("v"), tmp_path, warmups=2,
            timed=window(),
        )  # fmt: skip
    assert events == [WARMUP.text, WARMUP.text, "opened", "text of a", "text of b", "closed"]


def test_what_the_entry_says_of_a_body_without_a_header_counts(tmp_path: Path) -> None:
    run = HttpRun(kind="http", dialect="openai", sample_rate_hz=RATE, container="raw")
    plain = Reply(pcm(), headers={"Content-Type": "text/plain"})
    with serving(voices(lambda asked, n: plain)) as server:  # type: ignore[arg-type]
        result = run_takes(Target.from_run(run, server.url), say("a"), Voice.by_name("v"), tmp_path)
        probed = Target.from_run(run.model_copy(update={"dialect": "auto"}), server.url)
        again = run_takes(probed, say("a"), Voice.by_name("v"), tmp_path / "probed")
    assert (result.ok, again.ok, again.detection.container) == (1, 1, "raw")


def test_a_server_may_say_whether_it_had_the_reference(tmp_path: Path) -> None:
    (tmp_path / "ref.wav").write_bytes(wav(pcm()))
    voice = Voice.clone(tmp_path / "ref.wav", "words", how="request")

    def speech(asked: Asked, n: int) -> Reply:
        return Reply(pcm(), headers=PCM | {"X-Reference-Cached": ("false", "true", "perhaps")[n]})

    with serving(voices(speech)) as server:  # type: ignore[arg-type]
        run_takes(Target(server.url, dialect="openai"), say("a", "b"), voice, tmp_path / "takes")
    assert [take.reference_cached for take in lines(tmp_path / "takes")] == [False, True, None]


def test_nothing_to_say_is_an_empty_pass(tmp_path: Path) -> None:
    with serving(voices(lambda asked, n: GOOD)) as server:  # type: ignore[arg-type]
        result = run_takes(Target(server.url, dialect="openai"), [], Voice.by_name("v"), tmp_path)
    assert (result.takes, result.warmups) == (0, 0)


def test_the_token_is_in_no_record_even_when_the_server_echoes_it(tmp_path: Path) -> None:
    def speech(asked: Asked, n: int) -> Reply:
        return Reply.of({"error": {"message": f"bad {asked.headers['authorization']}"}}, "401 Unauthorized")

    with serving(voices(speech)) as server:  # type: ignore[arg-type]
        target = Target(server.url, dialect="openai", token=SecretStr("s3cret"))
        result = run_takes(target, say("a"), Voice.by_name("v"), tmp_path)
    assert "s3cret" not in (tmp_path / "takes.jsonl").read_text() + result.model_dump_json()
    assert json.loads((tmp_path / "takes.jsonl").read_text().splitlines()[0])["error"]["kind"] == "http_401"


def test_a_server_out_of_reach_is_said_before_any_take(tmp_path: Path) -> None:
    with serving(lambda asked: GOOD) as server:
        url = server.url
    with pytest.raises(ServerUnusable) as caught:
        run_takes(Target(url, dialect="openai"), say("a"), Voice.by_name("v"), tmp_path)
    assert caught.value.kind == "connection_refused"
