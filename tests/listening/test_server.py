"""What a rater, an honest one or not, can do through HTTP."""

import asyncio
import contextlib
import io
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile as sf

from bench.audio.wav import encode_wav_16bit
from bench.errors import BadInput
from bench.listening import heard, results, server
from bench.listening.book import _boot_id
from bench.listening.limits import MAX_BODY_BYTES, RateLimit
from bench.listening.raters import invite, status
from bench.listening.score import seal
from bench.listening.server import ADDRESS_LIMIT, HEADERS, JSON_BLOCK, RATER_LIMIT, create_app, serve
from bench.storage.digests import sha256_bytes
from benchmarks.listening_run import WORDS
from tests.support.listening_fixtures import Client, Live, ask_a_second_question, ask_for, seconds_of, start
from tests.support.mangle import mangle


@pytest.fixture
def ann(live: Live) -> Client:
    return live.client()


@pytest.fixture
def trial(patient: None, ann: Client) -> dict[str, Any]:
    """A trial of Ann's that she has heard in full."""
    first: dict[str, Any] = ann.session()["trials"][0]
    assert ann.hear(first).status_code == 200
    return first


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


# ---------------------------------------------------------------- a whole session


@pytest.mark.slow
def test_a_session_from_the_link_to_the_verdicts_ratings(patient: None, live: Live) -> None:
    ann = live.client()
    assert status(live.run_dir)[0]["status"] == "invited"
    first = ann.session()["trials"][0]
    ann.rate(first, a=1, b=5, comparison=3, note="rough")
    assert status(live.run_dir)[0] | {"path": None} == {
        "name": "ann", "status": "started", "rated": 1, "trials": 16, "headphones": None, "path": None,
        "damaged": False,
    }  # fmt: skip
    for trial in ann.trials[1:]:
        ann.rate(trial)
    assert results.read_ratings(live.run_dir).raters == {"ann": "started"}
    assert ann.post("/api/finish").status_code == 200
    found = results.read_ratings(live.run_dir)
    assert found.mapping_intact and found.raters == {"ann": "finished"}
    kinds = Counter(answer.kind for answer in found.answers)
    assert kinds == {"practice": 1, "pair": 10, "repeat": 3, "identical": 1, "anchor": 1}
    rough = next(answer for answer in found.answers if answer.note == "rough")
    expected = (1, 5, -3) if rough.candidate_side == "A" else (5, 1, 3)
    assert (rough.candidate, rough.baseline, rough.comparison) == expected
    shown = ann.get("/api/results").json()
    assert {shown["candidate"], shown["baseline"]} == {"eSpeak NG", "Flite"} and len(shown["answers"]) == 16
    names = {"candidate": "eSpeak NG", "baseline": "Flite", "reference": "Reference"}
    for public, sealed in zip(shown["answers"], live.book.rater_of(ann.token).trials, strict=True):
        assert public["a"]["voice"] == names[sealed.source("A")]
        assert public["b"]["voice"] == names[sealed.source("B")]


@pytest.mark.slow
def test_practice_comes_first_and_the_words_are_shown(patient: None, live: Live) -> None:
    ann = live.client()
    trials = ann.session()["trials"]
    assert [trial["practice"] for trial in trials] == [True] + [False] * 15
    said = [trial["words"] for trial in trials]
    assert said.count(None) == 1, "the speaker's own recording says other words than the take beside it"
    sealed = live.book.rater_of(ann.token).trials
    for public, trial in zip(trials, sealed, strict=True):
        number = int(trial.utterance_id[1:])
        assert public["words"] == (None if trial.kind == "anchor" else WORDS[number - 1])
    ann.rate_all()
    practice, *counted = results.read_ratings(live.run_dir).answers
    assert practice.kind == "practice" and {answer.kind for answer in counted} == {
        "pair",
        "repeat",
        "identical",
        "anchor",
    }


@pytest.mark.slow
def test_a_second_question_is_asked_with_each_pair_and_goes_to_its_side(
    patient: None, spoken: Path, tmp_path: Path
) -> None:
    ask_a_second_question(spoken, "How natural does this sound?")
    seal(spoken, channels=())
    live, stop = start(spoken)
    try:
        ann = live.client()
        session = ann.session()
        assert session["second_question"] == "How natural does this sound?"
        first = session["trials"][0]
        assert ann.hear(first).status_code == 200
        assert error(ann.answer(first)) == error(ann.answer(first, a_second=3)) == (422, "second_question")
        assert error(ann.answer(first, a_second=3, b_second=6))[0] == 422
        sealed = live.book.rater_of(ann.token).trials
        for public, trial in zip(session["trials"], sealed, strict=True):
            on_a = trial.candidate_side == "A"
            ann.rate(public, a_second=1 if on_a else 4, b_second=4 if on_a else 1)
        changed = ann.answer(session["trials"][0], revision=1, a=3, b=4, a_second=2, b_second=2)
        assert changed.json()["revision"] == 2, "a change of the second answer alone is a change"
        ann.post("/api/finish")
        answers = results.read_ratings(spoken).answers
        assert {(each.candidate_second, each.baseline_second) for each in answers[1:]} == {(1, 4)}
        results.export_json(spoken, tmp_path / "out.json")
        assert results.read_ratings(spoken).second_question == "How natural does this sound?"
        ask_a_second_question(spoken, "How loud is it?")
        with pytest.raises(BadInput, match="not the one that people rated under"):
            results.read_ratings(spoken)
    finally:
        stop()


