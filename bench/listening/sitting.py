"""One rater, several runs: a sitting asks for the pairs of all of them in turn, and none is unsealed before it is over.

Each run keeps a listening test of its own: its mapping, its seal, its book of ratings, its controls. So each is judged
by the rule as ever, and whatever reads a run's ratings need not know of the sitting. A sitting adds three things:

- the order: the tests' trials are mixed by a draw from the first one's sealed seed, each test's in their own order;
- one end: a rater has finished when every test is rated, and finishes all of them at once;
- pairs of two candidates, so that the baseline is not the voice that is always there.

A run that was sealed alone is a sitting of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.errors import BadInput
from bench.listening import heard, mapping
from bench.listening.book import Book, Rater, Refused, Status, name_key
from bench.listening.draws import Draws
from bench.listening.mapping import SealBroken, digest_of
from bench.listening.trials import Side, Trial
from bench.records.base import Channel
from bench.records.sitting import SittingSeal
from bench.storage.digests import canonical_json, sha256_bytes
from bench.storage.record_file import load_record

_TRIES = 200
BREAK_AFTER = 20
"""Pairs, about a quarter of an hour: then the page says that it is time for a pause."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A trial with the book that it stands in and who is asked there."""

    book: Book
    rater: Rater
    trial: Trial

    @property
    def ticket(self) -> str:
        """The name under which the rater's page asks for it."""
        return next(name for name, trial in self.rater.by_ticket.items() if trial == self.trial)


@dataclass(frozen=True, slots=True)
class Seat:
    """A rater of a sitting: a rater of each of its books, under one name and by one link."""

    parts: tuple[tuple[Book, Rater], ...]

    @property
    def first(self) -> Rater:
        """The rater of the first book, whose link it is."""
        return self.parts[0][1]

    @property
    def name(self) -> str:
        """As they were invited."""
        return self.first.name

    @property
    def status(self) -> Status:
        """How far they are with all of it."""
        found = {rater.status for _, rater in self.parts}
        return found.pop() if len(found) == 1 else "started"

    @property
    def rated(self) -> int:
        """How many trials have an answer."""
        return sum(len(rater.answers) for _, rater in self.parts)

    @property
    def trials(self) -> int:
        """How many there are."""
        return sum(len(rater.trials) for _, rater in self.parts)

    @property
    def finished(self) -> bool:
        """They closed their ratings."""
        return all(rater.finished_utc is not None for _, rater in self.parts)

    @property
    def damaged(self) -> bool:
        """An answer was lost after they had finished."""
        return any(rater.damaged for _, rater in self.parts)

    @property
    def sound_checked(self) -> bool:
        """They hear what the page plays."""
        return any(rater.sound_checked for _, rater in self.parts)

    def find_trial(self, ticket: str) -> Asked | None:
        """Return the trial of this name."""
        for book, rater in self.parts:
            if ticket in rater.by_ticket:
                return Asked(book, rater, rater.by_ticket[ticket])
        return None

    def find_clip(self, ticket: str) -> tuple[Asked | None, str] | None:
        """Return what a clip's name belongs to, nothing for the open reference, and the clip's file."""
        for book, rater in self.parts:
            if ticket in rater.clips:
                trial, file = rater.clips[ticket]
                return (Asked(book, rater, trial) if trial else None), file
        return None

    def in_order(self) -> list[Asked]:
        """Return all trials in the order in which this rater hears them."""
        return mix([[Asked(book, rater, trial) for trial in rater.trials] for book, rater in self.parts])


