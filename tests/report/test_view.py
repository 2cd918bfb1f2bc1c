"""What a view holds, and what it must not hold before the reveal."""

import base64
import html
import io
import re
import shutil
from pathlib import Path

import numpy as np
import soundfile

from bench.records.listening import Sound
from bench.records.passes import PassAlarm
from bench.records.take import TakeSide
from bench.records.verdict import Verdict
from bench.report import ReportView, as_json, build, render, write_markdown
from bench.report.clips import embed
from bench.report.objective import objective_rows, spell_alarms
from bench.report.page import _strips
from bench.verdict.evidence import Evidence
from bench.verdict.rule import decide
from bench.verdict.takes import valid_takes
from tests.report.build import alarm
from tests.support.records import comparison, pass_file


def test_every_pair_has_both_voices_and_their_scores(view: ReportView) -> None:
    assert len(view.pairs) == 10
    for pair in view.pairs:
        assert [clip.side for clip in pair.clips] == ["candidate", "baseline"]
        assert all(clip.data for clip in pair.clips)
        assert pair.candidate_score is not None
    assert view.pairs[2].notes[0].text == "The question rises as it should."


def test_the_neighbours_seconds_have_reasons_and_the_longest_is_first(view: ReportView) -> None:
    parts = [(part.reason, part.seconds) for part in view.neighbour_outage]
    assert parts == [("loading the candidate", 81.9), ("takes and warm-ups", 61.3)]
    assert "143.2\u00a0s; longest: loading the candidate 81.9\u00a0s, takes" in write_markdown(view)
    page = render(view)
    assert page.index("Down: loading the candidate") < page.index("Down: takes and warm-ups")


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
    page, text, record = render(silent), write_markdown(silent), as_json(silent)
    assert "<audio" not in page
    assert "data:audio" not in page
    lengths = [f"{take.audio_s:.3f}" for take in valid_takes(waiting.candidate)]
    for shown in (page, text, record):
        # As a number of its own: "104.294858" of a drawing is no length.
        assert not [length for length in lengths if re.search(rf"(?<![\d.]){re.escape(length)}(?!\d)", shown)]
        for word in (
            "audible sound",
            "average spectra",
            "1.25 dB",
            "listen",
            ">Total time<",
            "semitones",
            "Loudness",
            '"audio_s"',
            '"total_ms"',
        ):
            assert word not in shown.replace('"audio_s": null', "")
    assert silent.memory_series == {} and silent.neighbour_outage == []
    assert "The question rises" not in page + text + record
    assert [row.label for row in _strips(silent, "ttfa_ms")] == ["f5"]
    # What it has instead: a plot, and the two commands.
    assert page.count("<svg") >= 2
    assert "audition rate f5-titan-20261122T101500Z" in page
    assert "audition verdict f5-titan-20261122T101500Z" in page


def test_what_is_wrong_with_a_server_is_said_before_anybody_listens_and_names_no_side(
    run_dir: Path, waiting: Evidence
) -> None:
    doubled = [alarm("duration", f"u{number:02d}", 2.2) for number in range(1, 9)] + [
        alarm("duration", None, 2.2)
    ]
    drifts = [alarm("voice_drift", None, 3.4), alarm("clipping", "u01", 0.2)]
    made = pass_file()
    assert made.result is not None
    made.result.alarms = [PassAlarm(kind="length", value=0.47, message="0.47 s a syllable")]
    told = waiting.model_copy(
        update={
            "metrics": comparison(alarms=doubled + drifts),
            "passes": {"candidate": pass_file(), "baseline": made},
        }
    )
    silent = build(run_dir, decide(told), told, True)
    assert not silent.revealed
    lengths, of_pass, where = silent.alarms
    assert lengths.startswith("In 8 of 10 sentences one side speaks far longer than the other")
    assert of_pass.startswith("A side's takes are not as long as speech of their words")
    assert "should not rate" in where
    names = ("f5", "chatterbox", "F5-TTS", "Chatterbox", "candidate", "baseline", "2.2", "0.47", "u01")
    assert [name for name in names if name in " ".join(silent.alarms)] == []
    assert lengths in html.unescape(render(silent)) and lengths in write_markdown(silent)
    shown = build(run_dir, decide(told), told.model_copy(update={"ratings": None}), False)
    assert shown.alarms == silent.alarms, "before the first rating too"


def test_after_the_reveal_a_passs_alarms_name_their_side(run_dir: Path, whole: Evidence) -> None:
    made = pass_file()
    assert made.result is not None
    made.result.alarms = [
        PassAlarm(kind="twice", value=10, message="10 of 10 takes hold the very same samples twice")
    ]
    told = whole.model_copy(update={"passes": {"baseline": made}})
    found = build(run_dir, decide(told), told, True, with_clips=False)
    assert found.alarms[0] == "chatterbox (baseline): 10 of 10 takes hold the very same samples twice"


def test_the_longest_pause_has_a_row_where_it_was_taken() -> None:
    taken = comparison().pauses_s.model_copy(update={"n": 1, "median": 0.6})
    (row,) = objective_rows(comparison(longest_pause_s=taken.model_dump()))
    assert (row["label"], row["median"], row["unit"]) == ("Longest pause", 0.6, "s")
    assert objective_rows(comparison()) == []


def test_alarms_are_one_line_a_side_and_kind(view: ReportView) -> None:
    assert view.alarms == [
        "f5 (candidate): pitch +3.1 to +3.9 semitones from the reference in 9 of 10 takes, +3.4 over all takes: "
        "another voice?",
        "f5 (candidate): 2.6 times as long as chatterbox's in u04: words repeated or left out?",
    ]


