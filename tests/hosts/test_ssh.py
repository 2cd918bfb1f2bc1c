"""Over real SSH: a host that is not the controller, reached by a user who is not root."""

import contextlib
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.controller.wheel import build
from bench.jobs.control import HEARTBEAT_LIMIT_S
from bench.neighbour.spec import TTL_LIMIT_S
from bench.records.base import Phase
from bench.records.metrics import TakeMetrics
from bench.records.neighbour import NeighbourRecord
from bench.records.run import Install, Manifest, Phases, Preflight
from bench.records.take import Take
from bench.storage.digests import sha256_file
from bench.storage.record_file import load_record
from tests.hosts.ssh_host import USER, SshHost, ssh_host
from tests.support import entries
from tests.support.docker import BASE_IMAGE, ensure_docker
from tests.support.neighbours import ChatNeighbour, chat_neighbour, until
from tests.support.onlooker import GRACE_S, EventLog, Onlooker, complaints
from tests.support.play import REPO, TEN_WORDS, Played, inventory, lines, play

pytestmark = pytest.mark.timeout(1800)

PORT = 8772
TOKEN_ENV = "AUDITION_TEST_BASELINE_TOKEN"
PHASES: list[Phase] = ["preflight", "install", "benchmark", "baseline", "teardown"]
UNCHANGED = (
    "Check the inputs and the host, and begin the run",
    "Install the candidate's engine and prove it",
    "Remove what the run left on the host",
)


