"""Can a machine tell the sides from what a rater's browser receives, other than the sound itself?

Everything of a trial becomes numbers: for A less B, the size, the seconds, the order, the headers, the letters
of the URL and the bytes of the file that are not samples; for the trial, its part of the session and the
answers to what the page sends. Two classifiers learn which side is the candidate from most raters and are asked
about the others, in eight folds: a ridge-penalised logistic regression, and the single best threshold on one
feature, which finds a lone leak that the other would drown.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binom

from tests.listening.conftest import Live

Array = NDArray[np.float64]
BUCKETS = 24
HEAD_BYTES = 64
COVERAGE = 0.99
FOLDS = 8


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


def beside_the_sound(wav: bytes) -> str:
    """Return a file's bytes but for its samples, each as a letter."""
    at = 12
    while wav[at : at + 4] != b"data":
        at += 8 + int.from_bytes(wav[at + 4 : at + 8], "little")
    end = at + 8 + int.from_bytes(wav[at + 4 : at + 8], "little")
    return (wav[: at + 8] + wav[end:]).decode("latin-1")


def record(live: Live, raters: Iterable[int], connect: Connect) -> list[Trial]:
    """Go through the sessions of raters of these numbers as the page does and keep what came for the trials with
    two voices in them."""
    out = []
    for number in raters:
        rater = live.book.invite(f"rater {number}")
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


def features(trials: Sequence[Trial]) -> tuple[Array, NDArray[np.bool_], NDArray[np.int64]]:
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


def logistic(x: Array, y: NDArray[np.bool_], test: Array, penalty: float = 3.0) -> NDArray[np.bool_]:
    sign = np.where(y, 1.0, -1.0)

    def loss(w: Array) -> tuple[float, Array]:
        margin = sign * (x @ w[1:] + w[0])
        slope = -sign / (1.0 + np.exp(np.clip(margin, -50, 50)))
        value = float(np.sum(np.logaddexp(0.0, -margin)) + penalty * np.sum(w[1:] ** 2) / 2)
        return value, np.concatenate(([slope.sum()], x.T @ slope + penalty * w[1:]))

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return np.asarray(test @ found[1:] + found[0] > 0)


def stump(x: Array, y: NDArray[np.bool_], test: Array) -> NDArray[np.bool_]:
    best: tuple[float, int, float, bool] = (0.0, 0, 0.0, True)
    for column in range(x.shape[1]):
        values = np.unique(x[:, column])
        for threshold in (values[:-1] + values[1:]) / 2 if values.size > 1 else []:
            share = float(np.mean((x[:, column] > threshold) == y))
            for score, above in ((share, True), (1 - share, False)):
                if score > best[0]:
                    best = (score, column, float(threshold), above)
    _, column, threshold, above = best
    return np.asarray((test[:, column] > threshold) == above)


def accuracy(trials: Sequence[Trial]) -> dict[str, float]:
    """Return how often each classifier names the candidate's side of raters it was not trained on."""
    x, y, raters = features(trials)
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
        out[name] = right / len(trials)
    return out


def chance_interval(n: int, coverage: float) -> tuple[float, float]:
    """Return the interval in which guessing lands with this probability."""
    low, high = binom.interval(coverage, n, 0.5)
    return math.floor(low) / n, math.ceil(high) / n


def stays_at_chance(live: Live, raters: int, connect: Connect, trials: int) -> None:
    """Assert that both classifiers are within the interval of chance.

    Guessing falls outside once in a hundred times, so what does is looked at once more, with as many new raters:
    a leak is there again, and chance is not.
    """
    low, high = chance_interval(trials, COVERAGE)
    outside: dict[str, float] = {}
    for look in range(2):
        seen = record(live, range(look * raters, (look + 1) * raters), connect)
        assert len(seen) == trials
        outside = {name: share for name, share in accuracy(seen).items() if not low <= share <= high}
        if not outside:
            return
    raise AssertionError((outside, (low, high)))
