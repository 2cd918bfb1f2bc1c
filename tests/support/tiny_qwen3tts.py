"""Writes a Qwen3-TTS with random weights, tiny or of full size: upstream's own classes, in the layout of its weights.

Run by the interpreter of the test environment: `python -m tests.support.tiny_qwen3tts DIR [--size 1.7b] [--tiny]`. The
layout below DIR is that of the store of weights. It says nothing that anyone could understand, and never ends of
itself: the adapters here end an utterance after so many frames for each word. All sizes are in its config.json, so
upstream's classes read a tiny one as they read a real one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bench.serving.qwen3tts import adapter
from bench.serving.qwen3tts.package import torch
from tests.support.chatterbox_words import REVISION, S_PER_WORD, WORDS, text

__all__ = ["FRAMES_PER_WORD", "REPOS", "SIZES", "FullSize", "Tiny", "build", "pinned", "text"]

REPOS = {"0.6b": adapter.REPOS[0], "1.7b": adapter.REPOS[1]}
FRAMES_PER_WORD = round(S_PER_WORD * adapter.FRAMES_PER_S)
BASE = {"codec_bos_id": 2149, "codec_eos_token_id": 2150, "codec_think_id": 2154, "codec_nothink_id": 2155,
        "codec_pad_id": 2148, "codec_think_bos_id": 2156, "codec_think_eos_id": 2157, "vocab_size": 3072,
        "codec_language_id": {"chinese": 2055, "english": 2050}, "num_code_groups": 16, "rope_theta": 1000000,
        "spk_id": {}, "spk_is_dialect": {}}  # fmt: skip
"""Of the talker, as the published models have it."""
SIZES: dict[str, dict[str, Any]] = {
    # As docs/RESEARCH-QWEN3TTS.md says of the published config.json.
    "0.6b": {"hidden_size": 1024, "intermediate_size": 3072},
    "1.7b": {"hidden_size": 2048, "intermediate_size": 6144},
}


class FullSize(adapter.Qwen3TTS):
    """The adapter as it is, but that an utterance ends after `FRAMES_PER_WORD` for each word."""

    def most_codes(self, text: str) -> int | None:
        """See the class. The last code that is drawn is not spoken."""
        return len(text.split()) * FRAMES_PER_WORD + 1


class Tiny(FullSize):
    """The same, and its warm-up is short: on a CPU the package takes a tenth of a second for each frame."""

    warm_up_codes = 3


def pinned(root: Path, size: str = "0.6b") -> dict[str, Path]:
    """Return what an adapter is given of the store `root`."""
    return {REPOS[size]: root / REPOS[size].replace("/", "--") / REVISION}


def build(root: Path, size: str = "0.6b", *, full_size: bool = False, seed: int = 7) -> Path:
    """Write all files that the adapter reads below `root`, in the place of the published model of that size; return
    their folder."""
    from qwen_tts.core import Qwen3TTSTokenizerV2Config, Qwen3TTSTokenizerV2Model
    from qwen_tts.core.models import Qwen3TTSConfig, Qwen3TTSForConditionalGeneration

    folder = pinned(root, size)[REPOS[size]]
    codec_folder = folder / "speech_tokenizer"
    codec_folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    dtype = torch.bfloat16 if full_size else torch.float32
    model_config, codec_config = _configs(size if full_size else None, _tokenizer(folder))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = Qwen3TTSForConditionalGeneration(Qwen3TTSConfig(**model_config))
        codec = Qwen3TTSTokenizerV2Model(Qwen3TTSTokenizerV2Config(**codec_config))
    _lively(model.talker, codec)
    _audible(codec)
    model.to(dtype).save_pretrained(folder, safe_serialization=True)
    codec.save_pretrained(codec_folder, safe_serialization=True)
    # As published, and not what transformers writes, which upstream's own class does not read.
    _write(folder / "config.json", model_config)
    _write(codec_folder / "config.json", codec_config)
    said = {"do_sample": True, "repetition_penalty": 1.05, "temperature": 0.9, "top_p": 1.0, "top_k": 50,
            "subtalker_dosample": True, "subtalker_temperature": 0.9, "subtalker_top_p": 1.0, "subtalker_top_k": 50,
            "max_new_tokens": 8192}  # fmt: skip
    _write(folder / "generation_config.json", said)
    _write(
        folder / "preprocessor_config.json", {"processor_class": "Qwen3TTSProcessor", "padding_side": "left"}
    )
    feature = {"feature_extractor_type": "EncodecFeatureExtractor", "feature_size": 1, "sampling_rate": 24000,
               "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}  # fmt: skip
    _write(codec_folder / "preprocessor_config.json", feature)
    _write(codec_folder / "configuration.json", {"framework": "pytorch"})
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # a container's user must read them
    return folder


def _configs(size: str | None, texts: dict[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the model's and its codec's config.json; `size` null is tiny; `texts` is what the tokenizer says of
    itself."""
    if size:
        heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
        turn = [24, 20, 20]
        talker = (
            heads
            | SIZES[size]
            | {"num_hidden_layers": 28, "text_hidden_size": 2048, "text_vocab_size": 151936}
        )
        predictor = heads | {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 5}
        speaker: dict[str, Any] = {}
        encoder: dict[str, Any] = {}
        decoder: dict[str, Any] = {
            "hidden_size": 512, "intermediate_size": 1024, "head_dim": 64, "latent_dim": 1024, "codebook_dim": 512,
        }  # fmt: skip
    else:
        # The talker's width is not the predictor's, as in the 1.7B model.
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
        turn = [4, 2, 2]
        talker = heads | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "text_hidden_size": 48,
                          "text_vocab_size": texts["size"]}  # fmt: skip
        predictor = heads | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        speaker = {"enc_channels": [32, 32, 32, 32, 96], "enc_attention_channels": 16, "enc_se_channels": 16}
        encoder = {"hidden_size": 32, "num_filters": 4, "codebook_dim": 16, "num_hidden_layers": 1, "head_dim": 16,
                   "vector_quantization_hidden_dimension": 16, "intermediate_size": 48, "num_attention_heads": 2,
                   "num_key_value_heads": 2, "upsample_groups": 32}  # fmt: skip
        decoder = {"hidden_size": 32, "intermediate_size": 48, "head_dim": 16, "latent_dim": 32, "codebook_dim": 32,
                   "num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2,
                   "decoder_dim": 64}  # fmt: skip
    shared = {"vocab_size": 2048, "num_code_groups": 16, "rope_theta": 1000000}
    scaling = {"interleaved": True, "mrope_section": turn, "rope_type": "default", "type": "default"}
    model = {
        "architectures": ["Qwen3TTSForConditionalGeneration"], "model_type": "qwen3_tts",
        "tts_model_type": "base", "tts_model_size": "0b6", "tokenizer_type": "qwen3_tts_tokenizer_12hz",
        "talker_config": BASE | talker | {"code_predictor_config": predictor | shared, "rope_scaling": scaling},
        "speaker_encoder_config": speaker | {"enc_dim": talker["hidden_size"]},
        **{key: value for key, value in texts.items() if key != "size"},
    }  # fmt: skip
    codec = {"architectures": ["Qwen3TTSTokenizerV2Model"], "model_type": "qwen3_tts_tokenizer_12hz",
             "encoder_config": encoder | {"_frame_rate": 12.5}, "decoder_config": decoder}  # fmt: skip
    return model, codec


