"""`audition neighbour status|restore HOST`: the module bench_neighbour on a host, through the inventory."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bench.commands.playbook import Interrupted, Stop, list_inventories, play, read_variable
from bench.commands.survey import PhaseFailed
from bench.errors import BadInput, NeighbourNotBack

PLAYBOOK = "playbooks/neighbour.yml"
BY_HAND = (
    "By hand, on the host: `docker start NAME && docker update --restart=POLICY NAME`; POLICY is in status.json of "
    "the lease directory, under terms."
)


def neighbour(
    action: Literal["status", "restore"],
    host: str,
    *,
    project: Path,
    inventory: list[str],
    extra: list[str],
    say: Callable[[str], None],
    say_facts: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Say how the neighbour on `host` is, after taking it back for `restore`.

    `say_facts`: is told the facts, in place of the words. Returns 0 when it is well, 2 when it is not.

    Raises:
        BadInput: no such host or inventory.
        PhaseFailed: the host is out of reach, has no neighbour, or has no working Docker.
        NeighbourNotBack: `restore`, and it does not come up.
    """
    answers: list[dict[str, Any]] = []

    def note(_host: str, task: str, result: dict[str, Any]) -> None:
        if task.endswith("bench_neighbour"):
            answers.append(result)

    given, variables = list_inventories(inventory), [read_variable(each) for each in extra]
    with Stop().watching() as stop, contextlib.chdir(project):
        played = play(
            PLAYBOOK,
            project=project,
            stop=stop,
            inventory=given,
            limit=host,
            extra=[*variables, json.dumps({"neighbour_restore": action == "restore"})],
            on_result=note,
        )
        if stop.asked():
            raise Interrupted("interrupted; what was asked of the watcher it still does.")
    if played.rc == 0 and not played.hosts:
        raise BadInput(f"the inventory has no host '{host}' in audition_hosts.")
    if played.rc != 0 or not answers:
        asked_to_restore = any(f.task == "Look, or restore" for f in played.failures) and action == "restore"
        if asked_to_restore:
            raise NeighbourNotBack(f"{played.why()} {BY_HAND}")
        raise PhaseFailed(played.why(), played.rc if played.rc in (2, 4) else 2)
    found = answers[-1]["neighbour"]
    if say_facts is not None:
        say_facts({"schema_version": 1, "sentence": answers[-1]["msg"], **found})
        return 0 if found["well"] else 2
    say(answers[-1]["msg"])
    for line in _details(found):
        say(f"  {line}")
    return 0 if found["well"] else 2


def _details(found: dict[str, Any]) -> list[str]:
    lines = []
    if found["watcher"] is not None:
        renewed = found["renewed_s_ago"]
        ago = "" if renewed is None else f", renewed {renewed:.0f} s ago"
        lines.append(f"its watcher is {found['watcher']}{ago}")
        last = found["last"]
        if last is not None and last["events"]:
            lines.append(f"it last said at {last['events'][-1]['utc']}: {last['events'][-1]['what']}")
    lines += [f"container of ours: {each['name']}" for each in found["ours"]]
    lines += [f"would start it by itself: {each}" for each in found["restarters"]]
    return lines
