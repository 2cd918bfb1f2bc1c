"""Read the reference's audio: judged by its header first, then decoded whole to mono.

libsndfile reads WAV, FLAC, Ogg, MP3 and more; what it cannot read goes through ffmpeg where that is
installed, with the containers and protocols it may open named, so that no playlist leads it elsewhere.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from bench.audio.levels import is_silent
from bench.audio.wav import Samples
from bench.errors import BadInput
from bench.inputs.track import LevelTrack

MAX_S = 600.0
"""Longest clip that is read. No model here uses more than 30 s; a minute or two leaves a choice."""
MIN_S = 1.0
MIN_RATE_HZ = 8000
SILENT_BELOW_DBFS = -50.0
"""A clip none of whose 10 ms reach this is silent: some packages (f5-tts 1.1.22 among them) cut such a clip
to nothing and then speak noise."""

_MAX_BYTES = 1024**3
_MAX_CHANNELS = 8
_SAME_WAVE = 0.9
_SAME_LEVELS = 0.5
_FFMPEG_TIMEOUT_S = 120
_FFMPEG_FORMATS = "mov,matroska,aac,asf,caf,amr,amrnb,amrwb,aiff,au,mp3,ogg,wav,w64,flac,ac3,wv"


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded clip. `samples` is mono float32 of shape (n,); `channels` is what the file had."""

    samples: Samples
    rate_hz: int
    channels: int
    decoder: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.rate_hz


def read(path: Path) -> Clip:
    """Decode a clip to mono.

    Raises:
        BadInput: missing, empty, no audio, too long (known from the header, before it is decoded), too short,
            of too low a rate, silent, with samples that are no numbers, or with channels that carry different
            sound.
    """
    check_header(path)
    frames, rate_hz, decoder = _decode(path)
    if not np.isfinite(frames).all():
        raise BadInput(f"{path}: holds samples that are not numbers (NaN or infinite); export it again.")
    samples = _mix_to_mono(path, frames, rate_hz)
    clip = Clip(samples, rate_hz, frames.shape[1], decoder)
    if clip.duration_s < MIN_S:
        raise BadInput(f"{path}: {clip.duration_s:.2f} s is too short; record 10 s or more of the voice.")
    if is_silent(samples, rate_hz, SILENT_BELOW_DBFS):
        raise BadInput(
            f"{path}: silent: nothing in it reaches {SILENT_BELOW_DBFS:g} dBFS. Check the microphone and its "
            "level, and record again."
        )
    return clip


def check_header(path: Path) -> None:
    """Refuse what the file's size or header gives away, without decoding it.

    Raises:
        BadInput: missing, empty, or too long, too many channels or too low a rate where libsndfile can tell.
    """
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file; give the recording of the voice to clone.")
    size = path.stat().st_size
    if size == 0:
        raise BadInput(f"{path}: the file is empty; give the recording of the voice to clone.")
    if size > _MAX_BYTES:
        raise BadInput(f"{path}: {size / 1024**3:.1f} GiB; cut the recording to a minute or two.")
    with contextlib.suppress(sf.LibsndfileError):
        header = sf.info(str(path))
        _check_facts(path, header.frames / header.samplerate, header.samplerate, header.channels)


