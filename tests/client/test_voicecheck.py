"""Real speech of two espeak-ng voices, behind servers that honour the voice or pretend to."""

import base64
import functools
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile

from bench.client.target import Target, Voice
from bench.client.voicecheck import Clip, check_one_voice, check_voice, make_other_reference, voices_differ
from bench.records.passes import VoiceCheck
from tests.support.raw_server import Asked, Reply, serving
from tests.support.sound import RATE, espeak, pcm, wav

pytestmark = pytest.mark.needs("espeak-ng")

ESPEAK_HZ = 22050
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

    got = check(speech, Voice.by_name("ada"))
    assert (got.verdict, got.unknown_refused) == ("honoured", True)


def test_one_voice_for_every_name_is_caught_by_its_bytes() -> None:
    got = check(lambda asked, _: speak("en-us", asked), Voice.by_name("ada"))
    assert (got.verdict, got.unknown_refused) == ("substituted", False)
    assert "very same samples" in got.evidence[-1]


def test_one_varying_voice_for_every_name_is_not_honoured() -> None:
    got = check(lambda asked, n: speak("en-us", asked, 48 + n), Voice.by_name("ada"))
    assert got.verdict == "unclear"
    assert got.distance_db is not None


def test_two_voices_are_told_apart_though_unknown_names_are_answered() -> None:
    def speech(asked: Asked, n: int) -> Reply:
        return speak("en-us+f4" if asked.json()["voice"] == "ada" else "en-us+m3", asked, 49 + n % 3)

    got = check(speech, Voice.by_name("ada"))
    assert (got.verdict, got.unknown_refused) == ("honoured", False)
    assert got.distance_db is not None and got.within_db is not None
    assert got.distance_db > got.within_db


class Families:
    """What each family of servers does with a clone's reference: uses it, or ignores it and lets nobody see."""

    def __init__(self, ignores: bool) -> None:
        self.ignores = ignores
        self.uploads: dict[str, bytes] = {}

    def answer(self, asked: Asked) -> Reply:
        """Each refuses whoever gives no reference, or the name of one that it was never given."""
        path, refused = asked.path, Reply.of({"detail": "a reference is required"}, "422 Unprocessable")
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        if path == "/upload_reference":
            name = asked.body.partition(b'filename="')[2].partition(b'"')[0].decode()
            self.uploads[name] = asked.form()["files"]
            return Reply.of({"uploaded_files": [name]})
        if path == "/v1/audio/voices":
            form = asked.form()
            self.uploads[form["name"].decode()] = form["audio_sample"]
            return Reply.of({"voice": "kept"}, "201 Created")
        if path == "/tts":
            body = asked.json()
            if body["voice_mode"] != "clone" or body["reference_audio_filename"] not in self.uploads:
                return Reply.of({"detail": "no such file"}, "404 Not Found")
            return self.speak(self.uploads[body["reference_audio_filename"]], body["text"])
        if path.startswith("/inference_"):
            form = asked.form()
            if "prompt_wav" not in form:
                return refused
            return self.speak(form["prompt_wav"], form["tts_text"].decode(), raw=True)
        if path.endswith("/upload"):
            form = asked.form()
            if "voice_file" not in form:
                return refused
            return self.speak(form["voice_file"], form["input"].decode())
        body = asked.json()
        if "ref_audio" in body:
            return self.speak(base64.b64decode(body["ref_audio"].partition(",")[2]), body["input"])
        if body.get("voice") in self.uploads:
            return self.speak(self.uploads[body["voice"]], body["input"])
        return refused

    def speak(self, reference: bytes, text: str, raw: bool = False) -> Reply:
        deep = int.from_bytes(reference[24:28], "little") < RATE
        speech = said("en-us+m3" if deep and not self.ignores else "en-us+f4", 50, text)
        return Reply(speech[44:]) if raw else Reply(speech, headers=WAV)


CLONES = ("openai_wav", "openai_wav registered", "travisvn", "travisvn_stream", "devnen", "cosyvoice")


@pytest.mark.parametrize("ignores", [True, False], ids=["ignores", "uses"])
@pytest.mark.parametrize("family", CLONES)
def test_a_reference_counts_only_where_another_one_sounds_different(
    clone: Voice, family: str, ignores: bool, tmp_path: Path
) -> None:
    dialect, _, registered = family.partition(" ")
    server_side = Families(ignores)
    how: Literal["auto", "request"] = "auto" if registered or dialect == "devnen" else "request"
    with serving(server_side.answer) as server:
        got = check_voice(
            Target(server.url, dialect=dialect, sample_rate_hz=ESPEAK_HZ if dialect == "cosyvoice" else None),
            replace(clone, how=how),
            keep=tmp_path / "clips",
        )
    assert got.verdict == ("substituted" if ignores else "honoured"), got.evidence
    assert got.other_reference == "the reference played at 0.8 times its speed"
    assert got.unknown_refused is (True if how == "auto" else None)
    assert sorted(clip.name for clip in (tmp_path / "clips").iterdir()) == ["asked.wav", "other.wav"]
    if dialect == "devnen":
        bodies = [asked.json() for asked in server.asked if asked.path == "/tts"]
        assert {body["voice_mode"] for body in bodies} == {"clone"}
        assert f"{got.unknown_voice}.wav" in {body["reference_audio_filename"] for body in bodies}


def test_a_reference_that_is_ignored_by_a_varying_server_is_not_honoured(clone: Voice) -> None:
    got = check(lambda asked, n: speak("en-us", asked, 48 + n), replace(clone, how="request"))
    assert got.verdict == "unclear"


