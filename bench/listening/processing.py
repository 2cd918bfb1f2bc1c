"""Making every clip of a listening test alike in all but the voice, and refusing what cannot be made so.

Every clip, whichever side it is from, goes through the same steps: mono, 48 kHz (no rate in use loses
anything by it), nothing under 20 Hz, the listening channel, cut so that speech begins at exactly `LEAD_S` and `TAIL_S`
follow it, silence up to the length of the longer clip of the pair, one integrated loudness (EBU R128: -23 LUFS,
ITU-R BS.1770-4), noise at -80 dBFS over the whole of it, 16 bits, no metadata. Where one clip would come within 1 dB of
full scale (true peak), all are made softer together. Nothing falls back to the unprocessed clip: a step that fails ends
the sealing.
"""

import math
import secrets
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.audio.levels import integrated_lufs, peak_dbfs
from bench.audio.resample import resample
from bench.audio.silence import speech_segments
from bench.audio.speech import find_speech
from bench.audio.telephone import low_pass, narrowband, wideband
from bench.audio.wav import Samples, encode_wav_16bit, read_mono
from bench.errors import AuditionError, BadInput
from bench.listening.alignment import check_lost
from bench.records.base import Channel

RATE_HZ = 48000
LEAD_S = 0.2
TAIL_S = 0.2
KEEP_S = 0.03
"""Seconds of the original kept around the sound, faded, so that a soft consonant is not cut off."""
MIN_SOUND_S = 0.05
TARGET_LUFS = -23.0
LOWEST_TARGET_LUFS = -36.0
PEAK_LIMIT_DBTP = -1.0
LOUDNESS_TOLERANCE_LU = 0.2
NOISE_PEAK = 8 / 32768
"""Of the triangular noise over every clip: -80 dBFS in all, 57 dB under the speech and softer than any room. It is the
dither of the 16 bits, and deep enough to cover what engines do with their last bits."""
LOWEST_HZ = 20.0
"""Under it nobody hears anything; an engine's offset or rumble would name its side to whoever reads the samples."""

Key = TypeVar("Key", bound=Hashable)


class UnusableTake(AuditionError):
    """A clip cannot be made fit to be rated: silent, empty, not numbers, nothing but a click."""

    def __init__(self, reason: str, clip: Hashable = None) -> None:
        """Say why, and of several clips which, by its key."""
        super().__init__(reason)
        self.clip = clip