def _decode(path: Path) -> tuple[NDArray[np.float32], int, str]:
    """Return frames of shape (n, channels), the rate and the decoder's name."""
    try:
        sf.info(str(path))
    except sf.LibsndfileError as error:
        return _decode_with_ffmpeg(path, str(error))
    try:
        frames, rate_hz = sf.read(str(path), dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise BadInput(f"{path}: cannot be decoded ({error}); export it again as WAV.") from error
    if frames.shape[0] == 0:
        raise BadInput(f"{path}: holds no samples; record or export it again.")
    return frames, int(rate_hz), "libsndfile"


def _check_facts(path: Path, duration_s: float, rate_hz: int, channels: int) -> None:
    if duration_s > MAX_S:
        raise BadInput(
            f"{path}: {_clock(duration_s)} long, and a reference may have {_clock(MAX_S)} at most; cut it "
            "(and its transcript) to a minute or two of the voice."
        )
    if rate_hz < MIN_RATE_HZ:
        raise BadInput(f"{path}: {rate_hz} Hz is too low a sample rate for speech; give 16 kHz or more.")
    if channels > _MAX_CHANNELS:
        raise BadInput(f"{path}: {channels} channels; give a mono or stereo recording.")


def _decode_with_ffmpeg(path: Path, why: str) -> tuple[NDArray[np.float32], int, str]:
    ffmpeg, ffprobe = shutil.which("ffmpeg"), shutil.which("ffprobe")
    if ffmpeg is None or ffprobe is None:
        raise BadInput(
            f"{path}: not a sound that libsndfile reads ({why}). Convert it to WAV, or install ffmpeg if it "
            "is M4A, AAC, AMR or the sound of a video."
        )
    source = [
        "-protocol_whitelist",
        "file",
        "-format_whitelist",
        _FFMPEG_FORMATS,
        "-i",
        f"file:{path.resolve()}",
    ]
    probed = _run([ffprobe, "-v", "error", "-select_streams", "a:0", "-show_entries",
                   "stream=sample_rate,channels:format=duration", "-of", "json", *source])  # fmt: skip
    try:
        facts = json.loads(probed.stdout)
        stream = facts["streams"][0]
        rate_hz, channels = int(stream["sample_rate"]), int(stream["channels"])
        duration_s = float(facts["format"].get("duration", 0.0))
    except (ValueError, LookupError) as error:
        raise BadInput(
            f"{path}: not a sound file that libsndfile or ffmpeg reads ({why}); give a WAV, FLAC, Ogg, MP3 "
            "or M4A."
        ) from error
    _check_facts(path, duration_s, rate_hz, channels)
    with tempfile.TemporaryDirectory(prefix="audition-") as scratch:
        wav = Path(scratch) / "decoded.wav"
        # A header may not know the length, so the decoder is stopped just past the limit.
        done = _run([ffmpeg, "-v", "error", "-nostdin", *source, "-map", "0:a:0", "-t", f"{MAX_S + 1:g}",
                     "-c:a", "pcm_f32le", "-f", "wav", str(wav)])  # fmt: skip
        if done.returncode != 0 or not wav.is_file():
            raise BadInput(
                f"{path}: ffmpeg cannot decode it: {done.stderr.decode(errors='replace')[-300:].strip()}"
            )
        frames, rate_hz = sf.read(str(wav), dtype="float32", always_2d=True)
    if frames.shape[0] == 0:
        raise BadInput(f"{path}: holds no samples; record or export it again.")
    _check_facts(path, frames.shape[0] / rate_hz, rate_hz, channels)
    return frames, int(rate_hz), "ffmpeg"


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, capture_output=True, timeout=_FFMPEG_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadInput(
            f"{command[-1]}: decoding took over {_FFMPEG_TIMEOUT_S} s; convert it to WAV first."
        ) from error


def _mix_to_mono(path: Path, frames: NDArray[np.float32], rate_hz: int) -> Samples:
    """Average the channels that carry sound, once it is sure that they carry the same.

    Two microphones hear one voice at different times, so their waves need not agree while their levels do;
    then the loudest is taken, as averaging would colour the voice.
    """
    levels = np.sqrt(np.mean(np.square(frames), axis=0, dtype=np.float64))
    heard = frames[:, levels > 0.01 * levels.max()] if levels.max() > 0 else frames[:, :1]
    alike = True
    for other in range(1, heard.shape[1]):
        alike = alike and _correlate(heard[:, 0], heard[:, other]) > _SAME_WAVE
        tracks = [LevelTrack.measure(heard[:, channel], rate_hz).level_db for channel in (0, other)]
        correlation = _correlate(*tracks)
        if not alike and correlation < _SAME_LEVELS:
            raise BadInput(
                f"{path}: channels 1 and {other + 1} carry different sound (their levels correlate by "
                f"{correlation:.2f}), as in the recording of a call with a speaker on each side. Export the "
                "channel with the voice as mono."
            )
    if alike:
        return np.ascontiguousarray(heard.mean(axis=1, dtype=np.float32))
    return np.ascontiguousarray(frames[:, int(levels.argmax())])


def _correlate(one: NDArray[Any], other: NDArray[Any]) -> float:
    if min(one.size, other.size) < 2 or not (one.std() > 0 and other.std() > 0):
        return 1.0
    return float(np.corrcoef(one, other)[0, 1])


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