def test_one_voice_for_every_registered_name_is_caught_without_a_second_reference(clone: Voice) -> None:
    def handler(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        return Reply.of({}) if asked.path.endswith("/voices") else speak("en-us", asked)

    with serving(handler) as server:
        got = check_voice(Target(server.url, dialect="openai_wav"), clone)
    assert (got.verdict, got.unknown_refused, got.other_reference) == ("substituted", False, None)


@pytest.mark.parametrize("dialect", ["openai_file", "travisvn", "devnen", "cosyvoice"])
def test_a_name_of_the_servers_own_is_asked_for_beside_a_strangers(dialect: str) -> None:
    def handler(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        if dialect == "cosyvoice":  # It looks the speaker up after it has said 200.
            known = asked.form()["spk_id"] == b"ada"
            return Reply(said("en-us", 50, asked.form()["tts_text"].decode())[44:] if known else b"")
        body = asked.json()
        if body.get("voice", body.get("predefined_voice_id")) != "ada":
            return Reply.of({"detail": "no such voice"}, "404 Not Found")
        return Reply(said("en-us", 50, body.get("input", body.get("text"))), headers=WAV)

    rate = ESPEAK_HZ if dialect == "cosyvoice" else None
    with serving(handler) as server:
        got = check_voice(Target(server.url, dialect=dialect, sample_rate_hz=rate), Voice.by_name("ada"))
    assert (got.verdict, got.unknown_refused) == ("honoured", True), got.evidence


def test_a_second_reference_that_is_refused_shows_nothing(clone: Voice) -> None:
    def speech(asked: Asked, n: int) -> Reply:
        return speak("en-us", asked) if n == 1 else Reply.of({"detail": "too short"}, "422 Unprocessable")

    got = check(speech, replace(clone, how="request"))
    assert got.verdict == "not_checked"
    assert "too short" in got.evidence[-1]


@pytest.mark.parametrize(
    ("seconds", "rate", "wanted"), [(9.0, 24000, 19200), (10.0, 24000, 30000), (9.0, 16000, 20000)]
)
def test_the_second_reference_stays_within_what_servers_take(
    tmp_path: Path, seconds: float, rate: int, wanted: int
) -> None:
    soundfile.write(tmp_path / "ref.wav", np.zeros(round(seconds * rate), np.int16), rate)
    data, _ = make_other_reference(tmp_path / "ref.wav")
    values, got = soundfile.read(io.BytesIO(data), dtype="int16")
    assert (got, len(values)) == (wanted, round(seconds * rate))


def test_a_refusal_that_is_not_about_voices_shows_nothing() -> None:
    def speech(asked: Asked, n: int) -> Reply:
        return speak("en-us", asked) if n == 1 else Reply(b"slow down", "429 Too Many")

    assert check(speech, Voice.by_name("ada")).verdict == "not_checked"


def test_a_voice_that_does_not_speak_shows_nothing() -> None:
    got = check(lambda asked, n: Reply(b"boom", "500 Oops"), Voice.by_name("ada"))
    assert got.verdict == "not_checked"
    assert "http_500" in got.evidence[0]


def test_the_rule_for_apart() -> None:
    assert voices_differ(3.0, 1.0)
    assert not voices_differ(0.5, 0.0)
    assert not voices_differ(3.0, 2.5)


# A server of one voice


def listen(speech: Callable[[Asked, int], Reply], voice: str | None, times: int = 2) -> list[VoiceCheck]:
    """What a server of one voice is found to be, before a pass and after it."""
    found: list[VoiceCheck] = []
    clips: list[Clip] = []
    count = 0

    def handler(asked: Asked) -> Reply:
        nonlocal count
        if asked.method == "GET":
            return Reply.of({}, "404 Not Found")
        assert asked.path == "/v1/audio/speech", "nothing is registered with it"
        assert asked.json().get("voice") == voice
        count += 1
        return speech(asked, count)

    with serving(handler) as server:
        for _ in range(times):
            got, clips = check_one_voice(Target(server.url, dialect="openai_wav"), Voice(name=voice), clips)
            found.append(got)
    return found


@pytest.mark.parametrize("voice", [None, "the only one"])
def test_one_voice_that_varies_as_people_do_is_one_voice_throughout(voice: str | None) -> None:
    before, after = listen(lambda asked, n: speak("en-us", asked, 48 + n), voice)
    assert (before.verdict, after.verdict) == ("one_voice", "one_voice"), after.evidence
    assert "4 takes" in after.evidence[0] and after.voice == (voice or "default")
    assert after.within_db is not None and after.distance_db is not None
    assert 0 < after.within_db < after.distance_db


def test_one_voice_that_says_the_same_samples_each_time_is_one_voice() -> None:
    assert [each.verdict for each in listen(lambda asked, _: speak("en-us", asked), None)] == [
        "one_voice"
    ] * 2


def test_a_voice_that_is_another_after_the_pass_has_changed() -> None:
    before, after = listen(lambda asked, n: speak("en-us" if n <= 2 else "en-us+f4", asked, 49 + n % 3), None)
    assert (before.verdict, after.verdict) == ("one_voice", "changed")
    assert "another voice than before" in after.evidence[-1]


def test_voices_by_turns_are_no_one_voice() -> None:
    (before,) = listen(lambda asked, n: speak("en-us+m3" if n % 2 else "en-us+f4", asked), None, times=1)
    assert before.verdict == "unclear"


def test_a_server_of_one_voice_that_fails_shows_nothing() -> None:
    (got,) = listen(lambda asked, n: Reply(b"boom", "500 Oops"), None, times=1)
    assert got.verdict == "not_checked"
