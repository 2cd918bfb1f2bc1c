"""Takes as they were timed, encoded small enough that the report can be mailed.

FLAC first: the very samples, played by every present browser. Over the limit all clips become MP3, which is
said; what still does not fit is named instead of embedded. A take whose bytes are not those that were timed
is left out.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import soundfile
from pydantic import Field

from bench.audio.levels import integrated_lufs
from bench.records.base import Record
from bench.records.take import Take
from bench.storage.digests import sha256_file

MAILABLE_BYTES = 15 * 1024 * 1024
"""Limit on all clips of one report as embedded, base64 included."""
_FORMATS = (("FLAC", "PCM_16", "audio/flac"), ("MP3", "MPEG_LAYER_III", "audio/mpeg"))


class Clip(Record):
    """One take in the report. `data` is base64 and empty where `missing` says why there is no sound."""

    side: str
    utterance_id: str
    file: str
    sha256: str | None
    audio_s: float | None
    rate_hz: int | None = None
    level: float = 1.0
    """The volume, 0 to 1, at which it is as loud as the softest clip of its sentence."""
    mime: str | None = None
    data: str = Field(default="", exclude=True, repr=False)
    missing: str | None = None


class Clips(Record):
    """All clips of a report, and how they were encoded."""

    clips: list[Clip]
    encoding: str | None
    embedded_bytes: int


def embed(run_dir: Path, takes: Sequence[tuple[str, Take]], limit: int = MAILABLE_BYTES) -> Clips:
    """Encode takes, given with their side, into at most `limit` bytes of base64 together."""
    clips: list[Clip] = []
    found: list[tuple[Clip, Path]] = []
    for side, take in takes:
        name = take.wav or ""
        clip = Clip(
            side=side,
            utterance_id=take.utterance_id,
            file=f"{side}/{name}",
            sha256=take.sha256,
            audio_s=take.audio_s,
            rate_hz=take.sample_rate_hz,
        )
        clips.append(clip)
        path = run_dir / side / name
        if not name or Path(name).name != name:
            clip.missing = "the take names no file of its own folder"
        elif not path.is_file():
            clip.missing = "the file is not there"
        elif sha256_file(path) != take.sha256:
            clip.missing = "the file is not the one that was timed"
        else:
            found.append((clip, path))
    if not _fill(found, _FORMATS[0], limit, spill=False):
        _fill(found, _FORMATS[1], limit, spill=True)
    _level(found)
    used = sum(len(clip.data) for clip in clips)
    encoding = next(
        (container for container, _, mime in _FORMATS for clip in clips if clip.mime == mime), None
    )
    return Clips(clips=clips, encoding=encoding, embedded_bytes=used)


def embed_reference(path: Path, limit: int = MAILABLE_BYTES) -> Clip | None:
    """Return the reference as a clip, None where there is none or it does not fit."""
    if not path.is_file():
        return None
    info = soundfile.info(path)
    clip = Clip(
        side="reference", utterance_id="", file=f"{path.parent.name}/{path.name}", sha256=sha256_file(path),
        audio_s=round(info.duration, 3), rate_hz=info.samplerate,
    )  # fmt: skip
    return clip if _fill([(clip, path)], _FORMATS[0], limit, spill=False) else None


def _level(found: Sequence[tuple[Clip, Path]]) -> None:
    """Set at which volume each clip is as loud as the softest of its sentence: nothing is made louder."""
    loudness: dict[str, dict[str, float]] = {}
    for clip, path in found:
        samples, rate_hz = soundfile.read(path, dtype="float32")
        lufs = integrated_lufs(samples if samples.ndim == 1 else samples.mean(axis=1), rate_hz)
        if lufs is not None:
            loudness.setdefault(clip.utterance_id, {})[clip.side] = lufs
    for clip, _ in found:
        of = loudness.get(clip.utterance_id, {})
        if clip.side in of:
            clip.level = round(10 ** ((min(of.values()) - of[clip.side]) / 20), 3)


def _fill(found: Sequence[tuple[Clip, Path]], form: tuple[str, str, str], limit: int, *, spill: bool) -> bool:
    """Encode clip after clip within `limit`; what is past it is left out (`spill`), or false is returned and no
    clip keeps its sound. Nothing is encoded that cannot be kept, so memory and time end with the limit."""
    container, subtype, mime = form
    used, full = 0, False
    for clip, path in found:
        data = "" if full else _encode(path, container, subtype)
        full = full or used + len(data) > limit
        if full and not spill:
            for each, _ in found:
                each.data, each.mime, each.missing = "", None, None
            return False
        if full:
            clip.missing = "left out so that this page can be mailed"
        elif not data:
            clip.missing = "the file holds no sound that can be read"
        else:
            clip.data, clip.mime = data, mime
            used += len(data)
    return True


def _encode(path: Path, container: str, subtype: str) -> str:
    try:
        samples, rate = soundfile.read(path, dtype="int16")
        stream = io.BytesIO()
        soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    except soundfile.LibsndfileError:
        return ""
    return base64.b64encode(stream.getvalue()).decode()
