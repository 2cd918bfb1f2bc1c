"""The commands as they are typed, in this process; those that serve or drive hosts, as processes."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands.cli import main
from bench.controller.preflight import warn_of_rating
from bench.controller.run import Run, locate_command
from bench.listening.raters import invite
from bench.listening.score import seal
from bench.records.machine import MachineState
from bench.records.passes import PassAlarm
from bench.records.run import Manifest, Preflight
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record, save_record
from tests.commands.conftest import FIRST, HOST, SECOND, set_latency
from tests.support.rated import rate_everything
from tests.support.records import pass_file

REPO = Path(__file__).resolve().parents[2]
Output = pytest.CaptureFixture[str]


def audition(runs_dir: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--runs-dir", str(runs_dir)])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["id", "latest", "path"])
def test_a_run_by_id_by_latest_and_by_path(runs_dir: Path, capsys: Output, how: str) -> None:
    word = {"id": FIRST, "latest": "latest", "path": str(runs_dir / FIRST)}[how]
    assert audition(runs_dir, "verdict", word) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("awaiting_ratings: ")
    # They work as they are printed, though these runs are not in the checkout.
    where = shlex.join(["--runs-dir", str(runs_dir)])
    typed = [locate_command(f"audition {word} {FIRST} {where}") for word in ("rate", "verdict")]
    assert said[-2:] == [f"  {each}" for each in typed]
    assert main(shlex.split(said[-1])[1:]) == 0
    assert capsys.readouterr().out.splitlines() == said
    assert load_record(Verdict, runs_dir / FIRST).decision == "awaiting_ratings"


def test_a_wrong_run_lists_what_there_is(
    runs_dir: Path, another: Callable[..., Path], tmp_path: Path, capsys: Output
) -> None:
    another(1.0)
    assert audition(runs_dir, "verdict", "espeak-there-20261122T101500Z") == 2
    error = capsys.readouterr().err
    assert error.startswith("audition: there is no run 'espeak-there-20261122T101500Z'; ")
    assert error.endswith(f"has, newest first: {SECOND}, {FIRST}.\n")
    assert audition(tmp_path / "empty", "raters", "latest") == 2
    assert "has none (--runs-dir names another place)" in capsys.readouterr().err


def test_a_run_of_another_schema_version_is_refused(runs_dir: Path, capsys: Output) -> None:
    path = runs_dir / FIRST / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    assert audition(runs_dir, "verdict", FIRST) == 2
    assert "schema_version 99" in capsys.readouterr().err


def test_a_bug_of_ours_keeps_its_traceback(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_run: Run) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("bench.controller.conclude.decide_run", broken)
    with pytest.raises(ZeroDivisionError):
        audition(runs_dir, "verdict", FIRST)


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(runs_dir: Path) -> None:
    """As in `audition raters RUN | head -1`, at its worst: the reader is gone before the first word."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bench.commands.cli", "raters", FIRST, "--runs-dir", str(runs_dir)]
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=REPO, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_invite_and_raters(runs_dir: Path, capsys: Output) -> None:
    assert audition(runs_dir, "raters", FIRST) == 0
    assert "Nobody was invited" in capsys.readouterr().out
    for _ in range(2):
        assert audition(runs_dir, "invite", FIRST, "ann", "--url", "https://rate.example/") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second, "the same name has the same link"
    assert re.fullmatch(r"ann: https://rate\.example/#[\w-]{20,}", first)
    assert audition(runs_dir, "raters", FIRST) == 0
    assert capsys.readouterr().out.startswith("ann: invited, 0 of ")


