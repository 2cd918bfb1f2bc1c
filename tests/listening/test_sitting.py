"""Several runs rated in one sitting: real speech, the real server, a rater without a browser."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.listening import processing, results
from bench.listening.book import Book, Given, _boot_id
from bench.listening.mapping import DIRECTORY, SealBroken, load_intact
from bench.listening.raters import invite, status, withdraw
from bench.listening.score import measure_alike, seal
from bench.listening.seal_sitting import PAIRS_BESIDE, seal_sitting
from bench.listening.sitting import Sitting, find_rater, read_seal
from bench.records.listening import Export, Ratings, Sealed
from bench.records.run import Manifest
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record, save_record
from benchmarks.listening_run import WORDS, build
from tests.support.listening_fixtures import Client, Live, start

pytestmark = pytest.mark.slow

VOICES = {"kal": "flite kal", "robot": "flite rms", "scot": "flite awb"}
TRIALS_OF_A_RUN = 10 + 3 + 1 + 1


@pytest.fixture(scope="module")
def sealed_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs_dir = tmp_path_factory.mktemp("sitting")
    for model, voice in VOICES.items():
        made = build(runs_dir / f"{model}-here", texts=WORDS, candidate=voice)
        inputs = made.inputs.model_copy(update={"model": model})
        changed = {"model": model, "inputs": inputs, "entry": {"title": model.title()}}
        save_record(made.model_copy(update=changed), runs_dir / f"{model}-here")
    seal_sitting([runs_dir / f"{model}-here" for model in VOICES], channels=())
    return runs_dir


@pytest.fixture
def runs(sealed_runs: Path, tmp_path: Path) -> list[Path]:
    """The three runs, a copy of one's own."""
    shutil.copytree(sealed_runs, tmp_path / "runs", symlinks=True)
    return [tmp_path / "runs" / f"{model}-here" for model in VOICES]


@pytest.fixture
def live(runs: list[Path]) -> Iterator[Live]:
    found, stop = start(runs[1])  # whichever of them is named, the sitting is opened
    yield found
    stop()


def test_all_clips_are_as_loud_and_as_long_whichever_run_they_are_of(runs: list[Path]) -> None:
    seal = read_seal(runs[0])
    assert seal is not None and seal.runs == [run.name for run in runs]
    assert len(seal.beside) == 3
    sealed = [load_intact(run.parent / name) for run in runs[:1] for name in (*seal.runs, *seal.beside)]
    for channel in load_intact(runs[0]).channels:
        assert len({one.target_lufs[channel] for one in sealed if channel in one.target_lufs}) == 1
    seconds: dict[tuple[str, str], set[float]] = {}
    for one in sealed:
        for clip in one.clips:
            if clip.role == "pair":
                seconds.setdefault((clip.channel, clip.utterance_id), set()).add(clip.seconds)
    assert all(len(found) == 1 for found in seconds.values())


def test_one_link_asks_for_all_of_them_mixed(live: Live, runs: list[Path]) -> None:
    ann = live.client()
    session = ann.session()
    trials = session["trials"]
    assert len(trials) == 3 * TRIALS_OF_A_RUN + 1 + 3 * PAIRS_BESIDE
    assert [trial["practice"] for trial in trials].count(True) == 1 and trials[0]["practice"]
    assert len({trial["reference"] for trial in trials}) == 1, "one reference for all"
    assert session["break_after"] == 20
    tickets = ("id", "a", "b", "reference")  # random letters, which may spell anything
    shown = session | {"trials": [{k: v for k, v in trial.items() if k not in tickets} for trial in trials]}
    assert not any(name in json.dumps(shown).lower() for name in (*VOICES, "flite", "candidate", "baseline"))
    sitting = Sitting(runs[2])
    (seat,) = sitting.seats()
    order = seat.in_order()
    assert [asked.ticket for asked in order] == [trial["id"] for trial in trials]
    for _, rater in seat.parts:
        assert [asked.trial for asked in order if asked.rater is rater] == rater.trials
    turns = [sitting.books.index(asked.book) for asked in order]
    assert sum(one != two for one, two in pairwise(turns)) > len(turns) / 2, "the tests are mixed"
    sitting.close()


