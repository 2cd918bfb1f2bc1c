"""Where the seconds went in which the neighbour did not serve: each has one reason."""

import itertools
from collections.abc import Sequence

from bench.neighbour.lease_files import WatcherStatus
from bench.records.neighbour import OutagePart

STOPPING = "stopping it"
FREEING = "waiting for its memory to come free"
CUT_OFF = "an attempt that was cut off"
BASELINE = "measuring the memory that is free without it"
LOADING = "loading the candidate"
SPEAKING = "takes and warm-ups"
ENDING = "ending the engine"
ROOM = "giving its memory back"
STARTING = "its own start, until it is ready"

Mark = tuple[float, str]
"""When something began (CLOCK_BOOTTIME seconds), and which of these."""


def split_outage(ended: WatcherStatus, marks: Sequence[Mark]) -> list[OutagePart] | None:
    """Return the parts of one pause, from the word to stop until it was ready again, in order of their beginning.

    Args:
        ended: the lease, as its watcher recorded it.
        marks: what the job did meanwhile; none of one that was killed.

    Returns:
        None where it was not stopped, or where its times cannot be compared since the host was booted meanwhile.
    """
    events = [(float(each["boottime_s"]), str(each["what"])) for each in ended.events]
    began = next((at for at, what in events if what == "stopping the neighbour"), None)
    if began is None or ended.started_boottime_s is None:
        return None
    cuts = [(began, STOPPING)]
    stopped = next((at for at, what in events if what == "the neighbour is stopped"), None)
    if stopped is not None:
        cuts.append((stopped, FREEING if marks else CUT_OFF))
    restoring = next((at for at, what in events if what.startswith("restoring")), ended.started_boottime_s)
    cuts += [(at, reason) for at, reason in marks if (stopped or began) <= at < restoring]
    started = next((at for at, what in events if what == "started the neighbour"), ended.started_boottime_s)
    ready = ended.started_boottime_s + (ended.ready_s or 0.0)
    cuts += [(restoring, ROOM), (started, STARTING), (ready, "")]
    if any(later < earlier for (earlier, _), (later, _) in itertools.pairwise(cuts)):
        return None
    found: dict[str, float] = {}
    for (at, reason), (until, _) in itertools.pairwise(cuts):
        found[reason] = found.get(reason, 0.0) + until - at
    return [OutagePart(reason=reason, seconds=round(seconds, 3)) for reason, seconds in found.items()]
