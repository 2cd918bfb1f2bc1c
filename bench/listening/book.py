"""The listening test's book: raters, what they heard, what they answered; kept as a log of events.

Everything is decided here, once, for the page, the command line and the tests: what a rater may do is decided
while the log is locked, and done when the log is on disk. The state is what the log says, so a restart, a
second process or another device finds the same.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import BadInput
from bench.listening import heard
from bench.listening.mapping import DIRECTORY, RATINGS, SECRET_BYTES, SealBroken, Sealed, load_intact
from bench.listening.store import Event, Log
from bench.listening.tickets import ticket, trial_ticket
from bench.listening.trials import SIDES, Side, Trial
from bench.records import Answer, Channel, utc_now

MAX_NOTE = 1000
MAX_REVISIONS = 200
"""Answers one rater may give to one trial, changes of mind included; the log is append-only and finite."""
Status = Literal["invited", "started", "finished"]


class Refused(Exception):
    """The rater may not do this now; `code` is a stable word, the message is for him."""

    def __init__(self, code: str, message: str, status: int = 409) -> None:
        """Keep the HTTP status beside the code."""
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as the page gave it, sides not names. `comparison`: -3..+3, positive where B was better."""

    a: int
    b: int
    comparison: int | None
    note: str
    answered_utc: str


@dataclass(slots=True)
class Rater:
    """A rater and all that he did."""

    id: str
    name: str
    token: str
    salt: str
    channels: list[Channel]
    trials: list[Trial]
    by_ticket: dict[str, Trial]
    clips: dict[str, tuple[Trial | None, str]]
    """Clip tickets: the trial and the file's name; the open reference belongs to no trial."""
    opened_s: dict[str, float] = field(default_factory=dict)
    ranges: dict[tuple[str, Side], list[heard.Range]] = field(default_factory=dict)
    answers: dict[str, Given] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    listening: heard.Listening = field(default_factory=heard.Listening)
    headphones: str | None = None
    finished_utc: str | None = None
    final: dict[str, int] = field(default_factory=dict)
    """Which answer of each trial was the last when he finished."""
    started: bool = False

    def ticket_of(self, trial: Trial, side: Side) -> str:
        """Return the name under which his page asks for a clip."""
        return ticket(bytes.fromhex(self.salt), f"{trial.trial_id}/{side}")

    def ticket_of_reference(self, channel: Channel) -> str | None:
        """Return the name of the open reference, None where the run has none."""
        name = ticket(bytes.fromhex(self.salt), f"reference/{channel}")
        return name if name in self.clips else None

    @property
    def damaged(self) -> bool:
        """Finished, but an answer was lost since; nobody who saw the names can give it again."""
        return self.finished_utc is not None and self.final != self.revisions

    @property
    def status(self) -> Status:
        """How far he is."""
        if self.finished_utc is not None and not self.damaged:
            return "finished"
        return "started" if self.started else "invited"


