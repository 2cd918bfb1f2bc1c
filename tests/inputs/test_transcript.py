"""The four forms of transcript, and what is wrong with those that are refused."""

import json
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.inputs import transcript


def _read(tmp_path: Path, content: str | bytes, name: str = "clip.vtt") -> transcript.Transcript:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return transcript.read(path)


def test_webvtt_with_all_that_it_may_hold(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "\ufeffWEBVTT - a clip\nKind: captions\n\nNOTE made by hand\nover two lines\n\n"
        "STYLE\n::cue { color: red }\n\n"
        "intro\n00:01.000 --> 00:02.500 align:start position:10%\n<v Ann>Tom &amp; <i>Jerry</i>\nmet.\n\n"
        "00:00:03.000 --> 01:00:04.250\n<c.loud>Again</c> <00:00:03.500>today.\n",
    )
    assert found.format == "webvtt"
    assert [(cue.start_s, cue.end_s, cue.text, cue.speaker) for cue in found.cues] == [
        (1.0, 2.5, "Tom & Jerry met.", "Ann"),
        (3.0, 3604.25, "Again today.", None),
    ]
    assert found.text == "Tom & Jerry met. Again today."


def test_srt_with_windows_line_ends(tmp_path: Path) -> None:
    srt = (
        "1\r\n00:00:00,500 --> 00:00:02,000\r\n{\\an8}<b>Hello</b> there.\r\n\r\n"
        "2\r\n00:00:02,100 --> 00:00:03,000\r\nBye.\r\n"
    )
    found = _read(tmp_path, srt, "clip.srt")
    assert found.format == "srt"
    assert [(cue.start_s, cue.end_s, cue.text) for cue in found.cues] == [
        (0.5, 2.0, "Hello there."),
        (2.1, 3.0, "Bye."),
    ]


@pytest.mark.parametrize("key", ["segments", "cues", None])
def test_json_segments(tmp_path: Path, key: str | None) -> None:
    segments = [
        {"start": 0, "end": 1.5, "text": " One. ", "speaker": "A"},
        {"start": 2, "end": 3, "text": "Two."},
    ]
    found = _read(
        tmp_path, json.dumps({key: segments, "text": "One. Two."} if key else segments), "clip.json"
    )
    assert [(cue.start_s, cue.end_s, cue.text, cue.speaker) for cue in found.cues] == [
        (0.0, 1.5, "One.", "A"),
        (2.0, 3.0, "Two.", None),
    ]


def test_text_alone_as_json_and_as_a_plain_file(tmp_path: Path) -> None:
    for content, name in (
        ('{"audio_filepath": "x.wav", "text": "One two."}', "m.json"),
        ("One\n  two.\n", "t.txt"),
    ):
        found = _read(tmp_path, content, name)
        assert (found.text, found.cues) == ("One two.", ())


def test_a_note_on_noises_is_not_spoken_but_remembered(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "WEBVTT\n\n00:00.000 --> 00:01.000\n[door slams]\n\n00:01.000 --> 00:02.000\nWell (laughs) yes.\n",
    )
    assert [(cue.text, cue.annotated) for cue in found.cues] == [("", True), ("Well yes.", True)]
    assert found.text == "Well yes."


def test_chinese_cues_are_joined_without_a_space(tmp_path: Path) -> None:
    found = _read(tmp_path, "WEBVTT\n\n00:00.000 --> 00:01.000\n你好。\n\n00:01.000 --> 00:02.000\n再见。\n")
    assert found.text == "你好。再见。"


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("", "clip.vtt", "empty"),
        (" \n", "clip.txt", "empty"),
        ("...", "clip.txt", "no words"),
        (b"caf\xe9", "clip.txt", "not UTF-8"),
        (b"RIFF\x00\x00", "clip.txt", "NUL"),
        ("Hello", "clip.vtt", "begins with the line WEBVTT"),
        ("WEBVTT\n\nNOTE nothing\n", "clip.vtt", "without a single cue"),
        ("WEBVTT\n00:00.000 --> 00:01.000\nHi.\n", "clip.vtt", "blank line"),
        ("WEBVTT\n\n00:00.000 -> 00:01.000\nHi.\n", "clip.vtt", "clip.vtt:3"),
        ("WEBVTT\n\n0.0 --> 1.0\nHi.\n", "clip.vtt", "cannot read the times"),
        ("WEBVTT\n\n00:02.000 --> 00:01.000\nHi.\n", "clip.vtt", "its end must follow"),
        (
            "WEBVTT\n\n00:00.000 --> 00:01.000\nHi.\n00:01.000 --> 00:02.000\nHo.\n",
            "clip.vtt",
            "two cues without",
        ),
        ("WEBVTT\n\n00:05.000 --> 00:06.000\nHi.\n\n00:01.000 --> 00:02.000\nHo.\n", "clip.vtt", "in order"),
        (
            "WEBVTT\n\n00:01.000 --> 00:03.000\nHi.\n\n00:02.000 --> 00:04.000\nHo.\n",
            "clip.vtt",
            "clip.vtt:6",
        ),
        ("WEBVTT\n\n00:01.000 --> 00:03.000\n<v Ann>Hi.\n<v Bo>Ho.\n", "clip.vtt", "Ann, Bo"),
        ("{", "clip.json", "not JSON"),
        ('{"words": []}', "clip.json", "`segments`"),
        ('[{"start": "0", "end": 1, "text": "Hi"}]', "clip.json", "segments[0]"),
        ('[{"start": NaN, "end": 1, "text": "Hi"}]', "clip.json", "segments[0]"),
        (f'[{{"start": 0, "end": 1{"0" * 400}, "text": "Hi"}}]', "clip.json", "segments[0]"),
        ("[" * 100_000, "clip.json", "not JSON"),
        ('{"text": "Hi \\ud83d"}', "clip.json", "half a character"),
        ("WEBVTT\n\n00:01.000 --> 00:03.000\n- Hi.\n- Ho.\n", "clip.vtt", "a dialogue"),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, content: str | bytes, name: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        _read(tmp_path, content, name)
    assert says in str(refused.value)
    assert str(tmp_path / name) in str(refused.value)


def test_what_is_spoken_is_not_taken_for_markup(tmp_path: Path) -> None:
    cue = (
        "WEBVTT\n\n00:00.000 --> 00:03.000\n<c.yellow>If</c> 2 < 3 and 5 > 4<br>then <00:00:01.500>- well -\n"
    )
    assert _read(tmp_path, cue, "clip.vtt").text == "If 2 < 3 and 5 > 4 then - well -"


def test_a_missing_transcript_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="WebVTT, SRT, JSON or plain text"):
        transcript.read(tmp_path / "none.vtt")
