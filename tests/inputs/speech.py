"""Clips spoken by free system voices, so that it is known when each sentence is heard."""

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from bench.audio.resample import resample
from bench.audio.silence import trim
from bench.audio.wav import Samples, read_mono, write_wav_16bit

RATE_HZ = 24000

STORY = (
    "The harbour was quiet when the first boats came in.",
    "Nobody had expected them before noon.",
    "A woman in a yellow coat stood at the end of the pier, counting under her breath.",
    "Seven, eight, nine.",
    "She waited for the tenth boat until the lamps were lit, and then she walked home alone.",
    "In the morning it lay at its mooring, as if it had never been away.",
    "Its sails were dry.",
    "The old men of the village still argue about that night, over cards and coffee.",
    "None of them has ever asked the woman what she saw.",
)


@dataclass(frozen=True)
class Spoken:
    """`times[i]` is when sentence i is heard, first sound to last, in seconds."""

    samples: Samples
    rate_hz: int
    sentences: tuple[str, ...]
    times: tuple[tuple[float, float], ...]


@cache
def sentence(voice: str, text: str) -> Samples:
    """One sentence by a flite voice at 24 kHz, from its first sound to its last."""
    with tempfile.TemporaryDirectory() as scratch:
        wav = Path(scratch) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(wav)], check=True)
        samples, rate_hz = read_mono(wav)
    return trim(resample(samples, rate_hz, RATE_HZ), RATE_HZ)


def speak(
    sentences: Sequence[str] = STORY,
    *,
    voices: Sequence[str] = ("rms",),
    pause_s: float = 0.42,
    length_s: float | None = None,
    noise_dbfs: float = -65.0,
    peak: float = 0.5,
) -> Spoken:
    """Speak the sentences with a pause around each, over a little noise; voices take turns.

    `length_s` fills the clip up with noise alone.
    """
    pieces, times, at = [np.zeros(round(pause_s * RATE_HZ), np.float32)], [], pause_s
    for index, text in enumerate(sentences):
        said = sentence(voices[index % len(voices)], text)
        said = said * np.float32(peak / np.abs(said).max())
        times.append((at, at + said.size / RATE_HZ))
        pieces += [said, np.zeros(round(pause_s * RATE_HZ), np.float32)]
        at = sum(piece.size for piece in pieces) / RATE_HZ
    samples = np.concatenate(pieces)
    if length_s is not None:
        samples = np.pad(samples, (0, round(length_s * RATE_HZ) - samples.size))
    noise = np.random.default_rng(7).normal(0.0, 10 ** (noise_dbfs / 20), samples.size)
    return Spoken((samples + noise).astype(np.float32), RATE_HZ, tuple(sentences), tuple(times))


def clock(seconds: float, comma: str = ".") -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes // 60):02d}:{int(minutes % 60):02d}:{rest:06.3f}".replace(".", comma)


def vtt(spoken: Spoken, *, off_s: Sequence[float] = (0.0,)) -> str:
    """WebVTT, each sentence a cue; `off_s` shifts the cues' edges in turn, as a hasty editor does."""
    cues = []
    for index, (text, (start, end)) in enumerate(zip(spoken.sentences, spoken.times, strict=True)):
        shift = off_s[index % len(off_s)]
        cues.append(f"{clock(max(0.0, start + shift))} --> {clock(end + shift)}\n{text}\n")
    return "WEBVTT\n\n" + "\n".join(cues)


def rights_for(audio: Path, **changes: object) -> str:
    statement = {
        "speaker": "flite voice rms (synthetic)",
        "source": "spoken by flite for a test",
        "licence": "as flite's own",
        "attestation": {"who": "the test", "date": "2026-01-05", "statement": "A synthetic voice."},
        "sha256": hashlib.sha256(audio.read_bytes()).hexdigest(),
        "may_publish_clips": True,
    } | changes
    return yaml.safe_dump({key: value for key, value in statement.items() if value is not None})


def files(
    folder: Path, spoken: Spoken, transcript: str | None = None, *, suffix: str = ".vtt", **rights: object
) -> tuple[Path, Path, Path]:
    """Write the three files of a reference."""
    audio, text, statement = folder / "clip.wav", folder / f"clip{suffix}", folder / "rights.yml"
    write_wav_16bit(audio, spoken.samples, spoken.rate_hz)
    text.write_text(vtt(spoken) if transcript is None else transcript)
    statement.write_text(rights_for(audio, **rights))
    return audio, text, statement