class Book:
    """The book of one run. Safe between threads and processes."""

    def __init__(self, run_dir: Path) -> None:
        """Open it, once the seal was found intact.

        Raises:
            BadInput: nothing is sealed, or what was sealed has changed.
            NotSaved: the disk does not take it.
        """
        try:
            self.sealed: Sealed = load_intact(run_dir)
        except FileNotFoundError:
            raise BadInput(f"{run_dir} has no sealed pairs yet; run the score phase first.") from None
        self.run_dir = run_dir
        self.seconds = {clip.file: clip.seconds for clip in self.sealed.clips}
        self.raters: dict[str, Rater] = {}
        self.by_token: dict[str, Rater] = {}
        self.imported: dict[str, list[Answer]] = {}
        self.notices: list[str] = []
        self._digest = self.sealed.digest()
        self._seq = 0
        self._lock = threading.RLock()
        self._log = Log(run_dir / DIRECTORY / RATINGS)
        self.refresh()
        if self._seq == 0:
            self._do(lambda: [("sealed", {"mapping_sha256": self._digest, "utc": utc_now()})])

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def refresh(self) -> None:
        """Take in what other processes wrote."""
        with self._lock:
            self._apply(self._log.after(self._seq))

    def rater_of(self, token: str) -> Rater | None:
        """Return whose token it is, None for nobody's. Tokens are 256 random bits: a dictionary tells
        nothing by its timing that would help to guess one."""
        with self._lock:
            if token not in self.by_token:
                self.refresh()
            return self.by_token.get(token)

    def invite(self, name: str, channels: Sequence[Channel] | None = None) -> Rater:
        """Add a rater, or return the one of this name. `channels`: further ones after the rule's.

        Raises:
            BadInput: the name is empty or over 80 characters, or a channel was not prepared.
        """
        name = " ".join(name.split())
        if not name or len(name) > 80 or not name.isprintable():
            raise BadInput("A rater's name is 1 to 80 printable characters.")
        wanted = list(dict.fromkeys([self.sealed.channels[0], *(channels or [])]))
        missing = [channel for channel in wanted if channel not in self.sealed.channels]
        if missing:
            raise BadInput(f"These channels were not prepared when the run was sealed: {', '.join(missing)}.")

        def decide() -> list[Event]:
            if name in self.imported:
                raise BadInput(f"{name} rated elsewhere and was imported; invite under another name.")
            if self._named(name) is not None:
                return []
            body: dict[str, object] = {
                "id": secrets.token_hex(8),
                "name": name,
                "token": secrets.token_urlsafe(SECRET_BYTES),
                "salt": secrets.token_hex(SECRET_BYTES),
                "channels": wanted,
                "utc": utc_now(),
            }
            return [("rater", body)]

        self._do(decide)
        found = self._named(name)
        if found is None:
            raise AssertionError("an invited rater is in the book")
        return found

    def withdraw(self, name: str) -> None:
        """Take back an invitation. Only while nothing was answered, or when the answers were damaged:
        nobody's ratings can be dropped because they displease.

        Raises:
            BadInput: no such rater, or he has answered.
        """

        def decide() -> list[Event]:
            rater = self._named(name)
            if rater is None:
                raise BadInput(f"There is no rater {name!r}.")
            if rater.answers and not rater.damaged:
                raise BadInput(f"{name} has answered already; ratings are never dropped.")
            return [("withdrawn", {"rater": rater.id, "utc": utc_now()})]

        self._do(decide)

    def opened(self, rater: Rater, trial: Trial) -> None:
        """Note that the rater's page has a trial's clips: listening can have begun now, not before."""
        if trial.trial_id in rater.opened_s:
            return

        def decide() -> list[Event]:
            if trial.trial_id in rater.opened_s:
                return []
            return [("opened", {"rater": rater.id, "trial": trial.trial_id, **_clock()})]

        self._do(decide)

    def hear(self, rater: Rater, trial: Trial, report: dict[Side, list[heard.Range]]) -> None:
        """Add what was heard of a trial's clips.

        Raises:
            Refused: more than can have been heard since the clips were opened, in all tabs together;
                finished.
        """

        def decide() -> list[Event]:
            if rater.finished_utc is not None:
                raise Refused("finished", "You have finished; nothing can be changed any more.")
            new: dict[Side, list[heard.Range]] = {}
            gained = 0.0
            for side in SIDES:
                before = rater.ranges.get((trial.trial_id, side), [])
                after = heard.union([*before, *report.get(side, [])])
                if len(after) > heard.MAX_RANGES:
                    raise Refused("too_many_ranges", "Listen in longer stretches.", 422)
                if after != before:
                    new[side] = after
                    gained += heard.covered_s(after) - heard.covered_s(before)
            if not new:
                return []
            if trial.trial_id not in rater.opened_s:
                raise Refused("not_opened", "Reload the page: this pair was not opened yet.")
            clock = _clock()
            now_s = float(str(clock["boot_s"]))
            account = heard.Listening(rater.listening.spent_until_s)
            if not account.claim(gained, rater.opened_s[trial.trial_id], now_s):
                raise Refused(
                    "faster_than_time", "More was reported than can have been heard. Is another tab open?"
                )
            body: dict[str, object] = {"rater": rater.id, "trial": trial.trial_id, **clock}
            body |= {"spent_until_s": round(account.spent_until_s, 3), "ranges": new}
            return [("heard", body)]

        self._do(decide)

    def length_s(self, trial: Trial) -> float:
        """Return the seconds of a trial's clips, the same on both sides."""
        return self.sealed.trial_clip(trial, "A").seconds

    def heard_in_full(self, rater: Rater, trial: Trial, side: Side) -> bool:
        """Return True when a rating would find this side heard."""
        return heard.in_full(rater.ranges.get((trial.trial_id, side), []), self.length_s(trial))

    def answer(self, rater: Rater, trial: Trial, given: Given, revision: int) -> int:
        """Record an answer and return its number; it is on disk then. `revision` is the number of the answer
        that the page saw last: 0 for none. The same answer sent again is not recorded twice.

        Raises:
            Refused: not heard in full, changed in another tab meanwhile, finished.
        """

        def decide() -> list[Event]:
            if rater.finished_utc is not None:
                raise Refused("finished", "You have finished; your answers cannot be changed any more.")
            if not all(self.heard_in_full(rater, trial, side) for side in SIDES):
                raise Refused("not_heard", "Listen to both A and B in full before you rate them.")
            last = rater.answers.get(trial.trial_id)
            current = rater.revisions.get(trial.trial_id, 0)
            if last is not None and _same(last, given) and revision in (current, current - 1):
                return []
            if revision != current:
                raise Refused("changed_elsewhere", "This pair was rated meanwhile, in another tab perhaps.")
            if current >= MAX_REVISIONS:
                raise Refused("too_many_changes", "This pair was changed too often.", 429)
            body: dict[str, object] = {"rater": rater.id, "trial": trial.trial_id, "revision": current + 1}
            body |= {"a": given.a, "b": given.b, "comparison": given.comparison}
            return [("answer", body | {"note": given.note, "utc": given.answered_utc})]

        self._do(decide)
        return rater.revisions[trial.trial_id]

    def check_headphones(self, rater: Rater, result: str) -> None:
        """Note what the headphone check said; it decides nothing."""

        def decide() -> list[Event]:
            if rater.finished_utc is not None or rater.headphones == result:
                return []
            return [("headphones", {"rater": rater.id, "result": result, "utc": utc_now()})]

        self._do(decide)

    def finish(self, rater: Rater) -> None:
        """Close the rater's answers for good; only now may he see names.

        Raises:
            Refused: a trial has no answer.
        """

        def decide() -> list[Event]:
            if rater.finished_utc is not None:
                return []
            open_trials = len(rater.trials) - len(rater.answers)
            if open_trials:
                raise Refused("incomplete", f"{open_trials} of {len(rater.trials)} pairs have no rating yet.")
            return [("finished", {"rater": rater.id, "revisions": rater.revisions, "utc": utc_now()})]

        self._do(decide)

    def take_in(self, answers: dict[str, list[Answer]], source_sha256: str) -> None:
        """Add raters who finished elsewhere on the same sealed pairs; all of them or none.

        Raises:
            BadInput: a rater of that name is here already with other answers.
        """

        def decide() -> list[Event]:
            events: list[Event] = []
            for name, of_rater in answers.items():
                if self.imported.get(name) == of_rater:
                    continue
                if name in self.imported or self._named(name) is not None:
                    raise BadInput(f"{name} is among this run's raters already; nothing was imported.")
                events += [("imported_answer", answer.model_dump(mode="json")) for answer in of_rater]
                events.append(("imported", {"rater": name, "source_sha256": source_sha256, "utc": utc_now()}))
            return events

        self._do(decide)

    def _named(self, name: str) -> Rater | None:
        return next((rater for rater in self.raters.values() if rater.name == name), None)

    def _do(self, decide: Callable[[], list[Event]]) -> None:
        with self._lock:
            applied = 0

            def after_news(rows: list[Any]) -> list[Event]:
                nonlocal applied
                self._apply(rows)
                applied = len(rows)
                return decide()

            rows = self._log.write(self._seq, after_news)
            self._apply(rows[applied:])

    def _apply(self, rows: Sequence[Any]) -> None:
        for row in rows:
            self._event(row.kind, json.loads(row.body))
            self._seq = row.seq

    def _event(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "sealed":
            if body["mapping_sha256"] != self._digest:
                raise SealBroken(
                    f"{self.run_dir}: the ratings were given to another mapping than the one that is sealed "
                    f"now; "
                    "restore it, or delete the listening directory and let people rate again."
                )
        elif kind == "damage":
            self.notices.append(body["text"])
        elif kind == "rater":
            self._add(body)
        elif kind == "imported_answer":
            answer = Answer.model_validate(body)
            self.imported.setdefault(answer.rater, []).append(answer)
        elif kind == "imported":
            pass
        elif body["rater"] in self.raters:  # a damaged log may hold what a lost rater did
            self._of_rater(kind, self.raters[body["rater"]], body)

    def _add(self, body: dict[str, Any]) -> None:
        trials = self.sealed.plan(body["id"], body["channels"])
        salt = bytes.fromhex(body["salt"])
        clips: dict[str, tuple[Trial | None, str]] = {}
        rater = Rater(
            id=body["id"],
            name=body["name"],
            token=body["token"],
            salt=body["salt"],
            channels=body["channels"],
            trials=trials,
            by_ticket={trial_ticket(salt, trial.trial_id): trial for trial in trials},
            clips=clips,
        )
        for trial in trials:
            for side in SIDES:
                clips[rater.ticket_of(trial, side)] = (trial, self.sealed.trial_clip(trial, side).file)
        if self.sealed.anchor is not None:
            for channel in rater.channels:
                file = self.sealed.clip("reference", "reference", "", channel).file
                clips[ticket(salt, f"reference/{channel}")] = (None, file)
        self.raters[rater.id] = rater
        self.by_token[rater.token] = rater

    def _of_rater(self, kind: str, rater: Rater, body: dict[str, Any]) -> None:
        this_boot = body.get("boot_id") == _boot_id()
        if kind == "opened":
            rater.started = True
            if this_boot:
                rater.opened_s[body["trial"]] = body["boot_s"]
        elif kind == "heard":
            for side, ranges in body["ranges"].items():
                rater.ranges[body["trial"], side] = [(start, end) for start, end in ranges]
            if this_boot:
                rater.listening.spent_until_s = body["spent_until_s"]
        elif kind == "answer":
            rater.started = True
            rater.revisions[body["trial"]] = body["revision"]
            rater.answers[body["trial"]] = Given(
                body["a"], body["b"], body["comparison"], body["note"], body["utc"]
            )
        elif kind == "headphones":
            rater.headphones = body["result"]
        elif kind == "finished":
            rater.finished_utc, rater.final = body["utc"], body["revisions"]
        elif kind == "withdrawn":
            del self.raters[rater.id], self.by_token[rater.token]


def _same(last: Given, now: Given) -> bool:
    return (last.a, last.b, last.comparison, last.note) == (now.a, now.b, now.comparison, now.note)


def _clock() -> dict[str, object]:
    """Return the time as no setting of the clock changes it, and the boot that it counts from."""
    return {"boot_s": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3), "boot_id": _boot_id()}


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
