"""A run directory: found, created, and asked what is left to do."""

import contextlib
import errno
import fcntl
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from bench.catalog.entry import Entry
from bench.controller import prepare, versions
from bench.controller.request import RunRequest
from bench.controller.wheel import REPO
from bench.errors import AuditionError, BadInput, DiskFull, PhaseMissing
from bench.inputs import reference as references
from bench.listening.mapping import HIDDEN
from bench.records.base import Phase
from bench.records.run import Carried, EarlierRun, Inputs, Install, Manifest, Phases, PhaseState, Preflight
from bench.records.verdict import Verdict
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from bench.storage.private import close_tree
from bench.storage.record_file import load_record, save_record
from bench.verdict.methods import METHODOLOGY_VERSION

_RUN_ID = re.compile(r"^(?P<model>[a-z0-9_]+)-(?P<host>.+)-(?P<utc>\d{8}T\d{6}Z)$")
HELD_WAIT_S = 5.0
"""What an interrupted play's worker may take to notice that its playbook is gone; see `Run.held`."""
MINIMUM_FREE_BYTES = 200 * 1024 * 1024
"""A run of ten pairs takes about 20 MB; a disk with less than this left would fail somewhere in the middle."""
ONCE: tuple[Phase, ...] = ("benchmark", "baseline")
"""Phases that are never redone: their takes are sealed. The others converge, and change nothing when done."""
NEEDS: dict[Phase, tuple[Phase, ...]] = {
    "preflight": (),
    "install": ("preflight",),
    "benchmark": ("install",),
    "baseline": ("install",),
    "teardown": ("preflight",),
    "score": ("benchmark", "baseline"),
    "verdict": ("preflight",),
    "publish": ("verdict",),
}


