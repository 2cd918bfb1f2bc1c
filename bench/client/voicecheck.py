"""Does this server speak with the voice that was asked for, or silently with its default?

A baseline that answers any unknown name with its default voice (travisvn speech.py:88-90) ruins a clone A/B,
and nothing in its answers says so. So, before a pair is built, one text is asked for.

A voice that the server has by name: a voice whose name surely does not exist (a random one) is asked for too.
Refused, while the voice itself speaks before and after: names are checked, which is all there is to show. Answered:
that answer is what the default sounds like, and it is compared with the voice asked for.

A reference to clone: a second reference goes the same way (registered, or with the request), and the answers to
the two are compared. It is the first one played a quarter slower or faster, which makes another speaker of it: pitch
and formants move by as much. That a server refuses a request without a reference, or with the name of one that it
was never given, shows only that it wants one, not that it listens to it, and is recorded beside the verdict.

Comparing: the same samples are `substituted`, beyond doubt. Otherwise the long-term average spectrum of each
take, in mel bands, level removed: the voices differ when takes of the two lie clearly farther apart than takes
of the same voice do among themselves.

A server that has one voice and no more (`voices: one` in its entry) can be asked for no other. There `check_one_voice`
is to show that the voice stays what it is: takes of one text, from before the pass and after it, lie clearly closer
to each other than to what they are when played slower, which is another speaker.

Limits. The spectrum tells speakers of one model apart when they differ in timbre; a named voice that resembles
the default, or a server that adapts only the prosody to a reference, is `unclear`, a false alarm that a
person settles by listening to the clips that are kept. `honoured` means "another voice than the default" or "the
reference moves the voice", not "a good likeness": likeness is what the raters judge.
"""

import asyncio
import hashlib
import io
import itertools
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.client.faults import TakeFault
from bench.client.figures import as_float
from bench.client.probe import settle
from bench.client.samples import Samples
from bench.client.session import Session, fetch, judge, open_session, request_for
from bench.client.takes import wav_bytes
from bench.client.target import Target, Voice
from bench.errors import BadInput
from bench.records.passes import VoiceCheck, VoiceVerdict
from bench.records.run import Utterance
from bench.storage.private import make_private

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

SAYS_NOTHING = frozenset({"zero_bytes", "no_samples"})
"""How CosyVoice's server meets a voice it does not have: it fails after it has said 200."""

OTHER_SPEED = 0.8
"""Of the second reference, or its inverse where the clip would grow too long or its rate too low for servers."""
LONGEST_SLOWED_S = 12.0
LOWEST_RATE_HZ = 16000
"""CosyVoice refuses a reference below it (file_utils.py:44-50)."""


@dataclass(slots=True)
class Clip:
    """One answer's sound."""

    samples: Samples
    rate_hz: int

    @property
    def sha256(self) -> str:
        """Return the hash of the samples."""
        return hashlib.sha256(self.samples.tobytes()).hexdigest()


def check_voice(
    target: Target,
    voice: Voice,
    *,
    takes: int = 2,
    timeout_s: float = 120.0,
    keep: Path | None = None,
) -> VoiceCheck:
    """Find out whether `voice` is honoured; at most `2 * takes + 2` requests, the probe's, and registrations.

    Args:
        target: the server.
        voice: as it will be asked for.
        takes: of each of the two voices that are compared.
        timeout_s: of each request.
        keep: a directory for one clip of each of the two, for a person who settles an `unclear`.

    Raises:
        ServerUnusable: the server is out of reach, or refuses the voice itself.
        BadInput: the dialect cannot carry the voice, or the reference cannot be read.
    """
    return asyncio.run(_Check(target, voice, takes, timeout_s, keep).run())


def check_one_voice(
    target: Target,
    voice: Voice,
    before: Sequence[Clip] = (),
    *,
    takes: int = 2,
    timeout_s: float = 120.0,
    keep: Path | None = None,
) -> tuple[VoiceCheck, list[Clip]]:
    """Find out whether a server of one voice keeps it; returns what was found, and all clips for the next time.

    Args:
        target: the server.
        voice: as it will be asked for: by a name, or by none.
        before: what it said the last time; none the first time.
        takes: to be asked for now.
        timeout_s: of each request.
        keep: a directory for the two clips that lie farthest apart, for a person who settles an `unclear`.

    Raises:
        ServerUnusable: the server is out of reach, or refuses the voice.
    """
    return asyncio.run(_ask_one_voice(target, voice, list(before), takes, timeout_s, keep))


