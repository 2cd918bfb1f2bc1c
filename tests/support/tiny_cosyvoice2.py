"""Writes a CosyVoice 2 with random weights, tiny or of full size: upstream's own classes, in the layout of its weights.

Run by the interpreter of the test environment: `python -m tests.support.tiny_cosyvoice2 DIR [--full-size]`. The layout
below DIR is that of the store of weights. It says nothing that anyone could understand, and never ends of itself:
upstream stops it at 20 speech tokens a text token, 0.8 s for each word of `WORDS`.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

REPO = "FunAudioLLM/CosyVoice2-0.5B"
REVISION = "0" * 40
WORDS = (
    "good", "morning", "how", "did", "you", "sleep", "last", "night", "we", "should", "leave", "before", "rain",
    "again", "this", "evening", "do", "you", "agree",
)  # fmt: skip
"""Each is one token of the text, with a space or a capital before it too."""
S_PER_WORD = 0.8
_TINY = {
    "hidden": 64, "mlp": 128, "layers": 2, "heads": 4, "vocabulary": 2048, "units": 64, "blocks": 1, "channels": 32,
    "n_blocks": 1, "mid_blocks": 1, "head_dim": 16, "flow_heads": 2, "base": 32,
}  # fmt: skip
_FULL = {
    "hidden": 896, "mlp": 4864, "layers": 24, "heads": 14, "vocabulary": 151936, "units": 2048, "blocks": 6,
    "channels": 256, "n_blocks": 4, "mid_blocks": 12, "head_dim": 64, "flow_heads": 8, "base": 512,
}  # fmt: skip
"""The sizes of the published model. The encoder's 512 channels are fixed in its code."""


def pinned(root: Path) -> dict[str, Path]:
    """Return what an adapter is given of the store `root`."""
    return {REPO: root / REPO.replace("/", "--") / REVISION}


def text(words: int, start: int = 0) -> str:
    """Return a sentence of so many text tokens, its full stop included: `words` times 0.8 s of speech. Another `start`
    gives another one."""
    said = [WORDS[(start + n) % len(WORDS)] for n in range(words - 1)]
    return " ".join(said).capitalize() + "."


