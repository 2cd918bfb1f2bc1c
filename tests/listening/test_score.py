import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from bench.audio.resample import resample
from bench.audio.wav import read_mono, write_wav_16bit
from bench.errors import BadInput
from bench.listening import mapping, results
from bench.listening.mapping import SealBroken
from bench.listening.processing import UnusableTake
from bench.listening.score import CuesRemain, TakesMissing, find_notices, seal
from bench.records.listening import CueResult
from bench.records.run import Manifest
from bench.records.take import Take, TakeSide
from bench.storage.digests import sha256_file
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import read_unusable
from benchmarks.listening_run import WORDS, build, speak
from tests.support.listening_fixtures import ask_for

Edit = Callable[[Path], None]


def edit_take(run_dir: Path, side: str, number: int, change: Callable[[Take], object]) -> None:
    path = run_dir / side / "takes.jsonl"
    takes = [Take.model_validate_json(line) for line in path.read_text().splitlines()]
    changed = change(takes[number])
    if changed is not None:
        takes[number] = Take.model_validate(changed)
    path.write_text("".join(take.model_dump_json() + "\n" for take in takes))


def replace_take(run_dir: Path, samples: np.ndarray, side: TakeSide = "candidate") -> None:
    """Put other samples into a side's third take, properly recorded."""
    wav = run_dir / side / "u03.wav"
    sf.write(wav, samples, 22050, subtype="FLOAT")
    edit_take(run_dir, side, 2, lambda take: take.model_copy(update={"sha256": sha256_file(wav)}))


def test_what_is_sealed_and_published(run_dir: Path) -> None:
    sealed = mapping.load_intact(run_dir)
    digest = (run_dir / "listening" / "mapping.sha256").read_text().strip()
    assert digest == mapping.digest_of(sealed) and len(digest) == 64
    mode = stat.S_IMODE((run_dir / "listening" / "sealed.json").stat().st_mode)
    assert mode == 0o600
    assert stat.S_IMODE((run_dir / "listening").stat().st_mode) == 0o700
    assert len(bytes.fromhex(sealed.nonce)) == len(bytes.fromhex(sealed.seed)) == 32


def test_the_hash_hides_the_mapping_behind_its_nonce(run_dir: Path) -> None:
    sealed = mapping.load_intact(run_dir)
    assert mapping.digest_of(sealed.model_copy(update={"nonce": "0" * 64})) != mapping.digest_of(sealed)


def test_clips_have_names_and_times_without_content_and_pairs_have_equal_bytes(run_dir: Path) -> None:
    sealed = mapping.load_intact(run_dir)
    files = {path.name for path in (run_dir / "listening" / "clips").iterdir()}
    assert files == {clip.file for clip in sealed.clips}
    for channel in sealed.channels:
        for utterance in sealed.utterances:
            pair = [
                mapping.clip_of(sealed, "pair", side, utterance, channel)
                for side in ("candidate", "baseline")
            ]
            assert pair[0].bytes == pair[1].bytes
        assert sealed.anchor is not None
        beside = [
            mapping.clip_of(sealed, "anchor", source, sealed.anchor, channel)
            for source in ("reference", "candidate", "baseline")
        ]
        assert len({clip.bytes for clip in beside}) == 1


def test_sealing_again_changes_nothing(run_dir: Path) -> None:
    before = {path: path.read_bytes() for path in (run_dir / "listening").rglob("*") if path.is_file()}
    report = seal(run_dir)
    assert report.already_sealed
    assert {
        path: path.read_bytes() for path in (run_dir / "listening").rglob("*") if path.is_file()
    } == before


@pytest.mark.slow
def test_two_seals_of_the_same_takes_share_nothing_secret(spoken: Path, run_dir: Path) -> None:
    seal(spoken, channels=())
    one, two = mapping.load_intact(spoken), mapping.load_intact(run_dir)
    assert one.seed != two.seed and one.nonce != two.nonce
    assert not {clip.file for clip in one.clips} & {clip.file for clip in two.clips}


def test_the_report_says_nothing_that_tells_the_sides_apart(run_dir: Path) -> None:
    text = (run_dir / "listening" / "seal.json").read_text()
    assert (
        "candidate" not in text
        and "baseline" not in text
        and "espeak" not in text.lower()
        and "flite" not in text.lower()
    )