class RunBusy(AuditionError):
    """Another play works on the run (exit 2)."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    path: Path

    @property
    def run_id(self) -> str:
        """Return `<model>-<host>-<UTC>`."""
        return self.path.name

    def manifest(self) -> Manifest:
        """Return what was committed to."""
        try:
            return load_record(Manifest, self.path)
        except FileNotFoundError as error:
            raise BadInput(f"{self.path} is not a run directory: it has no manifest.json.") from error

    def entry(self) -> Entry:
        """Return the candidate's catalog entry as it was committed."""
        return Entry.model_validate(self.manifest().entry)

    def baseline_entry(self) -> Entry:
        """Return the baseline's catalog entry as it was committed."""
        return Entry.model_validate(self.manifest().baseline_entry)

    def phases(self) -> dict[Phase, PhaseState]:
        """Return how each phase last ended."""
        try:
            return load_record(Phases, self.path).phases
        except FileNotFoundError:
            return {}

    def decision(self) -> str | None:
        """Return the verdict's decision, or None before there is one."""
        try:
            return load_record(Verdict, self.path).decision
        except FileNotFoundError:
            return None

    def undecided(self) -> bool:
        """Return whether the run can still go on."""
        return (self.decision() or "awaiting").startswith("awaiting")

    def typed(self, commands: Sequence[str], at: Path | None = None) -> list[str]:
        """Return a verdict's commands as they work here, or `at` another directory: `audition` has to be told of runs
        outside the checkout, and where it is when the shell does not know.

        The verdict itself says nothing of places, so that the same run gives the same bytes wherever it lies.
        """
        where = (
            ""
            if self.path.parent == (REPO / "runs").resolve()
            else f" --runs-dir {shlex.quote(str(self.path.parent))}"
        )
        return [
            locate_command(f"{each}{where}" if each.startswith("audition ") else each, at)
            for each in commands
        ]

    def preflight_passed(self) -> bool:
        """Return whether preflight has been made and no gate stopped it."""
        try:
            checks = load_record(Preflight, self.path).checks
        except FileNotFoundError:
            return False
        return not any(check.severity == "gate" and check.ok is False for check in checks)

    def record_phase(self, phase: Phase, state: PhaseState) -> None:
        """Note how a phase ended."""
        save_record(Phases(phases={**self.phases(), phase: state}), self.path)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other plays of this controller off the run's work on its host until the block ends.

        Whoever begins a job ends an earlier attempt at it and removes what that left, which is right when its
        controller is gone and wrong while it lives. The kernel lets go with the process, so nothing is left held.

        Raises:
            RunBusy: somebody has it.
        """
        give_up = time.monotonic() + HELD_WAIT_S
        with (self.path / Manifest.file_name).open("rb+") as file:  # NFS locks only what may be written
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.monotonic() > give_up:
                    raise RunBusy(
                        f"another play is at work on {self.run_id}; wait until it has ended, then run the same "
                        "command again."
                    )
                time.sleep(0.2)
            yield

    def ended_early(self) -> str | None:
        """Return why nothing more is to be measured (a refused gate, a failed install or benchmark), or None."""
        with contextlib.suppress(FileNotFoundError):
            refused = [
                c for c in load_record(Preflight, self.path).checks if c.severity == "gate" and c.ok is False
            ]
            if refused:
                return f"preflight refused it: {refused[0].name}"
        with contextlib.suppress(FileNotFoundError):
            if not load_record(Install, self.path).ok:
                return "its installation failed"
        benchmark = self.phases().get("benchmark")
        if benchmark is not None and benchmark.status == "failed" and benchmark.fault == "candidate":
            return "its benchmark failed"
        return None

    def todo(self, phase: Phase) -> str | None:
        """Return None when `phase` has work, else why it has none.

        Raises:
            PhaseMissing: a phase it needs has not been run; the message names it.
        """
        phases = self.phases()
        state = phases.get(phase)
        if state is not None and state.status == "done" and phase in ONCE:
            return "already done"
        if phase in ("install", "benchmark", "baseline", "score") and (why := self.ended_early()) is not None:
            return f"nothing to do: {why}"
        for needed in NEEDS[phase]:
            found = phases.get(needed)
            if found is None or found.status != "done":
                if phase == "score" and needed == "baseline":
                    return "nothing to do: the baseline has not been made yet"
                how = f" (it failed: {found.error})" if found is not None and found.error else ""
                raise PhaseMissing(
                    f"{phase} needs {needed}, which has not been done in {self.run_id}{how}; "
                    f"run it with --tags {needed}."
                )
        return None


@dataclass(frozen=True, slots=True)
class Voice:
    """The owner's clip, and the stretch of it that each model gets, by the folder it goes to."""

    given: references.ReferenceInput
    cuts: dict[str, references.ChosenReference]
    """Also, under `HIDDEN`, another stretch for raters to hear hidden, where the clip is long enough."""


def locate_command(command: str, at: Path | None = None) -> str:
    """Return a command of ours as it must be typed here, or `at` another directory: with its path where the shell finds
    none, or another."""
    word, _, rest = command.partition(" ")
    beside = Path(sys.executable).with_name(word)
    found = shutil.which(word)
    if not beside.exists() or (found and Path(found).samefile(beside)):
        return command
    here = at or Path.cwd()
    place = beside.relative_to(here) if beside.is_relative_to(here) else beside
    return f"{shlex.quote(str(place))} {rest}".rstrip()


def locate(request: RunRequest) -> Run:
    """Find the run a phase works on (design: "The run is found by Python, never by an Ansible fact").

    With `run_id`: that run. Without: the newest undecided run of this model on this host with the same inputs.

    Raises:
        BadInput: no such run, or one of another schema version.
        PhaseMissing: no undecided run has these inputs.
    """
    if request.run_id is not None:
        return _named(request, request.run_id)
    found = find_newest(request, prepare.commit(request).inputs_sha256, undecided=True)
    if found is None:
        raise PhaseMissing(
            f"there is no unfinished run of {request.model} on {request.host} with these inputs under "
            f"{request.runs_dir}; begin one with preflight (--tags preflight), or name one with -e run_id=."
        )
    return found


def open_or_create(request: RunRequest, repo: Path) -> tuple[Run, bool]:
    """Return the run to go on with, or a new one; and whether it is new.

    Every input is checked first, so that nothing is written for a request that cannot run.

    Raises:
        BadInput: an input is wrong.
        DiskFull: too little space under `runs_dir`.
    """
    if request.run_id is not None:
        return _named(request, request.run_id), False
    committed = prepare.commit(request)
    found = find_newest(request, committed.inputs_sha256, undecided=True)
    if found is not None:
        return found, False
    return _create(request, committed, check_new(request, committed), repo), True