async def _ask_one_voice(
    target: Target, voice: Voice, before: list[Clip], takes: int, timeout_s: float, keep: Path | None
) -> tuple[VoiceCheck, list[Clip]]:
    _, session = await settle(target, voice, timeout_s)
    now: list[Clip] = []
    for _ in range(takes):
        clip = await take_clip(session, timeout_s)
        if isinstance(clip, TakeFault):
            evidence = [f"a take failed, so nothing is shown: {clip.scrub(target.scrub)}"]
            return _one_voice("not_checked", voice, evidence), before
        now.append(clip)
    clips = [*before, *now]
    apart, spread = measure_slowed(clips)
    evidence = [
        f"average spectra of {len(clips)} takes of one text: at most {spread:.2f} dB between two of them, and "
        f"{apart:.2f} dB to the same played at {OTHER_SPEED:g} times their speed"
    ]
    verdict: VoiceVerdict = "one_voice" if voices_differ(apart, spread) else "unclear"
    if verdict == "unclear" and before and voices_differ(*measure_distances(before, now)):
        verdict = "changed"
        evidence.append("after the pass it speaks in another voice than before it")
    if keep is not None:
        _keep_clips(keep, *_farthest(clips))
    found = _one_voice(verdict, voice, evidence)
    found.distance_db, found.within_db = apart, spread
    found.other_reference = f"its own takes played at {OTHER_SPEED:g} times their speed"
    return found, clips


def _one_voice(verdict: VoiceVerdict, voice: Voice, evidence: list[str]) -> VoiceCheck:
    return VoiceCheck(
        verdict=verdict, voice=voice.label, unknown_voice=None, unknown_refused=None, evidence=evidence
    )


class _Check:
    """One check; `check` is filled as it goes."""

    def __init__(self, target: Target, voice: Voice, takes: int, timeout_s: float, keep: Path | None) -> None:
        self.target, self.voice, self.takes, self.timeout_s = target, voice, takes, timeout_s
        self.keep = keep
        self.check = VoiceCheck(
            verdict="not_checked", voice=voice.label, unknown_voice=None, unknown_refused=None, evidence=[]
        )

    async def run(self) -> VoiceCheck:
        _, session = await settle(self.target, self.voice, self.timeout_s)
        own = await take_clip(session, self.timeout_s)
        if isinstance(own, TakeFault):
            return self._give_up("the voice asked for does not speak", own)
        others: list[Clip] = []
        other = None if session.inline else self._make_stranger(session)
        if other is not None:
            found = await self._ask_stranger(session, other)
            if found is None or self.check.verdict == "honoured":
                return self.check
            others += found
            if own.sha256 in {clip.sha256 for clip in others}:
                return self._find_substituted([own], others)
        if self.voice.reference is not None:
            with tempfile.TemporaryDirectory(prefix="audition-voicecheck-") as scratch:
                try:
                    other = await self._open_second(session, self.voice.reference, Path(scratch))
                except TakeFault as fault:
                    return self._give_up("a second reference was not taken", fault)
                # The reference is read at each request, so it must stay until they are done.
                return await self._compare(session, other, [own], [])
        assert other is not None
        return await self._compare(session, other, [own], others)

    def _make_stranger(self, session: Session) -> Session:
        name = self.check.unknown_voice = f"audition-unknown-{secrets.token_hex(6)}"
        return replace(session, voice=replace(self.voice, name=name))

    async def _ask_stranger(self, session: Session, stranger: Session) -> list[Clip] | None:
        """Ask for a voice that does not exist; None when that ended the check, no clip when it was refused."""
        what = f"the unknown voice '{stranger.voice.label}'"
        clip = await take_clip(stranger, self.timeout_s)
        if isinstance(clip, Clip):
            self.check.unknown_refused = False
            self._note(f"{what} was answered with audio: the server substitutes silently")
            return [clip]
        told = clip.kind.startswith("http_") and clip.kind not in NOT_ABOUT_VOICES
        if not told and clip.kind not in SAYS_NOTHING:
            self._give_up(f"{what} failed, which shows nothing", clip)
            return None
        again = await take_clip(session, self.timeout_s)
        if isinstance(again, TakeFault):
            self._give_up("the voice asked for does not speak any more", again)
            return None
        self.check.unknown_refused = True
        self._note(f"{what} was refused ({clip.kind}), and the voice asked for speaks before and after")
        if self.voice.reference is None:
            self.check.verdict = "honoured"
        return []

    async def _open_second(self, session: Session, reference: Path, scratch: Path) -> Session:
        data, made_by = make_other_reference(reference)
        self.check.other_reference = made_by
        clip = scratch / "second.wav"
        clip.write_bytes(data)
        how: Literal["request", "register"] = "request" if session.inline else "register"
        voice = Voice.clone(clip, self.voice.transcript, how=how)
        return await open_session(self.target, session.dialect, session.model, voice, self.timeout_s)

    async def _compare(
        self, session: Session, other: Session, mine: list[Clip], theirs: list[Clip]
    ) -> VoiceCheck:
        for asked, clips in ((session, mine), (other, theirs)):
            while len(clips) < self.takes:
                clip = await take_clip(asked, self.timeout_s)
                if isinstance(clip, TakeFault):
                    return self._give_up("a take failed, so nothing is shown", clip)
                clips.append(clip)
        if {clip.sha256 for clip in mine} & {clip.sha256 for clip in theirs}:
            return self._find_substituted(mine, theirs)
        check = self.check
        check.distance_db, check.within_db = measure_distances(mine, theirs)
        apart = voices_differ(check.distance_db, check.within_db)
        check.verdict = "honoured" if apart else "unclear"
        self._note(
            f"average spectra: {check.distance_db:.2f} dB between the two, at most {check.within_db:.2f} dB "
            f"within one; {'two voices' if apart else 'not shown to be two voices'}"
        )
        self._keep(mine, theirs)
        return check

    def _find_substituted(self, mine: list[Clip], theirs: list[Clip]) -> VoiceCheck:
        self.check.verdict = "substituted"
        self._note("the voice asked for and the other gave the very same samples")
        self._keep(mine, theirs)
        return self.check

    def _give_up(self, what: str, fault: TakeFault) -> VoiceCheck:
        self._note(f"{what}: {fault.scrub(self.target.scrub)}")
        return self.check

    def _note(self, what: str) -> None:
        self.check.evidence.append(what)

    def _keep(self, mine: list[Clip], theirs: list[Clip]) -> None:
        if self.keep is not None:
            _keep_clips(self.keep, mine[0], theirs[0])