class Sitting:
    """The books that are rated together. Safe between threads and processes, as each book is."""

    def __init__(self, run_dir: Path) -> None:
        """Open the sitting that a run is part of.

        Raises:
            BadInput: nothing is sealed, a run of the sitting is missing, or what was sealed has changed.
            NotSaved: the disk does not take it.
        """
        seal = read_seal(run_dir)
        self.books: list[Book] = []
        try:
            for folder in [run_dir] if seal is None else find_folders(run_dir, seal):
                self.books.append(Book(folder))
            self.fill()
        except BaseException:
            self.close()
            raise
        self.digest = digest_of(self.first.sealed) if seal is None else name_seal(seal)

    @property
    def first(self) -> Book:
        """The book whose raters' links open the sitting."""
        return self.books[0]

    @property
    def together(self) -> bool:
        """More than one run is rated."""
        return len(self.books) > 1

    def close(self) -> None:
        """Close the books."""
        for book in self.books:
            book.close()

    def refresh(self) -> None:
        """Take in what other processes wrote."""
        for book in self.books:
            book.refresh()
        self.fill()

    def fill(self) -> None:
        """Give each rater of the first book a place in the others, where a stop came between."""
        for rater in self.first.raters.values():
            for book in self.books[1:]:
                if find_rater(book, rater.name) is None:
                    book.invite(rater.name, rater.channels, late=True)

    def seats(self) -> list[Seat]:
        """Return all raters who rate here."""
        return [self._seat(rater) for rater in list(self.first.raters.values())]

    def find_seat(self, token: str) -> Seat | None:
        """Return whose link it is, None for nobody's."""
        rater = self.first.rater_of(token)
        if rater is None:
            return None
        if any(find_rater(book, rater.name) is None for book in self.books):
            self.refresh()
        return self._seat(rater)

    def _seat(self, rater: Rater) -> Seat:
        parts = [(self.first, rater)]
        for book in self.books[1:]:
            found = find_rater(book, rater.name)
            if found is None:
                raise Refused("unknown", "This link is not valid any more. Ask for a new one.", 401)
            parts.append((book, found))
        return Seat(tuple(parts))

    def invite(self, name: str, channels: Sequence[Channel] = (), *, late: bool = False) -> Seat:
        """Add a rater to every book, or return the one of this name.

        Raises:
            BadInput: as `Book.invite`.
        """
        return Seat(tuple((book, book.invite(name, channels, late=late)) for book in self.books))

    def withdraw(self, name: str, *, late: bool = False) -> None:
        """Take a rater off every book.

        Raises:
            BadInput: as `Book.withdraw`.
        """
        for book in reversed(
            self.books
        ):  # the first one last: as long as they are in it, it can be said again
            if book is self.first or find_rater(book, " ".join(name.split())) is not None:
                book.withdraw(name, late=late)

    def hear(self, asked: Asked, seat: Seat, report: dict[Side, list[heard.Range]]) -> None:
        """Add what was heard, of one test at a time: nobody hears two at once.

        Raises:
            Refused: as `Book.hear`.
        """
        spent_s = max(rater.listening.spent_until_s for _, rater in seat.parts)
        asked.rater.listening.spent_until_s = spent_s
        asked.book.hear(asked.rater, asked.trial, report)

    def finish(self, seat: Seat) -> None:
        """Close a rater's answers in every book.

        Raises:
            Refused: a trial has no answer.
        """
        left = seat.trials - seat.rated
        if left:
            raise Refused("incomplete", f"{left} of {seat.trials} pairs have no rating yet.")
        for book, rater in seat.parts:
            book.finish(rater)

    def check_invited(self, seat: Seat) -> None:
        """Refuse a rater who was taken off meanwhile.

        Raises:
            Refused: they were.
        """
        for book, rater in seat.parts:
            book.check_invited(rater)

    def check_sound(self, seat: Seat) -> None:
        """Refuse a rater of whom nobody knows that they hear anything.

        Raises:
            Refused: they have not passed the sound check.
        """
        if not seat.sound_checked and not seat.rated:
            self.first.check_sound(seat.first)

    def note_sound(self, seat: Seat) -> None:
        """Note that a rater passed the sound check."""
        for book, rater in seat.parts:
            book.note_sound(rater)

    def check_headphones(self, seat: Seat, result: str) -> None:
        """Note what the headphone check said.

        Raises:
            Refused: it has changed too often.
        """
        for book, rater in seat.parts:
            book.check_headphones(rater, result)

    @property
    def raters_finished(self) -> int:
        """How many have finished all of it, here or elsewhere."""
        return len(self.first.imported) + sum(seat.status == "finished" for seat in self.seats())

    @property
    def raters_awaited(self) -> int:
        """How many have to finish before names are shown."""
        return self.first.raters_awaited

    @property
    def over(self) -> bool:
        """Everybody who was invited has finished every test; before that nothing is unsealed to anybody."""
        return all(book.all_finished for book in self.books)

    @property
    def decided(self) -> bool:
        """As many raters as the rule asks for, and all have finished."""
        return all(book.decided for book in self.books)


