"""A server that is not ours: does it speak in the voice asked for, before anything is built on its takes?"""

from pathlib import Path

from bench.catalog.entry import Entry
from bench.client.probe import ServerUnusable
from bench.client.target import Target, Voice
from bench.client.voicecheck import NOT_ABOUT_VOICES, Clip, check_one_voice, check_voice
from bench.errors import AuditionError
from bench.jobs.progress import Progress
from bench.jobs.spec import JobSpec, OtherSide
from bench.records.passes import VoiceCheck

CLIPS = "voicecheck"
"""In a job's `out`: what a person listens to where a check was `unclear`."""

_AWAY = NOT_ABOUT_VOICES | {"connection_refused", "connect_failed", "timeout", "aborted"}
"""What says that a server is not to be had just now, and nothing of its voice."""


class VoiceUnclear(AuditionError):
    """It was not shown that a server speaks in the voice asked for, and nobody has said that it does."""


def has_one_voice(entry: Entry) -> bool:
    """Return whether an entry says that its server has one voice."""
    return entry.stranger is not None and entry.stranger.voices == "one"


def choose_voice(entry: Entry, reference: Path) -> Voice:
    """Return the voice to ask a model for: one that its server has, or the clone of `reference`, whose words lie beside
    it."""
    asked = entry.stranger
    if asked is not None and (asked.voice is not None or asked.voices == "one"):
        return Voice(name=asked.voice)
    words = reference.with_suffix(".txt").read_text(encoding="utf-8").strip()
    return Voice.clone(reference, words, how=(asked.reference_by if asked else None) or "auto")


class Stranger:
    """Checks one server's voice before its pass and, where it has but one, after it."""

    def __init__(self, target: Target, entry: Entry, voice: Voice, timeout_s: float, keep: Path) -> None:
        self._target, self._entry, self._voice = target, entry, voice
        self._timeout_s, self._keep = timeout_s, keep
        self._clips: list[Clip] = []

    @property
    def has_one_voice(self) -> bool:
        """Return whether the server has one voice, as its entry says."""
        return has_one_voice(self._entry)

    def listen(self) -> VoiceCheck:
        """Ask the server to speak and return what was found; what it said goes into the next time's comparison.

        Raises:
            ServerUnusable: the server is out of reach, or refuses the voice itself.
        """
        if not self.has_one_voice:
            return check_voice(self._target, self._voice, timeout_s=self._timeout_s, keep=self._keep)
        found, self._clips = check_one_voice(
            self._target, self._voice, self._clips, timeout_s=self._timeout_s, keep=self._keep
        )
        return found

    def judge(self, check: VoiceCheck, accepted: str | None, variable: str) -> None:
        """Let a checked voice pass, or say why not.

        Args:
            check: what `listen` found; `accepted` goes into it where an unclear one passes by somebody's word.
            accepted: the word, if there is one.
            variable: where it is said.

        Raises:
            ServerUnusable: it is not the voice, or not one voice.
            VoiceUnclear: that was not shown, and nobody has said that it is all the same.
            AuditionError: nothing could be checked.
        """
        if check.verdict in ("honoured", "one_voice"):
            return
        found = "; ".join(check.evidence)
        if check.verdict == "substituted":
            raise ServerUnusable(
                "voice_substituted",
                f"the server speaks in a voice of its own, whatever it is asked for: {found}. If it has no other, say "
                "`voices: one` in its catalog entry",
            )
        if check.verdict == "changed":
            raise ServerUnusable("voice_changed", f"the server does not keep its one voice: {found}")
        if check.verdict == "not_checked":
            raise AuditionError(f"whether the server honours the voice could not be checked: {found}")
        if not accepted:
            asked, heard = (
                ("keeps its one voice", "one voice")
                if self.has_one_voice
                else ("honours the voice", "two voices")
            )
            raise VoiceUnclear(
                f"it is unclear whether the server {asked}: {found}. Listen to {CLIPS}/asked.wav and other.wav under "
                f"the run's attempts/; if they are {heard}, say who heard it in {variable} and start this phase again."
            )
        check.accepted = accepted


def check_other_side(spec: JobSpec, job_dir: Path, token: str | None, progress: Progress) -> None:
    """Look at the baseline's voice before the candidate is started, so that nobody waits for takes to which there will
    be no counterpart. A baseline out of reach is left to its own phase.

    Raises:
        AuditionError: its voice is not to be had: the run could only wait for its baseline.
    """
    other = spec.other_side
    if other is None:
        return
    progress.say(f"asking {other.entry.title} for the voice")
    try:
        _check(other, spec, job_dir, token)
    except ServerUnusable as error:
        if error.kind in _AWAY:
            progress.say(f"{other.entry.title}: {error}; the run goes on without")
            return
        raise AuditionError(_tell(other, error)) from error
    except VoiceUnclear as error:
        raise AuditionError(_tell(other, error)) from error
    except AuditionError as error:
        progress.say(f"{other.entry.title}: {error}; the run goes on without")


def _check(other: OtherSide, spec: JobSpec, job_dir: Path, token: str | None) -> None:
    assert other.entry.stranger is not None
    target = Target.from_run(other.entry.stranger, other.url, token)
    voice = choose_voice(other.entry, job_dir / OtherSide.REFERENCE)
    stranger = Stranger(target, other.entry, voice, spec.take_timeout_s, job_dir / "out" / CLIPS)
    stranger.judge(stranger.listen(), other.voice_accepted, "baseline_voice_accepted")


def _tell(other: OtherSide, error: AuditionError) -> str:
    return f"the baseline's voice, looked at before the candidate speaks: {other.entry.title} at {other.url}: {error}"
