"""What CosyVoice of May 2025, as the wheel cosyvoice2-fr-infer 0.1.5 bundles it, lacks of the commit of an engine.

make_cosyvoice2_venv.py puts this file beside the wheel's code in the tests' environment; no engine has it. The rest
is the wheel's: language model, flow, vocoder, `token2wav`, `tts`, the frontend's encoders. (cosyvoice-minicpmo 0.1.0
is as old, and its CosyVoice 2 has no language model and no text frontend.) Of that age, and brought to the commit's
ways here:

- there is no `AutoModel`, and a class takes names of checkpoints;
- a clip is a tensor of 16 kHz, where the commit takes its path and makes the mel from the clip's own rate;
- the text frontend is WeTextProcessing instead of wetext (make_cosyvoice2_venv.py writes the two modules' names);
- the length of a chunk does not grow: the commit doubles it after each, and never resets it, which is the hop leak;
- the end of speech is drawn again while it is too early, where the commit forbids it, and a token that repeats is drawn
  again from all, where the commit leaves it out.
"""

from typing import Any

import torch
from cosyvoice.cli.cosyvoice import CosyVoice2
from cosyvoice.llm.llm import Qwen2LM
from cosyvoice.utils import common, file_utils


def AutoModel(model_dir: str) -> CosyVoice2:  # noqa: N802 - upstream's name
    """Return the model of a folder, with what the commit's has besides."""
    package = CosyVoice2(model_dir, final=True)
    package.frontend.text_frontend = "wetext"
    model = package.model
    model.silent_tokens, model.token_max_hop_len, model.stream_scale_factor = [], 4 * model.token_hop_len, 2
    speak = model.token2wav

    def token2wav(*arguments: Any, **named: Any) -> Any:
        speech = speak(*arguments, **named)
        if named.get("stream"):
            model.token_hop_len = min(
                model.token_max_hop_len, model.token_hop_len * model.stream_scale_factor
            )
        return speech

    model.token2wav = token2wav
    enrol = package.add_zero_shot_spk
    package.add_zero_shot_spk = lambda words, clip, name: enrol(words, file_utils.load_wav(clip, 16000), name)
    return package


def ras_sampling(
    scores: Any, spoken: list[int], sampling: int, top_p: float = 0.8, top_k: int = 25, win_size: int = 10,
    tau_r: float = 0.1,
) -> int:  # fmt: skip
    token = int(common.nucleus_sampling(scores, top_p=top_p, top_k=top_k))
    if spoken[-win_size:].count(token) >= win_size * tau_r:
        scores[token] = -float("inf")
        token = int(common.random_sampling(scores, spoken, sampling))
    return token


def sampling_ids(self: Any, scores: Any, spoken: list[int], sampling: int, ignore_eos: bool = True) -> Any:
    if ignore_eos:
        scores[self.speech_token_size] = -float("inf")
    return torch.tensor(int(self.sampling(scores, spoken, sampling)))


common.ras_sampling = ras_sampling
Qwen2LM.sampling_ids = sampling_ids