def test_alarms_without_a_figure_or_a_take_are_told_too() -> None:
    found = [
        alarm("silence", "u01", None, message="the take is silent"),
        alarm("silence", "u02", 1.25),
        alarm("unintelligible", None, 0.58),
        alarm("quiet", "u03", -50.0, side="baseline"),
        alarm("not_measured", "u04", None, message="cannot be read"),
    ]
    names: dict[TakeSide, str] = {"candidate": "f5", "baseline": "chatterbox"}
    assert spell_alarms(comparison(alarms=found), names, {}) == [
        "f5 (candidate): the take is silent in u01",
        "f5 (candidate): 1.2 s of silence at one end in u02",
        "f5 (candidate): word error rate +0.58 against chatterbox's over all takes: listen whether the words can "
        "be made out",
        "chatterbox (baseline): only \u221250 LUFS in u03",
        "f5 (candidate): cannot be read in u04",
    ]
    assert spell_alarms(None, names, {}) == []


def test_from_where_each_side_was_measured_and_in_whose_voice(view: ReportView) -> None:
    page, text = render(view), write_markdown(view)
    candidate, baseline = view.measured
    assert (candidate.host, candidate.remote, candidate.voice) == (
        "titan",
        False,
        "given the reference itself",
    )
    assert (baseline.server, baseline.round_trip_ms) == ("10.0.0.7", 2.0)
    for shown in (page, text):
        assert "10.0.0.7" in shown
        assert "unclear: average spectra: 1.25 dB between the two; let pass on this word" in shown
        assert "A. Person heard both, on headphones" in shown
        assert "other programs used 1.5 of 4 cores" in shown
        assert "connecting" in shown.lower() and "in every figure" not in shown.replace(
            "round trip is in every", ""
        )
    warned = "While chatterbox spoke, other programs used 1.5 of 4 cores: its times may be too long."
    assert warned in view.verdict.warnings
    assert any("not shown that chatterbox speaks in the voice asked for" in w for w in view.verdict.warnings)


def test_which_kernels_the_engine_ran_on_is_said(view: ReportView) -> None:
    said = "attend, convolve: triton; turn_keys: plain: OSError: no compiler"
    assert said in render(view)
    assert f"**Kernels of {view.candidate.name}:** {said}." in write_markdown(view).replace("\\", "")
    assert view.candidate.kernels["attend"] == "triton"
    assert view.baseline.kernels == {}, "a server of somebody else's says nothing of it"


def test_the_version_that_was_asked_for_and_why_another_ran(view: ReportView) -> None:
    said = "f5-tts 1.1.20, asked for 1.1.18: 1.1.18 was yanked (read back: f5-tts 1.1.20, weights 84e5a41)"
    assert said in render(view)
    assert said in write_markdown(view)


def test_the_speaker_beside_a_take_is_called_what_it_is(run_dir: Path, whole: Evidence) -> None:
    assert whole.ratings is not None
    for hidden, name in ((False, "Attention check, the open reference itself"), (True, "Hidden reference")):
        rated = whole.ratings.model_copy(update={"hidden_reference": hidden})
        shown = whole.model_copy(update={"ratings": rated})
        view = build(run_dir, decide(shown), shown, revealed=True)
        assert f"{name} scored above the take beside it" in render(view)
        assert f"{name}: scored above the take beside it in 1 of 1 trials." in write_markdown(view)
        assert ("Hidden reference" in render(view)) == hidden


def test_the_second_question_and_what_else_could_be_heard_stand_in_the_report(
    run_dir: Path, whole: Evidence
) -> None:
    assert whole.ratings is not None
    answers = [
        answer.model_copy(
            update={"candidate_second": 2, "baseline_second": 4 if answer.kind == "pair" else 1}
        )
        for answer in whole.ratings.answers
    ]
    more = {
        "answers": answers,
        "second_question": "How natural <b>is</b> it?",
        "sound": {
            "candidate": Sound(rate_hz=24000, bandwidth_hz=11900),
            "baseline": Sound(rate_hz=16000, bandwidth_hz=7600),
        },
        "noticed": ["duration alone tells the sides apart."],
    }
    shown = whole.model_copy(update={"ratings": whole.ratings.model_copy(update=more)})
    verdict = decide(shown)
    for said in (render(view := build(run_dir, verdict, shown, revealed=True)), write_markdown(view)):
        assert "How natural &lt;b&gt;is&lt;/b&gt; it?" in said
        assert "f5 speaks at 24 kHz and reaches 11.9 kHz" in said and "chatterbox speaks at 16 kHz" in said
        assert "duration alone tells the sides apart" in said
    hushed = build(run_dir, verdict, shown, revealed=False)
    assert "How natural" not in render(hushed) and "speaks at" not in render(hushed) + write_markdown(hushed)


def test_takes_asked_for_again_are_named(run_dir: Path, whole: Evidence) -> None:
    assert whole.candidate is not None
    again = "asked again after http_503 and Retry-After of 1 s"
    candidate = [
        take.model_copy(update={"note": again}) if n == 2 else take for n, take in enumerate(whole.candidate)
    ]
    found = whole.model_copy(update={"candidate": candidate})
    page = render(build(run_dir, decide(found), found, True, with_clips=False))
    assert f"u03: {again}" in page


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
    assert "Keep chatterbox and try cosyvoice2" in write_markdown(view)
    assert "<audio" not in page