def test_whoever_invites_or_rates_is_told_first_what_is_wrong_with_a_server(
    runs_dir: Path, capsys: Output
) -> None:
    made = pass_file()
    assert made.result is not None
    made.result.alarms = [
        PassAlarm(kind="unproved", value=4, message="4 of 4 answers end where their connection does")
    ]
    save_record(made, runs_dir / FIRST / "baseline")
    assert audition(runs_dir, "invite", FIRST, "ann") == 0
    first, second, link = capsys.readouterr().out.splitlines()
    assert first.startswith("ALARM: A side's answers ended where their connection did")
    assert "should not rate" in second and link.startswith("ann: ")
    with socket.create_server(("127.0.0.1", 0)) as other:
        audition(runs_dir, "rate", FIRST, "--port", str(other.getsockname()[1]))
    assert capsys.readouterr().out.splitlines() == [first, second]


@pytest.mark.usefixtures("patient")
def test_ratings_travel_to_a_copy_and_decide_there(
    runs_dir: Path, another: Callable[..., Path], tmp_path: Path, capsys: Output
) -> None:
    copy = another(1.0)
    rate_everything(runs_dir / FIRST, "ann")
    for name in ("r.json", "r.csv"):
        assert audition(runs_dir, "ratings", "export", FIRST, tmp_path / name) == 0
    assert json.loads((tmp_path / "r.json").read_text())["format"] == "audition-ratings"
    assert len((tmp_path / "r.csv").read_text().splitlines()) > 4
    assert audition(runs_dir, "ratings", "export", FIRST, tmp_path / "r.xls") == 2
    assert audition(runs_dir, "ratings", "import", SECOND, tmp_path / "r.json") == 0
    assert "taken in: ann" in capsys.readouterr().out
    assert audition(runs_dir, "verdict", SECOND) == 0
    assert load_record(Verdict, copy).decision == "keep_baseline_survey_complete"
    assert audition(runs_dir, "ratings", "import", SECOND, tmp_path / "r.csv") == 2
    assert "is not an export of ratings" in capsys.readouterr().err


@pytest.mark.usefixtures("patient")
def test_who_does_not_come_is_taken_off_and_who_comes_late_is_said(runs_dir: Path, capsys: Output) -> None:
    run_dir = runs_dir / FIRST
    invite(run_dir, "Bo")
    rate_everything(run_dir, "ann")
    assert audition(runs_dir, "verdict", FIRST) == 0
    said = capsys.readouterr().out
    assert "waiting for Bo to finish rating." in said
    assert f"audition withdraw {FIRST} NAME --late --runs-dir" in said
    assert audition(runs_dir, "withdraw", FIRST, "Bo") == 2
    assert "`--late`" in capsys.readouterr().err
    assert audition(runs_dir, "withdraw", FIRST, "Bo", "--late") == 0
    assert "Bo, who had not finished, was taken off" in capsys.readouterr().out
    assert audition(runs_dir, "withdraw", FIRST, "ann") == 2
    assert "ann has finished; ratings are never dropped" in capsys.readouterr().err
    assert audition(runs_dir, "invite", FIRST, "Cy") == 2
    assert "`--late`" in capsys.readouterr().err
    assert audition(runs_dir, "invite", FIRST, "Cy", "--late") == 0
    assert audition(runs_dir, "raters", FIRST) == 0
    said = capsys.readouterr().out
    assert "Note: Bo, who had not finished" in said and "Note: Cy was invited" in said


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_report_and_the_report_for_sharing(runs_dir: Path, capsys: Output) -> None:
    rate_everything(runs_dir / FIRST, "ann")
    assert audition(runs_dir, "report", FIRST) == 0
    assert audition(runs_dir, "report", FIRST, "--for-sharing") == 0
    whole, shared = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert whole.name == "report.html"
    assert b"data:audio/" in whole.read_bytes()
    assert b"data:audio/" not in shared.read_bytes()
    assert b"eSpeak NG" in shared.read_bytes()