@pytest.mark.needs("espeak-ng")
def test_what_processing_removes_is_at_chance_and_what_stays_is_reported(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    build(run_dir, texts=WORDS)
    found = {result.cue: result for result in seal(run_dir).cues}
    for cue in ("format", "loudness", "onset", "removed"):
        assert found[cue].removed and found[cue].after == 0.5
        least = 0.7 if cue == "onset" else 0.85  # voice begins a fifth of a second later in flite's clips
        assert found[cue].before > least, "espeak-ng and flite are told apart by it beforehand"
    assert found["spectrum"].after > 0.9 and not found["spectrum"].removed


@pytest.mark.parametrize(("after", "words"), [(0.85, "85% has the side"), (0.3, "70% has the other side")])
def test_a_cue_that_is_wrong_too_often_is_said_to_tell_as_much(after: float, words: str) -> None:
    cue = CueResult(
        cue="duration",
        removed=False,
        clips=20,
        before=0.5,
        after=after,
        chance_low=0.35,
        chance_high=0.65,
        p=0.01,
    )
    (notice,) = find_notices([cue], reference=True)
    assert words in notice and "50% would be chance" in notice and "30%" not in notice


@pytest.mark.slow
def test_a_sealing_that_was_killed_is_begun_again(spoken: Path) -> None:
    home = spoken / "listening"
    (home / "clips").mkdir(parents=True)
    (home / "clips" / ("0" * 32 + ".wav")).write_bytes(b"half")
    (home / "sealed.json").write_text("{}")
    seal(spoken, channels=())
    assert mapping.find_broken(spoken, mapping.load(spoken)) is None
    assert not (home / "clips" / ("0" * 32 + ".wav")).exists()


@pytest.mark.slow
def test_without_a_reference_it_is_sealed_and_said(spoken: Path) -> None:
    (spoken / "reference" / "reference.wav").unlink()
    report = seal(spoken, channels=())
    assert not report.reference and any("No reference" in notice for notice in report.notices)


@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_a_failed_take_never_thins_the_pairs(spoken: Path, side: str) -> None:
    error = {"kind": "http", "message": "500"}
    edit_take(spoken, side, 4, lambda take: take.model_dump() | {"error": error})
    with pytest.raises(TakesMissing, match=r"9 are valid .* failed: u05 \(http: 500\)") as caught:
        seal(spoken, channels=())
    assert caught.value.side == side
    assert mapping.read_published(spoken) is None


def drop_line(run_dir: Path) -> None:
    path = run_dir / "baseline" / "takes.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:-1]))


def drop_all(run_dir: Path) -> None:
    (run_dir / "baseline" / "takes.jsonl").unlink()


def rename(run_dir: Path) -> None:
    edit_take(run_dir, "baseline", 0, lambda take: take.model_copy(update={"utterance_id": "other"}))


@pytest.mark.parametrize("edit", [drop_line, drop_all, rename])
def test_a_missing_take_is_named(spoken: Path, edit: Edit) -> None:
    edit(spoken)
    with pytest.raises(TakesMissing):
        seal(spoken, channels=())


def drop_wav(run_dir: Path) -> None:
    (run_dir / "candidate" / "u02.wav").unlink()


def garble(run_dir: Path) -> None:
    path = run_dir / "baseline" / "takes.jsonl"
    path.write_text(path.read_text()[:-30])


def twice(run_dir: Path) -> None:
    path = run_dir / "candidate" / "takes.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")


def outside(run_dir: Path) -> None:
    edit_take(run_dir, "candidate", 0, lambda take: take.model_copy(update={"wav": "../baseline/u01.wav"}))


def other_bytes(run_dir: Path) -> None:
    wav = run_dir / "candidate" / "u01.wav"
    wav.write_bytes(wav.read_bytes()[:-2] + b"\x01\x01")


def other_question(run_dir: Path) -> None:
    text = (run_dir / "manifest.json").read_text()
    (run_dir / "manifest.json").write_text(text.replace("How much does this", "How badly does this"))


@pytest.mark.parametrize("edit", [drop_wav, garble, twice, outside, other_bytes, other_question])
def test_what_is_not_as_it_was_recorded_is_refused(spoken: Path, edit: Edit) -> None:
    edit(spoken)
    with pytest.raises(BadInput):
        seal(spoken, channels=())


CLICK = np.concatenate((np.zeros(9000), [0.9], np.zeros(9000)))


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.full(22050, np.nan), np.zeros(22050), CLICK],
    ids=["zero length", "nan", "silent", "click"],
)
@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_a_take_without_sound_is_no_valid_take(spoken: Path, samples: np.ndarray, side: TakeSide) -> None:
    replace_take(spoken, samples, side=side)
    with pytest.raises(
        TakesMissing, match=rf"{side}.*9 are valid.*u03 \(unusable: {side}/u03\.wav"
    ) as caught:
        seal(spoken, channels=())
    assert caught.value.side == side
    assert mapping.read_published(spoken) is None
    assert [(each.side, each.utterance_id) for each in read_unusable(spoken)] == [(side, "u03")]


