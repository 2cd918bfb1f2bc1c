import contextlib
import csv
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.errors import BadInput
from bench.listening import results
from bench.listening.book import Book, Given, Refused
from bench.listening.mapping import DIRECTORY, RATINGS
from bench.listening.raters import ensure_one, invite, link, notices, status, withdraw
from bench.listening.score import seal
from bench.listening.sitting import Sitting
from bench.listening.store import Log
from bench.records.listening import Export
from bench.storage.clock import utc_now
from tests.support.imported import sign_export
from tests.support.listening_fixtures import Live, MakeRun, ask_for, start

_ = MakeRun


@pytest.mark.slow
def test_the_same_name_gives_the_same_link_and_another_another(run_dir: Path) -> None:
    assert invite(run_dir, "Ann") == invite(run_dir, "  Ann ")
    assert invite(run_dir, "Bo") != invite(run_dir, "Ann")
    assert len(invite(run_dir, "Ann")) == len("/#") + 43, "256 bits"


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b", "a\x1bb"])
def test_a_name_that_is_none_is_refused(run_dir: Path, name: str) -> None:
    with pytest.raises(BadInput, match="name"):
        invite(run_dir, name)


def test_a_further_channel_adds_its_pairs_and_one_not_prepared_is_refused(run_dir: Path) -> None:
    invite(run_dir, "Ann", channels=("wideband",))
    assert status(run_dir)[0]["trials"] == 26
    with pytest.raises(BadInput, match="narrowband"):
        invite(run_dir, "Bo", channels=("narrowband",))


def test_the_owner_is_added_only_where_nobody_is(run_dir: Path) -> None:
    sitting = Sitting(run_dir)
    ensure_one(sitting)
    ensure_one(sitting)
    (seat,) = sitting.seats()
    sitting.close()
    assert seat.name == "owner"
    assert link(seat.first, "127.0.0.1", 8770).startswith("http://127.0.0.1:8770/#")


@pytest.mark.slow
def test_who_will_not_finish_can_be_taken_off_and_the_verdict_is_told(patient: None, live: Live) -> None:
    invite(live.run_dir, "Bo")
    withdraw(live.run_dir, "Bo")
    assert status(live.run_dir) == []
    bo = live.client("Bo")
    bo.rate(bo.session()["trials"][0])
    withdraw(live.run_dir, "Bo")
    late = bo.answer(bo.trials[0], revision=1, a=5)
    assert late.status_code == bo.get("/api/session").status_code == 401, "the link opens nothing any more"
    live.client().rate_all()
    found = results.read_ratings(live.run_dir)
    assert found.raters == {"ann": "finished"} and {a.rater for a in found.answers} == {"ann"}
    assert all("Bo, who had not finished, was taken off" in notice for notice in found.notices)
    assert not any("after a rater had finished" in notice for notice in found.notices)
    assert [notice.split("; ")[1] for notice in found.notices] == [
        "0 answers of 16 are not counted.", "1 answers of 16 are not counted."
    ]  # fmt: skip
    with pytest.raises(BadInput, match="never dropped"):
        withdraw(live.run_dir, "ann")
    with pytest.raises(BadInput, match="no rater"):
        withdraw(live.run_dir, "Cy")


@pytest.mark.slow
def test_when_the_decision_can_be_known_nobody_is_added_quietly(patient: None, live: Live) -> None:
    live.client().rate_all()
    with pytest.raises(BadInput, match="--late"):
        invite(live.run_dir, "Bo")
    link_again = invite(live.run_dir, "ann")
    assert link_again.startswith("/#"), "a link may be asked for again"
    assert results.read_ratings(live.run_dir).notices == []
    invite(live.run_dir, "Bo", late=True)
    found = results.read_ratings(live.run_dir)
    assert found.raters == {"ann": "finished", "Bo": "invited"}
    assert "Bo was invited" in found.notices[0] and "the decision could be known" in found.notices[0]
    with pytest.raises(BadInput, match="--late"):
        invite(live.run_dir, "Cy")  # Bo has not finished, but ann has: who rates more may be chosen for it
    invite(live.run_dir, "Cy", late=True)
    with pytest.raises(BadInput, match="--late"):
        withdraw(live.run_dir, "Bo")
    withdraw(live.run_dir, "Bo", late=True)
    _, second, third = results.read_ratings(live.run_dir).notices
    assert "Cy was invited" in second and "after a rater had finished" in second
    assert "Bo, who had not finished, was taken off" in third and "after a rater had finished" in third
    assert live.client().session()["notices"] == [], "raters are not told of each other"