@pytest.mark.slow
def test_compare_makes_no_claim_of_one_model_against_itself(
    runs_dir: Path, another: Callable[..., Path], capsys: Output
) -> None:
    another(0.22)  # the same model on a host that is busy the one time
    assert audition(runs_dir, "compare", FIRST, SECOND) == 2
    assert "has no verdict" in capsys.readouterr().err
    for run in (FIRST, SECOND):
        assert audition(runs_dir, "verdict", run) == 0
    capsys.readouterr()
    assert audition(runs_dir, "compare", FIRST, SECOND) == 0
    said = capsys.readouterr().out
    assert "faster" not in said and "slower" not in said
    assert "espeak, time to first audio: medians of 2 runs from 22.33 to 101.5, 4.55x apart" in said
    row = next(line for line in said.splitlines() if line.startswith(FIRST))
    assert row.split()[1:4] == ["upstream", "101.5", "102.8"]


def _as_other(runs_dir: Path, scales: Sequence[float]) -> list[str]:
    """Make runs of another profile, with latencies so many times the first run's; verdicts included."""
    names = []
    for number, scale in enumerate(scales):
        name = f"espeak-here-2026112{number + 3}T101500Z"
        copy = Path(shutil.copytree(runs_dir / FIRST, runs_dir / name))
        manifest = load_record(Manifest, copy).model_copy(update={"run_id": name, "profile": "fast"})
        save_record(manifest, copy)
        set_latency(copy, scale)
        shutil.rmtree(copy / "listening")
        seal(copy, channels=())
        assert audition(runs_dir, "verdict", name) == 0
        names.append(name)
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mine", "theirs", "says"),
    [
        ([], [0.5], "no claim without at least two runs of each (now 1 and 1)"),
        ([1.02], [0.5], "no claim without at least two runs of each (now 2 and 1)"),
        ([1.02], [0.5, 0.51], "2.00x faster (95% interval 1.8"),
        ([1.02], [2.0, 2.04], "2.00x slower (95% interval 0."),
        ([3.0], [0.5, 1.5], "not significant (2.00x faster; 95% interval 0."),
    ],
)
def test_compare_claims_speed_by_the_spread_between_runs_alone(
    runs_dir: Path,
    another: Callable[..., Path],
    capsys: Output,
    mine: list[float],
    theirs: list[float],
    says: str,
) -> None:
    for scale in mine:
        another(scale)
    runs = [FIRST, *([SECOND] if mine else [])]
    for run in runs:
        assert audition(runs_dir, "verdict", run) == 0
    runs += _as_other(runs_dir, theirs)
    capsys.readouterr()
    assert audition(runs_dir, "compare", *runs) == 0
    assert f"espeak (fast) against espeak, time to first audio: {says}" in capsys.readouterr().out


def test_compare_warns_of_a_machine_that_was_busy(
    runs_dir: Path, another: Callable[..., Path], capsys: Output
) -> None:
    another(1.0)
    busy = MachineState(
        cpus=2, load_before=3.0, load_after=3.0, others_cores=1.5, steal=0.0, cpu_mhz=None, cpu_max_mhz=None,
        governor=None, throttled=None,
    )  # fmt: skip
    save_record(pass_file(machine=busy), runs_dir / SECOND / "candidate")
    for run in (FIRST, SECOND):
        assert audition(runs_dir, "verdict", run) == 0
    assert audition(runs_dir, "compare", FIRST, SECOND) == 0
    assert f"WARNING: {SECOND}: other programs used 1.5 of 2 cores" in capsys.readouterr().out


