"""The reference: the voice to clone. Read and judged once, then cut for each model's limits.

`load` refuses what no model could use; `choose` picks the best stretch for one model and cuts the transcript
to match; `write` leaves the three files an engine is given. All of it is deterministic. docs/reference.md
says what an owner has to prepare and what each refusal means.
"""

import datetime
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.audio.levels import integrated_lufs, peak_dbfs, rms_dbfs
from bench.audio.resample import resample
from bench.audio.wav import Samples, encode_wav_16bit
from bench.catalog.entry import ReferenceLimits
from bench.errors import BadInput
from bench.inputs import clip as clips
from bench.inputs import rights as rights_files
from bench.inputs import spans, speakers, transcript
from bench.inputs.clip_manifest import Recording
from bench.inputs.rights import Rights
from bench.inputs.track import LevelTrack, clipped_at_s
from bench.inputs.transcript import Transcript
from bench.storage.atomic import write_atomically
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file
from bench.storage.private import FILE, make_private

LOUDNESS_LUFS = -20.0
"""What a chosen reference is brought to: near -20 dBFS RMS, to which f5-tts raises what is softer."""
PEAK_LIMIT_DBFS = -1.0
"""The loudness gives way to this."""

ANOTHER = ReferenceLimits(min_s=1.5, max_s=8.0, transcript="unused")
"""Of what raters hear hidden: a sentence or two, as the takes beside it are."""

_PAST_THE_END_S = 0.25
"""A last cue may outlast the audio by a rounded frame or two."""
_SLOWEST_CPS, _FASTEST_CPS = 1.5, 35.0
"""Characters a second of speech, from slow Chinese to hurried English: else it is another clip's text."""
_MIN_DYNAMIC_DB = 6.0
_FADE_S = 0.005
_RUNNERS_UP = 3
_PAUSE_S = 0.25


@dataclass(frozen=True)
class ReferenceInput:
    """A reference as its owner gave it, found to be usable."""

    audio: Path
    samples: Samples
    """Mono, shape (n,), at the file's own rate."""
    rate_hz: int
    track: LevelTrack
    clipped_s: NDArray[np.float64]
    transcript: Transcript
    rights: Rights
    sha256: str
    """Over the SHA-256 of the three files."""
    facts: dict[str, Any]
    """What the manifest keeps of it."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ChosenReference:
    """What one model is given. `span_s` is (start, end) in the owner's clip."""

    samples: Samples
    rate_hz: int
    text: str
    span_s: tuple[float, float]
    why: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return what `reference.json` holds; the manifest keeps the same."""
        return {
            "sha256": sha256_bytes(encode_wav_16bit(self.samples, self.rate_hz)),
            "sample_rate_hz": self.rate_hz,
            "audio_s": self.samples.size / self.rate_hz,
            "span_s": [round(edge, 3) for edge in self.span_s],
            "text": self.text,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a chosen reference; `changed` is false when they held the same already."""

    wav: Path
    text: Path
    record: Path
    changed: bool


