"""Which run a phase works on, what is left to do in it, and a disk that fills up."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.entry import HttpRun
from bench.controller import run as runs
from bench.controller.host_settings import HostSettings
from bench.controller.outgoing import hash_receipt, make_job_spec
from bench.controller.prepare import DEFAULT_RULE, commit
from bench.controller.request import RunRequest
from bench.controller.run import Run, RunBusy, locate, open_or_create
from bench.controller.wheel import REPO
from bench.errors import BadInput, DiskFull, PhaseMissing
from bench.listening.mapping import HIDDEN
from bench.records.base import FileRecord, Phase
from bench.records.run import Install, Phases, PhaseState
from bench.storage.clock import utc_now
from bench.storage.digests import sha256_bytes, sha256_file
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import check_commitments, read_rule
from bench.verdict.methods import METHODOLOGY_VERSION
from tests.controller.conftest import Asked
from tests.support import entries


def _new(asked: Asked, **changes: Any) -> Run:
    run, new = open_or_create(asked(**changes), Path("/"))
    assert new
    return run


def _older(run: Run, stamp: str) -> Run:
    """The same run as if it had been begun at `stamp`."""
    name = f"{run.run_id.rpartition('-')[0]}-{stamp}"
    manifest = run.manifest().model_copy(update={"run_id": name})
    moved = run.path.rename(run.path.with_name(name))
    save_record(manifest, moved)
    return Run(moved)


def _noted(run: Run, **ended: str) -> None:
    """Note phases as `done`, or as failed by the one whose fault it was (`candidate`, `host`)."""
    for phase, how in ended.items():
        fault = how if how in ("candidate", "host") else None
        state = {
            "status": "failed" if fault else how,
            "error": "it broke" if fault else None,
            "fault": fault,
            "started_utc": utc_now(),
            "ended_utc": utc_now(),
        }
        run.record_phase(phase, PhaseState.model_validate(state))  # type: ignore[arg-type]


def _decided(run: Run, decision: str, reason: str | None = None) -> None:
    verdict = {
        "schema_version": 1, "run_id": run.run_id, "model": "espeak", "baseline": "flite", "decision": decision,
        "label": decision, "reason": reason, "sentence": "", "gates": [], "ratings": {}, "latency": {}, "memory": {},
        "neighbour": {}, "failures": {}, "warnings": [], "next": {"model": None, "commands": []},
        "methodology_version": 1,
    }  # fmt: skip
    (run.path / "verdict.json").write_text(json.dumps(verdict))


def test_a_path_in_an_inventory_may_begin_at_home(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    given = asked(runs_dir="~/runs", reference_audio="~/voice.wav", rule_file="~/rule.yml", catalog_dir="")
    assert given.runs_dir == Path("/home/ann/runs")
    assert given.reference_audio == Path("/home/ann/voice.wav")
    assert given.rule_file == Path("/home/ann/rule.yml")
    assert given.catalog_dir is None
    assert asked(rule_file="~nobody-of-that-name/rule.yml").rule_file == Path("~nobody-of-that-name/rule.yml")


def test_commands_name_the_folder_of_runs_that_are_not_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    commands = ["audition rate a-b-1", "ansible-playbook site.yml -e model=b"]
    assert Run(REPO / "runs" / "a-b-1").typed(commands) == commands
    where = f"--runs-dir '{tmp_path}/my runs'"
    assert Run(tmp_path / "my runs" / "a-b-1").typed(commands) == [
        f"audition rate a-b-1 {where}",
        commands[1],
    ]


def test_commands_say_where_they_are_when_the_shell_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (".venv", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "audition").write_text("#!/bin/sh\n")
        (tmp_path / folder / "audition").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / ".venv"))
    assert runs.locate_command("audition rate a") == "audition rate a"
    for path in ("", str(tmp_path / "elsewhere")):
        monkeypatch.setenv("PATH", path)
        assert runs.locate_command("audition rate a") == ".venv/audition rate a"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert runs.locate_command("audition rate a") == f"{tmp_path}/.venv/audition rate a"
    assert runs.locate_command("make demo") == "make demo"


@pytest.mark.parametrize("name", ["question", "second_question"])
def test_what_is_left_of_a_question_that_was_not_quoted_is_refused(asked: Asked, name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} is the one word 'How'"):
        commit(asked(**{name: "How"}))
    commit(asked(**{name: "How natural is it?"}))
    commit(asked(**{name: "听起来有多像"}))


# One play at a time


def test_two_plays_do_not_work_on_one_run(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "HELD_WAIT_S", 0.0)
    run, other = _new(asked), _new(asked, host="there")
    with run.held():
        with pytest.raises(RunBusy, match=f"another play is at work on {run.run_id}; wait"), run.held():
            pass
        with other.held():  # another run is another matter
            pass
    with run.held():
        assert run.manifest().run_id == run.run_id


@pytest.mark.slow
def test_a_play_that_was_killed_holds_nothing(asked: Asked) -> None:
    run = _new(asked)
    code = (
        "import sys, time; from pathlib import Path; from bench.controller.run import Run\n"
        "with Run(Path(sys.argv[1])).held(): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        with run.held():  # waits for the kernel to let go
            pass


@pytest.mark.slow
def test_runs_begun_at_once_all_leave_a_latest(tmp_path: Path) -> None:
    """As the workers of one play over several hosts do."""
    code = (
        "import sys; from pathlib import Path; from bench.controller.run import point_latest\n"
        "for _ in range(300): point_latest(Path(sys.argv[1]))"
    )
    made = [tmp_path / name for name in ("one", "two", "three")]
    each = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE) for path in made
    ]
    assert [process.communicate()[1].decode() for process in each] == ["", "", ""]
    assert (tmp_path / "latest").readlink().name in {path.name for path in made}
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


# Which run


def test_the_same_inputs_find_the_run_they_began(asked: Asked) -> None:
    run = _new(asked)
    again, new = open_or_create(asked(), Path("/"))
    assert (again, new) == (run, False)
    assert locate(asked()) == run
    assert (run.path.parent / "latest").readlink() == Path(run.run_id)


@pytest.mark.parametrize(
    "other",
    [
        {"question": "Which is clearer?"},
        {"intended_use": "research"},
        {"chain": ["espeak", "f5"], "rule_file": "r"},
    ],
)
def test_other_inputs_are_another_run(asked: Asked, tmp_path: Path, other: dict[str, Any]) -> None:
    if "rule_file" in other:
        (tmp_path / "r").write_text("pairs: 9\n")
        other = other | {"rule_file": tmp_path / "r"}
    first = _older(_new(asked), "20250101T000000Z")
    second = _new(asked, **other)
    assert locate(asked()) == first
    assert locate(asked(**other)) == second


@pytest.mark.parametrize("channel", ["narrowband", "wideband"])
@pytest.mark.parametrize(
    "rule", [None, "pairs: 9  # no line after it", "{pairs: 9}", "pairs: 9\nchannel: full\n"]
)
def test_the_channel_of_the_service_is_the_one_that_counts(
    asked: Asked, tmp_path: Path, rule: str | None, channel: str
) -> None:
    """Said once, in the variable or in the rule; the run's own copy of the rule has it."""
    given: dict[str, Any] = {"service_channel": channel}
    if rule is not None:
        (tmp_path / "mine.yml").write_text(rule)
        given["rule_file"] = tmp_path / "mine.yml"
    if rule is not None and (rule[0] == "{" or "channel" in rule):
        with pytest.raises(BadInput, match=rf"channel {channel} in it|service_channel is {channel}"):
            open_or_create(asked(**given), Path("/"))
        return
    run = _new(asked, **given)
    kept, data = read_rule(run.path / "rule.yml")
    assert kept.channel == channel and kept == run.manifest().rule
    assert kept.model_copy(update={"channel": "full"}) == read_rule(given.get("rule_file") or DEFAULT_RULE)[0]
    assert sha256_bytes(data) == run.manifest().rule_sha256
    assert locate(asked(**given)) == run
    with pytest.raises(PhaseMissing):
        locate(asked(**given | {"service_channel": "rule"}))


