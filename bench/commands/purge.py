"""`audition purge HOST|RUN`: say what goes and what stays, ask, and remove it for good."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.commands.playbook import Interrupted, Stop, list_inventories, play, read_variable
from bench.commands.survey import PhaseFailed
from bench.controller.run import Run
from bench.errors import BadInput
from bench.storage.sizes import count_bytes, spell_bytes

PLAYBOOK = "playbooks/purge.yml"
_VOICES = ("reference", "reference-baseline", "reference-hidden")
_CLIPS = ("*.wav", "*/*.wav", "listening/clips", "attempts")
_PAGES = ("report.html", "report-for-sharing.html")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a removal is confirmed."""

    yes: bool
    say: Callable[[str], None]

    def confirm(self) -> bool:
        """Return whether it is to go on.

        Raises:
            BadInput: nobody can be asked.
        """
        if self.yes:
            return True
        if not sys.stdin.isatty():
            raise BadInput(
                "nothing was removed: nobody can be asked here. Give --yes to remove what is listed above."
            )
        self.say("Remove it for good? [y/N]")
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def purge_run(run: Run, asking: Asking) -> int:
    """Remove a run's voice and clips; its records stay. Returns 0, and 1 where the answer was no.

    Raises:
        BadInput: nobody can be asked.
    """
    found = sorted({path for name in (*_VOICES, *_CLIPS, *_PAGES) for path in run.path.glob(name)})
    found = [path for path in found if not any(above in found for above in path.parents)]
    if not found:
        asking.say(f"{run.run_id} holds no voice and no clip.")
        return 0
    asking.say(f"Of run {run.run_id} in {run.path} these go:")
    for path in found:
        asking.say(f"  {path.relative_to(run.path)}  {spell_bytes(count_bytes(path))}")
    asking.say(
        "These stay: its records (manifest, takes, metrics, ratings, verdict, report.md, report.json)."
    )
    if run.undecided():
        asking.say("It is not decided: without its clips it can be neither rated nor decided.")
    asking.say(
        "Not looked at: its jobs on the host (`--tags teardown`), a branch that was published, copies of the report."
    )
    if not asking.confirm():
        return 1
    with run.held():
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    asking.say(f"removed: {len(found)} files and folders")
    return 0


def purge_host(
    host: str, asking: Asking, *, project: Path, inventory: list[str], extra: list[str], weights: bool
) -> int:
    """Remove what Audition keeps on a host. Returns 0, and 1 where the answer was no or something could not be removed.

    Raises:
        BadInput: no such host or inventory; nobody can be asked.
        PhaseFailed: the host is out of reach, or somebody is at work there.
    """
    plan = _play(host, project, inventory, extra, weights=weights, confirmed=False)
    if plan is None:
        asking.say(f"{host} has nothing of Audition.")
        return 0
    asking.say(f"On {host} these go:")
    for item in plan["plan"]["remove"]:
        size = "" if item["bytes"] is None else f", {spell_bytes(item['bytes'])}"
        asking.say(f"  {item['kind']} {item['name']}  ({item['what']}{size})")
    _say_left(plan, asking)
    if plan["plan"]["busy"]:
        raise PhaseFailed(f"{host}: somebody is at work there: {'; '.join(plan['plan']['busy'])}.", 2)
    if not asking.confirm():
        return 1
    done = _play(host, project, inventory, extra, weights=weights, confirmed=True)
    assert done is not None
    asking.say(f"removed: {len(done['removed'])} of {len(done['plan']['remove'])}")
    if len(done["removed"]) == len(done["plan"]["remove"]):
        return 0
    _say_left(done, asking)
    return 1


def _say_left(plan: dict[str, Any], asking: Asking) -> None:
    asking.say("These stay:")
    for line in plan["plan"]["leave"]:
        asking.say(f"  {line}")


def _play(
    host: str, project: Path, inventory: list[str], extra: list[str], *, weights: bool, confirmed: bool
) -> dict[str, Any] | None:
    """Play the playbook; return what the module said, None where there is nothing of ours."""
    answers: list[dict[str, Any]] = []

    def note(_host: str, task: str, result: dict[str, Any]) -> None:
        if task.endswith("bench_purge"):
            answers.append(result)

    variables = [read_variable(each) for each in extra]
    asked = json.dumps({"purge_weights": weights, "purge_confirmed": confirmed})
    with Stop().watching() as stop, contextlib.chdir(project):
        played = play(
            PLAYBOOK,
            project=project,
            stop=stop,
            inventory=list_inventories(inventory),
            limit=host,
            extra=[*variables, asked],
            on_result=note,
        )
        if stop.asked():
            raise Interrupted("interrupted; ask again to see what is left.")
    if len(played.hosts) > 1:
        raise BadInput(f"'{host}' is {len(played.hosts)} hosts of the inventory; name one.")
    if played.rc == 0 and not played.hosts:
        raise BadInput(
            f"there is no run '{host}' here, and the inventory has no host '{host}' in audition_hosts."
        )
    if played.rc != 0:
        raise PhaseFailed(played.why(), played.rc if played.rc in (2, 4) else 2)
    return answers[-1] if answers else None
