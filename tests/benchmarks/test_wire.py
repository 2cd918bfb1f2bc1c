"""What a tap on the wire says of a take, and that an error of the client's shows in the comparison with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.catalog.entry import HttpRun
from bench.client.takes import WARMUP
from bench.errors import AuditionError, BadInput
from benchmarks.heard import hear
from benchmarks.tap import Tapped
from benchmarks.wire import _by_take, main, measure
from tests.support.pace import limit
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, pcm, wav

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MS = 1_000_000


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def levels(*runs: tuple[int, float]) -> bytes:
    """Samples of each value for so many milliseconds."""
    return b"".join(np.full(round(ms * RATE / 1000), value, "<i2").tobytes() for value, ms in runs)


def tapped(*pieces: tuple[float, bytes]) -> Tapped:
    return Tapped([(1000 * MS, b"POST")], [(round((1000 + at) * MS), data) for at, data in pieces])


def test_a_streams_figures_are_those_by_hand() -> None:
    """At 20 ms come 50 ms within 1 of zero, at 40 the first 100 ms of sound. The next are due at 140: at 200 they are
    60 ms late. Those of 304 are 4 ms late, which is no stall."""
    answer = tapped(
        (10, HEAD),
        (20, chunk(levels((1, 25), (-1, 25)))),
        (40, chunk(levels((0, 30), (2, 70)))),
        (200, chunk(levels((900, 100)))),
        (304, chunk(levels((900, 100)))),
        (310, b"0\r\n\r\n"),
    )
    heard = hear([answer], RATE)
    assert (heard.ttfa_ms, heard.total_ms, heard.stalls) == (40.0, 310.0, 1)
    assert heard.stall_ms == pytest.approx(60.0, abs=0.1)
    assert heard.audio_s == pytest.approx(0.35)


def test_a_sample_has_come_when_its_second_byte_has() -> None:
    sound = levels((900, 100))
    answer = tapped((10, HEAD), (20, chunk(sound[:1])), (50, chunk(sound[1:])), (60, b"0\r\n\r\n"))
    assert hear([answer], RATE).ttfa_ms == 50.0


def test_the_clock_begins_with_the_first_attempt_and_a_wav_says_its_rate() -> None:
    body = wav(pcm(0.5))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    busy = Tapped([(500 * MS, b"POST")], [(510 * MS, b"HTTP/1.1 503 Busy\r\n\r\n")])
    heard = hear([busy, tapped((10, head + body[:44]), (30, body[44:]))], None)
    assert (heard.ttfa_ms, heard.total_ms, heard.stalls, heard.audio_s) == (530.0, 530.0, 0, 0.5)


def test_several_wavs_in_one_answer_are_one_take() -> None:
    """The second 100 ms come 30 ms after the first are over."""
    file = wav(levels((900, 100)))
    heard = hear([tapped((10, HEAD), (20, chunk(file)), (150, chunk(file) + b"0\r\n\r\n"))], None)
    assert (heard.ttfa_ms, heard.audio_s, heard.stalls) == (20.0, 0.2, 1)
    assert heard.stall_ms == pytest.approx(30.0, abs=0.1)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\n\r\n"
    assert hear([tapped((10, head + pcm(0.5)), (90, b""))], RATE).total_ms == 90.0


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (((10, HEAD + chunk(pcm(0.5))),), "no complete answer"),
        (((10, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12"),), "7 bytes missing"),
        (((10, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),), "status 404"),
        (((10, HEAD + chunk(wav(pcm(0.5), channels=2)) + b"0\r\n\r\n"),), "one channel"),
        (((10, HEAD + chunk(levels((1, 90))) + b"0\r\n\r\n"),), "further than 1 from zero"),
    ],
)
def test_what_it_cannot_read_it_refuses(pieces: Any, words: str) -> None:
    with pytest.raises(AuditionError, match=words):
        hear([tapped(*pieces)], RATE)


def stalling(asked: Asked) -> Reply:
    """0.2 s of sound after 0.1 s, and 3 s after another 0.5: one stall of 0.3 s."""
    if asked.method == "GET":
        return Reply.of({}, "404 Not Found")
    assert asked.json()["input"]
    return Reply(pieces=[(0.1, pcm(0.2)), (0.5, pcm(3.0))], headers={"Content-Type": "audio/pcm"})


RUN = HttpRun(kind="http", dialect="openai", sample_rate_hz=RATE, voice="ada")


@pytest.mark.slow
def test_client_and_tap_agree_of_a_server_that_stalls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(stalling) as server:
        main(
            [server.url, *("--dialect", "openai", "--rate", str(RATE), "--voice", "ada"),
             *("--takes", "2", "--json", str(tmp_path / "wire.json"))]
        )  # fmt: skip
    written = json.loads((tmp_path / "wire.json").read_text())
    assert [take["utterance_id"] for take in written["takes"]] == ["greeting-0", "repeat-0"]
    for take in written["takes"]:
        client, tap = take["client"], take["tap"]
        assert tap["ttfa_ms"] == pytest.approx(client["ttfa_ms"], abs=limit(20))
        assert tap["total_ms"] == pytest.approx(client["total_ms"], abs=limit(20))
        assert tap["stall_ms"] == pytest.approx(client["stall_ms"], abs=limit(20))
        assert tap["stalls"] == client["stalls"] == 1
        assert tap["ttfa_ms"] >= 100 and tap["total_ms"] >= 600 and tap["stall_ms"] > 100
        assert tap["audio_s"] == client["audio_s"] == pytest.approx(3.2)
    shown = capsys.readouterr().out
    assert "ttfa_ms: the client's difference from the tap, p99" in shown and "takes that streamed" in shown


def test_what_was_asked_before_the_warm_up_is_no_take() -> None:
    """To find the dialect, for instance, be it by words that a sentence has too."""
    sentence, warmup = (
        Tapped([(0, f'{{"input":"{text}"}}'.encode())]) for text in ("Good morning.", WARMUP.text)
    )
    models = Tapped([(0, b"GET /v1/models")])
    assert _by_take([models, sentence, warmup, sentence, sentence]) == [[warmup], [sentence, sentence]]


@pytest.mark.slow
def test_a_client_that_hears_late_is_found() -> None:
    """As late as the tap makes it, by handing on what it has noted."""
    with serving(stalling) as server:
        rows, takes = measure(server.url, RUN, 1, hold_s=0.2)
    by_name = {each["name"]: each for each in rows}
    late = by_name["ttfa_ms: the client's difference from the tap, median"]
    assert late["value"] >= 200 and late["ok"] is False
    assert takes[0]["client"]["ttfa_ms"] - takes[0]["tap"]["ttfa_ms"] == late["value"]


def test_takes_that_failed_are_counted_and_https_is_refused() -> None:
    with serving(lambda asked: Reply.of({"error": "broken"}, "500 Oops")) as server:
        rows, takes = measure(server.url, RUN, 1)
    assert takes == []
    assert [(each["value"], each["ok"]) for each in rows if each["name"] == "takes"] == [(0.0, False)]
    with pytest.raises(BadInput, match="plain http alone"):
        measure("https://127.0.0.1:1", RUN, 1)
