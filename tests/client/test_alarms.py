"""What a whole pass says, of servers that do the same wrong thing to every take."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.client.alarms import says_twice
from bench.client.speech import count_syllables, find_unusual, shortest_s
from bench.client.takes import run_takes
from bench.client.target import Target, Voice
from bench.records.passes import PassResult
from bench.records.run import Utterance
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, tone
from tests.support.voiced import voiced

SAID = [
    Utterance(id=f"u{index}", text=text)
    for index, text in enumerate(
        (
            "The ferry leaves at noon, and the last one comes back after dark.",
            "Nobody had told the baker that the mill was closed.",
            "Seven lanterns hung along the garden wall.",
            "Please bring a coat, because the evening will be cold.",
        )
    )
]
PCM = {"Content-Type": "audio/pcm", "X-Sample-Rate": str(RATE)}


def speech_of(text: str, seed: int = 0) -> NDArray[np.int16]:
    """Something like speech, 0.22 s a syllable."""
    seconds = 0.22 * count_syllables(text)
    hiss = np.random.default_rng(seed or len(text)).normal(0, 0.003, round(seconds * RATE))
    spoken: NDArray[np.int16] = np.rint((voiced(seconds, RATE) + hiss) * 32767).astype("<i2")
    return spoken


def passed(make: object, tmp_path: Path, headers: dict[str, str] = PCM) -> PassResult:
    def handler(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        return Reply(make(asked.json()["input"]).tobytes(), headers=headers)  # type: ignore[operator]

    with serving(handler) as server:
        return run_takes(Target(server.url, dialect="openai"), SAID, Voice.by_name("v"), tmp_path)


def kinds(result: PassResult) -> list[str]:
    return [alarm.kind for alarm in result.alarms]


def test_plain_speech_alarms_nobody(tmp_path: Path) -> None:
    result = passed(speech_of, tmp_path)
    assert (result.ok, result.alarms) == (4, [])


def test_every_sentence_twice_from_the_same_samples(tmp_path: Path) -> None:
    def twice(text: str) -> np.ndarray:
        once = speech_of(text)
        return np.concatenate([once, np.zeros(4000, "<i2"), once])

    result = passed(twice, tmp_path)
    assert (result.ok, kinds(result)) == (4, ["length", "twice"])
    assert result.alarms[0].value == pytest.approx(0.45, abs=0.03)


@pytest.mark.parametrize("again", [1, 2])
def test_every_sentence_spoken_twice_or_at_half_its_rate(again: int, tmp_path: Path) -> None:
    def wrong(text: str) -> np.ndarray:
        if again == 1:
            return np.concatenate([speech_of(text, 5), speech_of(text, 6)])
        return np.repeat(speech_of(text), 2)

    assert kinds(passed(wrong, tmp_path)) == ["length"]


def test_takes_of_half_their_length(tmp_path: Path) -> None:
    assert kinds(passed(lambda text: speech_of(text)[::2], tmp_path)) == ["length"]


def test_noise_in_every_take(tmp_path: Path) -> None:
    result = passed(lambda text: speech_of(text).byteswap(), tmp_path)
    assert (result.ok, result.failed, kinds(result)) == (0, {"noise": 4}, ["noise"])


def test_noise_in_one_take_is_that_takes_failure(tmp_path: Path) -> None:
    def once(text: str) -> np.ndarray:
        return speech_of(text).byteswap() if text == SAID[0].text else speech_of(text)

    result = passed(once, tmp_path)
    assert (result.ok, result.failed, result.alarms) == (3, {"noise": 1}, [])


def test_answers_that_end_with_their_connection(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(65536)
                text = next(
                    (each.text for each in SAID if each.text.encode() in asked),
                    "One two three four five six.",
                )
                status = b"200 OK" if asked.startswith(b"POST") else b"404 Not Found"
                head = b"HTTP/1.1 " + status + b"\r\nContent-Type: audio/pcm; rate=24000\r\n\r\n"
                connection.sendall(head + speech_of(text).tobytes())

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        target = Target(f"http://127.0.0.1:{listener.getsockname()[1]}", dialect="openai")
        result = run_takes(target, SAID, Voice.by_name("v"), tmp_path)
        listener.shutdown(socket.SHUT_RDWR)
    assert (result.ok, kinds(result), result.alarms[0].value) == (4, ["unproved"], 4)


def test_a_tone_does_not_say_itself_twice() -> None:
    assert not says_twice(tone(2.0), RATE)
    once = speech_of(SAID[0].text)
    assert says_twice(np.concatenate([once, once]), RATE)
    assert not says_twice(np.concatenate([once, once[: once.size // 2]]), RATE)
    assert not says_twice(np.zeros(RATE, np.int16), RATE)
    assert says_twice((np.concatenate([once, once]) / 32768).astype(np.float32), RATE)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Good morning.", 3),
        ("the little table", 5),
        ("One called; nobody moved.", 6),
        ("BBC 1984", 2),
        ("na\u00efve caf\u00e9", 2),
        ("\u4f60\u597d\u3002\u518d\u89c1", 4),
        ("\uc548\ub155\ud558\uc138\uc694", 5),
        ("\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", 2),
        ("- ... !", 0),
    ],
)
def test_syllables_are_counted_rather_low(text: str, count: int) -> None:
    assert count_syllables(text) == count
    assert shortest_s(text) == pytest.approx(0.04 * count)


def test_of_one_or_two_takes_nothing_is_said() -> None:
    assert find_unusual([0.9, 0.9]) is None
    assert find_unusual([0.9, 0.9, 0.2]) == 0.9
    assert find_unusual([0.12, 0.4, 0.2]) is None
