"""The reference on real speech: what is chosen is what is spoken, and what cannot serve is refused."""

import json
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from bench.audio.levels import integrated_lufs
from bench.audio.silence import sound_span
from bench.audio.wav import read_mono, write_wav_16bit
from bench.catalog import loader
from bench.catalog.entry import ReferenceLimits
from bench.errors import BadInput
from bench.inputs import demo_reference, reference
from bench.inputs.track import LevelTrack
from tests.inputs.speech import RATE_HZ, STORY, Spoken, clock, files, rights_for, speak, vtt

F5 = ReferenceLimits(min_s=3, max_s=12, sample_rate_hz=24000)
CHATTERBOX = ReferenceLimits(min_s=5, max_s=10)
COSYVOICE = ReferenceLimits(min_s=3, max_s=30, sample_rate_hz=16000, whole_seconds=True)


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spoken, reference.ReferenceInput]:
    """A clip like the owner's: 34.7 s, 24 kHz, mono, WebVTT."""
    spoken = speak(length_s=34.7)
    loaded = reference.load(*files(tmp_path_factory.mktemp("owner"), spoken))
    assert (loaded.rate_hz, loaded.facts["audio_s"]) == (24000, 34.7)
    return spoken, loaded


def _heard_in(spoken: Spoken, span_s: tuple[float, float]) -> str:
    """The text that is spoken in the span, found from when each sentence was spoken; none may be cut."""
    heard = []
    for text, (start, end) in zip(spoken.sentences, spoken.times, strict=True):
        if end > span_s[0] and start < span_s[1]:
            assert span_s[0] <= start and end <= span_s[1], f"cut in mid-sentence: {text}"
            heard.append(text)
    return " ".join(heard)


@pytest.mark.parametrize("limits", [F5, CHATTERBOX, COSYVOICE], ids=["f5", "chatterbox", "cosyvoice"])
def test_the_chosen_text_is_exactly_what_is_spoken_in_the_span(
    owners: tuple[Spoken, reference.ReferenceInput], limits: ReferenceLimits
) -> None:
    spoken, loaded = owners
    chosen = reference.choose(loaded, limits)
    assert chosen.text == _heard_in(spoken, chosen.span_s)
    assert limits.min_s <= chosen.samples.size / chosen.rate_hz <= limits.max_s
    assert chosen.rate_hz == (limits.sample_rate_hz or 24000)
    assert chosen.why["boundary"] == "sentence"
    if limits.whole_seconds:
        assert chosen.samples.size % chosen.rate_hz == 0


@pytest.mark.parametrize("model", ["f5", "cosyvoice2", "chatterbox", "espeak", "flite"])
def test_every_entry_of_the_catalog_gets_its_reference(
    owners: tuple[Spoken, reference.ReferenceInput], model: str
) -> None:
    spoken, loaded = owners
    chosen = reference.choose(loaded, loader.load(model).reference)
    assert chosen.text == _heard_in(spoken, chosen.span_s)


def test_the_chosen_sound_is_the_clips_own(owners: tuple[Spoken, reference.ReferenceInput]) -> None:
    spoken, loaded = owners
    chosen = reference.choose(loaded, F5)
    first = round(chosen.span_s[0] * RATE_HZ)
    source = spoken.samples[first : first + chosen.samples.size]
    assert np.corrcoef(source, chosen.samples[: source.size])[0, 1] > 0.9999