def test_no_second_answer_is_taken_where_none_is_asked(trial: dict[str, Any], ann: Client) -> None:
    assert ann.session()["second_question"] is None
    assert error(ann.answer(trial, a_second=3, b_second=3)) == (422, "second_question")


@pytest.mark.slow
def test_the_reveal_names_rates_and_what_sealing_noticed(patient: None, live: Live) -> None:
    ann = live.client()
    assert "kHz" not in ann.get("/api/session").text
    ann.rate_all()
    said = ann.get("/api/results").json()["sound"]
    assert said[:2] == [
        "eSpeak NG speaks at 8 kHz and reaches 4.0 kHz.", "Flite speaks at 16 kHz and reaches 7.5 kHz."
    ]  # fmt: skip
    assert said[2:] == json.loads((live.run_dir / "listening" / "seal.json").read_text())["notices"] != []


@pytest.mark.slow
def test_scores_go_to_the_side_that_the_sealed_mapping_names(patient: None, live: Live) -> None:
    ann = live.client()
    book_trials = live.book.rater_of(ann.token).trials
    for public, sealed in zip(ann.session()["trials"], book_trials, strict=True):
        # The candidate gets 5, the baseline 2, as only the sealed mapping knows
        ann.rate(
            public, **({"a": 5, "b": 2} if sealed.candidate_side == "A" else {"a": 2, "b": 5}), comparison=0
        )
    ann.post("/api/finish")
    answers = results.read_ratings(live.run_dir).answers
    assert {(answer.candidate, answer.baseline, answer.comparison) for answer in answers} == {(5, 2, 0)}
    sides = [answer.candidate_side for answer in answers if answer.kind == "pair"]
    assert sides.count("A") == sides.count("B") == 5


@pytest.mark.parametrize("rated", [0, 1, 9])
def test_a_rater_who_has_not_finished_is_not_unsealed(patient: None, live: Live, rated: int) -> None:
    ann = live.client()
    for trial in ann.session()["trials"][:rated]:
        ann.rate(trial)
    assert error(ann.post("/api/finish")) == (409, "incomplete")
    found = results.read_ratings(live.run_dir)
    assert found.answers == [] and found.mapping_intact
    assert found.raters == {"ann": "started" if rated else "invited"}


def test_nobody_invited_is_no_error(run_dir: Path) -> None:
    found = results.read_ratings(run_dir)
    assert found.raters == {} and found.answers == [] and found.mapping_intact


def test_a_reload_or_another_device_finds_the_same_pairs_answers_and_places(
    patient: None, live: Live
) -> None:
    ann = live.client()
    before = ann.session()
    ann.rate(before["trials"][0], note="draft ✓")
    again = live.client().session()
    assert [t["id"] for t in again["trials"]] == [t["id"] for t in before["trials"]]
    given = {"a": 3, "b": 4, "a_second": None, "b_second": None, "comparison": None, "note": "draft ✓"}
    assert again["trials"][0]["answer"] == given
    assert again["trials"][0]["full"] == {"a": True, "b": True}