def check_new(request: RunRequest, committed: prepare.Committed) -> Voice:
    """Check what a new run needs besides the committed inputs: a voice that both models can use, and room.

    Raises:
        BadInput: the reference cannot be used.
        DiskFull: too little space under `runs_dir`.
    """
    given = prepare.load_reference(request)
    chosen = {
        "reference": references.choose(given, committed.entry.reference),
        "reference-baseline": references.choose(given, committed.baseline_entry.reference),
    }
    if (another := references.choose_another(given, chosen["reference"])) is not None:
        chosen[HIDDEN.parent.name] = another
    check_disk(request.runs_dir)
    return Voice(given, chosen)


def check_disk(runs_dir: Path) -> None:
    """Refuse a disk on which a run would fail half-way."""
    at = runs_dir
    while not at.exists():
        at = at.parent
    free = shutil.disk_usage(at).free
    if free < MINIMUM_FREE_BYTES:
        raise DiskFull(
            f"only {free // 2**20} MiB are free under {runs_dir}; a run needs "
            f"{MINIMUM_FREE_BYTES // 2**20} MiB. Free some space or set runs_dir to another disk."
        )


@contextlib.contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" into an error that says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"the disk under {folder} is full; free some space and run the same command again."
        ) from error


def _named(request: RunRequest, run_id: str) -> Run:
    path = request.runs_dir / run_id
    if path.parent != request.runs_dir or not path.is_dir():
        known = sorted(p.name for p in request.runs_dir.glob("*-*Z") if p.is_dir())
        raise BadInput(
            f"there is no run '{run_id}' under {request.runs_dir}; there is: {', '.join(known) or 'none'}."
        )
    run = Run(path.resolve())
    manifest = run.manifest()
    if (manifest.model, manifest.host) != (request.model, request.host):
        raise BadInput(
            f"run {run_id} is of {manifest.model} on {manifest.host}, not of {request.model} on {request.host}; "
            f"give -e model={manifest.model} and --limit {manifest.host}."
        )
    return run


def find_newest(request: RunRequest, inputs_sha256: str, *, undecided: bool) -> Run | None:
    """Return the newest run of this model on this host with these inputs, decided ones left out if asked."""
    for run in list_runs(request.runs_dir, request.model, request.host):
        # What this version cannot read (another schema, a damaged file) is no run to go on with; by name it
        # is refused, but it must not stand in the way of a new one.
        with contextlib.suppress(BadInput):
            if prepare.recommit(run.manifest()) == inputs_sha256 and (run.undecided() or not undecided):
                return run
    return None


def list_runs(runs_dir: Path, model: str, host: str) -> list[Run]:
    """Return the runs of a model on a host, the newest first, whatever their inputs."""
    stamped = []
    for path in runs_dir.glob(f"{model}-{host}-*Z"):
        match = _RUN_ID.match(path.name)
        if match and match["host"] == host and path.is_dir() and not path.is_symlink():
            stamped.append((match["utc"], path))
    return [Run(path.resolve()) for _, path in sorted(stamped, reverse=True)]


def find_carried(request: RunRequest, inputs: Inputs) -> list[Carried]:
    """Return what the models before this one in the chain came to on this host, in the chain's order.

    Of each its newest decided run counts that shares the survey's inputs; one that was taken carries nothing on.
    """
    if request.together or request.model not in request.chain:
        return []  # of candidates that are judged side by side none comes before another
    found = []
    for model in request.chain[: request.chain.index(request.model)]:
        for run in list_runs(request.runs_dir, model, request.host):
            with contextlib.suppress(BadInput, FileNotFoundError, ValidationError):
                if prepare.shared_sha256(run.manifest()) != prepare.shared_sha256(inputs):
                    continue
                verdict = load_record(Verdict, run.path)
                if verdict.reason is None or verdict.decision == "swap_candidate":
                    continue
                why = verdict.sentence.partition(": ")[2].partition(" Before it: ")[0].rstrip(".")
                found.append(
                    Carried(
                        model=model,
                        run_id=run.run_id,
                        decision=verdict.decision,
                        reason=verdict.reason,
                        why=why or verdict.sentence.rstrip("."),
                    )
                )
                break
    return found