@pytest.mark.slow
def test_all_raters_are_invited_before_the_first_has_finished_or_it_is_said(
    patient: None, sealed_for_two: Path
) -> None:
    live, stop = start(sealed_for_two)
    try:
        ann, bo = live.client(), live.client("Bo")
        ann.rate_all()
        with pytest.raises(BadInput, match="A rater has finished"):
            invite(live.run_dir, "Cy")
        bo.rate_all()
        assert results.read_ratings(live.run_dir).notices == []
        with pytest.raises(BadInput, match="Everybody has finished"):
            invite(live.run_dir, "Cy")
    finally:
        stop()


@pytest.mark.parametrize("again", ["ANN", "Ann", "ann"])
def test_one_name_is_one_rater_whatever_its_case(run_dir: Path, again: str) -> None:
    assert invite(run_dir, "ann") == invite(run_dir, again)
    withdraw(run_dir, again)
    assert status(run_dir) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Zo\u00eb", "Zoe\u0308"),
        ("STRASSE", "stra\u00dfe"),
        ("\u00c5sa", "A\u030asa"),
        ("\u0399\u03a3", "\u03b9\u03c2"),
    ],
)
def test_one_name_is_one_rater_however_it_is_coded(run_dir: Path, one: str, other: str) -> None:
    assert invite(run_dir, one) == invite(run_dir, other)
    (found,) = status(run_dir)
    assert found["name"] == unicodedata.normalize("NFC", one)