def test_compare_refuses_runs_of_another_method(
    runs_dir: Path, another: Callable[..., Path], capsys: Output
) -> None:
    second = another(1.0)
    began_earlier = load_record(Manifest, second).model_copy(update={"methodology_version": 3})
    save_record(began_earlier, second)
    for run in (FIRST, SECOND):
        audition(runs_dir, "verdict", run)
    capsys.readouterr()
    assert audition(runs_dir, "compare", FIRST, SECOND) == 2
    assert f"{SECOND}: methodology_version is 3, not 4" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_compares_hosts_and_says_in_what_they_differ(
    runs_dir: Path, another: Callable[..., Path], capsys: Output
) -> None:
    second = another(2.0, host="there")
    facts = {**HOST, "hostname": "there", "cpus": 20, "mem_total_bytes": 2**37, "gpu": {"names": ["GB10"]}}
    save_record(Preflight(host=facts, checks=[], forecast={}), second)
    names = [FIRST, SECOND]
    for number, (like, scale) in enumerate([(FIRST, 1.02), (SECOND, 2.04)]):
        name = f"{like.rpartition('-')[0]}-2026112{number + 5}T101500Z"
        copy = Path(shutil.copytree(runs_dir / like, runs_dir / name))
        save_record(load_record(Manifest, copy).model_copy(update={"run_id": name}), copy)
        set_latency(copy, scale)
        shutil.rmtree(copy / "listening")
        seal(copy, channels=())
        names.append(name)
    for run in names:
        assert audition(runs_dir, "verdict", run) == 0
    capsys.readouterr()
    assert audition(runs_dir, "compare", *names) == 0
    said = capsys.readouterr().out
    assert "different hosts, so a ratio is of model and machine together" in said
    assert "  cpus: here 2, there 20\n" in said and "  gpu: here none, there GB10\n" in said
    assert "  mem_total_bytes: here 8.0 GiB, there 128.0 GiB\n" in said and "machine: " not in said
    assert "espeak on there against espeak on here, time to first audio: 2.00x slower (95%" in said
    assert "espeak on here, time to first audio: medians of 2 runs" in said
    assert "WARNING" not in said


def test_compare_refuses_one_host_that_became_another(
    runs_dir: Path, another: Callable[..., Path], capsys: Output
) -> None:
    second = another(1.0)
    save_record(Preflight(host={**HOST, "cpus": 20}, checks=[], forecast={}), second)
    for run in (FIRST, SECOND):
        audition(runs_dir, "verdict", run)
    capsys.readouterr()
    assert audition(runs_dir, "compare", FIRST, SECOND) == 2
    assert f"{SECOND}: cpus is 20, not 2" in capsys.readouterr().err
    assert audition(runs_dir, "compare", FIRST, SECOND, "--anyway") == 0
    assert "WARNING: they did not measure the same thing" in capsys.readouterr().out
    assert audition(runs_dir, "compare", FIRST, "latest") == 2
    assert "two different runs" in capsys.readouterr().err


@pytest.mark.slow
def test_rate_serves_the_page_until_interrupted(runs_dir: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench.commands.cli",
        "rate",
        FIRST,
        "--runs-dir",
        str(runs_dir),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"owner \(invited\): (http://127\.0\.0\.1:\d+)/#\S+\n", line)
        assert found, line + (process.communicate(timeout=20)[1] if not line else "")
        page = fetch(found[1])
        assert b"<html" in page
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode in (0, 130)
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_rate_says_who_is_how_far_and_what_to_type_when_all_have_finished(runs_dir: Path) -> None:
    invite(runs_dir / FIRST, "ann")
    command = [
        sys.executable,
        "-m",
        "bench.commands.cli",
        "rate",
        FIRST,
        "--runs-dir",
        str(runs_dir),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, cwd=REPO, text=True, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ann (invited): http://127.0.0.1:")
        rate_everything(runs_dir / FIRST, "ann")
        said = [process.stdout.readline().rstrip() for _ in range(3)]
        assert said[:2] == ["ann has finished", "All have finished. End this with Ctrl-C, and then:"]
        where = shlex.join(["--runs-dir", str(runs_dir)])
        assert said[2] == f"  {locate_command(f'audition verdict {FIRST} {where}')}"
    finally:
        process.kill()
        process.wait(20)


def fetch(url: str) -> bytes:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} never answered")