def _keep_clips(folder: Path, asked: Clip, other: Clip) -> None:
    make_private(folder)
    for name, clip in (("asked", asked), ("other", other)):
        (folder / f"{name}.wav").write_bytes(wav_bytes(clip.samples, clip.rate_hz))


async def take_clip(session: Session, timeout_s: float) -> Clip | TakeFault:
    """Have the check's text said, and return the sound or why there is none."""
    fetched = await fetch(session, request_for(session, CHECK_TEXT, None), timeout_s)
    spoken = judge(session, Utterance(id="voicecheck", text=CHECK_TEXT), fetched)
    error = spoken.take.error
    if error is not None or spoken.samples is None or spoken.take.sample_rate_hz is None:
        return TakeFault(error.kind if error else "no_samples", error.message if error else "")
    return Clip(spoken.samples, spoken.take.sample_rate_hz)


def make_other_reference(reference: Path) -> tuple[bytes, str]:
    """Return a WAV file of another speaker saying the same, and how it was made.

    The samples stay and the rate that the header states changes, so pitch and formants move together by a
    quarter, as between a man and a woman (Peterson and Barney 1952), and no resampler has a say in it.

    Raises:
        BadInput: the reference cannot be read.
    """
    try:
        values, rate = soundfile.read(reference, dtype="int16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise BadInput(f"the reference {reference} cannot be read: {error}.") from error
    slow = len(values) / rate / OTHER_SPEED <= LONGEST_SLOWED_S and rate * OTHER_SPEED >= LOWEST_RATE_HZ
    speed = OTHER_SPEED if slow else 1 / OTHER_SPEED
    buffer = io.BytesIO()
    soundfile.write(buffer, values, round(rate * speed), format="WAV", subtype="PCM_16")
    return buffer.getvalue(), f"the reference played at {speed:g} times its speed"


def measure_distances(mine: Sequence[Clip], theirs: Sequence[Clip]) -> tuple[float, float]:
    """Return (median distance between the groups, largest distance within one), dB. Pure."""
    a = [average_spectrum_db(clip.samples, clip.rate_hz) for clip in mine]
    b = [average_spectrum_db(clip.samples, clip.rate_hz) for clip in theirs]
    between = [_rms(x - y) for x in a for y in b]
    within = [_rms(g[i] - g[j]) for g in (a, b) for i in range(len(g)) for j in range(i)]
    return float(np.median(between)), max(within, default=0.0)


def measure_slowed(clips: Sequence[Clip]) -> tuple[float, float]:
    """Return (median distance of a clip to itself played slower, largest distance between two clips), dB. Pure."""
    own = [average_spectrum_db(clip.samples, clip.rate_hz) for clip in clips]
    slowed = [average_spectrum_db(clip.samples, round(clip.rate_hz * OTHER_SPEED)) for clip in clips]
    apart = [_rms(x - y) for x, y in zip(own, slowed, strict=True)]
    return float(np.median(apart)), max((_rms(x - y) for x, y in itertools.combinations(own, 2)), default=0.0)


def _farthest(clips: Sequence[Clip]) -> tuple[Clip, Clip]:
    """Return the two clips whose spectra lie farthest apart."""

    def distance(pair: tuple[Clip, Clip]) -> float:
        one, other = (average_spectrum_db(clip.samples, clip.rate_hz) for clip in pair)
        return _rms(one - other)

    return max(itertools.combinations(clips, 2), key=distance)


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