@pytest.mark.slow
def test_who_once_finished_makes_it_late_even_when_taken_off(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    live.client().rate_all()
    stop()
    spoil(run_dir, b'"revision":1')
    with pytest.raises(BadInput, match="--late"):
        withdraw(run_dir, "ann")
    withdraw(run_dir, "ann", late=True)
    with pytest.raises(BadInput, match="--late"):
        invite(run_dir, "Bo")


@pytest.fixture
def sealed_for_two(spoken: Path) -> Path:
    ask_for(spoken, minimum_raters=2)
    seal(spoken, channels=())
    return spoken


@pytest.mark.slow
def test_csv_has_a_line_for_each_answer_and_no_formula(patient: None, live: Live, tmp_path: Path) -> None:
    ann = live.client("=cmd()")
    for number, trial in enumerate(ann.session()["trials"]):
        ann.rate(trial, note='=HYPERLINK("x"), "quoted"\nsecond line' if number else "\n=1+1")
    ann.post("/api/finish")
    results.export_csv(live.run_dir, tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert len(rows) == 16
    assert rows[0]["note"] == "'\n=1+1"
    assert rows[1]["note"] == '\'=HYPERLINK("x"), "quoted"\nsecond line'
    assert rows[0]["rater"] == "'=cmd()"
    assert {row["candidate"] for row in rows} <= {"3", "4"}


@pytest.fixture
def exported(patient: None, live: Live, tmp_path: Path) -> Path:
    """Ann has finished; her ratings as a file."""
    live.client().rate_all()
    results.export_json(live.run_dir, tmp_path / "out.json")
    return tmp_path / "out.json"


def copy_without_ratings(live: Live, tmp_path: Path) -> Path:
    import shutil

    there = tmp_path / "there"
    shutil.copytree(live.run_dir, there, ignore=shutil.ignore_patterns("ratings.sqlite3*"))
    return there


@pytest.mark.slow
def test_ratings_come_into_another_copy_of_the_run_once(
    patient: None, live: Live, exported: Path, tmp_path: Path
) -> None:
    there = copy_without_ratings(live, tmp_path)
    assert results.import_json(there, exported) == ["ann"]
    assert results.read_ratings(there).answers == results.read_ratings(live.run_dir).answers
    assert results.read_ratings(there).raters == {"ann": "finished"}
    results.import_json(there, exported)
    found = results.read_ratings(there)
    assert len(found.answers) == 16
    assert len(found.notices) == 1 and "ann rated on another copy" in found.notices[0]
    assert status(there)[0]["status"] == "finished"
    with pytest.raises(BadInput, match="imported"):
        invite(there, "ann")


@pytest.mark.slow
def test_a_late_import_is_refused_or_said_and_brings_its_notices(
    patient: None, live: Live, exported: Path, tmp_path: Path
) -> None:
    there, stop = start(copy_without_ratings(live, tmp_path))
    try:
        there.client("Bo").rate_all()
    finally:
        stop()
    edit(exported, lambda body: body["ratings"].update(notices=["The database\x1b was damaged."]))
    sign_again(there.run_dir, exported)
    with pytest.raises(BadInput, match="--late"):
        results.import_json(there.run_dir, exported)
    assert results.read_ratings(there.run_dir).raters == {"Bo": "finished"}
    assert results.import_json(there.run_dir, exported, late=True) == ["ann"]
    first, second = results.read_ratings(there.run_dir).notices
    assert "after the decision could be known" in first
    assert second == "Of the ratings that were imported: The database was damaged."


@pytest.mark.slow
def test_importing_ones_own_export_changes_nothing(patient: None, live: Live, exported: Path) -> None:
    assert results.import_json(live.run_dir, exported) == []
    assert len(results.read_ratings(live.run_dir).answers) == 16


def edit(exported: Path, change: Callable[[Any], object]) -> None:
    body = json.loads(exported.read_text())
    change(body)
    exported.write_text(json.dumps(body))


def sign_again(run_dir: Path, exported: Path) -> None:
    export = Export.model_validate_json(exported.read_text())
    exported.write_text(sign_export(run_dir, export).model_dump_json())


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["ratings"]["answers"][3].update(candidate=5),
        lambda body: body["ratings"]["answers"][0].update(note="edited"),
        lambda body: body["ratings"].update(notices=["All is well."]),
        lambda body: body["ratings"]["answers"][0].update(answered_utc="2026-01-01T00:00:00Z"),
        lambda body: body.pop("signature"),
        lambda body: body.update(signature="0" * 64),
    ],
    ids=["a score", "a note", "a notice", "a time", "no signature", "another signature"],
)
def test_an_export_that_was_edited_by_hand_is_refused(
    patient: None, live: Live, exported: Path, tmp_path: Path, change: Callable[[Any], object]
) -> None:
    there = copy_without_ratings(live, tmp_path)
    edit(exported, change)
    with pytest.raises(BadInput, match="signature does not fit"):
        results.import_json(there, exported)
    assert results.read_ratings(there).raters == {}


def swap_a_side(body: Any) -> None:
    answer = next(a for a in body["ratings"]["answers"] if a["kind"] == "pair")
    answer["candidate_side"] = "B" if answer["candidate_side"] == "A" else "A"


def rename_a_control(body: Any) -> None:
    answer = next(a for a in body["ratings"]["answers"] if a["kind"] == "repeat")
    answer |= {"kind": "identical", "trial_id": answer["trial_id"].replace("repeat", "identical")}


def drop_the_controls(body: Any) -> None:
    body["ratings"]["answers"] = [a for a in body["ratings"]["answers"] if a["kind"] == "pair"]


def take_anothers_plan(body: Any) -> None:
    body["plans"]["ann"]["id"] = "0123456789abcdef"


