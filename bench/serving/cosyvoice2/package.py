"""CosyVoice and Matcha-TTS, imported with every route to the network shut and training's packages left out."""

import os

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ[_name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import importlib  # noqa: E402 - after the variables
import logging  # noqa: E402 - after the variables
from functools import lru_cache  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

# diffusers looks for optional packages when it is imported, and must not find what only stands in for one.
import diffusers.models.attention  # noqa: E402, F401
import hyperpyyaml  # noqa: E402, F401
import librosa  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
import torchaudio  # noqa: E402
import transformers  # noqa: E402

from bench.serving.cosyvoice2.standins import standing_in  # noqa: E402

__all__ = ["ABSENT", "AutoModel", "model", "onnxruntime", "torch", "transformers"]


@lru_cache(maxsize=4)
def _mel_filters(bands: int) -> Any:
    return torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=400, n_mels=bands))


def log_mel_spectrogram(audio: Any, n_mels: int = 80) -> Any:
    """Return Whisper's log-mel spectrogram, (batch, n_mels, frames), of 16 kHz audio, (batch, n).

    The same arithmetic as the whisper package's: power of a 25 ms Hann window every 10 ms, its mel bands, their
    logarithm held within 8 of the loudest and scaled.
    """
    window = torch.hann_window(400, device=audio.device)
    power = torch.stft(audio, 400, 160, window=window, return_complex=True)[..., :-1].abs() ** 2
    bands = torch.clamp(_mel_filters(n_mels).to(audio.device) @ power, min=1e-10).log10()
    return (torch.maximum(bands, bands.max() - 8.0) + 4.0) / 4.0


def load_wav(wav: str | Path, target_sr: int, min_sr: int = 16000) -> Any:
    """Return a clip as mono at `target_sr`, (1, n): upstream's `load_wav`, read by soundfile.

    Upstream reads with torchaudio, which since 2.9 needs torchcodec and FFmpeg for it (pull request 1887).
    """
    samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    speech = torch.from_numpy(np.ascontiguousarray(samples.T)).mean(dim=0, keepdim=True)
    if rate != target_sr:
        if rate < min_sr:
            raise ValueError(f"the clip has {rate} Hz and CosyVoice needs at least {min_sr}")
        speech = torchaudio.transforms.Resample(orig_freq=rate, new_freq=target_sr)(speech)
    return speech


_NAMED = (
    "cosyvoice.cli.cosyvoice",
    "cosyvoice.dataset.processor",
    "cosyvoice.flow.decoder",
    "cosyvoice.flow.flow_matching",
    "cosyvoice.hifigan.discriminator",
    "cosyvoice.hifigan.f0_predictor",
    "cosyvoice.hifigan.hifigan",
    "cosyvoice.tokenizer.tokenizer",
    "cosyvoice.transformer.upsample_encoder",
    "matcha.hifigan.models",
    "matcha.utils.audio",
)
"""All that cosyvoice2.yaml names: imported while training's packages are stood in for, and not when it is loaded."""
_level, _handlers = logging.root.level, list(logging.root.handlers)
with standing_in(log_mel_spectrogram) as ABSENT:
    for _name in _NAMED:
        importlib.import_module(_name)
    from cosyvoice.cli import cosyvoice as cli
    from cosyvoice.cli import frontend, model
    from cosyvoice.cli.cosyvoice import AutoModel
    from cosyvoice.utils import file_utils
# Upstream's file_utils sets the root logger to DEBUG, for every library in the process.
logging.root.setLevel(_level)
logging.root.handlers[:] = _handlers
frontend.load_wav = file_utils.load_wav = load_wav
cli.tqdm = iter  # a progress bar for every request