def load(
    audio: Path, transcript_path: Path, rights_path: Path, *, today: datetime.date | None = None
) -> ReferenceInput:
    """Read the three files and refuse what no model could use.

    Args:
        audio: the recording of the voice.
        transcript_path: what is said in it (WebVTT, SRT, JSON or plain text).
        rights_path: the rights statement (YAML or JSON).
        today: the day the rights must hold on; this day in UTC when None.

    Raises:
        BadInput: with what to do; docs/reference.md lists the reasons.
    """
    # The header comes before the hash, which reads the whole file; the rights before the voice is decoded.
    clips.check_header(audio)
    audio_sha256 = sha256_file(audio)
    rights = rights_files.read(rights_path, audio_sha256, today=today)
    clip = clips.read(audio)
    text = transcript.read(transcript_path, Recording(audio.name, clip.duration_s))
    track = LevelTrack.measure(clip.samples, clip.rate_hz)
    clipped = clipped_at_s(clip.samples, clip.rate_hz)
    _check_cues(text, clip.duration_s)
    _check_speech(audio, track)
    _check_rate_of_speech(text, track, clip.duration_s)
    warnings = _check_speakers(audio, clip, text, track, rights)
    _check_clipping(audio, text, clipped)
    if clip.rate_hz < 16000:
        warnings.append(f"{clip.rate_hz} Hz: a narrow-band recording gives a narrow-band clone.")
    hashes = {
        "audio": audio_sha256,
        "transcript": sha256_file(transcript_path),
        "rights": sha256_file(rights_path),
    }
    return ReferenceInput(
        audio=audio,
        samples=clip.samples,
        rate_hz=clip.rate_hz,
        track=track,
        clipped_s=clipped,
        transcript=text,
        rights=rights,
        sha256=sha256_bytes(canonical_json(hashes)),
        facts={
            "files": {"audio": audio.name, "transcript": transcript_path.name, "rights": rights_path.name},
            "sha256": hashes,
            "audio_s": round(clip.duration_s, 3),
            "sample_rate_hz": clip.rate_hz,
            "channels": clip.channels,
            "decoder": clip.decoder,
            "speech_dbfs": round(track.speech_db, 1),
            "noise_dbfs": round(track.floor_db, 1),
            "clipped_places": int(clipped.size),
            "transcript_format": text.format,
            "cues": len(text.cues),
            "rights": rights.model_dump(mode="json"),
            "warnings": warnings,
        },
        warnings=tuple(warnings),
    )


def choose(reference: ReferenceInput, limits: ReferenceLimits) -> ChosenReference:
    """Cut the best stretch for `limits`, and the transcript to match; the same input gives the same bytes.

    Raises:
        BadInput: nothing in the clip fits the limits; the message says what there is and what to do.
    """
    if reference.transcript.cues:
        result = spans.search(reference.transcript.cues, reference.track, reference.clipped_s, limits)
        if not result.found:
            raise BadInput(_explain_no_fit(reference, result, limits))
        chosen = result.found[0]
        boundary: str = result.boundary
        rejected, others = dict(result.rejected), result.found[1:]
    else:
        chosen, boundary, rejected, others = _take_whole(reference, limits), "clip", {}, []
    samples, levels = _finish(reference, chosen, limits)
    rate_hz = limits.sample_rate_hz or reference.rate_hz
    why = {
        "sentence": _sentence(chosen, boundary, len(others), limits),
        "boundary": boundary,
        "chosen": chosen.facts(),
        "runners_up": [other.facts() for other in others[:_RUNNERS_UP]],
        "candidates": 1 + len(others),
        "rejected": rejected,
        "limits": limits.model_dump(mode="json"),
        **levels,
    }
    return ChosenReference(samples, rate_hz, chosen.text, (chosen.start_s, chosen.end_s), why)


def choose_another(reference: ReferenceInput, used: ChosenReference) -> ChosenReference | None:
    """Cut the best stretch that `used` has nothing of: raters hear it hidden among the takes, having heard `used`
    openly. None where the clip is not long enough for that, or its transcript has no times."""
    begin_s, end_s = used.span_s
    cues = reference.transcript.cues
    found: list[spans.Stretch] = []
    for part in ([c for c in cues if c.end_s <= begin_s], [c for c in cues if c.start_s >= end_s]):
        found += spans.search(part, reference.track, reference.clipped_s, ANOTHER).found
    apart = [each for each in found if each.end_s <= begin_s or each.start_s >= end_s]
    if not apart:
        return None
    chosen = max(apart, key=lambda each: (round(each.score, 2), -each.start_s))
    samples, levels = _finish(reference, chosen, ANOTHER)
    why = {"chosen": chosen.facts(), "candidates": len(apart), **levels}
    return ChosenReference(samples, reference.rate_hz, chosen.text, (chosen.start_s, chosen.end_s), why)