@pytest.mark.parametrize("rate_hz", [24000, 22050, 11025])
def test_a_level_is_found_where_it_is_however_long_the_clip(rate_hz: int) -> None:
    samples = np.full(60 * rate_hz, 1e-4, np.float32)
    samples[50 * rate_hz : 50 * rate_hz + rate_hz // 2] = 0.3
    track = LevelTrack.measure(samples, rate_hz)
    (loud,) = np.nonzero(track.level_db > -20)
    assert (track.level_db.size, loud[0], loud[-1]) == (6000, 5000, 5049)


@pytest.mark.slow
def test_cues_that_are_off_by_a_quarter_second_cut_no_word(tmp_path: Path) -> None:
    spoken = speak()
    for number, offsets in enumerate([(0.25,), (-0.25,), (0.2, -0.2, 0.0), (-0.15, 0.25)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        loaded = reference.load(*files(folder, spoken, vtt(spoken, off_s=offsets)))
        for limits in (F5, CHATTERBOX, COSYVOICE):
            chosen = reference.choose(loaded, limits)
            assert chosen.text == _heard_in(spoken, chosen.span_s)


@pytest.mark.slow
def test_any_limits_give_whole_sentences_within_them(
    owners: tuple[Spoken, reference.ReferenceInput],
) -> None:
    spoken, loaded = owners
    draw = random.Random(11)
    served = 0
    for _ in range(40):
        low = draw.uniform(0.5, 12)
        limits = ReferenceLimits(
            min_s=low,
            max_s=low + draw.uniform(0.5, 20),
            whole_seconds=draw.random() < 0.5,
            sample_rate_hz=draw.choice([None, 16000, 22050, 24000, 48000]),
            trailing_silence_s=draw.choice([0.0, 0.05, 0.5]),
        )
        try:
            chosen = reference.choose(loaded, limits)
        except BadInput:
            continue
        served += 1
        assert chosen.text == _heard_in(spoken, chosen.span_s)
        assert limits.min_s - 0.01 <= chosen.samples.size / chosen.rate_hz <= limits.max_s + 1e-9
        assert np.abs(chosen.samples).max() <= 1.0
    assert served > 25


def test_the_same_input_gives_the_same_files(
    owners: tuple[Spoken, reference.ReferenceInput], tmp_path: Path
) -> None:
    _, loaded = owners
    first = reference.write(reference.choose(loaded, F5), tmp_path)
    assert first.changed
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(path.name for path in before) == ["reference.json", "reference.txt", "reference.wav"]
    assert not reference.write(reference.choose(loaded, F5), tmp_path).changed
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_the_record_shows_what_was_chosen_and_why(
    owners: tuple[Spoken, reference.ReferenceInput], tmp_path: Path
) -> None:
    _, loaded = owners
    written = reference.write(reference.choose(loaded, F5), tmp_path)
    record = json.loads(written.record.read_text())
    scores = [one["score"] for one in (record["why"]["chosen"], *record["why"]["runners_up"])]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True)
    assert record["text"] == written.text.read_text().strip()
    assert record["span_s"] == [record["why"]["chosen"]["start_s"], record["why"]["chosen"]["end_s"]]
    samples, rate_hz = read_mono(written.wav)
    assert record["audio_s"] == samples.size / rate_hz


def test_loudness_is_fitted_whatever_the_recording_had(tmp_path: Path) -> None:
    for number, peak in enumerate((0.02, 0.9)):
        folder = tmp_path / str(number)
        folder.mkdir()
        loaded = reference.load(*files(folder, speak(STORY[:4], peak=peak, noise_dbfs=-85.0)))
        chosen = reference.choose(loaded, CHATTERBOX)
        assert integrated_lufs(chosen.samples, chosen.rate_hz) == pytest.approx(-20.0, abs=0.2)


def test_trailing_silence_is_added_where_the_model_wants_it(
    owners: tuple[Spoken, reference.ReferenceInput],
) -> None:
    chosen = reference.choose(owners[1], F5.model_copy(update={"trailing_silence_s": 0.8}))
    assert not chosen.samples[-round(0.8 * chosen.rate_hz) :].any()
    assert chosen.samples.size / chosen.rate_hz <= 12


def test_clipped_and_noisy_sentences_are_passed_over(tmp_path: Path) -> None:
    spoken = speak()
    samples = spoken.samples.copy()
    start, end = (round(edge * RATE_HZ) for edge in spoken.times[4])
    samples[start:end] = np.clip(samples[start:end] * 8, -1, 1)
    noisy = slice(round(spoken.times[6][0] * RATE_HZ), round(spoken.times[8][1] * RATE_HZ))
    samples[noisy] += np.random.default_rng(3).normal(0, 0.15, samples[noisy].size).astype(np.float32)
    damaged = Spoken(samples, RATE_HZ, spoken.sentences, spoken.times)
    chosen = reference.choose(reference.load(*files(tmp_path, damaged)), F5)
    assert chosen.text == _heard_in(spoken, chosen.span_s)
    assert not set(re.split(r"(?<=\.) ", chosen.text)) & {STORY[4], *STORY[6:]}
    assert chosen.why["rejected"]["clipped"] > 0
    assert chosen.why["rejected"]["noisy"] > 0


def test_no_stretch_runs_across_a_noise_or_untranscribed_speech(tmp_path: Path) -> None:
    spoken = speak(STORY[:6])
    cues = vtt(spoken).replace(STORY[2], f"[coughs] {STORY[2]}")
    chosen = reference.choose(reference.load(*files(tmp_path, spoken, cues)), COSYVOICE)
    assert chosen.text == _heard_in(spoken, chosen.span_s) == " ".join(STORY[3:6])
    without = Spoken(spoken.samples, RATE_HZ, STORY[:2] + STORY[3:6], spoken.times[:2] + spoken.times[3:])
    loaded = reference.load(*files(tmp_path, spoken, vtt(without)))
    assert reference.choose(loaded, COSYVOICE).text == " ".join(STORY[3:6])


def test_sentences_over_several_cues_stay_whole(tmp_path: Path) -> None:
    halves = (
        "Nobody who was there that night,",
        "or says so now, can be right.",
        "It rained.",
        "We all slept well.",
    )
    spoken = speak(halves, pause_s=0.3)
    limits = ReferenceLimits(min_s=1, max_s=6)
    chosen = reference.choose(reference.load(*files(tmp_path, spoken)), limits)
    assert chosen.text == _heard_in(spoken, chosen.span_s)
    assert chosen.text.startswith(("Nobody", "It", "We"))


def test_where_no_sentence_fits_a_clause_does_and_it_is_said(tmp_path: Path) -> None:
    parts = ("The tall man by the second window,", "who had not spoken since the soup,", "stood up and left.")
    spoken = speak(parts, pause_s=0.3)
    limits = ReferenceLimits(min_s=1, max_s=3)
    chosen = reference.choose(reference.load(*files(tmp_path, spoken)), limits)
    assert chosen.why["boundary"] == "clause"
    assert chosen.text == _heard_in(spoken, chosen.span_s)
    assert "no whole sentence fits" in chosen.why["sentence"]


@pytest.mark.parametrize(
    "suffix", [".flac", ".ogg", ".mp3", pytest.param(".m4a", marks=pytest.mark.needs("ffmpeg"))]
)
def test_formats_by_libsndfile_and_by_ffmpeg(tmp_path: Path, suffix: str) -> None:
    spoken = speak(STORY[:3])
    wav, text, rights = files(tmp_path, spoken)
    audio = wav.with_suffix(suffix)
    if suffix == ".m4a":
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(wav), str(audio)], check=True)
    else:
        sf.write(audio, spoken.samples, RATE_HZ)
    rights.write_text(rights_for(audio))
    loaded = reference.load(audio, text, rights)
    assert loaded.facts["decoder"] == ("ffmpeg" if suffix == ".m4a" else "libsndfile")
    assert reference.choose(loaded, CHATTERBOX).text in " ".join(STORY[:3])