def test_a_channel_that_no_service_has_is_refused(asked: Asked, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="service_channel"):
        asked(service_channel="matched")
    (tmp_path / "mine.yml").write_text("channel: matched\n")
    with pytest.raises(BadInput, match="channel"):
        open_or_create(asked(rule_file=tmp_path / "mine.yml"), Path("/"))


def test_a_second_question_is_committed_to(asked: Asked) -> None:
    first = _older(_new(asked), "20250101T000000Z")
    second = _new(asked, second_question="How natural does this sound?")
    assert (first.manifest().second_question, second.manifest().second_question) == (
        None,
        "How natural does this sound?",
    )
    assert "second_question" not in (first.path / "manifest.json").read_text()
    assert locate(asked()) == first
    check_commitments(second.path, second.manifest())
    for changed in ("How loud is it?", None):
        with pytest.raises(BadInput, match=r"question in manifest\.json"):
            check_commitments(second.path, second.manifest().model_copy(update={"second_question": changed}))


def test_another_stretch_of_a_long_recording_is_kept_for_the_listening_test(asked: Asked) -> None:
    run = _new(asked)
    record = run.manifest().reference
    hidden, shown = record["reference-hidden"], record["reference"]
    assert sha256_file(run.path / HIDDEN) == hidden["sha256"]
    assert hidden["span_s"][1] <= shown["span_s"][0] or hidden["span_s"][0] >= shown["span_s"][1]


