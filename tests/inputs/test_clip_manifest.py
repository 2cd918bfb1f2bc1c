"""Transcripts in JSON as recognisers and makers of data sets write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.entry import ReferenceLimits
from bench.errors import BadInput
from bench.inputs import reference, transcript
from bench.inputs.clip_manifest import Recording
from tests.inputs.speech import files, speak

WANTED = [(0.5, 2.25, "One two."), (3.0, 4.5, "Three.")]
VOICE = Recording("voice.wav", 30.0)


def spelt(start: str, end: str, text: str, scale: float = 1.0, **more: Any) -> list[dict[str, Any]]:
    return [{start: a * scale, end: b * scale, text: said, **more} for a, b, said in WANTED]


def named(pieces: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{**piece, "file": name} for piece, name in zip(pieces, names, strict=True)]


SECONDS = spelt("start", "end", "text")
LENGTHS = [{"offset": a, "duration": b - a, "transcript": said} for a, b, said in WANTED]
WORDS = [
    {"words": [{"word": "One", "start": 0.5, "end": 1.0}, {"word": " two.", "start": 1.5, "end": 2.25}]},
    {"words": [{"text": "Three.", "start_ms": 3000, "end_ms": 4500}]},
]
SHAPES: dict[str, Any] = {
    "segments": {"segments": SECONDS, "text": "One two. Three.", "language": "en"},
    "clips": {"source": "voice.wav", "clips": SECONDS},
    "chunks with a timestamp": {"chunks": [{"timestamp": [a, b], "text": said} for a, b, said in WANTED]},
    "seconds in the names": {"items": spelt("start_s", "end_s", "transcription")},
    "milliseconds": spelt("start_ms", "end_ms", "sentence", 1000.0),
    "times by other names": {"utterances": spelt("begin", "stop", "transcript", speaker_id="A")},
    "a start and a length": LENGTHS,
    "words with times": {"entries": WORDS},
    "words as a text": spelt("start_time", "end_time", "words"),
    "by the clips' names": {"clip_1.wav": SECONDS[0], "clip_2.wav": SECONDS[1]},
    "clips by name": {"clips": {"clip_1": SECONDS[0], "clip_2": SECONDS[1]}},
    "clips that were cut out": named(SECONDS, "clips/clip_1.wav", "clips/clip_2.wav"),
    "of many recordings": named([*SECONDS, SECONDS[0]], "a/voice.wav", "b\\voice.wav", "other.wav"),
}


def read(tmp_path: Path, content: str, recording: Recording | None = VOICE) -> transcript.Transcript:
    path = tmp_path / "manifest_pitch_filtered.json"
    path.write_text(content)
    return transcript.read(path, recording)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(tmp_path: Path, shape: str) -> None:
    found = read(tmp_path, json.dumps(SHAPES[shape]))
    assert [(cue.start_s, cue.end_s, cue.text) for cue in found.cues] == WANTED
    assert (found.format, found.text) == ("json", "One two. Three.")


def test_an_object_a_line(tmp_path: Path) -> None:
    found = read(tmp_path, "".join(json.dumps(piece) + "\n" for piece in LENGTHS))
    assert [(cue.start_s, cue.end_s, cue.text) for cue in found.cues] == WANTED
    for bad in ('{"text": "One."}\n{"text": \n', '{"text": "One."} {"text": "Two."}'):
        with pytest.raises(BadInput, match="not JSON"):
            read(tmp_path, bad)


@pytest.mark.parametrize("times", [{}, {"duration": 30.1}, {"start": 612.0, "end": 642.0}], ids=str)
def test_the_recordings_own_piece_is_its_whole_text(tmp_path: Path, times: dict[str, float]) -> None:
    own = {"audio_filepath": "/data/clips/voice.wav", "text": "All that is said.", **times}
    found = read(
        tmp_path, json.dumps([{"audio_filepath": "/data/clips/other.wav", "text": "Not this."}, own])
    )
    assert (found.cues, found.text) == ((), "All that is said.")


def test_one_piece_of_a_longer_recording_has_times_in_it(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps(named(SECONDS, "voice.wav", "other.wav")))
    assert [(cue.start_s, cue.end_s) for cue in found.cues] == [(0.5, 2.25)]


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        ([{"start": 0, "text": "Hi"}], "segments[0]"),
        ({"clips": [SECONDS[0], {"file": "clip_2.wav", "text": "No times."}]}, "segments[1]"),
        ({"chunks": [{"timestamp": [0.0, None], "text": "Cut off"}]}, "segments[0]"),
        ([SECONDS[0], "Hi"], "segments[1]"),
        ({"clips": {"clip_1": 3}}, "segments[0]"),
        ([{**SECONDS[0], "speaker": 3}], "segments[0]"),
        ({"clips": [], "rate": 24000}, "`segments`"),
        ([SECONDS[1], SECONDS[0]], "in order of time"),
    ],
    ids=str,
)
def test_a_piece_that_says_too_little_is_named(tmp_path: Path, tree: Any, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, json.dumps(tree))
    assert where in str(caught.value)


@pytest.mark.slow
def test_clips_that_a_filter_left_over_are_cut_where_they_are_and_nowhere_else(tmp_path: Path) -> None:
    spoken = speak(length_s=34.7)
    audio, _, rights = files(tmp_path, spoken)
    kept = [n for n in range(len(spoken.sentences)) if n % 3 != 2]
    clips = [
        {
            "file": f"clip_{n:03}.wav",
            "start": spoken.times[n][0],
            "end": spoken.times[n][1],
            "text": spoken.sentences[n],
        }
        for n in kept
    ]
    manifest = tmp_path / "manifest_pitch_filtered.json"
    manifest.write_text(json.dumps({"clips": clips}))
    loaded = reference.load(audio, manifest, rights)
    chosen = reference.choose(loaded, ReferenceLimits(min_s=2, max_s=12))
    inside = [
        n
        for n, (start, end) in enumerate(spoken.times)
        if end > chosen.span_s[0] and start < chosen.span_s[1]
    ]
    assert inside, "something is heard"
    assert set(inside) <= set(kept), "nothing that the filter left out is in it"
    assert chosen.text == " ".join(spoken.sentences[n] for n in inside)
