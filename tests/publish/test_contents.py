"""What is published of a run, and what never is."""

import base64
import datetime
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from bench.catalog.loader import load
from bench.errors import BadInput
from bench.publish import publish
from bench.publish.permission import Side, read_permission
from bench.publish.secrets import refuse_secrets
from bench.records.run import Check, Manifest, Preflight
from bench.report.record import escape_md
from bench.storage.record_file import load_record, save_record
from tests.publish.build import (
    BENCHMARK,
    RUN_ID,
    SPEAKER,
    WORDS_OF_REFERENCE,
    change_manifest,
    decide,
    forbid,
    git,
    published,
    rate,
    short,
)
from tests.support.play import REPO

RECORD = {
    "README.md",
    "verdict.json",
    "report.md",
    "report.html",
    BENCHMARK,
    "manifest.json",
    "install.json",
    "neighbour.json",
}
TAKES = {"candidate/takes.jsonl", "baseline/takes.jsonl"}
CLIPS = {f"{side}/u{number:02d}.wav" for side in ("candidate", "baseline") for number in range(1, 11)}


def players(page: bytes) -> int:
    return len(re.findall(rb"data:audio/", page))


@pytest.mark.slow
def test_where_the_rights_allow_it_every_clip_goes_as_the_very_samples(run_dir: Path, repo: Path) -> None:
    report = publish(run_dir, repo)
    files = published(repo)
    assert set(files) == RECORD | TAKES | CLIPS | {"metrics.json"} == set(short(report.files))
    assert report.withheld == {}
    for name in CLIPS:
        assert files[name] == (run_dir / name).read_bytes()
    hashes = [json.loads(line) for line in files["candidate/takes.jsonl"].splitlines()]
    assert {f"{take['utterance_id']}.wav": take["sha256"] for take in hashes} == {
        name.removeprefix("candidate/"): hashlib.sha256(files[name]).hexdigest()
        for name in CLIPS
        if name.startswith("candidate")
    }
    assert players(files["report.html"]) == 20
    assert b"Keep this file to yourself" not in files["report.html"]
    for name in ("verdict.json", "install.json", "neighbour.json", "metrics.json", *TAKES):
        assert files[name] == (run_dir / name).read_bytes()


@pytest.mark.slow
def test_as_flac_they_are_the_same_samples_in_less_room(run_dir: Path, repo: Path) -> None:
    publish(run_dir, repo, clip_format="flac")
    files = published(repo)
    clips = {name for name in files if name.endswith(".flac")}
    assert clips == {name.replace(".wav", ".flac") for name in CLIPS}
    for name in clips:
        flac, rate_hz = soundfile.read(io.BytesIO(files[name]), dtype="int16")
        wav, wav_hz = soundfile.read(run_dir / name.replace(".flac", ".wav"), dtype="int16")
        assert rate_hz == wav_hz
        assert flac.tobytes() == wav.tobytes()
    assert b"FLAC of the very samples" in files["README.md"]
    publish(run_dir, repo)
    assert not [name for name in published(repo) if name.endswith(".flac")], "the branch holds one kind"
    with pytest.raises(BadInput, match="wav or flac"):
        publish(run_dir, repo, clip_format="mp3")  # type: ignore[arg-type]  # as a module's argument may be


def call_it(run_dir: Path, name: str) -> None:
    entry = load("espeak").model_dump(mode="json") | {"publish_as": name}
    change_manifest(run_dir, entry=entry)
    decide(run_dir)


@pytest.mark.slow
def test_the_names_are_the_models_for_people_and_its_page_goes_along(run_dir: Path, repo: Path) -> None:
    call_it(run_dir, "f5-tts")
    report = publish(run_dir, repo)
    stamp = RUN_ID.rpartition("-")[2]
    assert report.branch == f"f5-tts-bench-{stamp}"
    assert report.folder == f"docs/f5-tts-bench-samples-{stamp}"
    added = git(repo, "diff", "--name-only", "main", report.branch).splitlines()
    beside = [name for name in added if not name.startswith(f"{report.folder}/")]
    assert beside == [f"docs/BENCHMARK-F5-TTS-HERE-{stamp}.json", "docs/RESEARCH-F5-TTS.md"]
    page = git(repo, "show", f"{report.branch}:docs/RESEARCH-F5-TTS.md")
    assert page == (REPO / "docs/RESEARCH-F5-TTS.md").read_text().strip()
    shown = json.loads(git(repo, "show", f"{report.branch}:{beside[0]}"))
    assert (shown["run_id"], shown["verdict"]["decision"]) == (RUN_ID, "keep_baseline_survey_complete")
    assert not publish(run_dir, repo).changed


@pytest.mark.slow
def test_a_page_about_the_model_that_is_there_is_left_as_it_is(run_dir: Path, repo: Path) -> None:
    call_it(run_dir, "f5-tts")
    (repo / "docs" / "RESEARCH-F5-TTS.md").write_text("mine\n")
    git(repo, "add", "docs")
    git(repo, "commit", "-q", "-m", "A page of my own")
    report = publish(run_dir, repo)
    assert git(repo, "show", f"{report.branch}:docs/RESEARCH-F5-TTS.md") == "mine"