@pytest.mark.needs("ffmpeg")
def test_without_ffmpeg_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav, text, rights = files(tmp_path, speak(STORY[:2]))
    audio = wav.with_suffix(".m4a")
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(wav), str(audio)], check=True)
    rights.write_text(rights_for(audio))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BadInput, match="install ffmpeg"):
        reference.load(audio, text, rights)


def test_plain_text_serves_a_clip_that_fits_and_no_longer_one(tmp_path: Path) -> None:
    spoken = speak(STORY[:2], pause_s=0.8)
    loaded = reference.load(*files(tmp_path, spoken, " ".join(STORY[:2]), suffix=".txt"))
    chosen = reference.choose(loaded, F5)
    assert chosen.text == " ".join(STORY[:2]) == _heard_in(spoken, chosen.span_s)
    with pytest.raises(BadInput, match="transcript with times"):
        reference.choose(loaded, ReferenceLimits(min_s=1, max_s=5))
    with pytest.raises(BadInput, match="too short"):
        reference.choose(loaded, ReferenceLimits(min_s=20, max_s=30))


def test_stereo_of_one_voice_is_averaged_and_a_call_is_refused(tmp_path: Path) -> None:
    spoken = speak(STORY[:4])
    wav, text, rights = files(tmp_path, spoken)
    both = np.stack([spoken.samples, 0.8 * spoken.samples], axis=1)
    sf.write(wav, both, RATE_HZ)
    rights.write_text(rights_for(wav))
    assert reference.load(wav, text, rights).facts["channels"] == 2
    delayed = np.stack([spoken.samples, np.roll(spoken.samples, 40)], axis=1)
    sf.write(wav, delayed, RATE_HZ)
    rights.write_text(rights_for(wav))
    assert np.allclose(reference.load(wav, text, rights).samples, spoken.samples, atol=1e-3)
    other = np.roll(speak(STORY[4:8], voices=("slt",)).samples[: spoken.samples.size], RATE_HZ)
    call = np.stack([spoken.samples, np.pad(other, (0, spoken.samples.size - other.size))], axis=1)
    sf.write(wav, call, RATE_HZ)
    rights.write_text(rights_for(wav))
    with pytest.raises(BadInput, match="different sound"):
        reference.load(wav, text, rights)