def prepare(path: Path, channel: Channel, matched_hz: int | None = None) -> Samples:
    """Return the clip at `RATE_HZ` through the channel, shape (n,), edges cut and padded, not yet levelled.

    `matched_hz`: the bandwidth that channel `matched` leaves; null: all of it.

    Raises:
        UnusableTake: the file cannot be read, holds NaN, or holds under `MIN_SOUND_S` of sound.
        NotAligned: the trimming would cut speech off.
    """
    try:
        samples, rate_hz = read_mono(path)
    except BadInput as error:
        raise UnusableTake(str(error)) from error
    samples = _high_pass(resample(samples, rate_hz, RATE_HZ))
    lufs = integrated_lufs(samples, RATE_HZ)
    if lufs is None:
        raise UnusableTake(f"{path} is silent.")
    if channel == "matched":
        samples = low_pass(samples, RATE_HZ, matched_hz or RATE_HZ // 2)
    elif channel != "full":
        # The codec is not linear: what enters the line must be equally loud on both sides.
        speech = samples * np.float32(10.0 ** ((TARGET_LUFS - lufs) / 20.0))
        samples = narrowband(speech, RATE_HZ) if channel == "narrowband" else wideband(speech, RATE_HZ)
    span = find_speech(samples, RATE_HZ)
    if span is None or span.seconds(RATE_HZ) < MIN_SOUND_S:
        raise UnusableTake(f"{path} holds less than {MIN_SOUND_S} s of sound through the {channel} channel.")
    if channel == "full":  # what the others leave of a take is cut at the same places, or less of it
        check_lost(samples, RATE_HZ, span.start / RATE_HZ)
    keep = round(KEEP_S * RATE_HZ)
    first, last = max(0, span.start - keep), min(samples.size, span.end + keep)
    before, after = span.start - first, last - span.end
    cut = _fade(samples[first:last], before, after)
    return np.pad(cut, (round(LEAD_S * RATE_HZ) - before, round(TAIL_S * RATE_HZ) - after))


def cut_opening(clip: Samples, about_s: float) -> Samples:
    """Return a prepared clip up to the pause whose place is nearest to `about_s`, with the usual silence
    after.

    A long reference beside a short sentence would make raters wait for its end in silence.
    """
    ends = [segment.end for segment in speech_segments(clip, RATE_HZ)]
    end = min(ends, key=lambda place: abs(place / RATE_HZ - about_s), default=clip.size)
    cut = _fade(clip[: min(clip.size, end + round(KEEP_S * RATE_HZ))], 0, round(KEEP_S * RATE_HZ))
    return np.pad(cut, (0, max(0, round((TAIL_S - KEEP_S) * RATE_HZ))))


def equalise_lengths(clips: Mapping[Key, Samples], at_least: int = 0) -> dict[Key, Samples]:
    """Return the clips, each with zeros after it up to the longest or to `at_least` samples, whole in tenths of a
    second."""
    tenth = RATE_HZ // 10
    length = -(-max(at_least, *(clip.size for clip in clips.values())) // tenth) * tenth
    return {key: np.pad(clip, (0, length - clip.size)) for key, clip in clips.items()}


def equalise_loudness(
    clips: Mapping[Key, Samples], at_most: float = TARGET_LUFS
) -> tuple[dict[Key, Samples], float]:
    """Return the clips at one integrated loudness, `at_most` LUFS, and that loudness.

    Raises:
        UnusableTake: a clip has no loudness, or is so spiky that all would have to be softer than
            `LOWEST_TARGET_LUFS` to keep it below full scale; `clip` is its key.
    """
    out = {key: _bring_to(clip, TARGET_LUFS, key) for key, clip in clips.items()}
    target = min(TARGET_LUFS, at_most)
    for key, clip in out.items():
        peak = true_peak_dbtp(clip)
        if peak is None:
            raise UnusableTake("It is silent once its edges are cut.", key)
        possible = PEAK_LIMIT_DBTP - peak + TARGET_LUFS
        if possible < LOWEST_TARGET_LUFS:
            raise UnusableTake(
                f"Its peaks stand so far above its loudness that all clips would have to play at {possible:.0f} "
                "LUFS; it is damaged (a click?).",
                key,
            )
        target = min(target, possible)
    if target < TARGET_LUFS:
        out = {key: _bring_to(clip, target, key) for key, clip in out.items()}
    return out, target


def _bring_to(clip: Samples, target_lufs: float, key: Key) -> Samples:
    """Return the clip at a loudness. Not every block that was under the meter's gate stays under it, so one gain may
    not do.

    Raises:
        UnusableTake: it has no loudness.
    """
    for _ in range(5):
        found = integrated_lufs(clip, RATE_HZ)
        if found is None:
            raise UnusableTake("It is silent once its edges are cut.", key)
        if abs(found - target_lufs) < 0.001:
            break
        clip = (clip * np.float32(10.0 ** ((target_lufs - found) / 20.0))).astype(np.float32)
    return clip


def encode(clip: Samples, target_lufs: float) -> bytes:
    """Return the clip's WAV bytes, once loudness and peak were measured and found as they must be.

    Noise that nobody hears lies over all of it, the silence around the speech too: zeros, where they end, and an
    unsteady last bit would name an engine that is silent between its words and one that is not.

    Raises:
        UnusableTake: the clip is not what the processing promises; nothing else would stop it from giving
            its side away.
    """
    lufs, peak = integrated_lufs(clip, RATE_HZ), peak_dbfs(clip)
    if lufs is None or peak is None:
        raise UnusableTake("A processed clip is silent.")
    if abs(lufs - target_lufs) > LOUDNESS_TOLERANCE_LU:
        raise UnusableTake(f"A processed clip is at {lufs:.2f} LUFS and the others at {target_lufs:.2f}.")
    if peak > PEAK_LIMIT_DBTP + 0.01:
        raise UnusableTake(f"A processed clip peaks at {peak:.2f} dBFS, above {PEAK_LIMIT_DBTP}.")
    noise = np.random.default_rng(secrets.randbits(128)).random((2, clip.size))
    return encode_wav_16bit(clip + ((noise[0] - noise[1]) * NOISE_PEAK).astype(np.float32), RATE_HZ)


def true_peak_dbtp(clip: Samples) -> float | None:
    """Return the true peak in dBTP by fourfold oversampling (ITU-R BS.1770-4, annex 2), None for silence."""
    found = peak_dbfs(resample(clip, RATE_HZ, 4 * RATE_HZ))
    sample_peak = peak_dbfs(clip)
    if found is None or sample_peak is None or not math.isfinite(found):
        return None
    return max(found, sample_peak)


def _fade(cut: Samples, before: int, after: int) -> Samples:
    """Fade the ends over what was kept of them, 2 to 5 ms: no click where the zeros begin."""
    shortest, longest = round(0.002 * RATE_HZ), round(0.005 * RATE_HZ)
    out = cut.astype(np.float32, copy=True)
    rise = min(max(shortest, min(longest, before)), out.size)
    fall = min(max(shortest, min(longest, after)), out.size)
    out[:rise] *= np.linspace(0.0, 1.0, rise, dtype=np.float32)
    out[out.size - fall :] *= np.linspace(1.0, 0.0, fall, dtype=np.float32)
    return out


def _high_pass(samples: Samples) -> Samples:
    """Take away what lies under `LOWEST_HZ`, with no delay."""
    from scipy.signal import butter, sosfiltfilt  # too dear for those who only decide again

    if samples.size < 64:
        return samples
    sos = butter(2, LOWEST_HZ, btype="highpass", fs=RATE_HZ, output="sos")
    pad = min(samples.size - 1, round(0.1 * RATE_HZ))
    return np.asarray(sosfiltfilt(sos, samples.astype(np.float64), padlen=pad), dtype=np.float32)
