"""Writes a Chatterbox with random weights, tiny or of full size: upstream's own classes, in the layout of its weights.

Run by the interpreter of the test environment: `python -m tests.support.tiny_chatterbox DIR [--full-size]`. The layout
below DIR is that of the store of weights. It says nothing that anyone could understand, and never ends of itself: the
adapters here end an utterance after so many tokens for each word. Upstream fixes its sizes in its code, so whoever
loads a tiny one does it through `Tiny`.
"""

import argparse
import inspect
from functools import partial
from pathlib import Path
from typing import Any

from bench.serving.adapter import LoadedInfo
from bench.serving.chatterbox import adapter
from bench.serving.chatterbox.package import torch, tts
from tests.support.chatterbox_words import REVISION, TOKENS_PER_WORD, WORDS, text

__all__ = ["REPO", "FullSize", "Tiny", "build", "pinned", "shrink", "text"]

REPO = adapter.REPO


class FullSize(adapter.Chatterbox):
    """The adapter as it is, but that an utterance ends after `TOKENS_PER_WORD` for each word."""

    def most_tokens(self, text_tokens: Any) -> int:
        """See the class: words, the spaces between them and a full stop, and the marks of begin and end."""
        tokens: int = text_tokens.shape[1]
        return (tokens - 2) * TOKENS_PER_WORD // 2


class Tiny(FullSize):
    """The same for weights that `build` made tiny."""

    def load(self, profile: Any, weights: Any) -> LoadedInfo:
        """Make upstream's classes tiny first, for the whole process."""
        shrink()
        return super().load(profile, weights)


def shrink() -> None:
    """Have upstream make small models, in this process: the widths that its code fixes stay."""
    from chatterbox.models.s3gen import s3gen
    from chatterbox.models.t3 import llama_configs
    from s3tokenizer.model_v2 import S3TokenizerV2

    llama_configs.LLAMA_520M_CONFIG_DICT.update(num_hidden_layers=2, intermediate_size=256)
    config = inspect.signature(S3TokenizerV2.__init__).parameters["config"].default
    config.n_audio_layer = 1
    sizes: dict[str, dict[str, Any]] = {
        "ConditionalDecoder": {
            "n_blocks": 1, "num_mid_blocks": 1, "channels": [32], "attention_head_dim": 16, "num_heads": 2,
        },
        "UpsampleConformerEncoder": {"num_blocks": 1, "linear_units": 64},
        "HiFTGenerator": {"base_channels": 32},
    }  # fmt: skip
    for name, small in sizes.items():
        made = getattr(s3gen, name)
        if not isinstance(made, _Small):
            setattr(s3gen, name, _Small(made, **small))


class _Small(partial[Any]):
    """A class whose arguments are others than the caller's."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.func(*arguments, **{**named, **self.keywords})


def pinned(root: Path) -> dict[str, Path]:
    """Return what an adapter is given of the store `root`."""
    return {REPO: root / REPO.replace("/", "--") / REVISION}


def build(root: Path, *, full_size: bool = False, seed: int = 7) -> Path:
    """Write all files that the adapter reads below `root`; return their folder."""
    import soundfile
    from safetensors.torch import save_file

    from tests.support.voiced import voiced

    if not full_size:
        shrink()
    folder = pinned(root)[REPO]
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(folder / "tokenizer.json")
    torch.manual_seed(seed)
    t3, s3gen, voice = tts.T3(), tts.S3Gen(), tts.VoiceEncoder()
    _lively(t3, s3gen)
    if full_size:
        _quieter(s3gen.mel2wav)
    for name, part in (("t3_cfg", t3), ("s3gen", s3gen), ("ve", voice)):
        state = {key: value.contiguous().clone() for key, value in part.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
    package = tts.ChatterboxTTS.from_local(folder, "cuda" if torch.cuda.is_available() else "cpu")
    clip = root / "builtin.wav"
    soundfile.write(clip, voiced(6.0, pitch_hz=110.0), 24000, subtype="PCM_16")
    package.prepare_conditionals(str(clip))
    package.conds.to("cpu").save(folder / "conds.pt")
    for path in folder.rglob("*"):
        path.chmod(0o644)  # a container's user must read them
    return folder


def _lively(t3: Any, s3gen: Any) -> None:
    """Give random weights what real ones have: a peaked choice of tokens, and a voice that can be heard."""
    with torch.no_grad():
        t3.speech_head.weight.normal_(0.0, 3.5 * t3.dim**-0.5)
        t3.speech_head.weight[6561:] = 0.0  # far below the best, so min-p leaves them out
        for weight in s3gen.mel2wav.parameters():
            if weight.dim() > 1 and weight.std() < 0.02:
                weight.mul_(0.02 / (weight.std() + 1e-9))


def _quieter(vocoder: Any) -> None:
    """Give every magnitude one value: at full size a tenth of the samples would stand at full scale, a failed take."""
    bins = vocoder.istft_params["n_fft"] // 2 + 1
    with torch.no_grad():
        vocoder.conv_post.parametrizations.weight.original0[:bins] = 0.0
        vocoder.conv_post.bias[:bins] = -0.9  # e^-0.9 = 0.4


def _tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    letters = "abcdefghijklmnopqrstuvwxyz"
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["[STOP]", "[UNK]", "[SPACE]", "[START]"],
        initial_alphabet=[*letters, *letters.upper(), *",.!?'-"],
    )  # fmt: skip
    tokenizer.train_from_iterator(
        [f"{word} {word} {word.capitalize()} {word.capitalize()}" for word in WORDS], trainer
    )
    tokenizer.save(str(path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--full-size", action="store_true")
    options = parser.parse_args()
    build(options.root, full_size=options.full_size)
