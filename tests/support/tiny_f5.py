"""Builds a tiny F5-TTS checkpoint and a tiny Vocos: the package's own classes, random weights, one CPU core.

Run by the interpreter of the F5-TTS test environment: `python -m tests.support.tiny_f5 DIR`. The layout below
DIR is that of the store of weights. The network says nothing that anyone could understand; every path of
the package is gone through as with the real weights.
"""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

ARCH: dict[str, Any] = {
    "dim": 64,
    "depth": 2,
    "heads": 2,
    "dim_head": 32,
    "ff_mult": 2,
    "text_dim": 32,
    "conv_layers": 1,
}
"""For the profile's `arch`."""
REVISION = "0" * 40
CHECKPOINT = f"SWivid--F5-TTS/{REVISION}/F5TTS_v1_Base/model_1250000.safetensors"
VOCODER = f"charactr--vocos-mel-24khz/{REVISION}"


def pinned(root: Path) -> dict[str, Path]:
    """Return what an adapter is given of the store `root`: each repository's folder at `REVISION`."""
    return {
        "SWivid/F5-TTS": root / "SWivid--F5-TTS" / REVISION,
        "charactr/vocos-mel-24khz": root / VOCODER,
    }


def build(root: Path, *, overflow: bool = False, seed: int = 7) -> None:
    """Write `CHECKPOINT` and Vocos below `root`, as in a store of weights.

    `overflow` scales a layer so that its activations exceed float16 and nothing else: what the retry in
    float32 is for.
    """
    from bench.serving.f5.package import DiT, torch

    torch.manual_seed(seed)
    model = DiT(**ARCH, text_num_embeds=_vocabulary(), mel_dim=100)
    with torch.no_grad():
        for tensor in model.parameters():
            if not tensor.any():  # the zero-initialised layers would make the flow, hence the output, nothing
                tensor.normal_(0.0, 0.05)
        if overflow:
            model.input_embed.proj.weight.mul_(3e5)
            model.input_embed.proj.bias.mul_(3e5)
    _save(model, root / CHECKPOINT)
    _vocos(root / VOCODER, voice=True, dim=32, intermediate_dim=64, num_layers=2)


def build_full_size(root: Path, *, seed: int = 7) -> None:
    """Write F5TTS_v1_Base and Vocos at their real sizes with random weights, which take the same time."""
    from bench.serving.f5.adapter import _packaged_arch
    from bench.serving.f5.package import DiT, torch

    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = DiT(**_packaged_arch(), text_num_embeds=_vocabulary(), mel_dim=100)
    with torch.no_grad():
        for tensor in model.parameters():
            if not tensor.any():
                tensor.normal_(0.0, 0.01)
    _save(model, root / CHECKPOINT)
    _vocos(root / VOCODER, dim=512, intermediate_dim=1536, num_layers=8)


def _vocabulary() -> int:
    from f5_tts.model.utils import get_tokenizer

    return int(get_tokenizer(str(files("f5_tts").joinpath("infer/examples/vocab.txt")), "custom")[1])


def _save(model: Any, path: Path) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"ema_model.transformer.{k}": v.contiguous().cpu() for k, v in model.state_dict().items()}
    save_file(state, path)
    path.chmod(0o644)  # safetensors writes for its owner alone; a container's user must read it


def _vocos(root: Path, *, voice: bool = False, **widths: int) -> None:
    """Write a vocoder; with `voice` one that hums at 93.75 Hz whatever it is given, for only a voice can be aligned.

    Each frame is then a click with the spectrum of a vowel, and the frames stand 256 samples apart.
    """
    from vocos import Vocos
    from vocos.feature_extractors import MelSpectrogramFeatures
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    from bench.serving.f5.package import torch

    root.mkdir(parents=True, exist_ok=True)
    mel = MelSpectrogramFeatures(sample_rate=24000, n_fft=1024, hop_length=256, n_mels=100, padding="center")
    head = ISTFTHead(dim=widths["dim"], n_fft=1024, hop_length=256, padding="center")
    vocoder = Vocos(mel, VocosBackbone(input_channels=100, **widths), head)
    if voice:
        out = vocoder.head.out
        bins = torch.arange(out.out_features // 2)
        with torch.no_grad():
            out.weight[len(bins) :] *= 0.1
            out.bias[: len(bins)] = 1.5 - bins / 60.0  # of the logarithm
            out.bias[len(bins) :] = torch.pi * (
                bins % 2
            )  # a click in the middle of the frame, where its window is 1
    torch.save(vocoder.state_dict(), root / "pytorch_model.bin")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--full-size", action="store_true")
    options = parser.parse_args()
    (build_full_size if options.full_size else build)(options.root)