def test_two_speakers_are_suspected_by_pitch_and_the_owner_may_attest(tmp_path: Path) -> None:
    spoken = speak(STORY[:6], voices=("rms", "slt"))
    paths = files(tmp_path, spoken)
    with pytest.raises(BadInput, match=r"two speakers suspected: pitch falls into two groups"):
        reference.load(*paths)
    loaded = reference.load(*files(tmp_path, spoken, single_speaker=True))
    assert "attests that there is one" in loaded.warnings[0]
    plain = files(tmp_path, spoken, " ".join(STORY[:6]), suffix=".txt")
    with pytest.raises(BadInput, match="two speakers suspected"):
        reference.load(*plain)


@pytest.mark.parametrize("voice", ["rms", "slt", "awb", "kal"])
def test_one_speaker_is_not_suspected(tmp_path: Path, voice: str) -> None:
    assert reference.load(*files(tmp_path, speak(voices=(voice,)))).warnings == ()


def test_two_voices_of_like_pitch_are_missed_as_the_page_says(tmp_path: Path) -> None:
    """The known failure: when this begins to fail, the docs promise too little."""
    assert reference.load(*files(tmp_path, speak(STORY[:6], voices=("rms", "kal")))).warnings == ()


def test_two_names_in_the_transcript_are_two_speakers(tmp_path: Path) -> None:
    spoken = speak(STORY[:2])
    named = vtt(spoken).replace(STORY[0], f"<v Ann>{STORY[0]}").replace(STORY[1], f"<v Bo>{STORY[1]}")
    with pytest.raises(BadInput, match="speakers Ann, Bo"):
        reference.load(*files(tmp_path, spoken, named))


def _reload(paths: tuple[Path, Path, Path], samples: object, rate_hz: int = RATE_HZ, **options: str) -> None:
    """Replace the audio and have the rights name it."""
    sf.write(paths[0], np.asarray(samples), rate_hz, **options)
    paths[2].write_text(rights_for(paths[0]))