def rate(book: Book, name: str) -> None:
    """Answer every trial of one book and finish it: what no page can do while another has open trials."""
    rater = find_rater(book, name)
    assert rater is not None
    for trial in rater.trials:
        for side in ("A", "B"):
            book.note_opened(rater, trial, side)
        whole = [(0.0, book.length_s(trial))]
        book.hear(rater, trial, {"A": whole, "B": whole})
        book.answer(rater, trial, Given(3, 4, None, "", utc_now()), 0)
    book.finish(rater)


def test_nothing_is_unsealed_before_every_test_is_finished(
    patient: None, live: Live, runs: list[Path]
) -> None:
    ann, bo = live.client("ann"), live.client("bo")
    trials = ann.session()["trials"]
    sitting = Sitting(runs[0])
    of_the_last_test = set(sitting.seats()[0].parts[-1][1].by_ticket)
    sitting.close()
    last = next(trial for trial in trials if trial["id"] in of_the_last_test)
    for trial in trials:
        if trial is not last:
            ann.rate(trial)
    refused = ann.post("/api/finish")
    assert (refused.status_code, refused.json()["error"]) == (409, "incomplete")
    assert not ann.session()["finished"]
    assert results.read_ratings(runs[0]).raters["ann"] == "started", "nor is any one test closed"
    ann.rate(last)
    assert ann.post("/api/finish").json() == {"finished": True}
    assert ann.get("/api/results").json()["error"] == "others_rate"
    bo.session()
    with pytest.raises(BadInput, match="ratings are never dropped"):
        withdraw(runs[0], "ann", late=True)
    book = Book(runs[0])
    rate(book, "bo")
    assert book.all_finished
    book.close()
    waiting = results.read_ratings(runs[0])
    assert waiting.answers == [], "the others are not finished, and they would know the voices"
    assert set(waiting.raters.values()) == {"started"}
    with pytest.raises(BadInput, match="nothing is unsealed"):
        results.export_json(runs[0], runs[0] / "export.json")
    assert bo.get("/api/results").json()["error"] == "not_finished"
    assert ann.get("/api/results").json()["error"] == "others_rate"
    for trial in bo.session()["trials"]:
        if trial["answer"] is None:
            bo.rate(trial)
    assert bo.post("/api/finish").json() == {"finished": True}
    found = bo.get("/api/results").json()
    shown = [found, *found["others"]]
    assert [(one["candidate"], one["baseline"]) for one in shown] == [
        ("Kal", "Flite"), ("Robot", "Flite"), ("Scot", "Flite"), ("Kal", "Robot"), ("Kal", "Scot"), ("Robot", "Scot"),
    ]  # fmt: skip
    for run in runs:
        ratings = results.read_ratings(run)
        assert ratings.mapping_intact
        assert sorted(ratings.raters) == ["ann", "bo"]
        assert [answer.kind for answer in ratings.answers].count("pair") == 20
    assert [each["rated"] for each in status(runs[2])] == [61, 61]


def test_who_is_taken_off_is_taken_off_all(live: Live, runs: list[Path]) -> None:
    bo = live.client("bo")
    bo.session()
    withdraw(runs[1], "bo")
    assert bo.get("/api/session").status_code == 401
    for run in runs:
        book = Book(run)
        assert not book.raters
        book.close()


def test_a_stop_between_two_invitations_is_made_good(runs: list[Path]) -> None:
    book = Book(runs[0])
    book.invite("ann")
    book.close()
    sitting = Sitting(runs[0])
    assert all(find_rater(each, "ann") for each in sitting.books)
    sitting.close()


