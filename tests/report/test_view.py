"""What a view holds, and what it must not hold before the reveal."""

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import soundfile

from bench.records import Verdict
from bench.report import ReportView, as_json, build, markdown, render
from bench.report.clips import embed
from bench.report.page import _strips
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide
from bench.verdict.takes import valid_takes


def test_every_pair_has_both_voices_and_their_scores(view: ReportView) -> None:
    assert len(view.pairs) == 10
    for pair in view.pairs:
        assert [clip.side for clip in pair.clips] == ["candidate", "baseline"]
        assert all(clip.data for clip in pair.clips)
        assert pair.candidate_score is not None
    assert view.pairs[2].notes[0].text == "The question rises as it should."


def test_embedded_sound_is_the_very_samples_that_were_timed(view: ReportView, run_dir: Path) -> None:
    for clip in (clip for pair in view.pairs for clip in pair.clips):
        heard, rate = soundfile.read(io.BytesIO(base64.b64decode(clip.data)), dtype="int16")
        made, made_rate = soundfile.read(run_dir / clip.file, dtype="int16")
        assert rate == made_rate
        assert np.array_equal(heard, made)


def test_nothing_acoustic_before_every_rater_has_finished(run_dir: Path, waiting: Evidence) -> None:
    verdict = decide(waiting)
    silent = build(run_dir, verdict, waiting, True)
    assert not silent.revealed
    page, text, record = render(silent), markdown(silent), as_json(silent)
    assert "<audio" not in page
    assert "data:audio" not in page
    lengths = [f"{take.audio_s:.3f}" for take in valid_takes(waiting.candidate)]
    for shown in (page, text, record):
        assert not [length for length in lengths if length in shown]
        for word in ("audible sound", ">Total time<", "semitones", "Loudness", '"audio_s"', '"total_ms"'):
            assert word not in shown
    assert silent.memory_series == {}
    assert "The question rises" not in page + text + record
    assert [row.label for row in _strips(silent, "ttfa_ms")] == ["f5"]
    # What it has instead: a plot, and the two commands.
    assert page.count("<svg") >= 2
    assert "audition rate f5-titan-20261122T101500Z" in page
    assert "audition verdict f5-titan-20261122T101500Z" in page


def test_a_caller_may_keep_a_finished_report_silent(run_dir: Path, whole: Evidence, decided: Verdict) -> None:
    assert "<audio" not in render(build(run_dir, decided, whole, False))


def test_a_report_to_send_may_leave_the_sound_out(run_dir: Path, whole: Evidence, decided: Verdict) -> None:
    page = render(build(run_dir, decided, whole, True, with_clips=False))
    assert "<audio" not in page
    assert "Both scores of every sentence" in page


def test_a_take_that_was_changed_is_not_played(tmp_path: Path, run_dir: Path, whole: Evidence) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    with (copy / "candidate" / "u02.wav").open("ab") as stream:
        stream.write(b"\0\0")
    (copy / "baseline" / "u03.wav").unlink()
    view = build(copy, decide(whole), whole, True)
    assert view.pairs[1].clips[0].missing == "the file is not the one that was timed"
    assert view.pairs[2].clips[1].missing == "the file is not there"
    assert "candidate/u02.wav: the file is not the one that was timed" in render(view)


def test_a_take_may_not_name_a_file_outside_its_folder(run_dir: Path, whole: Evidence) -> None:
    take = valid_takes(whole.candidate)[0].model_copy(update={"wav": "../baseline/u01.wav"})
    clip = embed(run_dir, [("candidate", take)]).clips[0]
    assert clip.missing == "the take names no file of its own folder"
    assert clip.data == ""


def test_sound_is_made_smaller_and_then_left_out_to_stay_mailable(run_dir: Path, whole: Evidence) -> None:
    takes = [("candidate", take) for take in valid_takes(whole.candidate)]
    flac = embed(run_dir, takes)
    assert flac.encoding == "FLAC"
    mp3 = embed(run_dir, takes, limit=flac.embedded_bytes - 1)
    assert mp3.encoding == "MP3"
    assert mp3.embedded_bytes < flac.embedded_bytes
    few = embed(run_dir, takes, limit=mp3.embedded_bytes // 2)
    left_out = [clip for clip in few.clips if clip.missing]
    assert 0 < len(left_out) < len(takes)
    assert "left out so that this page can be mailed" in str(left_out[0].missing)
    assert few.embedded_bytes <= mp3.embedded_bytes // 2


def test_a_run_refused_at_the_gate_has_a_report_too(run_dir: Path, whole: Evidence) -> None:
    refused = whole.model_copy(
        update={
            "refused": "licence", "candidate": None, "baseline": None, "preset": None, "ratings": None,
            "install": None, "memory": None, "neighbour": None, "metrics": None,
        }
    )  # fmt: skip
    view = build(run_dir, decide(refused), refused, True)
    page = render(view)
    assert "does not allow personal use" in page
    assert "Keep chatterbox and try cosyvoice2" in markdown(view)
    assert "<audio" not in page
