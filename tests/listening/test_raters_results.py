import csv
import json
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.listening import results
from bench.listening.book import Book
from bench.listening.raters import ensure_one, invite, link, notices, status, withdraw
from tests.listening.conftest import Live, MakeRun, start

_ = MakeRun


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
    assert status(run_dir)[0]["trials"] == 25
    with pytest.raises(BadInput, match="narrowband"):
        invite(run_dir, "Bo", channels=("narrowband",))


def test_the_owner_is_added_only_where_nobody_is(run_dir: Path) -> None:
    book = Book(run_dir)
    ensure_one(book)
    ensure_one(book)
    assert [rater.name for rater in book.raters.values()] == ["owner"]
    assert link(next(iter(book.raters.values())), "127.0.0.1", 8770).startswith("http://127.0.0.1:8770/#")


def test_an_invitation_can_be_taken_back_until_it_was_answered(patient: None, live: Live) -> None:
    invite(live.run_dir, "Bo")
    withdraw(live.run_dir, "Bo")
    assert status(live.run_dir) == []
    ann = live.client()
    ann.rate(ann.session()["trials"][0])
    with pytest.raises(BadInput, match="never dropped"):
        withdraw(live.run_dir, "ann")
    with pytest.raises(BadInput, match="no rater"):
        withdraw(live.run_dir, "Cy")


def test_csv_has_a_line_for_each_answer_and_no_formula(patient: None, live: Live, tmp_path: Path) -> None:
    ann = live.client("=cmd()")
    for trial in ann.session()["trials"]:
        ann.rate(trial, note='=HYPERLINK("x"), "quoted"\nsecond line')
    ann.post("/api/finish")
    results.export_csv(live.run_dir, tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert len(rows) == 15
    assert rows[0]["note"] == '\'=HYPERLINK("x"), "quoted"\nsecond line'
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


def test_ratings_come_into_another_copy_of_the_run_once(live: Live, exported: Path, tmp_path: Path) -> None:
    there = copy_without_ratings(live, tmp_path)
    assert results.import_json(there, exported) == ["ann"]
    assert results.ratings(there).answers == results.ratings(live.run_dir).answers
    assert results.all_finished(there)
    results.import_json(there, exported)
    assert len(results.ratings(there).answers) == 15
    assert status(there)[0]["status"] == "finished"
    with pytest.raises(BadInput, match="imported"):
        invite(there, "ann")


def test_importing_ones_own_export_changes_nothing(live: Live, exported: Path) -> None:
    assert results.import_json(live.run_dir, exported) == []
    assert len(results.ratings(live.run_dir).answers) == 15


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
    exported.write_text(json.dumps(body))


@pytest.mark.parametrize(
    "change",
    [
        "another mapping", "a broken seal", "another question", "a pair missing", "a pair twice",
        "an unknown utterance", "a score out of range", "another version",
    ],
)  # fmt: skip
def test_an_import_that_does_not_fit_is_refused_whole(
    live: Live, exported: Path, tmp_path: Path, change: str
) -> None:
    there = copy_without_ratings(live, tmp_path)
    alter(exported, change)
    with pytest.raises(BadInput):
        results.import_json(there, exported)
    assert results.ratings(there).raters == {}


def test_a_file_that_is_no_export_is_refused(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1, 2")
    with pytest.raises(BadInput, match="not an export"):
        results.import_json(run_dir, tmp_path / "x.json")


def test_a_finished_rater_whose_answer_was_lost_no_longer_counts(patient: None, run_dir: Path) -> None:
    live, stop = start(run_dir)
    live.client().rate_all()
    stop()
    database = run_dir / "listening" / "ratings.sqlite3"
    data = bytearray(database.read_bytes())
    at = data.index(b'"revision":1')
    data[at + 11 : at + 12] = b"7"
    database.write_bytes(data)
    found = results.ratings(run_dir)
    assert found.raters == {"ann": "started"} and found.answers == []
    assert "damaged" in notices(run_dir)[0] and status(run_dir)[0]["damaged"]
    withdraw(run_dir, "ann")
    assert results.ratings(run_dir).raters == {}
