"""`audition survey`: the chain's models one after another, each phase through ansible-runner.

The run directories decide what is left: a survey that was interrupted, or waits for people, goes on when it is
run again. A model that has its decision is not measured again.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.commands.playbook import Interrupted, Played, Stop, list_inventories, play, read_variable
from bench.controller import prepare, surveys, together
from bench.controller import run as runs
from bench.controller.request import RunRequest
from bench.controller.run import Run
from bench.controller.signs import Signs
from bench.errors import AuditionError, BadInput, NeighbourNotBack
from bench.records.neighbour import NeighbourRecord
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record

PLAN = "playbooks/survey.yml"
_AFTER_TAKES = ("score", "verdict", "publish")
_OURS = ("model", "run_id")
"""Variables that the survey sets itself."""


class PhaseFailed(AuditionError):
    """A phase could not be completed, and it was not the candidate's fault.

    Exits as `ansible-playbook` does for the same phase: 2, or 4 for a host out of reach.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line gives."""

    project: Path
    """The checkout."""
    inventory: Sequence[str] = ()
    limit: str | None = None
    extra: Sequence[str] = ()
    runs_dir: Path | None = None
    quiet: bool = False
    """Say what was decided, and nothing of the work."""

    def variables(self) -> list[str]:
        """Return what goes after each `-e`.

        Raises:
            BadInput: a variable that the survey sets itself.
        """
        for each in self.extra:
            if each.split("=", 1)[0].strip() in _OURS:
                raise BadInput(
                    f"-e {each}: the survey takes its models from `chain` and finds their runs itself; "
                    "`ansible-playbook site.yml` takes model and run_id."
                )
        more = [json.dumps({"runs_dir": str(self.runs_dir.resolve())})] if self.runs_dir else []
        return [*map(read_variable, self.extra), *more]


@dataclass(slots=True)
class _Neighbour:
    """The neighbour's p50 in the survey's first run: what later runs are compared with, ms."""

    model: str = ""
    p50_ms: float | None = None


def survey(options: Options, say: Callable[[str], None]) -> int:
    """Drive the chain on every host of the inventory, host after host; return 0 for every decision.

    Raises:
        BadInput: an inventory, a variable or an input is wrong, or no host matches; nothing was started.
        PhaseFailed: a phase failed and it was not the candidate's fault.
        NeighbourNotBack: a run's record says that the neighbour is not back.
        Interrupted: by a signal; run again, it goes on.
    """
    given = list_inventories(options.inventory)
    extra = options.variables()
    here = Path.cwd()
    with Stop().watching() as stop, contextlib.chdir(options.project):
        driver = _Driver(options.project, given, extra, stop, say, typed_at=here, quiet=options.quiet)
        for host, requests in driver.plan(options.limit).items():
            driver.drive(host, requests)
    return 0


class _Driver:
    def __init__(
        self,
        project: Path,
        inventory: list[str],
        extra: list[str],
        stop: Stop,
        say: Callable[[str], None],
        *,
        typed_at: Path,
        quiet: bool,
    ) -> None:
        self._typed_at = typed_at
        self._project = project
        self._inventory = inventory
        self._extra = extra
        self._stop = stop
        self._say = say
        self._signs = Signs(None if quiet else say, sys.stdout)

    def plan(self, limit: str | None) -> dict[str, list[RunRequest]]:
        """Ask the inventory what is to be run, and check all of it."""
        found: dict[str, list[RunRequest]] = {}

        def note(host: str, action: str, result: dict[str, Any]) -> None:
            if action.endswith("debug"):
                found[host] = [RunRequest.of(each["msg"]) for each in result["results"]]

        played = self._play(PLAN, limit, [], on_result=note)
        if played.rc != 0:
            raise BadInput(f"the inventory cannot be used: {played.why()}")
        if not found:
            where = ", ".join(self._inventory) or "the default inventory"
            raise BadInput(
                f"no host of group audition_hosts in {where} matches"
                f"{f' --limit {limit}' if limit else ''}; `ansible-inventory --graph` lists what there is."
            )
        for requests in found.values():
            for request in requests:
                prepare.commit(request)
        return found

    def drive(self, host: str, requests: list[RunRequest]) -> None:
        """Go through one host's candidates: until one has been taken or people have to rate; or all, to be rated in
        one sitting."""
        if requests[0].together and len(requests) > 1:
            self._drive_together(host, requests)
        else:
            self._drive_chain(host, requests)

    def _drive_together(self, host: str, requests: list[RunRequest]) -> None:
        playbooks = phase_playbooks(self._project)
        names = [Path(each).stem for each in playbooks]
        for request in requests:  # who may not be taken is known before anybody's engine is installed
            run = find_newest(request)
            if run is None or "preflight" not in run.phases():
                self._phases(host, request, run, playbooks[: names.index("preflight") + 1])
        for request in requests:
            run = find_newest(request)
            ahead = [each for each in _phases_left(playbooks, run) if Path(each).stem not in _AFTER_TAKES]
            if ahead:
                self._phases(host, request, run, ahead)
        runs = [self._begun(request) for request in requests]
        with self._signs.during(f"{host} | sealing"):
            for line in together.seal_together(runs):
                self._say(f"{host} | {line}")
        first, waiting = _Neighbour(), None
        for phase in ("verdict", "publish"):  # what is published of one says what came of all
            for request, run in zip(requests, runs, strict=True):
                left = [each for each in _phases_left(playbooks, run) if Path(each).stem == phase]
                if left:
                    self._phases(host, request, run, left)
        for request, run in zip(requests, runs, strict=True):
            verdict = _verdict(run)
            self._say(f"{host} | {request.model} | {verdict.label}")
            self._say(f"  {verdict.sentence}")
            self._compare_neighbour(run, request.model, first)
            if verdict.decision.startswith("awaiting"):
                waiting = waiting or run
        found = surveys.gather(runs[0])
        self._say(f"{host} | {found.summary}")
        self._say(f"  all candidates: {surveys.write(found, requests[0].runs_dir)}")
        if waiting is not None:
            self._say("One sitting for all of them; then `audition survey` again:")
            (command,) = waiting.typed([f"audition rate {waiting.run_id}"], self._typed_at)
            self._say(f"  {command}")

    @staticmethod
    def _begun(request: RunRequest) -> Run:
        run = find_newest(request)
        if run is None:
            raise AuditionError(f"{request.host} | {request.model}: preflight began no run")
        return run

    def _drive_chain(self, host: str, requests: list[RunRequest]) -> None:
        first = _Neighbour()
        worked = False
        for request in requests:
            run = find_newest(request)
            if left := _phases_left(phase_playbooks(self._project), run):
                worked = worked or run is None or run.undecided()
                self._phases(host, request, run, left)
                run = find_newest(request)
            run = self._begun(request)
            verdict = _verdict(run)
            self._say(f"{host} | {request.model} | {verdict.label}")
            self._say(f"  {verdict.sentence}")
            if len(requests) > 1:
                report = surveys.write(surveys.gather(run), request.runs_dir)
                self._say(f"  all candidates: {report}")
            self._compare_neighbour(run, request.model, first)
            if verdict.decision.startswith("awaiting"):
                self._say("Then, and afterwards `audition survey` again:")
                for command in run.typed(verdict.next.commands, self._typed_at):
                    self._say(f"  {command}")
                return
            if verdict.decision == "swap_candidate":
                break
        if not worked:
            self._say(
                "Every model had its decision already. `ansible-playbook site.yml -e model=NAME` measures"
            )
            self._say("one again; the survey then goes by the newer run.")

    def _phases(self, host: str, request: RunRequest, run: Run | None, playbooks: list[str]) -> None:
        model = request.model
        self._signs.say(f"{host} | {model} | {'goes on with ' + run.run_id if run else 'a new run'}")
        for playbook in playbooks:
            phase = Path(playbook).stem
            begun = time.monotonic()
            self._signs.say(f"{host} | {model} | {phase}")
            with self._signs.during(f"{host} | {model} | {phase}"):
                played = self._play(
                    playbook, host, [json.dumps({"model": model})],
                    on_line=self._signs.say, on_result=self._tell(phase),
                )  # fmt: skip
            if played.rc != 0:
                raise PhaseFailed(
                    f"{phase} of {model} failed on {played.why()}\n"
                    "Put it right and run `audition survey` again; it goes on from there.",
                    played.rc if played.rc in (2, 4) else 1,
                )
            if host not in played.hosts:
                raise BadInput(f"{phase} of {model} ran on no host: {playbook} does not play on {host}.")
            for failure in played.failures[:1]:  # rescued: it is in the record, and the chain goes on
                self._signs.say(f"{host} | {model} | {phase} | failed: {failure.message}")
            changed = f", {played.changed} changed" if played.changed else ""
            self._signs.say(f"{host} | {model} | {phase} | {time.monotonic() - begun:.0f} s{changed}")

    def _tell(self, phase: str) -> Callable[[str, str, dict[str, Any]], None]:
        """Print what a phase's debug tasks say; the verdict's is printed from its file."""

        def tell(host: str, action: str, result: dict[str, Any]) -> None:
            if not action.endswith("debug") or phase == "verdict":
                return
            message = result.get("msg", "")
            for line in message if isinstance(message, list) else str(message).splitlines():
                self._signs.say(f"{host} | {line}")

        return tell

    def _play(
        self,
        playbook: str,
        limit: str | None,
        extra: list[str],
        *,
        on_line: Callable[[str], None] = lambda _line: None,
        on_result: Callable[[str, str, dict[str, Any]], None],
    ) -> Played:
        if not self._stop.asked():
            played = play(
                playbook,
                project=self._project,
                stop=self._stop,
                inventory=self._inventory,
                limit=limit,
                extra=[*self._extra, *extra],
                on_line=on_line,
                on_result=on_result,
            )
            if not self._stop.asked():
                return played
        raise Interrupted(
            f"interrupted in {Path(playbook).stem}. What was done is kept; a job that still runs on the host "
            "ends itself within a minute and gives the neighbour back. Run `audition survey` again to go on."
        )

    def _compare_neighbour(self, run: Run, model: str, first: _Neighbour) -> None:
        """Hold the neighbour's p50 against the survey's first, so that a slow drift is not lost between runs."""
        try:
            record = load_record(NeighbourRecord, run.path)
        except FileNotFoundError:
            return
        if record.state == "not_back":
            raise NeighbourNotBack(
                f"{record.name} is not back after {run.run_id}: {record.verdict} "
                "`audition neighbour restore HOST` tries again."
            )
        for when, side in (("before", record.before), ("after", record.after)):
            if side.p50_ms is None:
                continue
            if first.p50_ms is None:
                first.model, first.p50_ms = model, side.p50_ms
            elif side.p50_ms > first.p50_ms * record.limit:
                self._say(
                    f"  WARNING: {record.name}'s p50 {when} {model} was {side.p50_ms:.0f} ms, "
                    f"{side.p50_ms / first.p50_ms:.2f} times the survey's first ({first.p50_ms:.0f} ms, before "
                    f"{first.model}); the limit is {record.limit:g}."
                )


def phase_playbooks(project: Path) -> list[str]:
    """Return site.yml's playbooks in order: the one list of the phases.

    Raises:
        BadInput: `project` has no site.yml that can be read.
    """
    try:
        plays = yaml.safe_load((project / "site.yml").read_text(encoding="utf-8"))
        return [str(each["import_playbook"]) for each in plays]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BadInput(f"{project / 'site.yml'} cannot be read ({error}); run this in a checkout.") from error


def find_newest(request: RunRequest) -> Run | None:
    """Return the newest run of this model on this host with these inputs, decided or not.

    Raises:
        BadInput: an input is wrong.
    """
    return runs.find_newest(request, prepare.commit(request).inputs_sha256, undecided=False)


def _phases_left(playbooks: list[str], run: Run | None) -> list[str]:
    """Return the phases to play: all of them, or those after teardown when nothing touches the host any more.

    Of a run that was decided since, by `audition verdict` for instance, only its publication. Else the earlier phases
    too, although some are done: they cost seconds and prove that the host is still as preflight and install left it.
    """
    if run is None:
        return playbooks
    names = [Path(each).stem for each in playbooks]
    states = {name: state.status for name, state in run.phases().items()}
    if not run.undecided():
        published = states.get("publish") == "done"
        return [
            each for each, name in zip(playbooks, names, strict=True) if name == "publish" and not published
        ]
    after = names.index("teardown") + 1 if "teardown" in names else 0
    if all(states.get(name) in ("done", "skipped") for name in names[:after]):  # type: ignore[call-overload]
        return playbooks[after:]
    return playbooks


def _verdict(run: Run) -> Verdict:
    try:
        return load_record(Verdict, run.path)
    except FileNotFoundError:
        raise AuditionError(
            f"{run.run_id} has no verdict although all its phases were played; "
            f"`audition verdict {run.run_id}` says why."
        ) from None