@pytest.mark.parametrize("intended_use", ["personal", "commercial"])
def test_a_model_that_a_gate_refuses_need_not_be_served_by_anybody(
    asked: Asked, intended_use: str, tmp_path: Path
) -> None:
    run, new = open_or_create(asked(model="voxtral4b", intended_use=intended_use), Path("/"))
    assert new and run.entry().name == "voxtral4b"
    with pytest.raises(BadInput, match="say where in model_url"):
        theirs = entries.write(tmp_path / "catalog", entries.raw("theirs", run={"kind": "http"}))
        open_or_create(asked(model="theirs", catalog_dir=theirs, intended_use=intended_use), Path("/"))


def test_an_entry_with_both_ways_is_served_by_us_unless_a_url_says_by_whom(asked: Asked) -> None:
    # Another begins below, maybe in the same second.
    ours = _older(_new(asked, model="cosyvoice2", profile="graphed"), "20250101T000000Z")
    assert ours.entry().run.kind == "engine"
    url = "http://127.0.0.1:2"
    with pytest.raises(BadInput, match="no profile 'graphed'; it has: upstream"):
        open_or_create(asked(model="cosyvoice2", profile="graphed", model_url=url), Path("/"))
    theirs, new = open_or_create(asked(model="cosyvoice2", model_url=url), Path("/"))
    entry = theirs.entry()
    assert new
    assert isinstance(entry.run, HttpRun)
    assert (entry.run.dialect, entry.preset, list(entry.profiles)) == ("cosyvoice", None, ["upstream"])
    spec = make_job_spec(theirs, "benchmark", HostSettings())
    assert (spec.install, spec.url, spec.image, spec.passes) == ("http", url, None, ["candidate"])
    assert locate(asked(model="cosyvoice2", model_url=url)) == theirs


def test_chatterbox_in_service_is_asked_as_its_owner_set_it(asked: Asked) -> None:
    entry = _new(asked, baseline="chatterbox", baseline_url="http://127.0.0.1:2").baseline_entry()
    assert isinstance(entry.run, HttpRun)
    assert entry.run.request == {"cfg_weight": 0.3, "exaggeration": 0.3, "temperature": 0.6}
    assert (entry.name, entry.preset, list(entry.profiles)) == ("chatterbox", None, ["upstream"])
    with pytest.raises(BadInput, match="no profile 'in_service'"):
        served = {"baseline_url": "http://127.0.0.1:2", "baseline_profile": "in_service"}
        open_or_create(asked(baseline="chatterbox", **served), Path("/"))