def test_nobody_hears_two_tests_at_once(monkeypatch: pytest.MonkeyPatch, live: Live) -> None:
    held = [1000.0]  # the seconds since boot: a busy machine must not decide a test
    monkeypatch.setattr("bench.listening.book._clock", lambda: {"boot_s": held[0], "boot_id": _boot_id()})
    ann: Client = live.client()
    trials = ann.session()["trials"][:8]
    lengths = [ann.fetch(trial) for trial in trials]
    held[0] += 2 * lengths[0]
    codes = [ann.hear(trial).status_code for trial in trials]
    assert codes == [200] + [409] * 7, "time is spent once, not once in each test"


def test_a_sitting_of_which_a_run_is_gone_is_refused(runs: list[Path]) -> None:
    shutil.rmtree(runs[1])
    with pytest.raises(BadInput, match=f"{runs[1].name} is not there"):
        invite(runs[0], "ann")


def test_a_run_that_was_sealed_anew_is_no_part_of_the_sitting(runs: list[Path]) -> None:
    kept = (runs[1] / DIRECTORY / "sitting.json").read_bytes()
    shutil.rmtree(runs[1] / DIRECTORY)
    seal(runs[1], channels=())
    (runs[1] / DIRECTORY / "sitting.json").write_bytes(kept)
    with pytest.raises(SealBroken, match="sealed otherwise than when sitting"):
        invite(runs[0], "ann")


def test_the_softest_run_sets_the_level_of_all(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    levels = iter([-25.0, -23.0, -24.0])
    monkeypatch.setattr(processing, "equalise_loudness", lambda clips, _at_most: (clips, next(levels)))
    assert [alike.lufs for alike in measure_alike(runs, channels=())] == [{"full": -25.0}] * 3


def test_ratings_from_elsewhere_are_not_of_a_sitting(runs: list[Path]) -> None:
    file = runs[0] / "export.json"
    signed = Ratings(
        question="",
        question_sha256="",
        mapping_sha256="",
        mapping_intact=True,
        raters={},
        answers=[],
        pairs=1,
    )
    file.write_text(Export(run_id="run", ratings=signed).model_dump_json())
    with pytest.raises(BadInput, match="one sitting"):
        results.import_json(runs[0], file)


def test_sealing_that_was_cut_off_is_made_anew_until_people_rate(runs: list[Path]) -> None:
    def sealed() -> list[Sealed]:
        return [load_intact(run) for run in runs]

    before = sealed()
    (runs[2] / DIRECTORY / "sitting.json").unlink()
    seal_sitting(runs, channels=())
    after = sealed()
    assert all(one.seed != two.seed for one, two in zip(before, after, strict=True))
    assert len({read_seal(run) is not None for run in runs}) == 1
    invite(runs[0], "ann")
    with pytest.raises(BadInput, match="begin new runs"):
        seal_sitting(runs)
    assert [one.seed for one in sealed()] == [one.seed for one in after]


def test_the_folders_of_two_candidates_name_both(runs: list[Path]) -> None:
    seal = read_seal(runs[0])
    assert seal is not None
    beside = load_record(Manifest, runs[0].parent / seal.beside[0])
    assert (beside.model, beside.inputs.baseline) == ("kal", "robot")


def test_a_clip_that_is_changed_while_people_rate_is_not_played(runs: list[Path], live: Live) -> None:
    ann = live.client()
    trial = ann.session()["trials"][3]
    for run in runs:
        for clip in (run / DIRECTORY / "clips").iterdir():
            clip.write_bytes(clip.read_bytes()[:-2] + b"\0\1")
    for clip in (runs[0].parent / "sittings").rglob("*.wav"):
        if "clips" in clip.parts:
            clip.write_bytes(clip.read_bytes()[:-2] + b"\0\1")
    assert ann.get(f"/api/clips/{trial['a']}").status_code == 500