def test_a_restart_finds_everything(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    ann = live.client()
    ann.rate(ann.session()["trials"][0])
    stop()
    live, stop = start(run_dir)
    try:
        assert live.client().session()["trials"][0]["answer"]["a"] == 3
    finally:
        stop()


def test_an_invitation_made_by_another_process_works_at_once(live: Live) -> None:
    token = invite(live.run_dir, "Bo")[2:]
    assert Client(httpx.Client(base_url=live.url), token).session()["rater"] == "Bo"


# ---------------------------------------------------------------- slow lines, silence


def test_a_download_that_was_cut_off_goes_on_at_any_byte(live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    path = f"/api/clips/{first['a']}"
    whole = ann.get(path).content

    def part(asked: str) -> httpx.Response:
        return ann.http.get(path, headers={"Authorization": f"Bearer {ann.token}", "Range": asked})

    for begin in (0, 1, len(whole) // 2, len(whole) - 1):
        found = part(f"bytes={begin}-")
        assert (found.status_code, found.content) == (206, whole[begin:])
        assert found.headers["content-range"] == f"bytes {begin}-{len(whole) - 1}/{len(whole)}"
    assert part("bytes=10-19").content == whole[10:20]
    assert part(f"bytes=10-{10**11}").content == whole[10:]
    beyond = part(f"bytes={len(whole)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    for strange in ("bytes=-5", "bytes=5-1,7-9", "lines=1-", "bytes=x-", f"bytes={10**30}-"):
        assert (part(strange).status_code, part(strange).content) == (200, whole)


@pytest.mark.slow
def test_ranges_of_both_sides_are_answered_alike(live: Live, ann: Client) -> None:
    for trial in ann.session()["trials"]:
        headers = {"Authorization": f"Bearer {ann.token}", "Range": "bytes=700-"}
        a, b = (ann.http.get(f"/api/clips/{trial[side]}", headers=headers) for side in ("a", "b"))
        assert a.headers.multi_items() == b.headers.multi_items() and a.status_code == 206


@pytest.mark.slow
def test_what_is_sent_is_every_sample_that_was_sealed(live: Live, ann: Client) -> None:
    sealed = {clip.sha256: clip for clip in live.book.sealed.clips}
    for trial in ann.session()["trials"]:
        for ticket in (trial["a"], trial["b"], trial["reference"]):
            sent = ann.get(f"/api/clips/{ticket}").content
            samples, rate_hz = sf.read(io.BytesIO(sent), dtype="float32")
            assert sha256_bytes(encode_wav_16bit(samples, rate_hz)) in sealed
            assert len(sent) < 0.8 * samples.size * 2


def test_nothing_counts_as_heard_before_the_sound_check(patient: None, live: Live) -> None:
    deaf = live.client("deaf", hears=False)
    session = deaf.session()
    first = session["trials"][0]
    assert session["sound_checked"] is False
    assert error(deaf.hear(first)) == (409, "sound_unchecked")
    assert deaf.post("/api/sound-check", {"digits": "123"}).json() == {"passed": False}, "nothing was spoken"
    rater = live.book.rater_of(deaf.token)
    deaf.get("/api/sound-check")
    told = live.sounds.told(rater.id)
    wrong = "111" if told != "111" else "222"
    assert deaf.post("/api/sound-check", {"digits": wrong}).json() == {"passed": False}
    assert deaf.post("/api/sound-check", {"digits": told}).json() == {"passed": False}, (
        "a clip is good for one try"
    )
    assert error(deaf.hear(first)) == (409, "sound_unchecked")
    deaf.get("/api/sound-check")
    assert deaf.post("/api/sound-check", {"digits": live.sounds.told(rater.id)}).json() == {"passed": True}
    assert deaf.hear(first).status_code == 200
    assert deaf.session()["sound_checked"] is True


def test_the_digits_are_spoken_and_nothing_else_tells_them(live: Live) -> None:
    ann = live.client(hears=False)
    rater = live.book.rater_of(ann.token)
    heads, lengths = set(), {}
    for _ in range(12):
        found = ann.get("/api/sound-check")
        told = live.sounds.told(rater.id)
        # A length or a date has three digits of its own that may be these.
        words = [value for name, value in found.headers.items() if name not in ("content-length", "date")]
        assert told not in " ".join(words) and told.encode() not in found.content[:44]
        samples, rate_hz = sf.read(io.BytesIO(found.content))
        assert found.headers["content-type"] == "audio/wav" and 1.0 < samples.size / rate_hz < 6.0
        heads.add(found.content[:4] + found.content[8:40])
        lengths[told] = samples.size
    assert len(heads) == 1 and len(lengths) > 8


def test_who_rated_before_there_was_a_sound_check_goes_on(patient: None, live: Live) -> None:
    ann = live.client()
    ann.rate(ann.session()["trials"][0])
    rater = live.book.rater_of(ann.token)
    rater.sound_checked = False
    assert ann.hear(ann.trials[1]).status_code == 200


def test_the_page_is_told_how_long_it_takes_and_how_to_say_what_was_better(live: Live, ann: Client) -> None:
    session = ann.session()
    assert session["comparison"][0] == "A sounds much more like it"
    assert session["comparison"][3:5] == ["No difference", "B sounds slightly more like it"]
    assert session["comparison"][6] == "B sounds much more like it"
    seconds = sum(2 * live.book.length_s(trial) + 20 for trial in live.book.rater_of(ann.token).trials)
    assert session["minutes"] == round(seconds / 60)
    assert server._comparison("How natural does this sound?")[0] == "A much more"


# ---------------------------------------------------------------- ratings that must not be taken


@pytest.mark.parametrize(
    "scores",
    [
        {"a": 0}, {"a": 6}, {"b": -1}, {"a": 3.5}, {"a": "3"}, {"a": None}, {"a": True}, {"b": 1e99},
        {"comparison": 4}, {"comparison": -4}, {"comparison": 0.5}, {"note": "x" * 1001}, {"note": 5},
        {"revision": -1}, {"revision": "0"}, {"candidate": 5},
    ],
)  # fmt: skip
def test_a_rating_out_of_range_is_refused(ann: Client, trial: dict[str, Any], scores: dict[str, Any]) -> None:
    assert error(ann.answer(trial, **scores)) == (422, "bad_request")
    assert ann.session()["trials"][0]["answer"] is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"a": NaN, "b": 3, "revision": 0}', b"\xff\xfe", b"[" * 5000]
)
def test_a_body_that_is_not_json_is_refused(ann: Client, trial: dict[str, Any], body: bytes) -> None:
    headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"}
    response = ann.http.post(f"/api/trials/{trial['id']}/answer", content=body, headers=headers)
    assert error(response) in ((400, "bad_request"), (422, "bad_request"))


def test_the_same_rating_sent_twice_counts_once(live: Live, ann: Client, trial: dict[str, Any]) -> None:
    assert ann.answer(trial).json()["revision"] == 1
    assert ann.answer(trial).json()["revision"] == 1
    assert sum(row.kind == "answer" for row in live.book._log.after(0)) == 1


def test_two_tabs_the_second_is_told_and_can_go_on_from_what_is_stored(
    ann: Client, trial: dict[str, Any]
) -> None:
    assert ann.answer(trial, a=1).json()["revision"] == 1
    assert error(ann.answer(trial, a=5)) == (409, "changed_elsewhere")
    assert ann.session()["trials"][0]["answer"]["a"] == 1
    assert ann.answer(trial, revision=1, a=5).json()["revision"] == 2


def test_twenty_tabs_at_once_leave_one_answer(ann: Client, trial: dict[str, Any]) -> None:
    def send(n: int) -> int:
        return ann.answer(trial, a=1 + n % 5, note=str(n)).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(send, range(20)))
    assert sorted(codes) == [200] + [409] * 19
    assert ann.session()["trials"][0]["revision"] == 1


def test_rating_before_listening_is_refused(live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    assert error(ann.answer(first)) == (409, "not_heard")
    ann.fetch(first)
    assert error(ann.answer(first)) == (409, "not_heard"), "having the clip is not having heard it"


def test_one_side_alone_or_half_of_each_is_not_enough(patient: None, live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    seconds = ann.fetch(first)
    for body in ({"a": [[0, seconds]]}, {"b": [[0, seconds / 2]]}, {"b": [[seconds / 2 + 0.2, seconds]]}):
        assert ann.post(f"/api/trials/{first['id']}/heard", body).status_code == 200
        assert error(ann.answer(first)) == (409, "not_heard")
    ann.post(f"/api/trials/{first['id']}/heard", {"b": [[seconds / 2, seconds / 2 + 0.3]]})
    assert ann.answer(first).status_code == 200


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds since boot, held still: a busy machine must not decide a test."""
    held = [1000.0]
    monkeypatch.setattr("bench.listening.book._clock", lambda: {"boot_s": held[0], "boot_id": _boot_id()})
    return held


def test_claiming_to_have_heard_faster_than_time_passes_is_refused(now: list[float], ann: Client) -> None:
    first = ann.session()["trials"][0]
    assert error(ann.hear(first)) == (409, "faster_than_time")
    assert ann.session()["trials"][0]["heard"] == {"a": [], "b": []}


def test_opening_every_pair_and_waiting_once_does_not_pay(now: list[float], ann: Client) -> None:
    trials = ann.session()["trials"][:4]
    lengths = [ann.fetch(trial) for trial in trials]
    now[0] += 2 * lengths[0]
    codes = [ann.hear(trial).status_code for trial in trials]
    assert codes == [200, 409, 409, 409]


def test_real_time_is_enough_and_less_is_not(now: list[float], ann: Client) -> None:
    first = ann.session()["trials"][0]
    seconds = ann.fetch(first)
    now[0] += 2 * seconds - heard.SLACK_S - 0.01
    assert error(ann.hear(first)) == (409, "faster_than_time")
    now[0] += 0.02
    assert ann.hear(first).status_code == 200
    assert ann.answer(first).status_code == 200


def test_listening_that_was_not_opened_is_refused(patient: None, live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    body = {"a": [[0, 0.5]], "b": [[0, 0.5]]}
    assert error(ann.post(f"/api/trials/{first['id']}/heard", body)) == (409, "not_opened")


def test_a_clip_that_was_never_fetched_cannot_have_been_heard(patient: None, live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    seconds = seconds_of(ann.get(f"/api/clips/{first['a']}").content)
    whole = [[0, seconds]]
    heard_path = f"/api/trials/{first['id']}/heard"
    assert error(ann.post(heard_path, {"a": whole, "b": whole})) == (409, "not_opened")
    assert error(ann.post(heard_path, {"b": whole})) == (409, "not_opened")
    assert ann.post(heard_path, {"a": whole}).json()["full"] == {"a": True, "b": False}
    ann.get(f"/api/clips/{first['b']}")
    assert ann.post(heard_path, {"b": whole}).json()["full"] == {"a": True, "b": True}


@pytest.mark.parametrize(
    "ranges", [[[5, 1]], [[-1, 2]], [[0, 1e9]], [[0, "1"]], [[0]], "all", [[0, 1]] * 100]
)
def test_ranges_that_cannot_be_are_refused(ann: Client, trial: dict[str, Any], ranges: Any) -> None:
    response = ann.post(f"/api/trials/{trial['id']}/heard", {"a": ranges})
    assert response.status_code in (400, 422)


def test_setting_the_clock_changes_nothing(
    now: list[float], ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    first = ann.session()["trials"][0]
    seconds = ann.fetch(first)
    for shift in (1e6, -1e6):
        monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
        assert error(ann.hear(first)) == (409, "faster_than_time")
    now[0] += 2 * seconds
    assert ann.hear(first).status_code == 200
    assert ann.answer(first).status_code == 200


def test_listening_before_a_reboot_counts_and_the_time_that_passed_does_not(
    patient: None, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, stop = start(run_dir)
    ann = live.client()
    first, second = ann.session()["trials"][:2]
    ann.hear(first)
    ann.fetch(second)
    stop()
    monkeypatch.setattr(heard, "SLACK_S", 0.3)
    monkeypatch.setattr("bench.listening.book._boot_id", lambda: "another boot")
    live, stop = start(run_dir)
    try:
        ann = live.client()
        assert ann.session()["trials"][0]["full"] == {"a": True, "b": True}
        assert ann.answer(first).status_code == 200
        body = {"a": [[0, 0.9]], "b": [[0, 0.9]]}
        assert error(ann.post(f"/api/trials/{second['id']}/heard", body)) == (409, "not_opened")
    finally:
        stop()


@pytest.mark.slow
def test_after_the_reveal_nothing_can_be_changed(patient: None, live: Live, ann: Client) -> None:
    assert error(ann.get("/api/results")) == (409, "not_finished")
    ann.rate_all()
    last = ann.trials[-1]
    assert error(ann.answer(last, revision=1, a=5)) == (409, "finished")
    assert error(ann.answer(last)) == (409, "finished")
    assert error(ann.hear(last)) == (409, "finished")
    assert ann.post("/api/finish").status_code == 200, "finishing twice is one finish"
    assert results.read_ratings(live.run_dir).answers[-1].candidate in (3, 4)


@pytest.mark.slow
def test_nothing_is_unsealed_to_anybody_while_somebody_rates(
    patient: None, live: Live, ann: Client, tmp_path: Path
) -> None:
    bo = live.client("Bo")
    first, *others = bo.session()["trials"]
    bo.rate(first, note="Bo's own")
    ann.rate_all()
    assert error(ann.get("/api/results")) == (409, "others_rate") and "1 of 2" in ann.get("/api/results").text
    assert ann.session()["finished"] and not ann.session()["revealed"]
    assert error(bo.get("/api/results")) == (409, "not_finished")
    found = results.read_ratings(live.run_dir)
    assert found.raters == {"ann": "finished", "Bo": "started"} and found.answers == []
    for export, file in ((results.export_json, "out.json"), (results.export_csv, "out.csv")):
        with pytest.raises(BadInput, match="1 of 2 raters have finished"):
            export(live.run_dir, tmp_path / file)
        assert not (tmp_path / file).exists()
    for trial in others:
        bo.rate(trial)
    bo.post("/api/finish")
    assert ann.session()["revealed"]
    assert "Bo" not in ann.get("/api/results").text and ann.get("/api/results").status_code == 200
    assert {answer.rater for answer in results.read_ratings(live.run_dir).answers} == {"ann", "Bo"}
    results.export_json(live.run_dir, tmp_path / "out.json")


@pytest.mark.slow
def test_a_rater_waits_for_as_many_as_the_rule_asks_for(patient: None, spoken: Path) -> None:
    ask_for(spoken, minimum_raters=2)
    seal(spoken, channels=())
    live, stop = start(spoken)
    try:
        ann = live.client()
        ann.rate_all()
        assert (
            error(ann.get("/api/results")) == (409, "others_rate")
            and "1 of 2" in ann.get("/api/results").text
        )
    finally:
        stop()


# ---------------------------------------------------------------- others' things, forged things


def test_another_raters_trial_and_clip_do_not_exist(patient: None, live: Live, ann: Client) -> None:
    bo = live.client("Bo")
    hers = bo.session()["trials"][0]
    assert not {t["id"] for t in ann.session()["trials"]} & {t["id"] for t in bo.trials}
    assert error(ann.answer(hers)) == (404, "unknown_pair")
    assert error(ann.get(f"/api/clips/{hers['a']}")) == (404, "unknown_clip")
    assert error(ann.post(f"/api/trials/{hers['id']}/heard", {"a": [[0, 1]]})) == (404, "unknown_pair")


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer x", "Basic {t}", "Bearer {t}x", "bearer {t}", "{t}"]
)
def test_a_forged_token_opens_nothing(live: Live, ann: Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.format(t=ann.token)}
    for method, path in (("GET", "/api/session"), ("GET", "/api/results"), ("POST", "/api/finish")):
        assert error(ann.http.request(method, path, headers=headers)) == (401, "unknown")


def test_a_token_in_the_url_opens_nothing(ann: Client) -> None:
    assert ann.http.get(f"/api/session?token={ann.token}").status_code == 401


PATHS = [
    "/../sealed.json", "/%2e%2e/sealed.json", "/..%2fsealed.json", "/listening/sealed.json", "/page/../server.py",
    "/api/clips/../../sealed.json", "/api/clips/..%2f..%2fsealed.json", "/api/clips/%2fetc%2fpasswd",
    "/api/clips/....//sealed.json", "/api/clips/a%00b", "//etc/passwd", "/index.html", "/server.py", "/.", "/page.css/",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_page(live: Live, ann: Client, path: str) -> None:
    # Sent as it is: an HTTP library would tidy the dots away.
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ann.token}\r\nConnection: close\r\n\r\n"
        line.sendall(request.encode())
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    assert answer.split()[1] in (b"404", b"400")
    assert b"nonce" not in answer and b"root:" not in answer


def test_file_names_on_disk_are_no_tickets(live: Live, ann: Client) -> None:
    for clip in live.book.sealed.clips[:3]:
        assert ann.get(f"/api/clips/{clip.file}").status_code == 404


# ---------------------------------------------------------------- too much


def test_ten_megabytes_are_refused_unread(live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    huge = b'{"note":"' + b"x" * 10_000_000 + b'"}'
    headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"}
    try:
        response = ann.http.post(f"/api/trials/{first['id']}/answer", content=huge, headers=headers)
        assert error(response) == (413, "too_large")
    except httpx.HTTPError:
        pass  # the server hung up while we were still sending: as good
    assert ann.session()["rater"] == "ann", "and it goes on serving"


def test_a_body_without_a_stated_length_is_counted_as_it_comes(live: Live, ann: Client) -> None:
    def pieces() -> Any:
        for _ in range(100):
            yield b" " * 1024

    headers = {"Authorization": f"Bearer {ann.token}"}
    with contextlib.suppress(httpx.HTTPError):  # it may hang up while we are still sending
        assert ann.http.post("/api/finish", content=pieces(), headers=headers).status_code == 413
    assert ann.session()["rater"] == "ann"


def test_a_lying_content_length_is_refused(live: Live) -> None:
    host, port = live.url.removeprefix("http://").split(":")
    for length in (str(MAX_BODY_BYTES + 1), "1e9", "-5"):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(f"POST /api/finish HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            assert line.recv(65536).split()[1] in (b"413", b"400")


@dataclass
class Flood:
    """What a thousand requests a second from one client came to."""

    sent_per_s: float
    seconds: float
    codes: Counter[int]

    def let_through(self, limit: tuple[float, int]) -> float:
        """How many a limit may have let through: what its bucket held and what flowed in meanwhile."""
        return limit[1] + limit[0] * self.seconds + 1


def flood(
    live: Live, token: str, during: Callable[[], None], forwarded: Callable[[int], str] = lambda _: ""
) -> Flood:
    """Send a thousand requests a second for a second and a half without waiting for answers, as one client with
    five connections, do something else meanwhile, and read all the answers."""
    host, port = live.url.removeprefix("http://").split(":")
    total, lines, step = 1500, 5, 10
    codes: Counter[int] = Counter()
    begun = threading.Event()
    sent_s = 0.0

    async def read(reader: asyncio.StreamReader) -> None:
        for _ in range(total // lines):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            codes[int(head[9:12])] += 1

    async def send() -> None:
        nonlocal sent_s
        opened = [await asyncio.open_connection(host, int(port), limit=1 << 20) for _ in range(lines)]
        answers = [asyncio.create_task(read(reader)) for reader, _ in opened]
        began = time.monotonic()
        for number in range(total):
            request = f"GET /api/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            opened[number % lines][1].write(f"{request}{forwarded(number)}\r\n".encode())
            if number % step == 0:
                begun.set()
                await asyncio.sleep(max(0.0, began + number / 1000 - time.monotonic()))
        sent_s = time.monotonic() - began
        await asyncio.gather(*answers)
        for _, writer in opened:
            writer.close()

    began = time.monotonic()
    sender = threading.Thread(target=lambda: asyncio.run(send()))
    sender.start()
    assert begun.wait(10)
    while not codes[429]:
        time.sleep(0.005)
    during()
    assert codes.total() < total, "the other rater was served during the flood, not after it"
    sender.join()
    assert codes.total() == total, "every request was answered"
    return Flood(total / sent_s, time.monotonic() - began, codes)


@pytest.mark.slow
def test_a_flood_from_one_rater_is_429_and_harms_no_other(live: Live, ann: Client) -> None:
    bo = live.client("Bo")
    waits = []

    def bo_asks() -> None:
        for _ in range(5):
            asked = time.monotonic()
            assert bo.session()["rater"] == "Bo"
            waits.append(time.monotonic() - asked)

    found = flood(live, ann.token, bo_asks)
    assert set(found.codes) == {200, 429}
    assert RATER_LIMIT[1] <= found.codes[200] <= found.let_through(RATER_LIMIT)
    assert found.sent_per_s > 5 * RATER_LIMIT[0], "a thousand a second, or what a busy machine makes of it"
    assert max(waits) < 10.0, waits


@pytest.mark.slow
def test_a_flood_of_guessed_tokens_is_429_and_the_page_still_opens(live: Live, ann: Client) -> None:
    def ann_opens_the_page() -> None:
        for name in ("", "page.css", "page.js", "api.js", "keys.js", "player.js", "ranges.js", "icon.svg"):
            assert ann.http.get(f"/{name}").status_code == 200
        assert ann.session()["rater"] == "ann", "a rater with a token goes on"

    found = flood(live, "x" * 43, ann_opens_the_page)
    assert set(found.codes) == {401, 429}
    assert ADDRESS_LIMIT[1] <= found.codes[401] <= found.let_through(ADDRESS_LIMIT)


def test_a_flood_of_page_files_is_429_too(live: Live, ann: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda _: ann.http.get("/icon.svg").status_code, range(400)))
    assert set(codes) == {200, 429}
    assert ann.session()["rater"] == "ann"


@pytest.mark.slow
def test_an_address_cannot_be_made_up(live: Live, ann: Client) -> None:
    """Every client on this machine may say what it likes in X-Forwarded-For; nobody believes it."""
    found = flood(
        live, "x" * 43, lambda: None, lambda number: f"X-Forwarded-For: 203.0.113.{number % 250}\r\n"
    )
    assert found.codes[401] <= found.let_through(ADDRESS_LIMIT)


def test_behind_a_proxy_each_address_has_its_own_limit(run_dir: Path) -> None:
    live, stop = start(run_dir, behind_tls_proxy=True)
    try:
        with httpx.Client(base_url=live.url) as http:
            for number in range(ADDRESS_LIMIT[1] + 100):
                headers = {"Authorization": "Bearer no", "X-Forwarded-For": f"203.0.113.{number % 250}"}
                assert http.get("/api/session", headers=headers).status_code == 401
    finally:
        stop()


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        (
            "👩\u200d🚀 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e007f",
            "👩\u200d🚀 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e007f",
        ),
        ("sûr\u00a0? می\u200cخواهم", "sûr\u00a0? می\u200cخواهم"),
        ("one\ntwo\x00\x1b[31m\r", "one\ntwo[31m"),
        ("\u202eright to left\u2028", "right to left"),
    ],
)
def test_a_note_is_kept_as_it_was_written_but_for_what_cannot_be_seen(
    live: Live, ann: Client, trial: dict[str, Any], note: str, kept: str
) -> None:
    assert ann.answer(trial, note=note).status_code == 200
    assert ann.session()["trials"][0]["answer"]["note"] == kept


def test_the_bucket_fills_again_and_forgets_the_longest_unseen() -> None:
    now = [0.0]
    limit = RateLimit(per_s=10, burst=3, clock=lambda: now[0])
    assert [limit.allows("x") for _ in range(4)] == [True, True, True, False]
    now[0] += 0.1
    assert [limit.allows("x") for _ in range(2)] == [True, False]
    for n in range(10_001):
        limit.allows(str(n))
    assert len(limit._buckets) == 10_000


def test_changing_ones_mind_for_ever_is_bounded(
    ann: Client, trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.listening.book.MAX_REVISIONS", 3)
    for revision in range(3):
        assert ann.answer(trial, revision=revision, a=1 + revision).status_code == 200
    assert error(ann.answer(trial, revision=3, a=5)) == (429, "too_many_changes")
    for result in ("passed", "failed", "passed"):
        assert ann.post("/api/headphones", {"result": result}).status_code == 200
    assert error(ann.post("/api/headphones", {"result": "skipped"})) == (429, "too_many_changes")


# ---------------------------------------------------------------- the disk


def test_a_full_disk_is_said_and_nothing_is_acknowledged(
    ann: Client, trial: dict[str, Any], live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.book._log._db.execute("PRAGMA max_page_count=1")  # SQLite's own 'database or disk is full'
    note = "x" * 1000
    codes = []
    for revision in range(40):
        response = ann.answer(trial, revision=revision, note=note + str(revision)[:0], a=1 + revision % 5)
        codes.append(response.status_code)
        if response.status_code != 200:
            break
    assert error(response) == (507, "not_saved")
    saved = codes.count(200)
    assert ann.session()["trials"][0]["revision"] == saved, "what was acknowledged is there, and no more"
    live.book._log._db.execute("PRAGMA max_page_count=100000")
    assert ann.answer(trial, revision=saved, a=2).json()["revision"] == saved + 1


def test_a_damaged_database_is_said_on_the_page(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    ann = live.client()
    ann.rate(ann.session()["trials"][0])
    stop()
    path = run_dir / "listening" / "ratings.sqlite3"
    data = bytearray(path.read_bytes())
    data[:60] = b"x" * 60
    path.write_bytes(data)
    live, stop = start(run_dir)
    try:
        session = live.client().session()
        assert session["trials"][0]["answer"]["a"] == 3
        assert "damaged" in session["notices"][0]
    finally:
        stop()


# ---------------------------------------------------------------- what every answer looks like


def test_headers_are_strict_and_the_same_everywhere(live: Live, ann: Client) -> None:
    first = ann.session()["trials"][0]
    answers = [
        ann.http.get("/"), ann.http.get("/page.js"), ann.http.get("/page.css"), ann.get("/api/session"),
        ann.get(f"/api/clips/{first['a']}"), ann.get("/api/results"), ann.http.get("/nothing"), ann.answer(first, a=9),
    ]  # fmt: skip
    for response in answers:
        for name, value in HEADERS.items():
            assert response.headers[name] == value
        assert "server" not in response.headers and "etag" not in response.headers
        assert "last-modified" not in response.headers and "set-cookie" not in response.headers


def test_the_page_asks_for_nothing_from_elsewhere(live: Live, ann: Client) -> None:
    for name in ("", "page.js", "page.css", "api.js", "player.js", "waveform.js", "keys.js", "headphones.js"):
        text = ann.http.get(f"/{name}").text
        foreign = [word for word in text.split() if "://" in word and "www.w3.org" not in word]
        assert not foreign, (name, foreign)


def test_json_comes_in_whole_blocks(live: Live, ann: Client) -> None:
    for response in (ann.get("/api/session"), ann.get("/api/results"), ann.http.get("/x")):
        assert len(response.content) % JSON_BLOCK == 0
        json.loads(response.content)


def test_the_question_is_printed_exactly_as_it_was_committed(live: Live, ann: Client) -> None:
    session = ann.session()
    assert session["question"] == live.book.sealed.question
    assert session["mapping_sha256"] == (live.run_dir / "listening" / "mapping.sha256").read_text().strip()


# ---------------------------------------------------------------- serving


def test_other_machines_only_behind_a_tls_proxy(run_dir: Path) -> None:
    with pytest.raises(BadInput, match="TLS proxy"):
        serve(run_dir, host="0.0.0.0")


def test_a_port_that_another_has_is_refused_before_a_link_is_said(live: Live) -> None:
    said: list[str] = []
    with pytest.raises(BadInput, match="--port"):
        serve(live.run_dir, port=int(live.url.rpartition(":")[2]), say=said.append)
    with pytest.raises(BadInput, match="65536"):
        serve(live.run_dir, port=65536, say=said.append)
    assert said == [], "they would lead to the other server"


def test_nothing_to_serve_before_the_sealing(spoken: Path) -> None:
    with pytest.raises(BadInput, match="score phase"):
        create_app(spoken)


@pytest.mark.slow
def test_ratings_given_to_another_mapping_are_not_served(run_dir: Path, spoken: Path) -> None:
    from bench.listening.score import seal

    invite(run_dir, "ann")
    seal(spoken, channels=())
    database = run_dir / "listening" / "ratings.sqlite3"
    (spoken / "listening" / "ratings.sqlite3").write_bytes(database.read_bytes())
    with pytest.raises(BadInput, match="another mapping"):
        create_app(spoken)


@pytest.mark.slow
def test_whatever_body_comes_is_taken_or_refused_in_words(
    patient: None, ann: Client, trial: dict[str, Any]
) -> None:
    where = f"/api/trials/{trial['id']}"
    bodies = {
        f"{where}/answer": {"a": 3, "b": 4, "note": "x", "comparison": 1, "revision": 0},
        f"{where}/heard": {"a": [[0, 0.1]], "b": []},
        "/api/headphones": {"result": "passed"},
    }
    words = (
        b"{", b"[", b'"', b":", b",", b"\\ud800", b"1e999", b"NaN", b"9" * 400, b"[[0,1]]", b"null", b"-1", b"true",
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"}

    def check(path: str, body: bytes) -> None:
        answer = ann.http.post(path, content=body, headers=headers)
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, (answer.status_code, body[:200])
        assert answer.status_code == 200 or answer.json()["message"]

    for path, good in bodies.items():
        mangle(partial(check, path), (json.dumps(good).encode(),), words)
    assert ann.session()["trials"]
