"""Real speech of two espeak-ng voices, behind servers that honour the voice or pretend to."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.client.target import Target, Voice
from bench.client.voicecheck import VoiceCheck, check_voice, voices_differ
from tests.client.raw_server import Asked, Reply, serving
from tests.client.sound import espeak, pcm, wav

WAV = {"Content-Type": "audio/wav"}


@functools.cache
def said(voice: str, pitch: int, text: str) -> bytes:
    return espeak(voice, text, pitch)


def check(speech: Callable[[Asked, int], Reply], voice: Voice) -> VoiceCheck:
    count = 0

    def handler(asked: Asked) -> Reply:
        nonlocal count
        if asked.method == "GET" or asked.path.endswith("/voices"):
            return Reply.of({}, "404 Not Found")
        count += 1
        return speech(asked, count)

    with serving(handler) as server:
        return check_voice(Target(server.url, dialect="openai_wav"), voice)


def speak(voice: str, asked: Asked, pitch: int = 50) -> Reply:
    return Reply(said(voice, pitch, asked.json()["input"]), headers=WAV)


@pytest.fixture
def clone(tmp_path: Path) -> Voice:
    (tmp_path / "ref.wav").write_bytes(wav(pcm()))
    return Voice.clone(tmp_path / "ref.wav", "words")


def test_a_server_that_refuses_unknown_names_honours_the_known_one() -> None:
    def speech(asked: Asked, _: int) -> Reply:
        if asked.json()["voice"] != "ada":
            return Reply.of({"error": {"message": "no such voice"}}, "404 Not Found")
        return speak("en-us", asked)

    got = check(speech, Voice.named("ada"))
    assert (got.verdict, got.unknown_refused) == ("honoured", True)


def test_one_voice_for_every_name_is_caught_by_its_bytes() -> None:
    got = check(lambda asked, _: speak("en-us", asked), Voice.named("ada"))
    assert (got.verdict, got.unknown_refused) == ("substituted", False)
    assert "very same samples" in got.evidence[-1]


def test_one_varying_voice_for_every_name_is_not_honoured() -> None:
    got = check(lambda asked, n: speak("en-us", asked, 48 + n), Voice.named("ada"))
    assert got.verdict == "unclear"
    assert got.distance_db is not None


def test_two_voices_are_told_apart_though_unknown_names_are_answered() -> None:
    def speech(asked: Asked, n: int) -> Reply:
        return speak("en-us+f4" if asked.json()["voice"] == "ada" else "en-us+m3", asked, 49 + n % 3)

    got = check(speech, Voice.named("ada"))
    assert (got.verdict, got.unknown_refused) == ("honoured", False)
    assert got.distance_db is not None and got.within_db is not None
    assert got.distance_db > got.within_db


def test_a_reference_that_is_ignored_is_caught(clone: Voice) -> None:
    got = check(lambda asked, _: speak("en-us", asked), clone)
    assert got.verdict == "substituted"
    assert got.unknown_voice is None


def test_a_server_that_needs_the_reference_honours_it(clone: Voice) -> None:
    def speech(asked: Asked, _: int) -> Reply:
        if "ref_audio" not in asked.json():
            return Reply.of({"detail": "ref_audio is required"}, "422 Unprocessable")
        return speak("en-us", asked)

    assert check(speech, clone).verdict == "honoured"


def test_a_refusal_that_is_not_about_voices_shows_nothing() -> None:
    def speech(asked: Asked, n: int) -> Reply:
        return speak("en-us", asked) if n == 1 else Reply(b"slow down", "429 Too Many")

    assert check(speech, Voice.named("ada")).verdict == "not_checked"


def test_a_voice_that_does_not_speak_shows_nothing() -> None:
    got = check(lambda asked, n: Reply(b"boom", "500 Oops"), Voice.named("ada"))
    assert got.verdict == "not_checked"
    assert "http_500" in got.evidence[0]


def test_the_rule_for_apart() -> None:
    assert voices_differ(3.0, 1.0)
    assert not voices_differ(0.5, 0.0)
    assert not voices_differ(3.0, 2.5)