def test_bad_audio_is_refused_with_what_to_do(tmp_path: Path) -> None:
    spoken = speak(STORY[:3])
    paths = audio, text, rights = files(tmp_path, spoken)
    good = audio.read_bytes()

    def refused() -> str:
        rights.write_text(rights_for(audio))
        with pytest.raises(BadInput) as caught:
            reference.load(audio, text, rights)
        assert str(audio) in str(caught.value)
        return str(caught.value)

    audio.write_bytes(b"")
    assert "empty" in refused()
    audio.write_text("This is a poem.\n" * 100)
    assert "not a sound" in refused()
    audio.write_bytes(good[:44])
    assert "no samples" in refused()
    _reload(paths, np.zeros(RATE_HZ * 12))
    assert "silent" in refused()
    _reload(paths, np.random.default_rng(1).normal(0, 0.0005, RATE_HZ * 12))
    assert "silent" in refused()
    _reload(paths, np.random.default_rng(1).normal(0, 0.1, RATE_HZ * 12))
    assert "no speech stands out" in refused()
    _reload(paths, spoken.samples[: RATE_HZ // 2])
    assert "too short" in refused()
    _reload(paths, spoken.samples[::6], RATE_HZ // 6)
    assert "sample rate" in refused()
    _reload(paths, np.clip(spoken.samples * 20, -1, 1))
    assert "clipped" in refused()
    _reload(paths, np.clip(spoken.samples * 20, -1, 1) * 0.5, subtype="FLOAT")
    assert "clipped" in refused()
    _reload(paths, np.where(np.arange(spoken.samples.size) == 999, np.nan, spoken.samples), subtype="FLOAT")
    assert "not numbers" in refused()


def test_three_hours_are_refused_by_the_header_alone(tmp_path: Path) -> None:
    """The file is a header and a hole: reading it would take 518 MB, hashing it seconds."""
    audio, text, rights = files(tmp_path, speak(STORY[:2]))
    size = 3 * 3600 * 24000 * 2
    with audio.open("wb") as stream:
        stream.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 24000, 48000,
                                 2, 16, b"data", size))  # fmt: skip
        stream.truncate(44 + size)
    with pytest.raises(BadInput, match=r"3 h 0 min long, and a reference may have 10 min"):
        reference.load(audio, text, rights)


@pytest.mark.needs("ffmpeg")
def test_a_long_compressed_file_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    audio, text, rights = files(tmp_path, speak(STORY[:2]))
    long = audio.with_suffix(".m4a")
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "anullsrc=r=8000:cl=mono",
            "-t",
            "700",
            "-b:a",
            "8k",
            str(long),
        ],
        check=True,
    )
    rights.write_text(rights_for(long))
    with pytest.raises(BadInput, match="11 min 40 s long"):
        reference.load(long, text, rights)


@pytest.mark.needs("ffmpeg")
def test_ffmpeg_is_not_led_to_other_files(tmp_path: Path) -> None:
    """A playlist named as the clip must not make ffmpeg read what it lists."""
    wav, text, rights = files(tmp_path, speak(STORY[:2]))
    for name, content in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{wav.name}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile {wav.name}\n",
    }.items():
        playlist = tmp_path / name
        playlist.write_text(content)
        rights.write_text(rights_for(playlist))
        with pytest.raises(BadInput, match="not a sound file"):
            reference.load(playlist, text, rights)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    audio, text, rights = files(tmp_path, speak(STORY[:2]))
    for paths, says in (
        ((tmp_path / "no.wav", text, rights), "no such file"),
        ((audio, tmp_path / "no.vtt", rights), "no such transcript"),
        ((audio, text, tmp_path / "no.yml"), "no such rights statement"),
    ):
        with pytest.raises(BadInput, match=says):
            reference.load(*paths)


def test_expired_rights_and_rights_to_another_clip(tmp_path: Path) -> None:
    spoken = speak(STORY[:2])
    with pytest.raises(BadInput, match="ended on 2026-02-01"):
        reference.load(*files(tmp_path, spoken, expires="2026-02-01"))
    with pytest.raises(BadInput, match="another file"):
        reference.load(*files(tmp_path, spoken, sha256="0" * 64))


def test_a_transcript_of_another_recording(tmp_path: Path) -> None:
    spoken = speak(STORY[:3])
    late = vtt(spoken) + f"\n{clock(40)} --> {clock(44)}\nAnd more.\n"
    with pytest.raises(BadInput, match=r"clip\.vtt:\d+: the cue ends at 44 s and the audio after"):
        reference.load(*files(tmp_path, spoken, late))
    with pytest.raises(BadInput, match="is not what is said in this clip"):
        reference.load(*files(tmp_path, spoken, "word " * 2000, suffix=".txt"))
    with pytest.raises(BadInput, match="is not what is said in this clip"):
        reference.load(*files(tmp_path, spoken, "Yes.", suffix=".txt"))