def build(root: Path, *, full_size: bool = False, seed: int = 7, says: str = "") -> Path:
    """Write all files that the adapter reads below `root`; return their folder. The words of `says` are a token each
    too: of others, every few letters are one, and 0.8 s long."""
    from hyperpyyaml import load_hyperpyyaml
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from bench.serving.cosyvoice2.package import torch

    sizes = _FULL if full_size else _TINY
    folder = pinned(root)[REPO]
    blank = folder / "CosyVoice-BlankEN"
    blank.mkdir(parents=True, exist_ok=True)
    _tokenizer(blank, [*WORDS, *re.findall(r"\w+", says.lower())])
    torch.manual_seed(seed)
    config = Qwen2Config(
        architectures=["Qwen2ForCausalLM"], hidden_size=sizes["hidden"], intermediate_size=sizes["mlp"],
        num_hidden_layers=sizes["layers"], num_attention_heads=sizes["heads"], num_key_value_heads=2,
        vocab_size=sizes["vocabulary"], rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=True,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        Qwen2ForCausalLM(config).to(torch.bfloat16 if full_size else torch.float32).save_pretrained(blank)
    (folder / "cosyvoice2.yaml").write_text(_recipe(sizes), encoding="utf-8")
    with (folder / "cosyvoice2.yaml").open(encoding="utf-8") as stream:
        parts = load_hyperpyyaml(stream, overrides={"qwen_pretrain_path": str(blank)})
    _lively(parts["llm"], parts["hift"], loud=not full_size)
    for name in ("llm", "flow", "hift"):
        torch.save(parts[name].state_dict(), folder / f"{name}.pt")
    _encoders(folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # a container's user must read them
    return folder


def _lively(llm: Any, hift: Any, *, loud: bool) -> None:
    """Give random weights what real ones have: a peaked choice of tokens, and a voice that can be heard.

    At full size the vocoder stays as it was initialised but for its level: what makes the tiny one heard makes it clip.
    """
    from bench.serving.cosyvoice2.package import torch

    with torch.no_grad():
        llm.llm_decoder.weight.normal_(0.0, 4.5 * llm.llm_decoder.in_features**-0.5)
        llm.llm_decoder.bias.zero_()
        llm.llm_decoder.bias[llm.speech_token_size :] = -1e4
        if not loud:
            bins = hift.istft_params["n_fft"] // 2 + 1
            hift.conv_post.bias[:bins] += 1.0  # of the logarithm
            return
        for weight in hift.parameters():
            if weight.dim() > 1 and weight.std() < 0.02:
                weight.mul_(0.02 / (weight.std() + 1e-9))


def _tokenizer(folder: Path, words: Sequence[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    corpus = [f"{word} {word} {word.capitalize()}" for word in words]
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.model.save(str(folder))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 32768}))


def _recipe(sizes: dict[str, int]) -> str:
    """Return the parts of cosyvoice2.yaml that speaking needs, and two of training's, with these sizes."""

    def tagged(kind: str, name: str, **arguments: Any) -> Any:
        return _Tagged(f"!{kind}:{name}", arguments)

    mel = {"n_fft": 1920, "num_mels": 80, "sampling_rate": 24000, "hop_size": 480, "win_size": 1920,
           "fmin": 0, "fmax": 8000, "center": False}  # fmt: skip
    encoder = tagged(
        "new", "cosyvoice.transformer.upsample_encoder.UpsampleConformerEncoder", output_size=512, attention_heads=8,
        linear_units=sizes["units"], num_blocks=sizes["blocks"], dropout_rate=0.1, positional_dropout_rate=0.1,
        attention_dropout_rate=0.1, normalize_before=True, input_layer="linear", pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn", input_size=512, use_cnn_module=False, macaron_style=False,
        static_chunk_size=25,
    )  # fmt: skip
    estimator = tagged(
        "new", "cosyvoice.flow.decoder.CausalConditionalDecoder", in_channels=320, out_channels=80,
        channels=[sizes["channels"]], dropout=0.0, attention_head_dim=sizes["head_dim"], n_blocks=sizes["n_blocks"],
        num_mid_blocks=sizes["mid_blocks"], num_heads=sizes["flow_heads"], act_fn="gelu", static_chunk_size=50,
        num_decoding_left_chunks=-1,
    )  # fmt: skip
    solver = tagged("new", "omegaconf.DictConfig", content={
        "sigma_min": 1e-06, "solver": "euler", "t_scheduler": "cosine", "training_cfg_rate": 0.2,
        "inference_cfg_rate": 0.7, "reg_loss_type": "l1"})  # fmt: skip
    parts = {
        "__set_seed1": _Tagged("!apply:torch.manual_seed", [1986]),
        "sample_rate": 24000,
        "qwen_pretrain_path": "",
        "llm": tagged(
            "new", "cosyvoice.llm.llm.Qwen2LM", llm_input_size=sizes["hidden"], llm_output_size=sizes["hidden"],
            speech_token_size=6561, length_normalized_loss=True, lsm_weight=0, mix_ratio=[5, 15],
            llm=tagged("new", "cosyvoice.llm.llm.Qwen2Encoder", pretrain_path=_Tagged("!ref", "<qwen_pretrain_path>")),
            sampling=tagged("name", "cosyvoice.utils.common.ras_sampling", top_p=0.8, top_k=25, win_size=10, tau_r=0.1),
        ),
        "flow": tagged(
            "new", "cosyvoice.flow.flow.CausalMaskedDiffWithXvec", input_size=512, output_size=80, spk_embed_dim=192,
            output_type="mel", vocab_size=6561, input_frame_rate=25, only_mask_loss=True, token_mel_ratio=2,
            pre_lookahead_len=3, encoder=encoder,
            decoder=tagged(
                "new", "cosyvoice.flow.flow_matching.CausalConditionalCFM", in_channels=240, n_spks=1, spk_emb_dim=80,
                cfm_params=solver, estimator=estimator,
            ),
        ),
        "hift": tagged(
            "new", "cosyvoice.hifigan.generator.HiFTGenerator", in_channels=80, base_channels=sizes["base"],
            nb_harmonics=8, sampling_rate=24000, nsf_alpha=0.1, nsf_sigma=0.003, nsf_voiced_threshold=10,
            upsample_rates=[8, 5, 3], upsample_kernel_sizes=[16, 11, 7], istft_params={"n_fft": 16, "hop_len": 4},
            resblock_kernel_sizes=[3, 7, 11], resblock_dilation_sizes=[[1, 3, 5]] * 3,
            source_resblock_kernel_sizes=[7, 7, 11], source_resblock_dilation_sizes=[[1, 3, 5]] * 3, lrelu_slope=0.1,
            audio_limit=0.99,
            f0_predictor=tagged(
                "new", "cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor", num_class=1, in_channels=80,
                cond_channels=sizes["base"],
            ),
        ),
        "get_tokenizer": tagged(
            "name", "cosyvoice.tokenizer.tokenizer.get_qwen_tokenizer",
            token_path=_Tagged("!ref", "<qwen_pretrain_path>"), skip_special_tokens=True,
        ),
        "allowed_special": "all",
        "parquet_opener": tagged("name", "cosyvoice.dataset.processor.parquet_opener"),
        "compute_f0": tagged("name", "cosyvoice.dataset.processor.compute_f0", sample_rate=24000, hop_size=480),
        "feat_extractor": tagged("name", "matcha.utils.audio.mel_spectrogram", **mel),
    }  # fmt: skip
    return yaml.dump(parts, Dumper=_Dumper, sort_keys=False)


class _Tagged:
    """A value with one of HyperPyYAML's tags."""

    def __init__(self, tag: str, value: Any) -> None:
        self.tag, self.value = tag, value


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _tagged(dumper: yaml.SafeDumper, data: _Tagged) -> yaml.Node:
    if isinstance(data.value, str):
        return dumper.represent_scalar(data.tag, data.value)
    if isinstance(data.value, list):
        return dumper.represent_sequence(data.tag, data.value)
    return dumper.represent_mapping(data.tag, data.value)


_Dumper.add_representer(_Tagged, _tagged)


def _encoders(folder: Path) -> None:
    """Write two graphs with the inputs and outputs of the speaker encoder and the speech tokenizer, and some sense:
    another clip gives another speaker and other tokens, 25 a second."""
    import onnx
    from onnx import TensorProto, helper

    def node(kind: str, ins: list[str], out: str, **attributes: Any) -> Any:
        return helper.make_node(kind, ins, [out], **attributes)

    def whole(name: str, *values: int) -> Any:
        return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)

    def tensor(name: str, kind: int, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def save(nodes: list[Any], name: str, ins: list[Any], out: Any, constants: list[Any]) -> None:
        graph = helper.make_graph(nodes, name, ins, [out], constants)
        opset = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / f"{name}.onnx")

    save(
        [node("ReduceMean", ["x", "axis"], "mean", keepdims=0), node("Concat", ["mean"] * 3, "long", axis=1),
         node("Slice", ["long", "from", "to", "one"], "y")],
        "campplus", [tensor("x", TensorProto.FLOAT, 1, "t", 80)], tensor("y", TensorProto.FLOAT, 1, 192),
        [whole("axis", 1), whole("from", 0), whole("to", 192), whole("one", 1)],
    )  # fmt: skip
    save(
        [node("ReduceMean", ["feats", "axis"], "mean", keepdims=0),
         node("Slice", ["mean", "from", "end", "one", "four"], "fourth"), node("Mul", ["fourth", "many"], "wide"),
         node("Abs", ["wide"], "positive"), node("Cast", ["positive"], "counts", to=TensorProto.INT32),
         node("Mod", ["counts", "tokens"], "rest"), node("Mul", ["length", "nothing"], "none"),
         node("Add", ["rest", "none"], "ids")],
        "speech_tokenizer_v2",
        [tensor("feats", TensorProto.FLOAT, 1, 128, "t"), tensor("length", TensorProto.INT32, 1)],
        tensor("ids", TensorProto.INT32, 1, "u"),
        [whole("axis", 1), whole("from", 0), whole("end", 1 << 30), whole("one", 1), whole("four", 4),
         helper.make_tensor("many", TensorProto.FLOAT, [1], [1e5]),
         helper.make_tensor("tokens", TensorProto.INT32, [1], [6561]),
         helper.make_tensor("nothing", TensorProto.INT32, [1], [0])],
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--says", default="")
    options = parser.parse_args()
    build(options.root, full_size=options.full_size, says=options.says)