def rate_twice(body: Any) -> None:
    body["ratings"]["answers"] += [a | {"rater": "Bo"} for a in body["ratings"]["answers"]]
    body["ratings"]["raters"]["Bo"] = "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [swap_a_side, rename_a_control, drop_the_controls, take_anothers_plan, rate_twice]
)
def test_answers_are_to_what_was_drawn_for_that_rater(
    patient: None, live: Live, exported: Path, tmp_path: Path, change: Callable[[Any], object]
) -> None:
    """Even with a signature that fits."""
    there = copy_without_ratings(live, tmp_path)
    edit(exported, change)
    sign_again(there, exported)
    with pytest.raises(BadInput, match="drawn for them"):
        results.import_json(there, exported)
    assert results.read_ratings(there).raters == {}


@pytest.mark.slow
def test_an_imported_rater_goes_on_to_a_third_copy(
    patient: None, live: Live, exported: Path, tmp_path: Path
) -> None:
    second, third = (copy_without_ratings(live, tmp_path / name) for name in ("two", "three"))
    results.import_json(second, exported)
    results.export_json(second, tmp_path / "again.json")
    assert results.import_json(third, tmp_path / "again.json") == ["ann"]
    with pytest.raises(BadInput, match="among this run's raters"):
        results.import_json(third, exported_as("Ann", third, exported))


def exported_as(name: str, run_dir: Path, exported: Path) -> Path:
    """The same answers under another spelling of the rater's name, signed."""
    text = (
        exported.read_text().replace('"rater": "ann"', f'"rater": "{name}"').replace('"ann": ', f'"{name}": ')
    )
    exported.write_text(text)
    sign_again(run_dir, exported)
    return exported


def alter(exported: Path, change: str) -> None:
    body = json.loads(exported.read_text())
    ratings = body["ratings"]
    if change == "another mapping":
        ratings["mapping_sha256"] = "0" * 64
    elif change == "a broken seal":
        ratings["mapping_intact"] = False
    elif change == "another question":
        ratings["question_sha256"] = "0" * 64
    elif change == "a pair missing":
        ratings["answers"] = [a for a in ratings["answers"] if a["trial_id"] != "pair-full-u04"]
    elif change == "a pair twice":
        ratings["answers"].append(next(a for a in ratings["answers"] if a["kind"] == "pair"))
    elif change == "an unknown utterance":
        ratings["answers"][0] |= {"utterance_id": "zz", "trial_id": "pair-full-zz"}
    elif change == "a score out of range":
        ratings["answers"][0]["candidate"] = 6
    elif change == "another version":
        body["schema_version"] = 2
    elif change == "a name that a terminal obeys":
        ratings["answers"] = [a | {"rater": "ann\x1b[2J"} for a in ratings["answers"]]
        body["plans"]["ann\x1b[2J"] = body["plans"].pop("ann")
    elif change == "a note too long for the log":
        ratings["answers"][0]["note"] = "n" * 20_000
    elif change == "a time that is a formula":
        ratings["answers"][0]["answered_utc"] = "=cmd()"
    exported.write_text(json.dumps(body))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "another mapping", "a broken seal", "another question", "a pair missing", "a pair twice",
        "an unknown utterance", "a score out of range", "another version", "a name that a terminal obeys",
        "a note too long for the log", "a time that is a formula",
    ],
)  # fmt: skip
def test_an_import_that_does_not_fit_is_refused_whole(
    patient: None, live: Live, exported: Path, tmp_path: Path, change: str
) -> None:
    there = copy_without_ratings(live, tmp_path)
    alter(exported, change)
    with contextlib.suppress(ValidationError):
        sign_again(there, exported)
    with pytest.raises(
        BadInput, match=r"not an export|other sealed pairs|drawn for them|printable characters"
    ):
        results.import_json(there, exported)
    assert results.read_ratings(there).raters == {}