def test_chatterbox_without_a_url_is_a_baseline_that_audition_installs(asked: Asked) -> None:
    run = _new(asked, baseline="chatterbox", baseline_profile="in_service")
    ours = run.baseline_entry()
    assert ours.started is not None and ours.preset is not None
    assert "in_service" in ours.profiles


def test_an_entry_that_gained_a_name_to_publish_and_a_server_is_the_same(
    asked: Asked, tmp_path: Path
) -> None:
    def mine(**more: Any) -> RunRequest:
        return asked(
            model="mine", catalog_dir=entries.write(tmp_path / "catalog", entries.raw("mine", **more))
        )

    run = _older(open_or_create(mine(), Path("/"))[0], "20250101T000000Z")
    assert not {"publish_as", "served"} & set(run.manifest().entry), "as before, while they say nothing"
    proved = hash_receipt(make_job_spec(run, "install", HostSettings()))
    gained: dict[str, Any] = {"publish_as": "mine-tts", "served": {"kind": "http", "dialect": "cosyvoice"}}
    tried = [{"what": "a sentence", "where": "here", "when": "2026-11-27"}]
    request = mine(proved=tried, **gained)
    assert locate(request) == run
    spec = make_job_spec(run, "install", HostSettings())
    assert hash_receipt(spec.model_copy(update={"entry": request.entry()})) == proved
    # Where somebody serves it, how they are asked counts.
    there = {"model_url": "http://127.0.0.1:2"}
    theirs = commit(request.model_copy(update=there)).inputs_sha256
    request = mine(served=gained["served"] | {"dialect": "openai"})
    assert locate(request) == run
    assert commit(request.model_copy(update=there)).inputs_sha256 != theirs


@pytest.mark.parametrize("side", ["model", "baseline"])
def test_no_run_is_begun_with_what_nobody_has_looked_up(asked: Asked, tmp_path: Path, side: str) -> None:
    weights = [{"repo": "somebody/voice", "revision": None, "path": "*"}]
    catalog = entries.write(tmp_path / "catalog", entries.raw("loose", weights=weights))
    with pytest.raises(BadInput, match=r"loose is not pinned: the revision of somebody/voice is null"):
        open_or_create(asked(**{side: "loose"}, catalog_dir=catalog), Path("/"))


def test_the_newest_that_is_not_decided_goes_on(asked: Asked) -> None:
    oldest = _older(_new(asked), "20250101T000000Z")
    _decided(oldest, "swap_candidate")
    middle = _older(_new(asked), "20250601T000000Z")
    assert locate(asked()) == middle
    _decided(middle, "awaiting_ratings")
    assert locate(asked()) == middle
    _decided(middle, "keep_baseline_survey_complete")
    with pytest.raises(PhaseMissing, match="begin one with preflight"):
        locate(asked())
    assert _new(asked).run_id not in (oldest.run_id, middle.run_id)


@pytest.mark.slow
def test_decided_runs_of_the_same_inputs_are_in_the_manifest_of_the_next(asked: Asked) -> None:
    first = _older(_new(asked), "20250101T000000Z")
    assert first.manifest().earlier_runs == []
    _decided(first, "keep_baseline_try_next", reason="rule")
    second = _older(_new(asked), "20250601T000000Z")
    _decided(second, "keep_baseline_try_next", reason="synthesis_failed")
    _decided(
        _older(_new(asked, question="Which is clearer?"), "20250701T000000Z"), "swap_candidate", reason="rule"
    )
    elsewhere = _older(_new(asked, host="there"), "20250301T000000Z")
    _decided(elsewhere, "swap_candidate", reason="rule")
    _decided(_older(_new(asked, host="beyond"), "20250401T000000Z"), "awaiting_ratings")
    broken = first.path.with_name(first.run_id.replace("2025", "2024"))
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    third = _new(asked)
    assert third.manifest().methodology_version == METHODOLOGY_VERSION
    assert [(each.run_id, each.decision, each.reason) for each in third.manifest().earlier_runs or []] == [
        (first.run_id, "keep_baseline_try_next", "rule"),
        (elsewhere.run_id, "swap_candidate", "rule"),
        (second.run_id, "keep_baseline_try_next", "synthesis_failed"),
    ]
    assert open_or_create(asked(), Path("/")) == (third, False), "what was decided before is no input"