@pytest.mark.slow
def test_two_hosts_that_began_in_the_same_second_do_not_share_a_branch(run_dir: Path, repo: Path) -> None:
    other = shutil.copytree(run_dir, run_dir.with_name(RUN_ID.replace("here", "there")))
    change_manifest(other, run_id=other.name, host="there")
    decide(other)
    stamp = RUN_ID.rpartition("-")[2]
    found = [publish(each, repo) for each in (run_dir, other)]
    assert [each.branch for each in found] == [f"espeak-bench-{stamp}-{host}" for host in ("here", "there")]
    assert all(git(repo, "rev-list", "--count", f"main..{each.branch}") == "1" for each in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rights", "why"),
    [
        ({"may_publish_clips": False}, "may_publish_clips: false"),
        ({"expires": "2026-11-21"}, "ended on 2026-11-21"),
        ({"sha256": "not a hash"}, "no rights statement"),
    ],
)
def test_where_they_do_not_no_clip_goes_and_nothing_is_said_of_the_voice(
    run_dir: Path, repo: Path, rights: dict[str, Any], why: str
) -> None:
    forbid(run_dir, **rights)
    decide(run_dir)
    report = publish(run_dir, repo)
    files = published(repo)
    assert set(files) == RECORD | TAKES | {"metrics.json"}
    assert why in report.withheld["candidate"]
    assert why in report.withheld["baseline"]
    assert escape_md(why) in files["README.md"].decode()
    assert players(files["report.html"]) == 0
    assert not [name for name, data in files.items() if SPEAKER.encode() in data]
    assert set(json.loads(files["manifest.json"])["reference"]["given"]["rights"]) == {
        "licence", "expires", "sha256", "may_publish_clips",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [True, False])
def test_the_reference_its_words_and_a_login_never_go(run_dir: Path, repo: Path, allowed: bool) -> None:
    forbid(run_dir, may_publish_clips=allowed)
    decide(run_dir)
    publish(run_dir, repo)
    files = published(repo)
    sound = (run_dir / "reference" / "reference.wav").read_bytes()
    samples = sound[4000:4300]
    for name, data in files.items():
        for secret in (WORDS_OF_REFERENCE.encode(), b"voice-of-a-friend", b"open-sesame", samples):
            assert secret not in data, name
    assert base64.b64encode(samples)[4:-4] not in files["report.html"]
    stripped = json.loads(files["manifest.json"])
    assert stripped["baseline_url"] == "http://here.invalid:8772/v1"
    assert stripped["model_url"] == "http://there.invalid/v1"
    whole = json.loads((run_dir / "manifest.json").read_text())
    assert {key for key in whole if whole[key] != stripped[key]} == {"reference", "model_url", "baseline_url"}
    Manifest.model_validate(stripped)


def side_licence(run_dir: Path, name: str, spdx: str, *, use: str = "research") -> dict[Side, str | None]:
    entry = load("f5").model_dump(mode="json") | {"publish_as": "espeak"}
    entry["licences"]["weights"]["spdx"] = spdx
    change_manifest(run_dir, **{name: entry, "intended_use": use})
    return read_permission(load_record(Manifest, run_dir), datetime.date(2026, 11, 22)).licence


def test_the_licence_of_the_weights_counts_for_its_own_side(run_dir: Path) -> None:
    free = {"candidate": None, "baseline": None}
    assert side_licence(run_dir, "entry", "CC-BY-NC-4.0") == free
    assert side_licence(run_dir, "entry", "CC-BY-SA-4.0") == free
    for spdx in ("CC-BY-NC-ND-4.0", "CC-BY-ND-4.0", "NOASSERTION"):
        found = side_licence(run_dir, "entry", spdx)
        assert found["candidate"] is not None
        assert found["baseline"] is None
    commercial = side_licence(run_dir, "entry", "CC-BY-NC-4.0", use="commercial")
    assert "commercial" in str(commercial["candidate"])


@pytest.mark.slow
def test_a_side_whose_licence_forbids_it_keeps_its_clips_and_the_report_has_no_players(
    run_dir: Path, repo: Path
) -> None:
    side_licence(run_dir, "entry", "CC-BY-NC-ND-4.0")
    decide(run_dir)
    report = publish(run_dir, repo)
    files = published(repo)
    assert set(report.withheld) == {"candidate"}
    assert {name for name in files if name.endswith(".wav")} == {n for n in CLIPS if n.startswith("baseline")}
    assert players(files["report.html"]) == 0
    assert b"CC-BY-NC-ND-4.0" in files["README.md"]


@pytest.mark.slow
def test_what_was_sealed_stays_silent_where_not_all_have_rated(unrated: Path, repo: Path) -> None:
    refused = Check(name="licence", ok=False, value="personal", limit="no", detail="No.", severity="gate")
    save_record(Preflight(host={}, checks=[refused], forecast={}), unrated)
    assert decide(unrated) == "keep_baseline_survey_complete"
    report = publish(unrated, repo)
    assert set(published(repo)) == RECORD
    assert "not every rater" in report.withheld["candidate"]