def read_seal(run_dir: Path) -> SittingSeal | None:
    """Return what a run's sitting commits to, None where it was sealed alone."""
    home = mapping.directory(run_dir)
    return load_record(SittingSeal, home) if (home / SittingSeal.file_name).is_file() else None


def name_seal(seal: SittingSeal) -> str:
    """Return the SHA-256 that raters are shown."""
    return sha256_bytes(canonical_json(seal.model_dump(mode="json")))


def find_folders(run_dir: Path, seal: SittingSeal) -> list[Path]:
    """Return where the tests of a run's sitting are, the runs first.

    Raises:
        BadInput: one is missing, or is not what was sealed.
    """
    folders = {name: run_dir.parent / name for name in (*seal.runs, *seal.beside)}
    for name, folder in folders.items():
        if not folder.is_dir():
            raise BadInput(
                f"{run_dir.name} is rated in one sitting with {', '.join(seal.runs)}, and {folder} is not there; put "
                "it back beside the others."
            )
        if mapping.read_published(folder) != seal.mappings.get(name):
            raise SealBroken(
                f"{folder} is sealed otherwise than when sitting {seal.sitting_id} was; restore it, or delete the "
                f"listening directories of {', '.join(seal.runs)} and let people rate again."
            )
    return list(folders.values())


def is_over(run_dir: Path) -> bool:
    """Tell whether the sitting that a run is part of is over; a run that was sealed alone has none to wait for."""
    if read_seal(run_dir) is None:
        return True
    sitting = Sitting(run_dir)
    try:
        return sitting.over
    finally:
        sitting.close()


def find_rater(book: Book, name: str) -> Rater | None:
    """Return the rater of a name, however it is spelt."""
    return next(
        (rater for rater in list(book.raters.values()) if name_key(rater.name) == name_key(name)), None
    )


def mix(tests: Sequence[Sequence[Asked]]) -> list[Asked]:
    """Return the trials of all tests, channel after channel, each test's in their own order.

    Which test comes next is drawn; of `_TRIES` draws that one is taken in which a sentence follows itself least often.
    """
    if len(tests) < 2:
        return [asked for test in tests for asked in test]
    first = tests[0][0]
    draws = Draws(bytes.fromhex(first.book.sealed.seed), f"sitting/1/{first.rater.id}")
    out: list[Asked] = []
    for channel in dict.fromkeys(asked.trial.channel for test in tests for asked in test):
        mine = [[asked for asked in test if asked.trial.channel == channel] for test in tests]
        ahead = [asked for asked in mine[0] if asked.trial.kind == "practice"]
        mine[0] = mine[0][len(ahead) :]
        turns = [number for number, test in enumerate(mine) for _ in test]
        orders = (_take_turns(mine, draws.shuffle(turns)) for _ in range(_TRIES))
        out += [*ahead, *min(orders, key=_count_echoes)]
    return out


def _take_turns(tests: Sequence[Sequence[Asked]], turns: Sequence[int]) -> list[Asked]:
    left = [iter(test) for test in tests]
    return [next(left[number]) for number in turns]


def _count_echoes(order: Sequence[Asked]) -> int:
    """Return how often a sentence follows itself."""
    return sum(one.trial.utterance_id == two.trial.utterance_id for one, two in pairwise(order))