def find_decided(request: RunRequest, inputs_sha256: str) -> list[EarlierRun]:
    """Return the decided runs of the same inputs, the oldest first, whatever host they were on.

    What this version cannot read is passed over, as in `find_newest`.
    """
    found = []
    for path in request.runs_dir.glob(f"{request.model}-*Z"):
        match = _RUN_ID.match(path.name)
        if match is None or match["model"] != request.model or not path.is_dir() or path.is_symlink():
            continue
        with contextlib.suppress(BadInput, FileNotFoundError, ValidationError):
            run = Run(path)
            if prepare.recommit(run.manifest()) != inputs_sha256:
                continue
            verdict = load_record(Verdict, path)
            if verdict.reason is not None:
                earlier = EarlierRun(run_id=run.run_id, decision=verdict.decision, reason=verdict.reason)
                found.append((match["utc"], earlier))
    return [earlier for _, earlier in sorted(found, key=lambda each: each[0])]


def _create(
    request: RunRequest,
    committed: prepare.Committed,
    voice: Voice,
    repo: Path,
) -> Run:
    created = datetime.now(UTC)
    run_id = f"{request.model}-{request.host}-{created:%Y%m%dT%H%M%SZ}"
    final = request.runs_dir / run_id
    if final.exists():
        raise BadInput(f"{final} exists already; wait a second and run the same command again.")
    manifest = Manifest(
        run_id=run_id,
        model=request.model,
        host=request.host,
        created_utc=f"{created:%Y-%m-%dT%H:%M:%SZ}",
        inputs=committed.inputs,
        inputs_sha256=committed.inputs_sha256,
        rule=committed.rule,
        rule_sha256=committed.inputs.rule_sha256,
        question=request.question,
        question_sha256=committed.inputs.question_sha256,
        second_question=request.second_question,
        entry=committed.entry.model_dump(mode="json"),
        baseline_entry=committed.baseline_entry.model_dump(mode="json"),
        baseline_profile=request.baseline_profile,
        baseline_url=request.baseline_url,
        model_url=request.model_url,
        profile=request.profile,
        neighbour_mode=request.neighbour_mode,
        intended_use=request.intended_use,
        reference={"given": voice.given.facts, **{name: cut.record() for name, cut in voice.cuts.items()}},
        utterances=committed.utterance_count,
        chain=request.chain or [request.model],
        versions=versions.read_versions(),
        git_commit=versions.read_commit(repo),
        methodology_version=METHODOLOGY_VERSION,
        earlier_runs=find_decided(request, committed.inputs_sha256),
        carried=find_carried(request, committed.inputs) or None,
    )
    with explain_full_disk(request.runs_dir):
        request.runs_dir.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=request.runs_dir))
        try:
            for folder, cut in voice.cuts.items():
                references.write(cut, scratch / folder)
            shutil.copyfile(committed.utterances_file, scratch / "utterances.txt")
            write_atomically(scratch / "rule.yml", committed.rule_bytes)
            save_record(manifest, scratch)
            close_tree(scratch)
            scratch.rename(final)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    point_latest(final)
    return Run(final.resolve())


def point_latest(run_dir: Path) -> None:
    """Make `runs/latest` name this run."""
    link = run_dir.parent / "latest"
    scratch = run_dir.parent / f".latest-{os.getpid()}"  # one play may begin runs on several hosts at once
    with explain_full_disk(run_dir.parent):
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(run_dir.name)
        scratch.replace(link)


def note_phase(
    run: Run,
    phase: Phase,
    started_utc: str,
    error: str | None = None,
    *,
    fault: Literal["candidate", "host"] | None = None,
    note: str | None = None,
) -> None:
    """Record that `phase` ended now, well when `error` is None."""
    state = PhaseState(
        status="done" if error is None else "failed",
        started_utc=started_utc,
        ended_utc=utc_now(),
        error=error,
        fault=fault,
        note=note,
    )
    with explain_full_disk(run.path):
        run.record_phase(phase, state)