def write(chosen: ChosenReference, folder: Path) -> Written:
    """Write `reference.wav` (16-bit PCM, mono), `reference.txt` and `reference.json` into `folder`, all private.

    A file that holds the same bytes already is left alone.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    written = {
        folder / "reference.wav": encode_wav_16bit(chosen.samples, chosen.rate_hz),
        folder / "reference.txt": chosen.text.encode() + b"\n",
        folder / "reference.json": json.dumps(chosen.record(), indent=2, ensure_ascii=False).encode() + b"\n",
    }
    changed = False
    make_private(folder)
    for path, data in written.items():
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data, FILE)
            changed = True
    wav, text, record = written
    return Written(wav, text, record, changed)


def _check_cues(text: Transcript, duration_s: float) -> None:
    for cue in text.cues:
        if cue.end_s > duration_s + _PAST_THE_END_S:
            where = f"{text.path}:{cue.line}" if cue.line else f"{text.path}"
            raise BadInput(
                f"{where}: the cue ends at {cue.end_s:g} s and the audio after {duration_s:.2f} s; the "
                "transcript is of another or a longer recording. Give the two that belong together."
            )


def _check_speech(audio: Path, track: LevelTrack) -> None:
    if track.speech_db - track.floor_db < _MIN_DYNAMIC_DB:
        raise BadInput(
            f"{audio}: no speech stands out from the background ({track.speech_db:.0f} dBFS against "
            f"{track.floor_db:.0f} dBFS); record the voice in a quiet room, without music."
        )


def _check_rate_of_speech(text: Transcript, track: LevelTrack, duration_s: float) -> None:
    pieces = [(cue.start_s, cue.end_s) for cue in text.cues] or [(0.0, duration_s)]
    speech_s = sum(track.speech_s(*piece) for piece in pieces)
    rate = len(text.text) / max(speech_s, 0.01)
    if not _SLOWEST_CPS <= rate <= _FASTEST_CPS:
        raise BadInput(
            f"{text.path}: {len(text.text)} characters for {speech_s:.1f} s of speech, {rate:.1f} a second, "
            "is not what is said in this clip; give the transcript that belongs to it."
        )


def _check_speakers(
    audio: Path, clip: clips.Clip, text: Transcript, track: LevelTrack, rights: Rights
) -> list[str]:
    names = sorted({cue.speaker for cue in text.cues if cue.speaker})
    if len(names) > 1:
        raise BadInput(
            f"{text.path}: names the speakers {', '.join(names)}; a reference has one. Cut the clip and the "
            "transcript to the voice to clone."
        )
    pieces = [(cue.start_s, cue.end_s) for cue in text.cues] or _between_pauses(track)
    why = speakers.suspect(clip.samples, clip.rate_hz, pieces)
    if why is None:
        return []
    if rights.single_speaker:
        return [f"two speakers suspected ({why}); {rights.attestation.who} attests that there is one."]
    raise BadInput(
        f"{audio}: two speakers suspected: {why}. Cut the clip and the transcript to the voice to clone; if "
        "one person speaks throughout, attest it with `single_speaker: true` in the rights statement."
    )


def _between_pauses(track: LevelTrack) -> list[tuple[float, float]]:
    """Return the stretches between pauses, which stand in for cues where there are none."""
    edges = [0.0]
    for start_s, end_s in track.quiet_runs(0.0, track.length_s):
        if end_s - start_s >= _PAUSE_S:
            edges.append((start_s + end_s) / 2)
    return list(itertools.pairwise([*edges, track.length_s]))


def _check_clipping(audio: Path, text: Transcript, clipped: NDArray[np.float64]) -> None:
    free = [cue for cue in text.cues if not np.any((clipped >= cue.start_s) & (clipped < cue.end_s))]
    if clipped.size and not free:
        raise BadInput(
            f"{audio}: clipped in {clipped.size} places, the first at {clipped[0]:.2f} s, and no cue is free "
            "of it; lower the input level and record again."
        )


def _take_whole(reference: ReferenceInput, limits: ReferenceLimits) -> spans.Stretch:
    """Return the whole clip without the silence around it, for a transcript that has no times."""
    track, text = reference.track, reference.transcript
    loud = np.flatnonzero(track.loud)
    start_s = max(0.0, loud[0] * 0.01 - 0.15)
    end_s = min(track.length_s, (loud[-1] + 1) * 0.01 + 0.25)
    total_s = spans.whole_length_s(end_s - start_s, limits)
    if total_s > limits.max_s + 1e-6:
        raise BadInput(
            f"{text.path}: has no times, so the whole clip would have to serve, and its {total_s:.1f} s are "
            f"more than the {limits.max_s:g} s the model takes; where to cut the text cannot be known. Give "
            "a transcript with times (WebVTT, SRT or JSON segments), or a shorter clip with its own text."
        )
    if total_s < limits.min_s:
        raise BadInput(
            f"{reference.audio}: {total_s:.1f} s of speech is too short; the model needs {limits.min_s:g} s."
        )
    stretch = spans.measure(text.text, (0, 0), start_s, end_s, total_s, track)
    if stretch.snr_db < spans.LOWEST_SNR_DB:
        raise BadInput(
            f"{reference.audio}: too noisy (the speech is {stretch.snr_db:.0f} dB above the background, and "
            f"{spans.LOWEST_SNR_DB:g} dB is the least); record it in a quieter place."
        )
    return stretch


def _finish(
    reference: ReferenceInput, chosen: spans.Stretch, limits: ReferenceLimits
) -> tuple[Samples, dict[str, Any]]:
    """Cut, resample, fit the loudness, fade the edges, and add the silence that the limits ask for."""
    rate_hz = limits.sample_rate_hz or reference.rate_hz
    first, past = round(chosen.start_s * reference.rate_hz), round(chosen.end_s * reference.rate_hz)
    cut = resample(reference.samples[first:past], reference.rate_hz, rate_hz)
    total = round((chosen.end_s - chosen.start_s + chosen.padding_s) * rate_hz)
    if limits.whole_seconds:
        total = round(total / rate_hz) * rate_hz
    cut = cut[: min(total, int(limits.max_s * rate_hz))]
    lufs, peak = integrated_lufs(cut, rate_hz), peak_dbfs(cut)
    if lufs is None or peak is None:
        raise BadInput(f"{reference.audio}: too soft to bring to a common loudness; record it louder.")
    gain_db = min(LOUDNESS_LUFS - lufs, PEAK_LIMIT_DBFS - peak)
    fitted = (cut * np.float32(10.0 ** (gain_db / 20.0))).astype(np.float32)
    fade = round(_FADE_S * rate_hz)
    ramp = np.sin(np.linspace(0.0, np.pi / 2, fade, dtype=np.float32)) ** 2
    fitted[:fade] *= ramp
    fitted[-fade:] *= ramp[::-1]
    samples = np.pad(fitted, (0, max(0, total - fitted.size))).astype(np.float32)
    return samples, {
        "gain_db": round(gain_db, 2),
        "loudness_lufs": _round(integrated_lufs(fitted, rate_hz)),
        "peak_dbfs": _round(peak_dbfs(fitted)),
        "rms_dbfs": _round(rms_dbfs(fitted)),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _sentence(chosen: spans.Stretch, boundary: str, others: int, limits: ReferenceLimits) -> str:
    where = {
        "sentence": "at ends of sentences",
        "clause": "at ends of clauses, as no whole sentence fits",
        "cue": "at ends of cues, as no whole sentence or clause fits",
        "clip": "the whole clip, as its transcript has no times",
    }[boundary]
    return (
        f"{chosen.start_s:.2f}-{chosen.end_s:.2f} s, cut {where}: {chosen.speech_s:.1f} s of speech, "
        f"{chosen.snr_db:.0f} dB above the background; best of {1 + others} that fit "
        f"{limits.min_s:g}-{limits.max_s:g} s."
    )


def _explain_no_fit(reference: ReferenceInput, result: spans.Search, limits: ReferenceLimits) -> str:
    reasons = ", ".join(f"{why} ({count})" for why, count in result.rejected.most_common())
    shortest = f"; the shortest that can be cut has {min(result.lengths_s):.1f} s" if result.lengths_s else ""
    if not result.lengths_s:
        advice = "No cue has a pause at its edges: check that the transcript's times are those of this clip."
    elif max(result.lengths_s) < limits.min_s:
        advice = "The clip is too short for this model: record more of the voice."
    elif result.rejected["clipped"] and not result.rejected["noisy"]:
        advice = "Record again with a lower input level."
    elif result.rejected["noisy"]:
        advice = "Record again in a quieter place."
    else:
        advice = "Give a clip with sentences of that length, or a transcript with finer cues."
    return (
        f"{reference.audio}: no stretch of whole cues serves this model, which takes {limits.min_s:g} to "
        f"{limits.max_s:g} s{shortest}. What was tried and refused: {reasons or 'nothing could be cut'}. "
        f"{advice}"
    )