def test_rate_without_flite_says_what_it_is_for_and_how_to_have_it(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert audition(runs_dir, "rate", FIRST, "--port", "0") == 1
    said = capsys.readouterr()
    assert said.out == "", "no link before anybody can be let in"
    assert "`audition rate` needs flite, which speaks the three digits of the sound check" in said.err
    assert "`make setup` installs it (Debian: apt-get install flite)" in said.err
    (warning,) = warn_of_rating()
    assert "this machine has no flite" in warning and "the run goes on meanwhile" in warning
    monkeypatch.undo()
    assert warn_of_rating() == []


def test_rate_says_no_link_that_would_lead_to_somebody_elses_server(runs_dir: Path, capsys: Output) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert audition(runs_dir, "rate", FIRST, "--port", str(port)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(rf"port {port}, .*in use.*--port", said.err)


def test_rate_refuses_a_public_address_without_tls(runs_dir: Path, capsys: Output) -> None:
    assert audition(runs_dir, "rate", FIRST, "--host", "0.0.0.0") == 2
    assert "--behind-tls-proxy" in capsys.readouterr().err


def test_schema_writes_a_file_a_record(tmp_path: Path, capsys: Output) -> None:
    assert main(["schema", str(tmp_path)]) == 0
    written = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert written == {path.name for path in tmp_path.iterdir()}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(Manifest.model_fields) <= set(manifest["properties"])


def test_help_names_every_command_and_is_quick_to_import() -> None:
    named = "('numpy', 'fastapi', 'ansible_runner')"
    code = f"import sys, bench.commands.cli; print([m for m in {named} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"
    shown = subprocess.run(
        [sys.executable, "-m", "bench.commands.cli", "--help"], cwd=REPO, text=True, capture_output=True, check=True,
        env={**os.environ, "COLUMNS": "100"},
    ).stdout  # fmt: skip
    for command in (
        "survey", "runs", "show", "completion", "rate", "invite",
        "raters", "ratings", "verdict", "report", "compare", "publish", "selftest",
        "load", "neighbour", "schema",
    ):  # fmt: skip
        assert re.search(rf"^    {command}\b", shown, re.M), command


def test_publish_says_that_there_is_nothing_to_publish_yet(runs_dir: Path, capsys: Output) -> None:
    assert audition(runs_dir, "publish", FIRST) == 2
    assert "has no verdict yet" in capsys.readouterr().err
    audition(runs_dir, "verdict", FIRST)
    capsys.readouterr()
    assert audition(runs_dir, "publish", FIRST) == 0
    assert capsys.readouterr().out.startswith("nothing to publish yet: No decision yet")


def test_an_unknown_command_exits_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["decide"])
    assert ended.value.code == 2


def test_alone_it_lists_the_commands(capsys: Output) -> None:
    assert main([]) == 0
    assert "audition" in (said := capsys.readouterr().out) and "neighbour" in said and "runs" in said


def test_runs_lists_every_run_newest_first_and_what_is_next(
    runs_dir: Path, another: Callable[..., Path], tmp_path: Path, capsys: Output
) -> None:
    assert audition(tmp_path / "empty", "runs") == 0
    assert "has no run yet" in capsys.readouterr().out
    later = another(1.0, host="there")
    begun = {"created_utc": "2026-12-01T10:15:00Z"}
    save_record(load_record(Manifest, later).model_copy(update=begun), later)
    assert audition(runs_dir, "verdict", FIRST) == 0
    capsys.readouterr()
    assert audition(runs_dir, "runs") == 0
    head, newest, oldest = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "model", "host", "state", "age", "next"]
    assert (
        newest.startswith(SECOND)
        and " there " in newest
        and "ansible-playbook site.yml -e model=espeak" in newest
    )
    assert oldest.startswith(FIRST) and " awaiting_ratings " in oldest and f"audition rate {FIRST}" in oldest
    assert audition(runs_dir, "runs", "--json", "--host", "here") == 0
    (only,) = json.loads(capsys.readouterr().out)["runs"]
    assert (only["run_id"], only["state"], only["model"]) == (FIRST, "awaiting_ratings", "espeak")
    path = runs_dir / FIRST / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    assert audition(runs_dir, "runs") == 0
    assert "cannot be read: " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_show_has_the_figures_of_one_run_and_tells_nothing_early(runs_dir: Path, capsys: Output) -> None:
    assert audition(runs_dir, "show", FIRST) == 2
    assert f"{FIRST} has no verdict yet" in capsys.readouterr().err
    assert audition(runs_dir, "verdict", FIRST) == 0
    invite(runs_dir / FIRST, "ann")
    capsys.readouterr()
    assert audition(runs_dir, "show", FIRST) == 0
    early = capsys.readouterr().out
    assert "ratings: sealed, not known yet" in early and "on average" not in early
    rate_everything(runs_dir / FIRST, "ann")
    assert audition(runs_dir, "verdict", FIRST, "--json") == 0
    decided = json.loads(capsys.readouterr().out)
    assert audition(runs_dir, "show", FIRST) == 0
    said = capsys.readouterr().out
    assert f"{decided['label']}: {decided['sentence']}" in said
    assert "ratings: 3.00 against 3.00, +0.00 on average (95% interval" in said and "+0.5 is needed" in said
    for gate in decided["gates"]:
        assert re.search(rf"^{gate['name']} .*{'passed' if gate['passed'] else 'FAILED'}$", said, re.M)
    assert audition(runs_dir, "show", FIRST, "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == decided


@pytest.mark.slow
def test_json_is_on_what_prints_facts(runs_dir: Path, another: Callable[..., Path], capsys: Output) -> None:
    another(1.0)

    def facts(*words: str) -> Any:
        assert audition(runs_dir, *words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    link = facts("invite", FIRST, "ann")["link"]
    (ann,) = facts("raters", FIRST, "--url", "http://127.0.0.1:8770")["raters"]
    assert link == ann["link"] and link.startswith("http://127.0.0.1:8770/#")
    for run in (FIRST, SECOND):
        assert facts("verdict", run)["decision"] == "awaiting_ratings"
    assert facts("report", FIRST)["run_id"] == FIRST
    compared = facts("compare", FIRST, SECOND)
    assert [each["run_id"] for each in compared["runs"]] == [FIRST, SECOND] and compared["said"]


def test_latest_says_which_one_it_is_and_can_be_narrowed(
    runs_dir: Path, another: Callable[..., Path], capsys: Output
) -> None:
    assert audition(runs_dir, "raters", "latest") == 0
    assert capsys.readouterr().err == "", "one host, one model: nothing to say"
    second = another(1.0, host="there")
    assert audition(runs_dir, "raters", "latest") == 0
    assert re.search(r"latest is \S+Z\n", capsys.readouterr().err)
    for host, run in (("here", FIRST), ("there", second.name)):
        assert audition(runs_dir, "raters", "latest", "--host", host, "--model", "espeak") == 0
        assert f"latest is {run}\n" in capsys.readouterr().err
    assert audition(runs_dir, "raters", "latest", "--model", "espeak") == 0
    assert f"latest is {second.name}\n" in capsys.readouterr().err, "of several the newest"
    assert audition(runs_dir, "raters", "latest", "--model", "f5") == 2
    assert "there is no run of model f5; " in capsys.readouterr().err
    assert audition(runs_dir, "raters", FIRST, "--host", "there") == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_made_for_three_shells(shell: str, capsys: Output) -> None:
    assert main(["completion", shell]) == 0
    assert "audition" in capsys.readouterr().out


def test_completion_knows_commands_and_runs(runs_dir: Path, tmp_path: Path) -> None:
    line = f"audition raters --runs-dir {runs_dir} esp"
    environ = os.environ | {
        "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "said"),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "bench.commands.cli"], env=environ, cwd=REPO, check=True, timeout=60
    )
    assert FIRST in (tmp_path / "said").read_text()
