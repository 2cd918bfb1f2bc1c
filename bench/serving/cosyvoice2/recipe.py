"""What cosyvoice2.yaml may construct.

Upstream loads it with HyperPyYAML, which imports and calls whatever a tag names. The file is part of the weights and
pinned by its hash; that it names nothing but the model's own parts is checked all the same, before it is loaded.
"""

from pathlib import Path

import yaml

from bench.errors import BadInput
from bench.text.yaml_nodes import walk_nodes

_NEW = (
    "cosyvoice.flow.decoder.CausalConditionalDecoder",
    "cosyvoice.flow.flow.CausalMaskedDiffWithXvec",
    "cosyvoice.flow.flow_matching.CausalConditionalCFM",
    "cosyvoice.hifigan.discriminator.MultiResSpecDiscriminator",
    "cosyvoice.hifigan.discriminator.MultiResolutionDiscriminator",
    "cosyvoice.hifigan.discriminator.MultipleDiscriminator",
    "cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor",
    "cosyvoice.hifigan.generator.HiFTGenerator",
    "cosyvoice.hifigan.hifigan.HiFiGan",
    "cosyvoice.llm.llm.Qwen2Encoder",
    "cosyvoice.llm.llm.Qwen2LM",
    "cosyvoice.transformer.upsample_encoder.UpsampleConformerEncoder",
    "matcha.hifigan.models.MultiPeriodDiscriminator",
    "omegaconf.DictConfig",
)
_NAME = (
    "cosyvoice.tokenizer.tokenizer.get_qwen_tokenizer",
    "cosyvoice.utils.common.ras_sampling",
    "matcha.utils.audio.mel_spectrogram",
    *(
        f"cosyvoice.dataset.processor.{step}"
        for step in (
            "batch", "compute_f0", "compute_fbank", "compute_whisper_fbank", "filter", "padding", "parquet_opener",
            "parse_embedding", "resample", "shuffle", "sort", "tokenize", "truncate",
        )
    ),
)  # fmt: skip
_APPLY = ("numpy.random.seed", "random.seed", "torch.cuda.manual_seed_all", "torch.manual_seed")
ALLOWED = frozenset(
    ["!ref", *(f"!new:{n}" for n in _NEW), *(f"!name:{n}" for n in _NAME), *(f"!apply:{n}" for n in _APPLY)]
)
"""Every tag of upstream's own cosyvoice2.yaml, from the first one that it published."""
_PLAIN = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "map", "null", "seq", "str")
)


def check(path: Path) -> None:
    """Refuse a recipe that would construct or call anything else.

    Raises:
        BadInput: not YAML, or a tag that is not allowed, with its line.
    """
    try:
        tree = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not YAML: {error}") from error
    if not isinstance(tree, yaml.MappingNode):
        raise BadInput(f"{path}: not a mapping of CosyVoice 2's parts.")
    for node in walk_nodes(tree):
        if node.tag not in _PLAIN and node.tag not in ALLOWED:
            raise BadInput(
                f"{path}:{node.start_mark.line + 1}: {node.tag} is not part of CosyVoice 2; the file is not loaded."
            )