@pytest.mark.slow
def test_a_baseline_that_another_run_has_borrowed_stays_at_home_until_that_is_decided(
    run_dir: Path, repo: Path
) -> None:
    borrower = shutil.copytree(run_dir, run_dir.with_name("f5-here-20261122T111500Z"))
    (borrower / "verdict.json").unlink()
    report = publish(run_dir, repo)
    files = published(repo)
    assert f"still to be rated in {borrower.name}" in report.withheld["baseline"]
    assert not [name for name in files if name.startswith("baseline/") or name == "metrics.json"]
    assert "candidate/u01.wav" in files
    assert players(files["report.html"]) == 0
    shutil.copy(run_dir / "verdict.json", borrower)
    publish(run_dir, repo)
    assert "baseline/u01.wav" in published(repo)


def test_a_refused_run_without_a_take_is_published_too(run_dir: Path, repo: Path) -> None:
    for name in ("candidate", "baseline", "listening"):
        shutil.rmtree(run_dir / name)
    for name in ("install.json", "neighbour.json", "metrics.json"):
        (run_dir / name).unlink()
    refused = Check(name="licence", ok=False, value="personal", limit="no", detail="No.", severity="gate")
    save_record(Preflight(host={}, checks=[refused], forecast={}), run_dir)
    decide(run_dir)
    publish(run_dir, repo)
    assert set(published(repo)) == RECORD - {"install.json", "neighbour.json"}


def test_a_clip_that_was_edited_is_refused(run_dir: Path, repo: Path) -> None:
    path = run_dir / "candidate" / "u03.wav"
    path.write_bytes(path.read_bytes()[:-2] + b"\0\1")
    with pytest.raises(BadInput, match=r"u03\.wav is not the clip that was timed"):
        publish(run_dir, repo)
    assert "-bench-" not in git(repo, "show-ref")


@pytest.mark.slow
def test_no_file_with_a_secret_of_this_environment_is_published(
    run_dir: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = 'p4ss"w0rd&more'
    install = json.loads((run_dir / "install.json").read_text())
    install["steps"] = [{"name": "weights", "seconds": 1.0, "detail": f"asked with {value}"}]
    (run_dir / "install.json").write_text(json.dumps(install))
    decide(run_dir)
    monkeypatch.setenv("SOME_API_TOKEN", value)
    with pytest.raises(BadInput, match=r"install\.json holds .* SOME_API_TOKEN") as caught:
        publish(run_dir, repo)
    assert value not in str(caught.value)
    assert "-bench-" not in git(repo, "show-ref")


@pytest.mark.parametrize(
    "written", [b"%s", b'{"a": "%s"}', b"Basic %s"], ids=["as it is", "in JSON", "in base64"]
)
def test_a_secret_is_found_however_it_is_written(written: bytes) -> None:
    value = "sesame-123456"
    form = base64.b64encode(value.encode()) if b"Basic" in written else value.encode()
    files = {"x.json": written % form}
    for name in ("MY_TOKEN", "A_SECRET", "api_key", "DB_PASSWORD"):
        with pytest.raises(BadInput, match=name):
            refuse_secrets(files, {name: value})
    refuse_secrets(files, {"HOME": value, "SHORT_KEY": "1"})
    with pytest.raises(BadInput, match="BASELINE_LOGIN"):
        refuse_secrets(files, {"BASELINE_LOGIN": value}, also=["BASELINE_LOGIN", None])


TOKEN = "github_pat_11Qx7LmZ2vBtR4wKp"


@pytest.mark.parametrize(
    "said",
    [
        "you sent github_pat_11Qx7L",
        '"xxxxgithub_pat_11"',
        "no such key: gith...BtR4wKp",
        "GITHUB_PAT_11QX7LMZ2",
        "x7LmZ2 and no more",
        "QUJDxm7LmZ2vBtR4wKpAAAA",
    ],
)
def test_nor_is_a_part_of_one(said: str) -> None:
    with pytest.raises(BadInput, match=r"install\.json holds a part of the value .* A_TOKEN"):
        refuse_secrets({"install.json": said.encode()}, {"A_TOKEN": TOKEN})


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("see https://github.com/a/b, Github", TOKEN),
        ("it is q11Qx of 7LmZ2", TOKEN),
        ("QUJDx7LmZ2QUJD", TOKEN),
        ("took 0.123456 s", "991234569"),
        ("/usr/share/espeak-ng-data", "/usr/share/keyrings/mine"),
        ("https://hub.example/x", "https://keys.example/y"),
    ],
    ids=["a word", "too short", "in base64", "a number", "a path", "an address"],
)
def test_what_others_say_too_is_no_part(said: str, value: str) -> None:
    refuse_secrets({"install.json": said.encode()}, {"A_KEY": value})


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(unrated: Path, repo: Path) -> None:
    rate(unrated)
    decide(unrated)
    publish(unrated, repo)
    decide(unrated)
    assert not publish(unrated, repo).changed