def test_spikes_that_would_make_all_clips_whisper_are_their_own_takes_fault(spoken: Path) -> None:
    samples, rate_hz = read_mono(spoken / "candidate" / "u03.wav")
    spiky = resample(samples * np.float32(0.01 / np.max(np.abs(samples))), rate_hz, 22050)
    spiky[spiky.size // 2] = 0.95
    replace_take(spoken, spiky)
    with pytest.raises(TakesMissing, match=r"u03 \(unusable: Its peaks"):
        seal(spoken, channels=())


@pytest.mark.slow
def test_spare_sentences_take_the_place_of_those_that_cannot_be_rated(spoken: Path) -> None:
    ask_for(spoken, pairs=4)
    error = {"kind": "http", "message": "500"}
    edit_take(spoken, "candidate", 0, lambda take: take.model_dump() | {"error": error})
    replace_take(spoken, np.zeros(22050), side="baseline")
    report = seal(spoken, channels=())
    assert report.pairs == 4
    assert results.read_ratings(spoken).utterances == ["u02", "u04", "u05", "u06"]
    assert [each.utterance_id for each in read_unusable(spoken)] == ["u03"]
    assert seal(spoken).already_sealed


def test_a_silent_reference_is_nobodys_take(spoken: Path) -> None:
    sf.write(spoken / "reference" / "reference.wav", np.zeros(22050), 22050)
    with pytest.raises(UnusableTake, match="reference cannot be played"):
        seal(spoken, channels=())
    assert read_unusable(spoken) == []


@pytest.mark.slow
def test_a_cue_that_remains_ends_the_sealing(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.listening import processing

    def uneven(clips: dict[object, np.ndarray], at_most: float) -> tuple[dict[object, np.ndarray], float]:
        # One side a decibel louder: what a bug in levelling would do
        out, target = level(clips, at_most)
        return {k: v * np.float32(1.12) if "candidate" in k else v for k, v in out.items()}, target  # type: ignore[operator]

    level = processing.equalise_loudness
    monkeypatch.setattr(processing, "equalise_loudness", uneven)
    monkeypatch.setattr(processing, "LOUDNESS_TOLERANCE_LU", 99.0)
    with pytest.raises(CuesRemain, match="loudness"):
        seal(spoken, channels=())
    assert mapping.read_published(spoken) is None


def change_clip(run_dir: Path) -> None:
    clip = sorted((run_dir / "listening" / "clips").iterdir())[0]
    data = bytearray(clip.read_bytes())
    data[-5000] ^= 1
    clip.write_bytes(data)


def drop_clip(run_dir: Path) -> None:
    sorted((run_dir / "listening" / "clips").iterdir())[0].unlink()


def swap_two_clips(run_dir: Path) -> None:
    sealed = mapping.load(run_dir)
    one, two = (
        mapping.clip_of(sealed, "pair", side, "u01", "full").file for side in ("candidate", "baseline")
    )
    home = run_dir / "listening" / "clips"
    (home / one).rename(home / "x")
    (home / two).rename(home / one)
    (home / "x").rename(home / two)


def change_seed(run_dir: Path) -> None:
    path = run_dir / "listening" / "sealed.json"
    body = json.loads(path.read_text())
    body["seed"] = "ab" * 32
    path.write_text(json.dumps(body))


def change_published(run_dir: Path) -> None:
    (run_dir / "listening" / "mapping.sha256").write_text("0" * 64 + "\n")


def garble_sealed(run_dir: Path) -> None:
    path = run_dir / "listening" / "sealed.json"
    os.truncate(path, path.stat().st_size // 2)


def drop_sealed(run_dir: Path) -> None:
    (run_dir / "listening" / "sealed.json").unlink()


def drop_published(run_dir: Path) -> None:
    (run_dir / "listening" / "ratings.sqlite3").write_bytes(b"")
    (run_dir / "listening" / "mapping.sha256").unlink()


def faster(run_dir: Path) -> None:
    for number in range(10):
        edit_take(run_dir, "candidate", number, lambda take: take.model_copy(update={"ttfa_ms": 1.0}))


def other_hashes(run_dir: Path) -> None:
    for number in range(10):
        edit_take(run_dir, "baseline", number, lambda take: take.model_copy(update={"sha256": "0" * 64}))


def other_reference(run_dir: Path) -> None:
    sf.write(run_dir / "reference" / "reference.wav", np.zeros(22050), 22050)


def drop_reference(run_dir: Path) -> None:
    (run_dir / "reference" / "reference.wav").unlink()


TAMPERING = [
    change_clip, drop_clip, swap_two_clips, change_seed, change_published, garble_sealed, drop_sealed,
    drop_published, faster, other_hashes, other_reference, drop_reference,
]  # fmt: skip


@pytest.mark.parametrize("edit", TAMPERING)
def test_what_was_changed_after_the_sealing_is_refused_and_the_verdict_is_told(
    run_dir: Path, edit: Edit
) -> None:
    edit(run_dir)
    with pytest.raises(SealBroken):
        seal(run_dir)
    found = results.read_ratings(run_dir)
    assert not found.mapping_intact and found.answers == []
    assert len(found.notices) == 1, "and why"
    assert found.raters == {}


def test_a_take_changed_after_the_sealing_is_refused(run_dir: Path) -> None:
    wav = run_dir / "candidate" / "u01.wav"
    samples = np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32)
    write_wav_16bit(wav, samples, 22050)
    edit_take(run_dir, "candidate", 0, lambda take: take.model_copy(update={"sha256": sha256_file(wav)}))
    with pytest.raises(SealBroken, match="immutable"):
        seal(run_dir)


def test_a_rule_changed_after_the_sealing_is_refused(run_dir: Path) -> None:
    manifest = load_record(Manifest, run_dir)
    manifest.rule_sha256 = "f" * 64
    save_record(manifest, run_dir)
    with pytest.raises(BadInput, match="rule"):
        seal(run_dir)
    with pytest.raises(SealBroken, match="rule"):
        results.read_ratings(run_dir)


@pytest.mark.slow
def test_a_mapping_without_its_published_hash_is_not_nothing(run_dir: Path) -> None:
    """Deleting one file must not turn rated pairs into pairs that nobody was asked about yet."""
    (run_dir / "listening" / "mapping.sha256").unlink()
    found = results.read_ratings(run_dir)
    assert not found.mapping_intact and "sealing was cut off, or the hash was deleted" in found.notices[0]
    seal(run_dir)  # nobody has rated, so it may be done again
    assert results.read_ratings(run_dir).mapping_intact


@pytest.mark.slow
def test_another_stretch_of_the_speaker_stands_hidden_where_there_is_one(spoken: Path) -> None:
    hidden = spoken / mapping.HIDDEN
    hidden.parent.mkdir()
    speak("flite rms", "Whatever the weather, the ferry leaves at nine.", hidden)
    seal(spoken, channels=())
    sealed = mapping.load_intact(spoken)
    clips = spoken / "listening" / "clips"
    assert sealed.hidden_sha256 == sha256_file(hidden) and sealed.anchor is not None
    beside, _ = read_mono(clips / mapping.clip_of(sealed, "anchor", "reference", sealed.anchor, "full").file)
    shown, _ = read_mono(clips / mapping.clip_of(sealed, "reference", "reference", "", "full").file)
    assert likeness(beside, shown) < 0.5, "another recording"
    assert results.read_ratings(spoken).hidden_reference
    hidden.write_bytes(hidden.read_bytes() + b"x")
    assert (
        mapping.find_broken(spoken, sealed)
        == "reference-hidden/reference.wav was changed; takes and reference are immutable once sealed"
    )


def test_without_one_the_open_reference_is_a_check_of_attention(run_dir: Path) -> None:
    sealed = mapping.load_intact(run_dir)
    clips = run_dir / "listening" / "clips"
    assert sealed.hidden_sha256 is None and sealed.anchor is not None
    beside, _ = read_mono(clips / mapping.clip_of(sealed, "anchor", "reference", sealed.anchor, "full").file)
    shown, _ = read_mono(clips / mapping.clip_of(sealed, "reference", "reference", "", "full").file)
    assert likeness(beside, shown) > 0.95
    assert not results.read_ratings(run_dir).hidden_reference


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The greatest correlation at any shift, over the length of the shorter."""
    size = 1 << (one.size + other.size).bit_length()
    found = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    n = min(one.size, other.size)
    return float(np.abs(found).max() / np.sqrt(np.sum(one[:n] ** 2) * np.sum(other[:n] ** 2)))
