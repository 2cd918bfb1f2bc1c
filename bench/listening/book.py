"""The listening test's book: raters, what they heard, what they answered; kept as a log of events.

Everything is decided here, once, for the page, the command line and the tests: what a rater may do is decided
while the log is locked, and done when the log is on disk. The state is what the log says, so a restart, a
second process or another device finds the same.
"""

import json
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import BadInput
from bench.listening import heard, marks
from bench.listening.mapping import (
    DIRECTORY,
    RATINGS,
    SECRET_BYTES,
    SealBroken,
    clip_of,
    digest_of,
    load_intact,
    plan_of,
    trial_clip,
)
from bench.listening.store import Event, Log
from bench.listening.tickets import ticket, trial_ticket
from bench.listening.trials import SIDES, Side, Trial
from bench.records.base import Channel
from bench.records.listening import Answer, Mark, RaterPlan, Sealed
from bench.records.run import Manifest
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record

MAX_REVISIONS = 200
"""Answers one rater may give to one trial, changes of mind included, and results of their headphone check; the log is
append-only and finite."""
Status = Literal["invited", "started", "finished"]


class Refused(Exception):
    """The rater may not do this now; `code` is a stable word, the message is for them."""

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
    a_second: int | None = None
    b_second: int | None = None
    """To the second question, where one is asked."""