def test_a_host_whose_name_begins_alike_is_another_host(asked: Asked) -> None:
    _new(asked, host="gpu-1")
    with pytest.raises(PhaseMissing, match="no unfinished run of espeak on gpu with"):
        locate(asked(host="gpu"))


def test_a_run_that_another_version_began_is_refused_by_name_and_else_passed_over(asked: Asked) -> None:
    old = _older(_new(asked), "20250101T000000Z")
    raw = json.loads((old.path / "manifest.json").read_bytes())
    (old.path / "manifest.json").write_text(json.dumps(raw | {"schema_version": 0}))
    with pytest.raises(BadInput, match=r"schema_version 0 and this Audition reads 1.*start a new one"):
        locate(asked(run_id=old.run_id))
    assert _new(asked) != old, "as its message says, a new one can be started"


@pytest.mark.parametrize("name", ["nosuch", "../runs", ".", "a/b", "latest/.."])
def test_a_name_that_is_no_run_is_refused_with_those_there_are(asked: Asked, name: str) -> None:
    run = _new(asked)
    with pytest.raises(BadInput, match=run.run_id):
        locate(asked(run_id=name))


def test_a_named_run_of_another_model_says_which_to_give(asked: Asked) -> None:
    run = _new(asked)
    with pytest.raises(BadInput, match=r"give -e model=espeak and --limit here"):
        locate(asked(run_id=run.run_id, model="flite", baseline="espeak"))


@pytest.mark.slow
def test_the_newest_of_all_is_found_beside_what_cannot_be_read(asked: Asked) -> None:
    decided = _older(_new(asked), "20250601T000000Z")
    _decided(decided, "swap_candidate")
    wanted = decided.manifest().inputs_sha256
    foreign = _older(_new(asked), "20250701T000000Z")
    raw = json.loads((foreign.path / "manifest.json").read_bytes())
    (foreign.path / "manifest.json").write_text(json.dumps(raw | {"schema_version": 0}))
    damaged = _older(_new(asked), "20250801T000000Z")
    (damaged.path / "verdict.json").write_text("{")
    _new(asked, host="here-b")
    assert runs.find_newest(asked(), wanted, undecided=False) == decided
    assert runs.find_newest(asked(), wanted, undecided=True) is None


def test_a_named_run_is_found_though_the_inputs_are_gone(asked: Asked) -> None:
    run = _new(asked)
    assert locate(asked(run_id=run.run_id, reference_audio="/gone.wav")) == run


# What a new one holds


