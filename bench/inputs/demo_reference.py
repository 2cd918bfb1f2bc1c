"""Make the demo's reference: a synthetic voice, so that no real person's is shipped.

flite's `rms` speaks five sentences; the pauses between them are ours, so the cue times are exact.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bench.audio.silence import trim
from bench.audio.wav import Samples, encode_wav_16bit, read_mono
from bench.errors import AuditionError
from bench.storage.atomic import write_atomically
from bench.storage.digests import sha256_bytes

VOICE = "rms"
"""Not the voice in which the demo's baseline speaks by itself."""

SENTENCES = (
    "Every letter that leaves this office is read by two people.",
    "The first one checks the names and the numbers.",
    "The second one only listens, because a letter should sound like someone talking.",
    "If either of them frowns, we begin again.",
    "That is why our post is slow, and why people keep it.",
)

_PAUSE_S = 0.4
_PEAK = 0.5
_NOISE_DBFS = -70.0

_RIGHTS = """\
speaker: flite voice {voice} (synthetic)
source: >-
  Spoken by the flite program of this machine when the demo was set up. Its voice {voice} is a statistical
  model that Carnegie Mellon University built from recordings of its CMU ARCTIC corpus,
  http://www.festvox.org/cmu_arctic/
licence: >-
  Carnegie Mellon University's permissive licence of flite and its voices (use and distribution without
  restriction, its notice kept); Debian keeps the text in /usr/share/doc/libflite1/copyright
attestation:
  who: Audition's demo set-up
  date: "{made}"
  statement: >-
    No recording of a person is used: the clip is synthesised by a voice that its makers published for any
    use, and this statement rests on their licence alone.
expires: null
sha256: {sha256}
may_publish_clips: true
"""
_WRITTEN_ON = "2026-11-22"
"""When this statement was written: a date of the day of set-up would change the file each day."""


def make(folder: Path) -> tuple[Path, Path, Path]:
    """Write `demo.wav`, `demo.vtt` and `demo.rights.yml` into `folder` and return their paths.

    The same flite gives the same bytes; a file that holds them already is left alone.

    Raises:
        AuditionError: flite is not installed, or speaks nothing.
    """
    pieces: list[Samples] = []
    cues = ["WEBVTT\n"]
    at_s = _PAUSE_S
    rate_hz = 0
    for sentence in SENTENCES:
        said, rate_hz = say(sentence)
        pause = np.zeros(round(_PAUSE_S * rate_hz), np.float32)
        end_s = at_s + said.size / rate_hz
        cues.append(f"{_clock(at_s)} --> {_clock(end_s)}\n{sentence}\n")
        pieces += [said, pause]
        at_s = end_s + _PAUSE_S
    samples = np.concatenate([np.zeros(round(_PAUSE_S * rate_hz), np.float32), *pieces])
    samples *= np.float32(_PEAK / np.abs(samples).max())
    # A recording has a floor; digital silence between words is what only a synthesiser leaves.
    samples += np.random.default_rng(0).normal(0.0, 10 ** (_NOISE_DBFS / 20), samples.size).astype(np.float32)
    audio = encode_wav_16bit(samples, rate_hz)
    rights = _RIGHTS.format(voice=VOICE, made=_WRITTEN_ON, sha256=sha256_bytes(audio))
    files = {"demo.wav": audio, "demo.vtt": "\n".join(cues).encode(), "demo.rights.yml": rights.encode()}
    for name, data in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)
    return folder / "demo.wav", folder / "demo.vtt", folder / "demo.rights.yml"


def say(text: str, voice: str = VOICE) -> tuple[Samples, int]:
    """Speak with a voice of flite's; return samples, shape (n,), without silence around them, and the rate in Hz.

    Raises:
        AuditionError: flite is not installed, or speaks nothing.
    """
    with tempfile.TemporaryDirectory(prefix="audition-") as scratch:
        wav = Path(scratch) / "said.wav"
        try:
            done = subprocess.run(
                ["flite", "-voice", voice, "-t", text, "-o", str(wav)], capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise AuditionError(
                "flite is not installed; install it (Debian: flite) and try again."
            ) from error
        if done.returncode != 0 or not wav.is_file():
            raise AuditionError(f"flite failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
        samples, rate_hz = read_mono(wav)
    return trim(samples, rate_hz, keep_s=0.01), rate_hz


def _clock(seconds: float) -> str:
    return f"00:{int(seconds // 60):02d}:{seconds % 60:06.3f}"