def test_a_file_that_is_no_export_is_refused(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1, 2")
    with pytest.raises(BadInput, match="not an export"):
        results.import_json(run_dir, tmp_path / "x.json")


def spoil(run_dir: Path, text: bytes) -> None:
    """Change a byte of the last row that holds `text`."""
    path = run_dir / DIRECTORY / RATINGS
    data = bytearray(path.read_bytes())
    at = data.index(text)  # a page fills from its end: the newest row is the first in the file's bytes
    data[at + len(text) - 1] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
def test_a_finished_rater_whose_answer_was_lost_no_longer_counts(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    live.client().rate_all()
    stop()
    spoil(run_dir, b'"revision":1')
    found = results.read_ratings(run_dir)
    assert found.raters == {"ann": "started"} and found.answers == []
    assert "database was damaged" in found.notices[0] and "ann had finished" in found.notices[1]
    assert "damaged" in notices(run_dir)[0] and status(run_dir)[0]["damaged"]
    withdraw(run_dir, "ann", late=True)
    found = results.read_ratings(run_dir)
    assert found.raters == {} and "whose answers were damaged" in found.notices[1]


@pytest.mark.slow
def test_who_saw_the_names_stays_finished_when_the_log_forgets_it(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    ann = live.client()
    ann.rate_all()
    assert ann.get("/api/results").status_code == 200
    before = results.read_ratings(run_dir).answers
    stop()
    spoil(run_dir, b'"revisions":{')
    live, stop = start(run_dir)
    try:
        assert "Missing between them: 0" in live.book.notices[0]
        ann = live.client()
        trial = ann.session()["trials"][0]
        assert trial["answer"] is not None and live.client().session()["finished"]
        changed = ann.answer(trial, revision=1, a=5)
        assert (changed.status_code, changed.json()["error"]) == (409, "finished")
        # All of his last answers are whole, so they count as before.
        found = results.read_ratings(run_dir)
        assert found.raters == {"ann": "finished"} and found.answers == before
    finally:
        stop()


@pytest.mark.slow
def test_who_finished_and_lost_a_change_of_mind_besides_is_damaged(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    ann = live.client()
    for trial in ann.session()["trials"]:
        ann.rate(trial)
    assert ann.answer(ann.trials[0], revision=1, a=5).status_code == 200
    ann.post("/api/finish")
    stop()
    spoil(run_dir, b'"revisions":{')
    results.read_ratings(run_dir)
    spoil(run_dir, b'"revision":2')
    found = results.read_ratings(run_dir)
    assert found.raters == {"ann": "started"} and found.answers == [] and status(run_dir)[0]["damaged"]
    with_the_mark = Book(run_dir)
    rater = next(iter(with_the_mark.raters.values()))
    with pytest.raises(Refused, match="cannot be changed"):
        with_the_mark.answer(rater, rater.trials[0], Given(1, 1, None, "", utc_now()), 1)
    with_the_mark.close()


@pytest.mark.slow
def test_a_mark_that_cannot_be_read_lets_nothing_be_changed(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    live.client().rate_all()
    stop()
    (mark,) = (run_dir / DIRECTORY / "finished").iterdir()
    mark.write_bytes(mark.read_bytes()[:-5])
    assert results.read_ratings(run_dir).raters == {"ann": "finished"}, "the log says it still"
    spoil(run_dir, b'"revisions":{')
    assert results.read_ratings(run_dir).raters == {"ann": "started"} and status(run_dir)[0]["damaged"]


@pytest.mark.slow
def test_no_name_is_shown_before_the_mark_is_on_disk(
    patient: None, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = live.client()
    for trial in ann.session()["trials"]:
        ann.rate(trial)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("bench.listening.marks.write_atomically", full)
        assert ann.post("/api/finish").status_code == 507
        assert ann.get("/api/results").status_code == 507
    assert ann.get("/api/results").status_code == 200
    assert [p.name for p in (live.run_dir / DIRECTORY / "finished").iterdir()] == [
        f"{rater.id}.json" for rater in live.book.raters.values()
    ]


def test_a_log_of_which_nothing_is_left_is_bound_to_the_mapping_again(run_dir: Path) -> None:
    invite(run_dir, "ann")
    path = run_dir / DIRECTORY / RATINGS
    path.write_bytes(bytes(len(path.read_bytes())))
    assert results.read_ratings(run_dir).raters == {}
    log = Log(path)
    kinds = [row.kind for row in log.after(0)]
    log.close()
    assert kinds == ["damage", "sealed"]
