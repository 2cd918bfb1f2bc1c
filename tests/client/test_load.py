import base64
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.client.load import MAX_TAKES, arrivals, closed_loop, open_loop
from bench.client.takes import WARMUP
from bench.client.target import Target, Voice
from bench.errors import BadInput
from bench.records.run import Utterance
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, pcm, wav

SAID = [Utterance(id="a", text="one"), Utterance(id="b", text="two")]


def slow(asked: Asked) -> Reply:
    if asked.method == "GET":
        return Reply.of({}, "404 Not Found")
    return Reply(pieces=[(0.15, pcm(0.1))], headers={"Content-Type": f"audio/pcm;rate={RATE}"})


@pytest.mark.slow
def test_closed_loop_keeps_that_many_under_way() -> None:
    together = threading.Barrier(4, timeout=30)

    def in_fours(asked: Asked) -> Reply:
        if asked.method == "POST" and asked.json()["input"] != WARMUP.text:
            together.wait()  # broken, and the take aborted, where fewer than four are ever under way
        return slow(asked)

    with serving(in_fours) as server:
        got = closed_loop(Target(server.url, dialect="openai"), SAID, Voice.by_name("v"), concurrency=4, n=12)
        assert server.most_under_way == 4
        said = [asked.json()["input"] for asked in server.asked if asked.method == "POST"]
    assert said[0] == WARMUP.text and WARMUP.text not in said[1:]
    assert [take.utterance_id for take in got.takes] == ["a", "b"] * 6
    assert (got.mode, got.concurrency, got.most_under_way, got.failed) == ("closed", 4, 4, {})
    assert got.ttfa_ms.n == 12
    assert got.ttfa_ms.p50 is not None and got.ttfa_ms.p50 >= 150
    assert got.audio_s_per_s == pytest.approx(1.2 / got.wall_s)
    assert got.late_ms is None


def test_open_loop_does_not_wait_for_answers() -> None:
    with serving(slow) as server:
        got = open_loop(
            Target(server.url, dialect="openai"),
            SAID,
            Voice.by_name("v"),
            rate_per_s=100,
            n=10,
            arrivals_seed=3,
        )
        assert server.most_under_way > 4
    schedule = arrivals(100, 10, 3)
    assert all(left >= at - 1e-3 for left, at in zip(got.left_s, schedule, strict=True))
    assert got.late_ms is not None and got.late_ms.n == 10


@pytest.mark.slow
def test_a_cold_load_sends_no_reference_twice(tmp_path: Path) -> None:
    clip = tmp_path / "ref.wav"
    clip.write_bytes(wav(pcm()))
    with serving(slow) as server:
        target = Target(server.url, dialect="openai")
        voice = Voice.clone(clip, "words", how="request")
        got = closed_loop(target, SAID, voice, concurrency=2, n=5, cold=True)
        sent = [asked.json()["ref_audio"] for asked in server.asked if asked.method == "POST"]
        with pytest.raises(BadInput, match="cold"):
            closed_loop(target, SAID, Voice.by_name("v"), concurrency=1, n=1, cold=True)
    assert len(sent) == 6 and len(set(sent)) == 6
    decoded = base64.b64decode(sent[-1].partition(",")[2])
    values, _ = soundfile.read(io.BytesIO(decoded), dtype="int16")
    np.testing.assert_array_equal(values[: len(pcm()) // 2], np.frombuffer(pcm(), "<i2"))
    assert not values[len(pcm()) // 2 :].any()
    assert got.cold and [take.reference_cached for take in got.takes] == [False] * 5
    assert got.start_buffer_ms.n == 5


def test_arrivals_are_poisson_and_repeatable() -> None:
    times = arrivals(5.0, 4000, 1)
    assert times == arrivals(5.0, 4000, 1) != arrivals(5.0, 4000, 2)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(0.2, rel=0.05)
    assert gaps.std() == pytest.approx(0.2, rel=0.08)


def test_failures_are_counted_by_kind_and_left_out_of_the_summaries() -> None:
    with serving(lambda asked: Reply(b"no", "503 Busy")) as server:
        got = closed_loop(Target(server.url, dialect="openai"), SAID, Voice.by_name("v"), concurrency=2, n=4)
    assert got.failed == {"http_503": 4}
    assert (got.ttfa_ms.n, got.ttfa_ms.p50, got.audio_s_per_s) == (0, None, None)


def test_a_stream_that_breaks_off_is_known_by_the_warm_up() -> None:
    def delta(seconds: float) -> bytes:
        value = {"audio": base64.b64encode(pcm(seconds)).decode(), "sample_rate": RATE}
        return f"data: {json.dumps(value)}\n\n".encode()

    def speech(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        ends = [(0.0, b"data: [DONE]\n\n")] if asked.json()["input"] == WARMUP.text else []
        return Reply(pieces=[(0.0, delta(1.5)), *ends], headers={"Content-Type": "text/event-stream"})

    with serving(speech) as server:
        target = Target(server.url, dialect="openai_sse")
        got = closed_loop(target, SAID, Voice.by_name("v"), concurrency=1, n=2)
        untold = closed_loop(target, SAID, Voice.by_name("v"), concurrency=1, n=2, warmups=0)
    assert (got.failed, untold.failed) == ({"truncated": 2}, {})


def test_bad_loads_are_refused() -> None:
    target, voice = Target("http://127.0.0.1:9"), Voice.by_name("v")
    with pytest.raises(BadInput):
        closed_loop(target, [], voice, concurrency=1, n=1)
    with pytest.raises(BadInput):
        closed_loop(target, SAID, voice, concurrency=1, n=MAX_TAKES + 1)
    for rate_per_s in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInput):
            open_loop(target, SAID, voice, rate_per_s=rate_per_s, n=1)
    with pytest.raises(BadInput, match="0 asked for"):
        closed_loop(target, SAID, voice, concurrency=0, n=1)