def test_a_new_run_holds_what_was_committed_and_appears_whole(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    save = save_record

    def spy(record: FileRecord, run_dir: Path) -> None:
        seen.append([p.name for p in run_dir.parent.iterdir() if not p.name.startswith(".")])
        save(record, run_dir)

    monkeypatch.setattr("bench.controller.run.save_record", spy)
    run = _new(asked)
    assert seen == [[]], "until all of it is there, nothing is under its name"
    assert {path.name for path in run.path.iterdir()} == {
        "manifest.json", "rule.yml", "utterances.txt", "reference", "reference-baseline", "reference-hidden",
    }  # fmt: skip


def test_ten_thousand_utterances_are_no_error(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_text("".join(f"This is sentence number {number}.\n" for number in range(10_000)))
    assert _new(asked, utterances_file=file).manifest().utterances == 10_000


# What is left to do


@pytest.mark.parametrize(
    ("noted", "phase", "says"),
    [
        ({}, "install", "install needs preflight, .*--tags preflight"),
        ({"preflight": "done"}, "benchmark", "benchmark needs install, .*--tags install"),
        ({"preflight": "done", "install": "host"}, "benchmark", r"needs install, .*\(it failed: it broke\)"),
        ({"preflight": "done", "install": "done"}, "score", "score needs benchmark, .*--tags benchmark"),
        ({}, "verdict", "verdict needs preflight"),
        ({}, "teardown", "teardown needs preflight"),
    ],
)
def test_a_phase_whose_input_is_missing_names_the_one_to_run(
    asked: Asked, noted: dict[str, str], phase: Phase, says: str
) -> None:
    run = _new(asked)
    _noted(run, **noted)
    with pytest.raises(PhaseMissing, match=says):
        run.todo(phase)


@pytest.mark.parametrize(
    ("noted", "phase", "why"),
    [
        ({"preflight": "done"}, "preflight", None),
        ({"preflight": "done", "install": "done"}, "install", None),
        ({"preflight": "done", "install": "done"}, "benchmark", None),
        ({"preflight": "done", "install": "done", "benchmark": "done"}, "benchmark", "already done"),
        ({"preflight": "done", "install": "done", "benchmark": "host"}, "benchmark", None),
        (
            {"preflight": "done", "install": "done", "benchmark": "candidate"},
            "benchmark",
            "its benchmark failed",
        ),
        (
            {"preflight": "done", "install": "done", "benchmark": "candidate"},
            "baseline",
            "its benchmark failed",
        ),
        ({"preflight": "done", "install": "done", "benchmark": "candidate"}, "score", "its benchmark failed"),
        ({"preflight": "done", "install": "done", "baseline": "candidate"}, "baseline", None),
        (
            {"preflight": "done", "install": "done", "benchmark": "done", "baseline": "candidate"},
            "score",
            "baseline has not been made",
        ),
        ({"preflight": "done"}, "verdict", None),
        ({"preflight": "done"}, "teardown", None),
    ],
)
def test_what_a_phase_has_to_do(asked: Asked, noted: dict[str, str], phase: Phase, why: str | None) -> None:
    run = _new(asked)
    _noted(run, **noted)
    found = run.todo(phase)
    assert found is None if why is None else found is not None and why in found


def test_after_a_failed_installation_nothing_is_measured_and_it_may_be_tried_no_more(asked: Asked) -> None:
    run = _new(asked)
    _noted(run, preflight="done", install="candidate")
    save_record(Install(ok=False, steps=[], total_s=1.0, limit_s=2.0, error="no wheel"), run.path)
    for phase in ("install", "benchmark", "baseline", "score"):
        assert run.todo(phase) == "nothing to do: its installation failed"
    assert run.todo("verdict") is None


def test_a_later_note_of_a_phase_replaces_the_earlier(asked: Asked) -> None:
    run = _new(asked)
    _noted(run, benchmark="host")
    _noted(run, benchmark="done", preflight="done")
    assert {name: state.status for name, state in load_record(Phases, run.path).phases.items()} == {
        "benchmark": "done",
        "preflight": "done",
    }


# A full disk


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(
    asked: Asked, small_disk: Path
) -> None:
    with pytest.raises(DiskFull, match=r"only \d MiB are free .*set runs_dir to another disk"):
        open_or_create(asked(runs_dir=small_disk / "runs"), Path("/"))
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_while_a_run_begins_leaves_no_half_run(
    asked: Asked, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MINIMUM_FREE_BYTES", 0)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 - 100_000))
    with pytest.raises(DiskFull, match="is full; free some space and run the same command again"):
        open_or_create(asked(runs_dir=small_disk / "runs"), Path("/"))
    assert list((small_disk / "runs").iterdir()) == []
    ballast.unlink()
    assert open_or_create(asked(runs_dir=small_disk / "runs"), Path("/"))[1]
