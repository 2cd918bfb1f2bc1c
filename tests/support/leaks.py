"""Can a machine tell the sides from what a rater's browser receives, other than the sound itself?

Everything of a trial becomes numbers: for A less B, the size, the seconds, the order, the headers, the letters
of the URL and the bytes of the file that are not samples; for the trial, its part of the session and the
answers to what the page sends. Two classifiers learn which side is the candidate from most raters and are asked
about the others, in eight folds: a ridge-penalised logistic regression, and the single best threshold on one
feature, which finds a lone leak that the other would drown.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tests.support.listening_fixtures import Live

Array = NDArray[np.float64]
Labels = NDArray[np.bool_]
BUCKETS = 24
HEAD_BYTES = 64
FOLDS = 8
LEVEL = 0.01
DRAWS = 199


@dataclass(frozen=True)
class Seen:
    """One answer of the server as the browser has it; of a clip's body what is not samples."""

    url: str
    status: int
    headers: list[tuple[str, str]]
    size: int
    seconds: float
    body: str = ""


@dataclass(frozen=True)
class Trial:
    """All that was received for a trial."""

    rater: int
    a: Seen
    b: Seen
    others: list[Seen]
    listed: str
    """The trial's part of the session, without its tickets."""
    candidate_on_a: bool


Get = Callable[[str, str, Any], Seen]
"""(method, path, body) -> what came."""


Connect = Callable[[str], tuple[Get, Callable[[], None]]]
"""A token in, a `Get` and how to end it out."""


def record(live: Live, raters: Iterable[int], connect: Connect) -> list[Trial]:
    """Go through the sessions of raters of these numbers as the page does and keep what came for the trials with
    two voices in them."""
    out = []
    for number in raters:
        rater = live.book.invite(f"rater {number}")
        live.book.note_sound(rater)
        get, close = connect(rater.token)
        session = json.loads(get("GET", "/api/session", None).body)
        for listed, sealed in zip(session["trials"], rater.trials, strict=True):
            a = get("GET", f"/api/clips/{listed['a']}", None)
            b = get("GET", f"/api/clips/{listed['b']}", None)
            whole = [[0, live.book.length_s(sealed)]]
            path = f"/api/trials/{listed['id']}"
            others = [
                get(
                    "POST", f"{path}/answer", {"a": 3, "b": 3, "revision": 0}
                ),  # too early: a refusal is an answer
                get("POST", f"{path}/heard", {"a": whole, "b": whole}),
                get("POST", f"{path}/answer", {"a": 3, "b": 3, "revision": 0}),
            ]
            if sealed.kind in ("pair", "repeat"):
                plain = {
                    key: value for key, value in listed.items() if key not in ("a", "b", "reference", "id")
                }
                tickets = " ".join((listed["id"], json.dumps(plain, sort_keys=True)))
                out.append(Trial(number, a, b, others, tickets, sealed.candidate_side == "A"))
        close()
    return out


def hashed(words: Sequence[str]) -> Array:
    out = np.zeros(BUCKETS)
    for word in words:
        code = zlib.crc32(word.encode())
        out[code % BUCKETS] += 1.0 if code & 0x10000 else -1.0
    return out


def of_answer(seen: Seen) -> Array:
    name = seen.url.rsplit("/", 1)[-1].ljust(22)[:22]
    letters = [float(ord(letter)) for letter in name]
    plain = [float(seen.status), float(seen.size), seen.seconds, float(len(seen.headers))]
    head = [float(ord(letter)) for letter in seen.body[:HEAD_BYTES].ljust(HEAD_BYTES, "\0")]
    rest = hashed([seen.body[HEAD_BYTES:]])
    return np.concatenate((plain, letters, head, rest, hashed([f"{k}={v}" for k, v in seen.headers])))


def features(trials: Sequence[Trial]) -> tuple[Array, Labels, NDArray[np.int64]]:
    """Return the matrix, the labels and each row's rater."""
    rows = []
    for index, trial in enumerate(trials):
        pieces = [trial.listed[i : i + 3] for i in range(len(trial.listed) - 2)]
        other = [
            np.array([float(s.status), float(s.size), s.seconds, *hashed([s.body])]) for s in trial.others
        ]
        place = np.array(
            [float(index), trial.a.seconds + trial.b.seconds, float(trial.a.size + trial.b.size)]
        )
        rows.append(np.concatenate((of_answer(trial.a) - of_answer(trial.b), place, hashed(pieces), *other)))
    labels = np.array([trial.candidate_on_a for trial in trials])
    return np.array(rows), labels, np.array([trial.rater for trial in trials])