@dataclass(slots=True)
class Rater:
    """A rater and all that they did."""

    id: str
    name: str
    token: str
    salt: str
    channels: list[Channel]
    trials: list[Trial]
    by_ticket: dict[str, Trial]
    clips: dict[str, tuple[Trial | None, str]]
    """Clip tickets: the trial and the file's name; the open reference belongs to no trial."""
    opened_s: dict[tuple[str, Side], float] = field(default_factory=dict)
    ranges: dict[tuple[str, Side], list[heard.Range]] = field(default_factory=dict)
    answers: dict[str, Given] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    listening: heard.Listening = field(default_factory=heard.Listening)
    headphones: str | None = None
    headphone_checks: int = 0
    sound_checked: bool = False
    """They typed the digits that were spoken to them, so they hear what this page plays."""
    finished_utc: str | None = None
    final: dict[str, int] = field(default_factory=dict)
    """Which answer of each trial was the last when they finished, by the log or, without its row, by their mark."""
    started: bool = False

    def ticket_of(self, trial: Trial, side: Side) -> str:
        """Return the name under which their page asks for a clip."""
        return ticket(bytes.fromhex(self.salt), f"{trial.trial_id}/{side}")

    def ticket_of_reference(self, channel: Channel) -> str | None:
        """Return the name of the open reference, None where the run has none."""
        name = ticket(bytes.fromhex(self.salt), f"reference/{channel}")
        return name if name in self.clips else None

    @property
    def damaged(self) -> bool:
        """Finished, but an answer was lost since; nobody who saw the names can give it again."""
        whole = self.final == self.revisions and len(self.final) == len(self.trials)
        return self.finished_utc is not None and not whole

    @property
    def status(self) -> Status:
        """How far they are."""
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
        self._raters_needed = load_record(Manifest, run_dir).rule.minimum_raters
        self.seconds = {clip.file: clip.seconds for clip in self.sealed.clips}
        self.raters: dict[str, Rater] = {}
        self.by_token: dict[str, Rater] = {}
        self.imported: dict[str, list[Answer]] = {}
        self.plans: dict[str, RaterPlan] = {}
        """What imported raters' sides and orders were drawn from; not of those whom an earlier version imported."""
        self.notices: list[str] = []
        """Damage, for everybody to read."""
        self.remarks: list[str] = []
        """How raters came and went, where a verdict must say it; they name raters, so no rater is shown them."""
        self._digest = digest_of(self.sealed)
        self._seq = 0
        self._lock = threading.RLock()
        self._bound = False
        self._first_finished = False
        self._marked: set[str] = set()
        self._log = Log(run_dir / DIRECTORY / RATINGS)
        try:
            self.refresh()
            self._do(self._bind)
            for rater in self.raters.values():
                self.mark(rater)
        except BaseException:
            self._log.close()
            raise

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def refresh(self) -> None:
        """Take in what other processes wrote."""
        with self._lock:
            self._apply(self._log.after(self._seq))

    def check_invited(self, rater: Rater) -> None:
        """Refuse a rater who was taken off meanwhile.

        Raises:
            Refused: they were.
        """
        if rater.id not in self.raters:
            raise Refused("unknown", "This link is not valid any more. Ask for a new one.", 401)

    def rater_of(self, token: str) -> Rater | None:
        """Return whose token it is, None for nobody's. Tokens are 256 random bits: a dictionary tells
        nothing by its timing that would help to guess one."""
        with self._lock:
            if token not in self.by_token:
                self.refresh()
            return self.by_token.get(token)

    @property
    def all_finished(self) -> bool:
        """Everybody who was invited has finished; before that nothing is unsealed to anybody."""
        with self._lock:
            return self.raters_finished == self.raters_asked > 0

    @property
    def decided(self) -> bool:
        """As many raters as the rule asks for, and all have finished: names and verdict can be known."""
        return self.all_finished and self.raters_asked >= self._raters_needed

    @property
    def raters_finished(self) -> int:
        """How many have finished, here or elsewhere."""
        with self._lock:
            return len(self.imported) + sum(rater.status == "finished" for rater in self.raters.values())

    @property
    def raters_asked(self) -> int:
        """How many have been invited or imported, and were not taken off."""
        with self._lock:
            return len(self.imported) + len(self.raters)

    @property
    def raters_awaited(self) -> int:
        """How many have to finish before names are shown: all who were asked, and as many as the rule asks for."""
        return max(self.raters_asked, self._raters_needed)

    def invite(self, name: str, channels: Sequence[Channel] | None = None, *, late: bool = False) -> Rater:
        """Add a rater, or return the one of this name. `channels`: further ones after the rule's. `late`: even
        when a rater has finished already.

        Raises:
            BadInput: the name is empty or over 80 characters, a channel was not prepared, or it is late and
                nobody said that it may be.
        """
        name = check_name(name)
        wanted = list(dict.fromkeys([self.sealed.channels[0], *(channels or [])]))
        missing = [channel for channel in wanted if channel not in self.sealed.channels]
        if missing:
            raise BadInput(f"These channels were not prepared when the run was sealed: {', '.join(missing)}.")

        def decide() -> list[Event]:
            if self._find_imported(name) is not None:
                raise BadInput(f"{name} rated elsewhere and was imported; invite under another name.")
            if self._find_rater(name) is not None:
                return []
            self._check_late(late)
            body: dict[str, object] = {
                "id": secrets.token_hex(8),
                "name": name,
                "token": secrets.token_urlsafe(SECRET_BYTES),
                "salt": secrets.token_hex(SECRET_BYTES),
                "channels": wanted,
                "late": self.decided,
                "after_first": self._first_finished,
                "utc": utc_now(),
            }
            return [("rater", body)]

        self._do(decide)
        found = self._find_rater(name)
        if found is None:
            raise AssertionError("an invited rater is in the book")
        return found

    def withdraw(self, name: str, *, late: bool = False) -> None:
        """Take a rater off who will not finish, or whose answers were damaged; the verdict says so. Not one who
        has finished: nobody's ratings can be dropped because they displease. `late`: even when a rater has finished
        already.

        Raises:
            BadInput: no such rater, they have finished, or it is late and nobody said that it may be.
        """

        def decide() -> list[Event]:
            rater = self._find_rater(name)
            if rater is None:
                raise BadInput(f"There is no rater {name!r} to take off; `audition raters` lists them.")
            if rater.status == "finished":
                raise BadInput(f"{rater.name} has finished; ratings are never dropped.")
            self._check_late(late)
            body: dict[str, object] = {
                "rater": rater.id,
                "after_first": self._first_finished,
                "utc": utc_now(),
            }
            return [("withdrawn", body)]

        self._do(decide)

    def note_opened(self, rater: Rater, trial: Trial, side: Side) -> None:
        """Note that the rater's page has a clip: listening to it can have begun now, not before."""
        if (trial.trial_id, side) in rater.opened_s:
            return

        def decide() -> list[Event]:
            if (trial.trial_id, side) in rater.opened_s:
                return []
            return [("opened", {"rater": rater.id, "trial": trial.trial_id, "side": side, **_clock()})]

        self._do_for(rater, decide)

    def hear(self, rater: Rater, trial: Trial, report: dict[Side, list[heard.Range]]) -> None:
        """Add what was heard of a trial's clips.

        Raises:
            Refused: a clip that was never fetched; more than can have been heard since the clips were, in all
                tabs together; finished.
        """

        def decide() -> list[Event]:
            if rater.finished_utc is not None:
                raise Refused("finished", "You have finished; nothing can be changed any more.")
            new: dict[Side, list[heard.Range]] = {}
            gained: dict[Side, float] = {}
            for side in SIDES:
                before = rater.ranges.get((trial.trial_id, side), [])
                after = heard.join_ranges([*before, *report.get(side, [])])
                if len(after) > heard.MAX_RANGES:
                    raise Refused("too_many_ranges", "Listen in longer stretches.", 422)
                if after != before:
                    new[side] = after
                    gained[side] = heard.covered_s(after) - heard.covered_s(before)
            if not new:
                return []
            opened_s = {side: rater.opened_s.get((trial.trial_id, side)) for side in new}
            if None in opened_s.values():
                raise Refused("not_opened", "Reload the page: this pair was not opened yet.")
            clock = _clock()
            now_s = float(str(clock["boot_s"]))
            account = heard.Listening(rater.listening.spent_until_s)
            for began_s, side in sorted((began_s or 0.0, side) for side, began_s in opened_s.items()):
                if not account.claim(gained[side], began_s, now_s):
                    raise Refused(
                        "faster_than_time", "More was reported than can have been heard. Is another tab open?"
                    )
            body: dict[str, object] = {"rater": rater.id, "trial": trial.trial_id, **clock}
            body |= {"spent_until_s": round(account.spent_until_s, 3), "ranges": new}
            return [("heard", body)]

        self._do_for(rater, decide)

    def length_s(self, trial: Trial) -> float:
        """Return the seconds of a trial's clips, the same on both sides."""
        return trial_clip(self.sealed, trial, "A").seconds

    def heard_in_full(self, rater: Rater, trial: Trial, side: Side) -> bool:
        """Return True when a rating would find this side heard."""
        return heard.in_full(rater.ranges.get((trial.trial_id, side), []), self.length_s(trial))

    def answer(self, rater: Rater, trial: Trial, given: Given, revision: int) -> int:
        """Record an answer and return its number; it is on disk then. `revision` is the number of the answer
        that the page saw last: 0 for none. The same answer sent again is not recorded twice.

        Raises:
            Refused: not heard in full, the second question unanswered (or answered and not asked), changed in another
                tab meanwhile, finished.
        """

        def decide() -> list[Event]:
            if rater.finished_utc is not None:
                raise Refused("finished", "You have finished; your answers cannot be changed any more.")
            if not all(self.heard_in_full(rater, trial, side) for side in SIDES):
                raise Refused("not_heard", "Listen to both A and B in full before you rate them.")
            asked = self.sealed.second_question is not None
            if any((score is not None) != asked for score in (given.a_second, given.b_second)):
                raise Refused("second_question", "Answer each question that is asked, for A and for B.", 422)
            last = rater.answers.get(trial.trial_id)
            current = rater.revisions.get(trial.trial_id, 0)
            if last is not None and _is_same_answer(last, given) and revision in (current, current - 1):
                return []
            if revision != current:
                raise Refused("changed_elsewhere", "This pair was rated meanwhile, in another tab perhaps.")
            if current >= MAX_REVISIONS:
                raise Refused("too_many_changes", "This pair was changed too often.", 429)
            body: dict[str, object] = {"rater": rater.id, "trial": trial.trial_id, "revision": current + 1}
            body |= {"a": given.a, "b": given.b, "comparison": given.comparison}
            if asked:
                body |= {"a_second": given.a_second, "b_second": given.b_second}
            return [("answer", body | {"note": given.note, "utc": given.answered_utc})]

        self._do_for(rater, decide)
        return rater.revisions[trial.trial_id]

    def check_headphones(self, rater: Rater, result: str) -> None:
        """Note what the headphone check said; it decides nothing.

        Raises:
            Refused: it has changed too often.
        """

        def decide() -> list[Event]:
            if rater.finished_utc is not None or rater.headphones == result:
                return []
            if rater.headphone_checks >= MAX_REVISIONS:
                raise Refused("too_many_changes", "The headphones were checked too often.", 429)
            return [("headphones", {"rater": rater.id, "result": result, "utc": utc_now()})]

        self._do_for(rater, decide)

    def note_sound(self, rater: Rater) -> None:
        """Note that a rater passed the sound check; once is enough."""
        self._do_for(
            rater,
            lambda: [] if rater.sound_checked else [("sound", {"rater": rater.id, "utc": utc_now()})],
        )

    def check_sound(self, rater: Rater) -> None:
        """Refuse a rater of whom nobody knows that they hear anything. One who answered before there was a sound check
        goes on without it.

        Raises:
            Refused: they have not passed the sound check.
        """
        if not rater.sound_checked and not rater.answers:
            raise Refused(
                "sound_unchecked", "Do the sound check first; reload the page if it does not show one."
            )

    def finish(self, rater: Rater) -> None:
        """Close the rater's answers for good; only now may they see names.

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

        self._do_for(rater, decide)
        self.mark(rater)

    def mark(self, rater: Rater) -> None:
        """See that a finished rater's mark is on disk; before that no name may be shown.

        Raises:
            NotSaved: the disk did not take it.
        """
        with self._lock:
            if rater.finished_utc is None or rater.id in self._marked:
                return
            marks.write(self.run_dir, rater.id, Mark(finished_utc=rater.finished_utc, revisions=rater.final))
            self._marked.add(rater.id)

    def take_in(
        self,
        answers: dict[str, list[Answer]],
        plans: Mapping[str, RaterPlan],
        source_sha256: str,
        notices: Sequence[str] = (),
        *,
        late: bool = False,
    ) -> None:
        """Add raters who finished elsewhere on the same sealed pairs; all of them or none. `plans`: what each one's
        sides were drawn from. `notices`: what had to be said of the ratings there. `late`: even when a rater has
        finished already.

        Raises:
            BadInput: a rater of that name is here already with other answers, or it is late and nobody said that
                it may be.
        """

        def decide() -> list[Event]:
            events: list[Event] = []
            if len({name_key(name) for name in answers}) < len(answers):
                raise BadInput("Two raters in it have one name but for its spelling; nothing was imported.")
            for name, of_rater in answers.items():
                if self.imported.get(name) == of_rater:
                    continue
                if self._find_imported(name) is not None or self._find_rater(name) is not None:
                    raise BadInput(f"{name} is among this run's raters already; nothing was imported.")
                events += [("imported_answer", answer.model_dump(mode="json")) for answer in of_rater]
                body: dict[str, object] = {"rater": name, "source_sha256": source_sha256, "utc": utc_now()}
                body |= {"plan": plans[name].model_dump(mode="json")}
                body |= {"late": self.decided, "after_first": self._first_finished}
                events.append(("imported", body))
            if events:
                self._check_late(late)
                events += [("noticed_elsewhere", {"text": _printable(text)[:500]}) for text in notices[:20]]
            return events

        self._do(decide)

    def _bind(self) -> list[Event]:
        """Write down to which mapping the ratings belong: at the beginning, and again if that row was lost."""
        return [] if self._bound else [("sealed", {"mapping_sha256": self._digest, "utc": utc_now()})]

    def _check_late(self, allowed: bool) -> None:
        if self._first_finished and not allowed:
            known = "so the decision can be known and" if self.decided else "so"
            raise BadInput(
                f"{'Everybody' if self.decided else 'A rater'} has finished, {known} who is added or taken off now "
                "could be chosen for what that changes. `--late` does it nevertheless; the verdict says so for good."
            )

    def _find_rater(self, name: str) -> Rater | None:
        return next((rater for rater in self.raters.values() if name_key(rater.name) == name_key(name)), None)

    def _find_imported(self, name: str) -> str | None:
        return next((known for known in self.imported if name_key(known) == name_key(name)), None)

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

    def _do_for(self, rater: Rater, decide: Callable[[], list[Event]]) -> None:
        def while_he_rates() -> list[Event]:
            self.check_invited(rater)
            return decide()

        self._do(while_he_rates)

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
            self._bound = True
        elif kind == "damage":
            self.notices.append(body["text"])
        elif kind == "rater":
            self._add(body)
        elif kind == "imported_answer":
            answer = Answer.model_validate(body)
            self.imported.setdefault(answer.rater, []).append(answer)
        elif kind == "imported":
            self._first_finished = True
            if "plan" in body:
                self.plans[body["rater"]] = RaterPlan.model_validate(body["plan"])
            how = ", after the decision could be known" if body.get("late") else _after_first(body)
            self.remarks.append(
                f"{body['rater']} rated on another copy of this run and was imported {body['utc']}{how} "
                f"(SHA-256 of the export: {body['source_sha256'][:12]})."
            )
        elif kind == "noticed_elsewhere":
            self.remarks.append(f"Of the ratings that were imported: {body['text']}")
        elif body["rater"] in self.raters:  # a damaged log may hold what a lost rater did
            self._of_rater(kind, self.raters[body["rater"]], body)

    def _add(self, body: dict[str, Any]) -> None:
        trials = plan_of(self.sealed, body["id"], body["channels"])
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
                clips[rater.ticket_of(trial, side)] = (trial, trial_clip(self.sealed, trial, side).file)
        if self.sealed.anchor is not None:
            for channel in rater.channels:
                file = clip_of(self.sealed, "reference", "reference", "", channel).file
                clips[ticket(salt, f"reference/{channel}")] = (None, file)
        mark = marks.read(self.run_dir, rater.id)
        if mark is not None:
            rater.finished_utc, rater.final = mark.finished_utc, mark.revisions
            self._marked.add(rater.id)
            self._first_finished = True
        if body.get("late"):
            self.remarks.append(
                f"{rater.name} was invited {body['utc']}, after everybody else had finished and the decision could "
                "be known."
            )
        elif body.get("after_first"):
            self.remarks.append(f"{rater.name} was invited {body['utc']}{_after_first(body)}.")
        self.raters[rater.id] = rater
        self.by_token[rater.token] = rater

    def _of_rater(self, kind: str, rater: Rater, body: dict[str, Any]) -> None:
        this_boot = body.get("boot_id") == _boot_id()
        if kind == "opened":
            rater.started = True
            if this_boot and "side" in body:
                rater.opened_s[body["trial"], body["side"]] = body["boot_s"]
        elif kind == "heard":
            for side, ranges in body["ranges"].items():
                rater.ranges[body["trial"], side] = [(start, end) for start, end in ranges]
            if this_boot:
                rater.listening.spent_until_s = body["spent_until_s"]
        elif kind == "answer":
            rater.started = True
            rater.revisions[body["trial"]] = body["revision"]
            rater.answers[body["trial"]] = Given(
                body["a"],
                body["b"],
                body["comparison"],
                body["note"],
                body["utc"],
                body.get("a_second"),
                body.get("b_second"),
            )
        elif kind == "headphones":
            rater.headphones = body["result"]
            rater.headphone_checks += 1
        elif kind == "sound":
            rater.sound_checked = True
        elif kind == "finished":
            rater.finished_utc, rater.final = body["utc"], body["revisions"]
            self._first_finished = True
        elif kind == "withdrawn":
            what = "whose answers were damaged" if rater.damaged else "who had not finished"
            self.remarks.append(
                f"{rater.name}, {what}, was taken off {body['utc']}{_after_first(body)}; "
                f"{len(rater.answers)} answers of {len(rater.trials)} are not counted."
            )
            del self.raters[rater.id], self.by_token[rater.token]


def check_name(name: str) -> str:
    """Return a rater's name with single spaces, in NFC.

    Raises:
        BadInput: it is empty, over 80 characters, or has what a terminal would not print but obey.
    """
    found = unicodedata.normalize("NFC", " ".join(name.split()))
    if not found or len(found) > 80 or not found.isprintable():
        raise BadInput("A rater's name is 1 to 80 printable characters.")
    return found


def name_key(name: str) -> str:
    """Return what two spellings of one name share, whatever their case and however their accents are coded."""
    whole = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", whole)


def _after_first(body: dict[str, Any]) -> str:
    return ", after a rater had finished" if body.get("after_first") else ""


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())


def _is_same_answer(last: Given, now: Given) -> bool:
    return replace(last, answered_utc="") == replace(now, answered_utc="")


def _clock() -> dict[str, object]:
    """Return the time as no setting of the clock changes it, and the boot that it counts from."""
    return {"boot_s": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3), "boot_id": _boot_id()}


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