def test_what_does_not_fit_is_explained(owners: tuple[Spoken, reference.ReferenceInput]) -> None:
    with pytest.raises(BadInput, match=r"takes 40 to 60 s.*record more of the voice"):
        reference.choose(owners[1], ReferenceLimits(min_s=40, max_s=60))
    with pytest.raises(BadInput, match=r"the shortest that can be cut has 1\.\d s.*finer cues"):
        reference.choose(owners[1], ReferenceLimits(min_s=0.2, max_s=1))


def test_the_hash_covers_all_three_files(tmp_path: Path) -> None:
    spoken = speak(STORY[:2])
    first = reference.load(*files(tmp_path, spoken)).sha256
    assert reference.load(*files(tmp_path, spoken)).sha256 == first
    assert reference.load(*files(tmp_path, spoken, may_publish_clips=False)).sha256 != first
    assert reference.load(*files(tmp_path, spoken, vtt(spoken, off_s=(0.01,)))).sha256 != first


@pytest.mark.slow
def test_the_demos_reference_passes_its_own_rules_and_is_made_once(tmp_path: Path) -> None:
    paths = demo_reference.make(tmp_path)
    stamps = [path.stat().st_mtime_ns for path in paths]
    assert demo_reference.make(tmp_path) == paths
    assert [path.stat().st_mtime_ns for path in paths] == stamps
    loaded = reference.load(*paths)
    assert 12 <= loaded.facts["audio_s"] <= 20 and loaded.warnings == ()
    assert loaded.rights.may_publish_clips and "synthetic" in loaded.rights.speaker
    for model in ("espeak", "flite", "f5", "cosyvoice2", "chatterbox"):
        chosen = reference.choose(loaded, loader.load(model).reference)
        assert all(part in " ".join(demo_reference.SENTENCES) for part in chosen.text.split(". "))


def test_the_edges_of_a_chosen_reference_are_quiet(owners: tuple[Spoken, reference.ReferenceInput]) -> None:
    chosen = reference.choose(owners[1], CHATTERBOX)
    span = sound_span(chosen.samples, chosen.rate_hz)
    assert span is not None
    assert span.start / chosen.rate_hz > 0.05
    assert (chosen.samples.size - span.end) / chosen.rate_hz > 0.05


def test_the_written_wav_is_what_was_chosen(
    owners: tuple[Spoken, reference.ReferenceInput], tmp_path: Path
) -> None:
    chosen = reference.choose(owners[1], COSYVOICE)
    written = reference.write(chosen, tmp_path)
    samples, rate_hz = read_mono(written.wav)
    assert rate_hz == 16000
    assert np.abs(samples - chosen.samples).max() <= 1 / 32768
    write_wav_16bit(tmp_path / "again.wav", samples, rate_hz)
    assert (tmp_path / "again.wav").read_bytes() == written.wav.read_bytes()


def test_a_wholly_noisy_recording_says_where_to_record(tmp_path: Path) -> None:
    spoken = speak(STORY[:5], noise_dbfs=-24.0)
    with pytest.raises(BadInput, match="quieter place"):
        reference.choose(reference.load(*files(tmp_path, spoken)), F5)


def test_another_stretch_is_of_the_same_speaker_and_shares_nothing_with_the_first(
    owners: tuple[Spoken, reference.ReferenceInput],
) -> None:
    spoken, loaded = owners
    for limits in (F5, CHATTERBOX):
        first = reference.choose(loaded, limits)
        other = reference.choose_another(loaded, first)
        assert other is not None
        assert other.span_s[1] <= first.span_s[0] or other.span_s[0] >= first.span_s[1]
        assert other.text == _heard_in(spoken, other.span_s)
        assert reference.ANOTHER.min_s <= other.samples.size / other.rate_hz <= reference.ANOTHER.max_s


def test_a_clip_that_is_used_up_has_no_other_stretch(tmp_path: Path) -> None:
    spoken = speak(STORY[:3])
    loaded = reference.load(*files(tmp_path, spoken))
    whole = reference.choose(loaded, ReferenceLimits(min_s=3, max_s=30))
    assert reference.choose_another(loaded, whole) is None
