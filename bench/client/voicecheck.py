"""Does this server speak with the voice that was asked for, or silently with its default?

A baseline that answers any unknown name with its default voice (travisvn speech.py:88-90) ruins a clone A/B,
and nothing in its answers says so. So, before a pair is built, one text is asked for:

1. in a voice whose name surely does not exist (a random one). Refused: the server checks names, which is all
   there is to show for a named voice.
2. Accepted: the answer is what the default sounds like. It is compared with the voice asked for. The same
   bytes: substituted, beyond doubt. Otherwise by sound: the long-term average spectrum of each take, in mel
   bands, level removed. The voices differ when takes of the two lie clearly farther apart than takes of the
   same voice do among themselves.
3. For a reference sent along: a request with no reference and no voice. Refused: the reference is used
   or at least needed. Accepted: compared as in 2.

Limits. The spectrum tells speakers of one model apart when they differ in timbre; a reference that resembles
the default voice is reported `unclear`, a false alarm that a person settles by listening to two clips. A
server that adapts only the prosody to the reference may be `unclear` too. `honoured` means "another voice
than the default, or names are checked", not "a good likeness": likeness is what the raters judge.
"""

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.client.faults import TakeFault
from bench.client.figures import as_float
from bench.client.probe import settle
from bench.client.session import Session, fetch, judge, request_for
from bench.client.target import Target, Voice
from bench.client.wav import Samples
from bench.records import Record, Utterance

CHECK_TEXT = "The early train was late, so we walked along the river and talked about nothing in particular."
BANDS = 24
LOW_HZ, HIGH_HZ = 100.0, 7000.0
APART_RATIO = 1.5
"""Between the voices at least this many times the largest distance within one of them,"""
APART_DB = 1.0
"""and at least this much: below it two takes of one deterministic engine would count as two voices."""

NOT_ABOUT_VOICES = frozenset(
    {"http_401", "http_403", "http_407", "http_429", "http_502", "http_503", "http_504"}
)
"""Refusals that would meet any request. (Some servers answer an unknown voice with 500.)"""

VoiceVerdict = Literal["honoured", "substituted", "unclear", "not_checked"]


class VoiceCheck(Record):
    """What was found. Only `honoured` lets a clone A/B begin."""

    verdict: VoiceVerdict
    voice: str
    unknown_voice: str | None
    unknown_refused: bool | None
    """Null: it could not be asked."""
    distance_db: float | None = None
    """Between the voice asked for and the default, over takes of one text."""
    within_db: float | None = None
    """The largest distance among takes of the same voice."""
    evidence: list[str]


@dataclass(slots=True)
class _Clip:
    samples: Samples
    rate_hz: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.samples.tobytes()).hexdigest()


def check_voice(
    target: Target, voice: Voice, *, takes: int = 2, timeout_s: float = 120.0, text: str = CHECK_TEXT
) -> VoiceCheck:
    """Find out whether `voice` is honoured; at most `2 * takes` requests and the probe's.

    Raises:
        ServerUnusable: the server is out of reach, or refuses the voice itself.
        BadInput: the dialect cannot carry the voice.
    """
    return asyncio.run(_check(target, voice, takes, timeout_s, text))


