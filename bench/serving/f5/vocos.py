"""Vocos of local files, without the package's `from_hparams`, which imports and calls whatever a YAML file names.

The values are those of config.yaml in charactr/vocos-mel-24khz at 0feb3fd; how wide the layers are the tensors say
themselves, and each of them must fit.
"""

from pathlib import Path
from typing import Any

from vocos import Vocos
from vocos.feature_extractors import MelSpectrogramFeatures
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from bench.serving.f5.package import torch

RATE_HZ, N_FFT, HOP, BANDS = 24000, 1024, 256, 100
PADDING = "center"


def load_vocos(path: Path, device: str) -> Any:
    """Return Vocos with the tensors of `path`, on `device`; nothing in the file but tensors is read.

    Raises:
        RuntimeError, KeyError: the tensors are not Vocos' of these values.
        pickle.UnpicklingError: the file holds something else.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    dim = state["backbone.embed.weight"].shape[0]
    wide = state["backbone.convnext.0.pwconv1.weight"].shape[0]
    layers = sum(name.endswith(".pwconv1.weight") for name in state)
    vocoder = Vocos(
        MelSpectrogramFeatures(
            sample_rate=RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=BANDS, padding=PADDING
        ),
        VocosBackbone(input_channels=BANDS, dim=dim, intermediate_dim=wide, num_layers=layers),
        ISTFTHead(dim=dim, n_fft=N_FFT, hop_length=HOP, padding=PADDING),
    )
    vocoder.load_state_dict(state)
    return vocoder.eval().to(device)
