"""The four forms of transcript, and what is wrong with those that are refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


# What recognisers, editors and people write beside the words

WORDS = "The mill stands by the river. Its wheel has not turned for years."


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("[00:00:00.120 --> 00:00:02.040]   The mill stands by the river.\n"
         "[00:00:02.500 --> 00:00:05.000]   Its wheel has not turned for years.\n", "said.txt"),
        ("[00:00.120 --> 00:02.040] The mill stands by the river.\n"
         "[00:02.500 --> 00:05.000] Its wheel has not turned for years.", "said"),
        ("start\tend\ttext\n120\t2040\tThe mill stands by the river.\n"
         "2500\t5000\tIts wheel has not turned for years.\n", "said.tsv"),
        ("start,end,text\n120,2040,\"The mill stands by the river.\"\n"
         "2500,5000,\"Its wheel has not turned for years.\"\n", "said.csv"),
        ("Start;End;Speaker;Text\n0.12;2.04;Ida;The mill stands by the river.\n"
         "2.5;5.0;Ida;Its wheel has not turned for years.\n", "said.csv"),
        ("start\tend\ttext\n00:00.12\t00:02.04\tThe mill stands by the river.\n"
         "00:02.5\t00:05.0\tIts wheel has not turned for years.\n", "said.txt"),
        ("0.120000\t2.040000\tThe mill stands by the river.\n"
         "2.500000\t5.000000\tIts wheel has not turned for years.\n", "labels.txt"),
    ],
    ids=["whisper.cpp console", "whisper console", "tsv", "csv", "seconds and speaker", "clocks", "audacity"],
)  # fmt: skip
def test_times_before_the_words_are_times(tmp_path: Path, content: str, name: str) -> None:
    found = _read(tmp_path, content, name)
    assert found.text == WORDS
    assert [(cue.start_s, cue.end_s) for cue in found.cues] == [(0.12, 2.04), (2.5, 5.0)]
    assert [cue.line for cue in found.cues] in ([1, 2], [2, 3])


@pytest.mark.parametrize(
    "content",
    [
        "SPEAKER_00: The mill stands by the river.\nSPEAKER_00: Its wheel has not turned for years.",
        "[SPEAKER_01] The mill stands by the river.\n[SPEAKER_01] Its wheel has not turned for years.",
        "Speaker 1: The mill stands by the river. Its wheel has not turned for years.",
        "IDA: The mill stands by the river.\nIDA: Its wheel has not turned for years.",
        "Ida Holm: The mill stands by the river.\n\nIda Holm: Its wheel has not turned for years.",
        "**Ida:** The mill stands by the river.\n**Ida:** Its wheel has not turned for years.",
        ">> The mill stands by the river. Its wheel has not turned for years.",
        "[laughs] The mill stands by the river. (long pause) Its wheel has not turned for years. [BLANK_AUDIO]",
        "The mill stands *sighs* by the river. \u266a Its wheel has *not* turned for years. (clears throat)",
        "[00:12.34] The mill stands by the river.\n[00:15.01] Its wheel has not turned for years.",
        "0:01 The mill stands by the river.\n0:04 Its wheel has not turned for years.",
        "0:01\nThe mill stands by the river.\n0:04\nIts wheel has not turned for years.",
        "0:00:00.120,0:00:02.040\nThe mill stands by the river.\n\n0:00:02.500,0:00:05.000\n"
        "Its wheel has not turned for years.",
        "<|startoftranscript|><|en|><|0.00|> The mill stands by the river.<|2.04|> Its wheel has not turned for years.",
        "<p>The mill <b>stands</b> by the river.</p>\nIts wheel has not turned for years.",
    ],
)
def test_what_is_written_beside_the_words_is_not_spoken(tmp_path: Path, content: str) -> None:
    found = _read(tmp_path, content, "said.txt")
    assert (found.text, found.cues) == (WORDS, ())
    assert _read(tmp_path, json.dumps({"text": content}), "said.json").text == WORDS


def test_names_in_cues_are_speakers_and_not_words(tmp_path: Path) -> None:
    srt = (
        "1\n00:00:00,100 --> 00:00:02,000\nIDA: The mill stands by the river.\n\n"
        "2\n00:00:02,500 --> 00:00:05,000\nIDA: Its wheel *creaks* has not turned <|for|>for years.\n"
    )
    found = _read(tmp_path, srt, "said.srt")
    assert [(cue.speaker, cue.text) for cue in found.cues] == [
        ("IDA", "The mill stands by the river."),
        ("IDA", "Its wheel creaks has not turned for years."),
    ]
    loud = _read(tmp_path, srt.replace("creaks", "door slams"), "said.srt")
    assert [cue.annotated for cue in loud.cues] == [False, True]
    segments = [
        {"start": 0, "end": 1, "text": "SPEAKER_03: One."},
        {"start": 1, "end": 2, "text": "SPEAKER_04: Two."},
    ]
    two = _read(tmp_path, json.dumps(segments), "said.json")
    assert [cue.speaker for cue in two.cues] == ["SPEAKER_03", "SPEAKER_04"]


@pytest.mark.parametrize(
    "content",
    [
        "At 10:30 the ferry leaves; the next one at 11:45.",
        "10:30 is early for a ferry.",
        "There is one rule: never hurry.",
        "Remember: bring a coat.",
        "Speaker 1 came late.",
        "If 2 < 3, and 5 > 4, well - what then?",
        "It is \u201cover there\u201d: by the river.",
    ],
)
def test_what_is_spoken_stays_in_a_plain_text_too(tmp_path: Path, content: str) -> None:
    assert _read(tmp_path, content, "said.txt").text == content


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("SPEAKER_00: Yes.\nSPEAKER_00: No.\nSPEAKER_01: Why?", 3, "SPEAKER_01 speaks"),
        ("Ann: Yes.\nBo: No.", 2, "Bo speaks"),
        (">> Yes.\n>> No.", 2, "somebody else"),
        ("- Yes.\n- No.", 2, "dialogue"),
        ("One.\nAnn: Hello there.", 2, "is `Ann:` the name"),
        ("ANN: hello there.", 1, "is `ANN:` the name"),
        ("One.\nThe office (in Leeds) is shut.", 2, "is `(in Leeds)` said"),
        ("One.\n\nTwo, see https://example.org for more.", 3, "would be spoken"),
        ("One.\nTwo {noise} three.", 2, "would be spoken"),
        ("One.\nTwo 00:01.500 three.", 2, "would be spoken"),
        ("One.\nTwo\tthree.", 2, "would be spoken"),
        ("0:01 One.\nTwo.", 2, "this one does not"),
        ("[00:00.000 --> 00:01.000] One.\nTwo.", 2, "has none"),
        ("start\tend\ttext\n0\t1000\tOne.\n1000\tTwo.", 3, "2 columns where the header has 3"),
        ("start\tend\ttext\n0\tsoon\tOne.", 2, "is no time"),
        ("start\tend\twords\n0\t1000\tOne.", 1, "start, end and text"),
        ("start\tend\ttext\n1000\t0\tOne.", 2, "its end must follow"),
        ("{\\rtf1 One.}", 1, "another kind"),
        ('<?xml version="1.0"?><tt>One.</tt>', 1, "another kind"),
        ("[Script Info]\nDialogue: One.", 1, "another kind"),
    ],
)
def test_what_may_be_said_or_not_is_refused_with_its_line(
    tmp_path: Path, content: str, line: int, says: str
) -> None:
    with pytest.raises(BadInput) as refused:
        _read(tmp_path, content, "said.txt")
    assert says in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'said.txt'}:{line}: ")


@given(
    st.lists(
        st.one_of(
            st.sampled_from([
                "[00:00.000 --> 00:01.000]", "0:01", "SPEAKER_00:", "Ann:", ">>", "[laughs]", "(pause)", "*sighs*",
                "\t", "<|0.00|>", "<i>", "-->", "\n", "start\tend\ttext\n", "{", "|", "one", "two.", "Three", "&amp;",
            ]),
            st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_is_given_is_words_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("given") / "said.txt"
    path.write_text(" ".join(parts), encoding="utf-8")
    try:
        text = transcript.read(path).text
    except BadInput as refused:
        assert str(path) in str(refused)
        return
    assert any(letter.isalnum() for letter in text)
    for code in ("-->", "<|", "[laughs]", "(pause)", "SPEAKER_00", "{", "|", "\t"):
        assert code not in text