def _lively(talker: Any, codec: Any) -> None:
    """Give random weights what real ones have: a peaked choice of codes, and books that are not all nothing."""
    with torch.no_grad():
        for module in talker.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0.0, module.in_features**-0.5)
        talker.model.text_embedding.weight.normal_(0.0, 0.5)
        for head in (talker.codec_head, *talker.code_predictor.lm_head):
            head.weight.normal_(0.0, 3.5 * head.weight.shape[1] ** -0.5)
        talker.codec_head.weight[2048:] = 0.0  # far below the best, the end among them
        for embedding in (talker.model.codec_embedding, *talker.code_predictor.model.codec_embedding):
            embedding.weight.normal_(0.0, 0.5)
        for name, tensor in (*codec.named_parameters(), *codec.named_buffers()):
            if name.endswith(("embed_sum", "embedding_sum")):
                tensor.normal_()
            elif tensor.dim() > 1 and not tensor.is_nested:
                tensor.mul_(max(1.0, 0.6 * tensor[0].numel() ** -0.5 / (float(tensor.std()) + 1e-9)))


def _audible(codec: Any) -> None:
    """Scale the last layer so that speech is neither silent nor at full scale: either is a failed take."""
    last = codec.decoder.decoder[-1].conv
    codes = torch.randint(0, 2048, (1, 16, 60), device=last.weight.device)
    with torch.no_grad():
        last.weight.mul_(1e-3)
        last.bias.zero_()
        last.weight.mul_(0.1 / float(codec.decoder(codes).std()))


def _tokenizer(folder: Path) -> dict[str, int]:
    """Write the text's tokenizer, Qwen2's of few words; return its size and the ids that config.json names."""
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    vocabulary = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    merges = []
    spoken = [form for word in WORDS for form in (word, f"\u0120{word}", word.capitalize())]
    for word in ("assistant", *spoken):
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                merges.append(f"{word[: end - 1]} {word[end - 1]}")
                vocabulary[word[:end]] = len(vocabulary)
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>")
    ids = {mark: len(vocabulary) + number for number, mark in enumerate(marks)}
    _write(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    added = {
        str(number): {"content": mark, "special": True, "lstrip": False, "rstrip": False, "normalized": False,
                      "single_word": False}
        for mark, number in ids.items()
    }  # fmt: skip
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added, "model_max_length": 131072,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_prefix_space": False,
    })  # fmt: skip
    return {
        "size": len(vocabulary) + len(marks),
        "im_start_token_id": ids["<|im_start|>"],
        "im_end_token_id": ids["<|im_end|>"],
        "tts_pad_token_id": ids["<tts_pad>"],
        "tts_bos_token_id": ids["<tts_text_bos>"],
        "tts_eos_token_id": ids["<tts_text_eod>"],
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--size", choices=SIZES, default="0.6b")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    build(options.root, options.size, full_size=not options.tiny)