async def _check(target: Target, voice: Voice, takes: int, timeout_s: float, text: str) -> VoiceCheck:
    _, session = await settle(target, voice, timeout_s)
    stranger = f"audition-unknown-{secrets.token_hex(6)}"
    other = Voice() if session.inline else Voice.named(stranger)
    what = "a request without reference or voice" if session.inline else f"the unknown voice '{stranger}'"
    check = VoiceCheck(
        verdict="not_checked",
        voice=voice.label,
        unknown_voice=None if session.inline else stranger,
        unknown_refused=None,
        evidence=[],
    )
    own = await _say(session, None, text, timeout_s)
    if isinstance(own, TakeFault):
        check.evidence.append(f"the voice asked for does not speak: {target.scrub(str(own))}")
        return check
    first = await _say(session, other, text, timeout_s)
    if isinstance(first, TakeFault):
        if not first.kind.startswith("http_") or first.kind in NOT_ABOUT_VOICES:
            check.evidence.append(f"{what} failed, which shows nothing: {target.scrub(str(first))}")
            return check
        check.unknown_refused = True
        check.verdict = "honoured"
        check.evidence.append(f"{what} was refused ({first.kind}), and the voice asked for speaks")
        return check
    check.unknown_refused = False
    check.evidence.append(f"{what} was answered with audio: the server substitutes silently")

    mine, theirs = [own], [first]
    for wanted, clips in ((None, mine), (other, theirs)):
        for _ in range(takes - 1):
            clip = await _say(session, wanted, text, timeout_s)
            if isinstance(clip, TakeFault):
                check.evidence.append(f"a take failed, so nothing is shown: {target.scrub(str(clip))}")
                return check
            clips.append(clip)
    if {clip.sha256 for clip in mine} & {clip.sha256 for clip in theirs}:
        check.verdict = "substituted"
        check.evidence.append("the voice asked for and the default gave the very same samples")
        return check
    check.distance_db, check.within_db = distances(mine, theirs)
    apart = voices_differ(check.distance_db, check.within_db)
    check.verdict = "honoured" if apart else "unclear"
    check.evidence.append(
        f"average spectra: {check.distance_db:.2f} dB between the two, at most {check.within_db:.2f} dB within "
        f"one; {'another voice than the default' if apart else 'not shown to be another voice'}"
    )
    return check


async def _say(session: Session, voice: Voice | None, text: str, timeout_s: float) -> _Clip | TakeFault:
    fetched = await fetch(session, request_for(session, text, None, voice), timeout_s)
    spoken = judge(session, Utterance(id="voicecheck", text=text), fetched)
    error = spoken.take.error
    if error is not None or spoken.samples is None or spoken.take.sample_rate_hz is None:
        return TakeFault(error.kind if error else "no_samples", error.message if error else "")
    return _Clip(spoken.samples, spoken.take.sample_rate_hz)


def distances(mine: Sequence[_Clip], theirs: Sequence[_Clip]) -> tuple[float, float]:
    """Return (median distance between the groups, largest distance within one), dB. Pure."""
    a = [average_spectrum_db(clip.samples, clip.rate_hz) for clip in mine]
    b = [average_spectrum_db(clip.samples, clip.rate_hz) for clip in theirs]
    between = [_rms(x - y) for x in a for y in b]
    within = [_rms(g[i] - g[j]) for g in (a, b) for i in range(len(g)) for j in range(i)]
    return float(np.median(between)), max(within, default=0.0)


def voices_differ(between_db: float, within_db: float) -> bool:
    """Say whether the distance between two groups of takes shows two voices. Pure."""
    return between_db >= APART_DB and between_db >= APART_RATIO * within_db


def average_spectrum_db(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """Return the long-term average spectrum in mel bands, dB, mean removed; shape (BANDS,).

    Only frames within 40 dB of the loudest count, so that pauses say nothing. Mel scale after O'Shaughnessy
    1987. Bands above half the sample rate stay empty on both sides, which compare at one rate.
    """
    values = as_float(samples).astype(np.float64)
    size = 1 << max(8, round(np.log2(rate_hz * 0.032)))
    if values.size < size:
        values = np.pad(values, (0, size - values.size))
    frames = np.lib.stride_tricks.sliding_window_view(values, size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    loudness = power.sum(axis=1)
    mean = power[loudness >= loudness.max() * 1e-4].mean(axis=0)
    mel = np.linspace(2595 * np.log10(1 + LOW_HZ / 700), 2595 * np.log10(1 + HIGH_HZ / 700), BANDS + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    bands = np.array([mean[(hz >= low) & (hz < high)].sum() for low, high in itertools.pairwise(edges)])
    levels = 10 * np.log10(np.maximum(bands, mean.sum() * 1e-7))
    result: NDArray[np.float64] = levels - levels.mean()
    return result


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
