"""Who rates: invitations, links, how far everybody is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.listening.book import Rater
from bench.listening.sitting import Sitting
from bench.records.base import Channel

OWNER = "owner"
"""The one rater by default."""


def invite(run_dir: Path, name: str, *, channels: Sequence[Channel] = (), late: bool = False) -> str:
    """Invite a rater and return the path of their link (`/#token`); the same name gives the same link.

    `channels`: further listening channels after the rule's. `late`: even when a rater has finished already.

    Raises:
        BadInput: nothing is sealed, the name or a channel is not one, or it is late.
    """
    sitting = Sitting(run_dir)
    try:
        return path_of(sitting.invite(name, channels, late=late).first)
    finally:
        sitting.close()


def withdraw(run_dir: Path, name: str, *, late: bool = False) -> None:
    """Take a rater off who will not finish, or whose answers were damaged. `late`: even when a rater has finished.

    Raises:
        BadInput: there is no such rater, they have finished, or it is late.
    """
    sitting = Sitting(run_dir)
    try:
        sitting.withdraw(name, late=late)
    finally:
        sitting.close()


def status(run_dir: Path) -> list[dict[str, Any]]:
    """Return each rater's `name`, `status`, `rated` and `trials` (counts), `headphones` and link `path`."""
    sitting = Sitting(run_dir)
    try:
        here = [
            {
                "name": seat.name,
                "status": seat.status,
                "rated": seat.rated,
                "trials": seat.trials,
                "headphones": seat.first.headphones,
                "path": path_of(seat.first),
                "damaged": seat.damaged,
            }
            for seat in sitting.seats()
        ]
        elsewhere = [
            {
                "name": name,
                "status": "finished",
                "rated": len(answers),
                "trials": len(answers),
                "headphones": None,
                "path": None,
                "damaged": False,
            }
            for name, answers in sitting.first.imported.items()
        ]
        return here + elsewhere
    finally:
        sitting.close()


def notices(run_dir: Path) -> list[str]:
    """Return what must be said of the ratings: damage found, what was kept, how raters came and went."""
    sitting = Sitting(run_dir)
    try:
        return list(dict.fromkeys(said for book in sitting.books for said in (*book.notices, *book.remarks)))
    finally:
        sitting.close()


def ensure_one(sitting: Sitting) -> None:
    """Add the owner where nobody was invited: alone on this machine they need no invitation."""
    if not sitting.first.raters and not sitting.first.imported:
        sitting.invite(OWNER)


def path_of(rater: Rater) -> str:
    """Return the path of a rater's link. The token is after the `#`: a browser never sends it as part of a
    URL."""
    return f"/#{rater.token}"


def link(rater: Rater, host: str, port: int) -> str:
    """Return a rater's link for the address the server was bound to."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 -- compared, not bound
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{path_of(rater)}"