def logistic(x: Array, y: Labels, test: Array, penalty: float = 3.0) -> Labels:
    sign = np.where(y, 1.0, -1.0)

    def loss(w: Array) -> tuple[float, Array]:
        margin = sign * (x @ w[1:] + w[0])
        slope = -sign / (1.0 + np.exp(np.clip(margin, -50, 50)))
        value = float(np.sum(np.logaddexp(0.0, -margin)) + penalty * np.sum(w[1:] ** 2) / 2)
        return value, np.concatenate(([slope.sum()], x.T @ slope + penalty * w[1:]))

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return np.asarray(test @ found[1:] + found[0] > 0)


def stump(x: Array, y: Labels, test: Array) -> Labels:
    """Ask the one feature and threshold that are right most often in training, the columns tried all at once."""
    order = np.argsort(x, axis=0)
    ranked = np.take_along_axis(x, order, axis=0)
    # With the threshold after row i, "above is A" is right for the B of the rows up to i and the A of those after.
    sides = y[order]
    right = np.cumsum(~sides, axis=0)[:-1] + sides.sum(axis=0) - np.cumsum(sides, axis=0)[:-1]
    better = np.where(np.diff(ranked, axis=0) > 0, np.maximum(right, len(y) - right), -1)
    row, column = np.unravel_index(int(np.argmax(better)), better.shape)
    if better[row, column] < 0:  # nothing varies: there is nothing to ask
        return np.ones(len(test), dtype=bool)
    threshold = (ranked[row, column] + ranked[row + 1, column]) / 2
    above = right[row, column] * 2 >= len(y)
    return np.asarray((test[:, column] > threshold) == above)


def shares(x: Array, y: Labels, raters: NDArray[np.int64]) -> dict[str, float]:
    """Return how often each classifier names the candidate's side of raters it was not trained on."""
    out = {}
    for name, learner in (("logistic", logistic), ("stump", stump)):
        right = 0
        for fold in range(FOLDS):
            test = raters % FOLDS == fold
            train = ~test
            spread = x[train].std(axis=0)
            keep = spread > 1e-9
            # What never varied in training may vary in the test; without a scale it says nothing.
            scaled = (x[:, keep] - x[train][:, keep].mean(axis=0)) / spread[keep]
            if not keep.any():
                scaled = np.zeros((len(x), 1))
            right += int(np.sum(learner(scaled[train], y[train], scaled[test]) == y[test]))
        out[name] = right / len(y)
    return out


def accuracy(trials: Sequence[Trial]) -> dict[str, float]:
    """Return the `shares` of these trials."""
    return shares(*features(trials))


def swapped(y: Labels, raters: NDArray[np.int64], rng: np.random.Generator) -> Labels:
    """Return the sides as they might have been drawn: all of a rater's the other way round, by a coin for each.

    A plan and its mirror image are equally likely (`bench.listening.trials`), so this keeps what ties a rater's
    trials together: the balance of the pairs, and the repeats with the sides swapped.
    """
    return np.asarray(y ^ rng.integers(0, 2, raters.max() + 1).astype(bool)[raters])


def beyond_chance(x: Array, y: Labels, raters: NDArray[np.int64]) -> bool:
    """Return whether the classifiers come further from one half than they do when the sides are drawn anew.

    A randomisation test at one in a hundred, exact whatever the features (Fisher). The binomial interval is too
    narrow here: a rater's trials hang together and so do the folds; of honest sessions it put one in nine outside.
    """
    rng = np.random.default_rng(len(y))
    found = furthest(shares(x, y, raters))
    as_far = 0
    for _ in range(DRAWS):
        as_far += furthest(shares(x, swapped(y, raters, rng), raters)) >= found
        if (as_far + 1) / (DRAWS + 1) > LEVEL:
            return False
    return True


def furthest(found: dict[str, float]) -> float:
    return max(abs(share - 0.5) for share in found.values())


def stays_at_chance(live: Live, raters: int, connect: Connect, trials: int) -> None:
    """Assert that neither classifier tells the sides apart.

    Guessing looks like a leak once in a hundred times, so what does is looked at once more, with as many new
    raters: a leak is there again, and chance is not.
    """
    found = []
    for look in range(2):
        seen = record(live, range(look * raters, (look + 1) * raters), connect)
        assert len(seen) == trials
        matrix, labels, numbers = features(seen)
        if not beyond_chance(matrix, labels, numbers):
            return
        found.append(shares(matrix, labels, numbers))
    raise AssertionError(found)