@pytest.fixture(scope="module")
def host(needs_docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(ensure_docker(), tmp_path_factory.mktemp("ssh")) as made:
        yield made


@dataclass
class Sightings:
    """Which of the host's programs ran where, looked at all the time while the block runs."""

    host: SshHost
    seen: set[tuple[bool, str]] = field(default_factory=set)
    """In the host (else: on the controller), and the command line."""

    def __enter__(self) -> "Sightings":
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            self.seen |= {(inside, " ".join(argv)) for inside, argv in self.host.processes()}


@dataclass(frozen=True, slots=True)
class Whole:
    """A run over SSH from preflight to teardown, and what was seen meanwhile."""

    token: str
    runs_dir: Path
    run_id: str
    made: Played
    """All phases but teardown."""
    jobs: list[str]
    """What was left of the run's jobs on the host before teardown."""
    torn: Played
    again: Played
    sightings: Sightings

    @property
    def run_dir(self) -> Path:
        return self.runs_dir / self.run_id


@pytest.fixture(scope="module")
def whole(host: SshHost, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The demo's candidate beside a baseline that somebody serves to who has the token."""
    folder = tmp_path_factory.mktemp("whole")
    token = f"secret-{secrets.token_hex(8)}"
    source = (REPO / "tests/hosts/speaker.py").read_text()
    served = ["python3", "-c", source, str(PORT), hashlib.sha256(token.encode()).hexdigest()]
    host.container.exec_run(served, detach=True)
    service = entries.raw("service", run={"kind": "http", "dialect": "openai_file", "voice": "en-gb"})
    hosts_file = inventory(
        folder / "hosts.yml",
        {"far": host.variables},
        baseline="service",
        baseline_url=f"http://127.0.0.1:{PORT}",
        baseline_token_env=TOKEN_ENV,
        catalog_dir=str(entries.write(folder / "catalog", service)),
        manage_packages=True,
        state_dir=str(host.state_dir),
        runs_dir=str(folder / "runs"),
        utterances_file=str(lines(folder / "ten.txt", TEN_WORDS)),
    )

    def run(number: int, phases: list[Phase], *more: str) -> Played:
        tags = ",".join(phases)
        return play(
            folder / f"runner-{number}", None, "--tags", tags, *more, inventory=hosts_file,
            environ={TOKEN_ENV: token},
        )  # fmt: skip

    with Sightings(host) as sightings:
        made = run(1, PHASES[:-1], "-vvv")
        assert made.rc == 0, made.text[-6000:]
        run_id = (folder / "runs/latest").readlink().name
        jobs = host.run(f"find {host.state_dir}/jobs -name '{run_id}' 2>/dev/null || true").split()
        torn = run(2, ["teardown"])
    again = run(3, PHASES)
    return Whole(token, folder / "runs", run_id, made, jobs, torn, again, sightings)


def test_it_runs_from_preflight_to_teardown(whole: Whole) -> None:
    for played in (whole.made, whole.torn):
        assert played.rc == 0, played.text[-6000:]
        assert not [task.name for task in played.tasks if task.status in ("failed", "unreachable")]
    noted = load_record(Phases, whole.run_dir).phases
    done = {phase: (noted[phase].status, noted[phase].error) for phase in PHASES}
    assert done == dict.fromkeys(PHASES, ("done", None))


def test_the_controller_has_the_whole_run(whole: Whole) -> None:
    assert load_record(Manifest, whole.run_dir).host == "far"
    install = load_record(Install, whole.run_dir)
    assert install.ok and install.receipt and install.smoke is not None
    assert (whole.run_dir / "memory.json").is_file()
    for side in ("preset", "candidate", "baseline"):
        text = (whole.run_dir / side / "takes.jsonl").read_text(encoding="utf-8")
        timed = [take for line in text.splitlines() if not (take := Take.model_validate_json(line)).warmup]
        assert len(timed) == 10, side
        for take in timed:
            assert take.error is None and take.wav is not None
            assert sha256_file(whole.run_dir / side / take.wav) == take.sha256
    for side in ("candidate", "baseline"):
        measured = (whole.run_dir / side / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        assert len([TakeMetrics.model_validate_json(line) for line in measured]) == 10, side


def test_all_of_it_happened_on_the_host_and_nothing_on_the_controller(whole: Whole, host: SshHost) -> None:
    assert load_record(Preflight, whole.run_dir).host["hostname"] == host.name
    assert whole.jobs == [], "a job that has ended takes its files with it"
    commands = [command for _, command in whole.sightings.seen]
    for program in ("-m bench.serving.server", "bench.metrics.measure", "bench_takes.py"):
        assert any(program in command for command in commands), program
    assert [command for inside, command in whole.sightings.seen if not inside] == []
    assert [path.name for path in host.state_dir.iterdir()] == ["lease"]
    host.run(f"{build(REPO).python(str(host.state_dir))} -m pip check && command -v espeak-ng")


def test_each_take_was_told_while_it_was_made(whole: Whole) -> None:
    for side in ("preset", "candidate", "baseline"):
        model = "service" if side == "baseline" else "espeak"
        assert len(re.findall(rf"far \| {model} \| {side} \| \d+/10 \| .*TTFA", whole.made.text)) == 10, side


def test_the_host_keeps_nothing_of_the_run(whole: Whole, host: SshHost) -> None:
    folders = f"{host.state_dir}/jobs /root/.ansible* /home/{USER}/.ansible*"
    assert host.run(f"find {folders} -type f -o -name '{whole.run_id}' 2>/dev/null || true") == ""


def test_the_token_reached_the_service_and_is_nowhere(whole: Whole, host: SshHost) -> None:
    # The service refuses whoever has no token, and all takes were made.
    token = whole.token
    for played in (whole.made, whole.torn, whole.again):
        assert token not in played.text and token not in json.dumps([task.result for task in played.tasks])
    assert not [
        path for path in whole.runs_dir.rglob("*") if path.is_file() and token.encode() in path.read_bytes()
    ]
    assert not [command for _, command in whole.sightings.seen if token in command]
    host.write("/var/planted", token)  # so that a search that finds nothing is none
    skipped = " ".join(f"--exclude-dir={folder}" for folder in ("proc", "sys", "opt"))
    assert host.run(f"grep -rlF {skipped} -e {token} / 2>/dev/null || true").split() == ["/var/planted"]


def test_a_second_time_changes_nothing(whole: Whole) -> None:
    assert whole.again.rc == 0, whole.again.text[-6000:]
    assert set(UNCHANGED) <= set(whole.again.plays())
    assert [(task.play, task.name) for task in whole.again.tasks if task.changed] == []
    assert {task.result["run_id"] for task in whole.again.tasks if task.result.get("run_id")} == {
        whole.run_id
    }


def test_a_host_whose_key_is_not_known_is_refused(host: SshHost, tmp_path: Path) -> None:
    # ansible-runner, which `audition` uses, would let any host in.
    (tmp_path / "known_hosts").touch()
    arguments = f"-o UserKnownHostsFile={tmp_path / 'known_hosts'}"
    way = {
        "ansible_ssh_common_args": arguments,
        "ansible_control_path": "none",
    }  # by no connection that is up
    hosts_file = inventory(
        tmp_path / "hosts.yml", {"far": host.variables | way},
        neighbour_container="nobody", state_dir=str(host.state_dir),
    )  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "bench.commands.cli",
        "neighbour",
        "status",
        "far",
        "-i",
        str(hosts_file),
    ]
    asked = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert asked.returncode != 0
    assert "Host key verification failed" in asked.stdout + asked.stderr


# The link is cut in mid-benchmark


@contextlib.contextmanager
def _witnesses(neighbour: ChatNeighbour, run_id: str, log: Path) -> Iterator[tuple[EventLog, Onlooker]]:
    """Docker's own events, and somebody who looks at the neighbour ten times a second."""
    env = ensure_docker()
    events = EventLog(env, log)
    onlooker = Onlooker(env, neighbour.name, neighbour.id, neighbour.policy(), run_id)
    try:
        yield events, onlooker
    finally:
        onlooker.end()
        events.end()


def _speak_for(folder: Path, pieces: int) -> None:
    """Put an adapter beside ours that hums so many pieces of 50 ms for each sentence; it is sent with the next job."""
    source = (entries.FAULTY / "faulty_voices.py").read_text()
    setting = f"import os\n\nos.environ['AUDITION_HUM_PIECES'] = '{pieces}'\n"
    folder.mkdir(exist_ok=True)
    (folder / "faulty_voices.py").write_text(setting + source)


def test_a_cut_link_gives_the_neighbour_back_and_the_same_command_goes_on(
    host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = tmp_path / "voices"
    monkeypatch.setenv("PYTHONPATH", str(voices))
    _speak_for(voices, 12)
    inside = f"container:{host.name}"  # the neighbour lives in the host's own network
    with chat_neighbour(ensure_docker(), network=inside, address=host.address) as neighbour:
        hosts_file = inventory(
            tmp_path / "hosts.yml",
            {"far": host.variables},
            model="slow",
            catalog_dir=str(entries.write(tmp_path / "catalog", entries.faulty("Slow"))),
            state_dir=str(host.state_dir),
            runs_dir=str(tmp_path / "runs"),
            utterances_file=str(lines(tmp_path / "ten.txt", TEN_WORDS)),
            manage_packages=True,
            neighbour_mode="pause",
            neighbour_container=neighbour.name,
            neighbour_url=neighbour.url,
            neighbour_watcher_base=BASE_IMAGE,
            neighbour_floor_gib=0.1,
            neighbour_settle_s=1,
            neighbour_ratio_limit=20,  # speed is proved elsewhere
        )
        for phase in ("preflight", "install"):
            begun = play(tmp_path / phase, None, "--tags", phase, inventory=hosts_file)
            assert begun.rc == 0, begun.text[-4000:]
        run_dir = (tmp_path / "runs/latest").resolve()
        # Each take lasts 3 s now, the passes together a minute: the job will notice while it speaks.
        _speak_for(voices, 60)
        with _witnesses(neighbour, run_dir.name, tmp_path / "events.jsonl") as (events, onlooker):
            _cut_in_mid_benchmark(host, neighbour, hosts_file, tmp_path / "log", onlooker)
            told = complaints(events, neighbour.id, run_dir.name)
            actions = [e["Action"] for e in events.of(neighbour.id) if e["Action"] in ("die", "start")]
        assert told == [] and actions == ["die", "start"], (told, actions)
        failed = load_record(Phases, run_dir).phases["benchmark"]
        assert (failed.status, failed.fault) == ("failed", "host")
        assert failed.error is not None and "out of reach" in failed.error

        _speak_for(voices, 12)
        again = subprocess.run(
            _benchmark(hosts_file), cwd=REPO, env=_environ(), capture_output=True, text=True
        )
        assert again.returncode == 0, again.stdout[-4000:]
        assert load_record(Phases, run_dir).phases["benchmark"].status == "done"
        record = load_record(NeighbourRecord, run_dir)
        assert record.state == "restored" and record.differences == []
        # The smoke sentence's, that of the attempt that was cut off, and that of the attempt that was not.
        assert [lease.stopped for lease in record.leases] == [False, True, True]
        assert neighbour.running() and neighbour.policy() == "unless-stopped"


def _cut_in_mid_benchmark(
    host: SshHost, neighbour: ChatNeighbour, hosts_file: Path, log: Path, onlooker: Onlooker
) -> None:
    """Cut the link while a take is made; return once the neighbour is back and the controller has given up."""
    with log.open("w") as out:
        controller = subprocess.Popen(
            _benchmark(hosts_file), cwd=REPO, env=_environ(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        until(lambda: "| 1/10 |" in log.read_text() or controller.poll() is not None, 240.0, "a take is made")
        assert controller.poll() is None and not neighbour.running(), log.read_text()
        host.cut()
        cut = time.monotonic()
        limit_s = HEARTBEAT_LIMIT_S + TTL_LIMIT_S + GRACE_S
        until(lambda: onlooker.back_since() is not None, limit_s, "the neighbour is back")
        until(lambda: not [argv for _, argv in host.processes()], 60.0, "the job and its engine have ended")
        assert controller.wait(60) == 4, log.read_text()  # what ansible-playbook says of a host out of reach
        back = onlooker.back_since()
        assert back is not None and back - cut < limit_s
    finally:
        host.mend()
        controller.kill()
        controller.wait()


def _benchmark(hosts_file: Path) -> list[str]:
    program = Path(sys.executable).with_name("ansible-playbook")
    return [str(program), "site.yml", "-i", str(hosts_file), "--tags", "benchmark"]


def _environ() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_CONFIG": str(REPO / "ansible.cfg")}
