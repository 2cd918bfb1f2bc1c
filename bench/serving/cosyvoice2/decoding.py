"""CosyVoice 2's language model, a token at a time on a cache of fixed length: on a GPU each token is one CUDA graph.

Upstream runs transformers' Qwen2 for each token: some thousand kernels started one by one, Qwen2's own head over
151,936 words whose result nobody reads, and up to 75 reads of the GPU to draw one token. Here the layers' weights lie
together, a token is one graph of five kernels a layer, and what leaves the GPU is its 25 best candidates. In float32
the logits are those of a full forward pass but for rounding (1e-6), so the same draws give the same tokens.

On a CPU the same arithmetic runs uncaptured, in plain torch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.serving.adapter import SynthesisError
from bench.serving.cosyvoice2 import plain
from bench.serving.cosyvoice2.package import torch
from bench.serving.cosyvoice2.parts import Sizes, choose

BEST = 25
"""Candidates of the nucleus: `top_k` in cosyvoice2.yaml."""
TOP_P = 0.8
WINDOW = 10
"""A token that is among so many before it is drawn again from all but itself: `win_size` and `tau_r` of 0.1."""
CACHE = 2048
"""Places of the cache: prompt and speech together. 30 s of reference and 20 times 80 tokens of text do not fit, but
they would be 64 s of speech for 80 tokens of text."""
_F = torch.nn.functional


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: Any
    qkv: tuple[Any, Any]
    out: Any
    norm_up: Any
    up: Any
    down: Any


class Decoder:
    """Stands for `Qwen2LM.inference_wrapper`'s loop: `begin` reads the prompt, `step` a token."""

    def __init__(self, llm: Any, dtype: Any, cache: int = CACHE) -> None:
        """Take over the weights of a loaded `Qwen2LM`."""
        qwen = llm.llm.model.model
        config = qwen.config
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._width = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._eps = config.rms_norm_eps
        self._places = cache
        self.dtype = dtype
        self._layers = [_layer(each, dtype) for each in qwen.layers]
        self.parts = choose(
            Sizes(
                channels=config.hidden_size,
                up=config.intermediate_size,
                heads=self._heads,
                kv_heads=self._kv_heads,
                head_channels=self._width,
                eps=self._eps,
                dtype=dtype,
                device=llm.speech_embedding.weight.device,
            )
        )
        self._norm = qwen.norm.weight.detach().to(dtype)
        self._head = (llm.llm_decoder.weight.detach().to(dtype), llm.llm_decoder.bias.detach().to(dtype))
        self._speech = llm.speech_embedding.weight.detach().to(dtype)
        self._stop = llm.speech_token_size
        device = self._speech.device
        like = {"device": device, "dtype": dtype}
        # Keys and values side by side, so that one copy keeps both.
        self._cache = torch.zeros(len(self._layers), self._kv_heads, cache, 2, self._width, **like)
        with torch.no_grad():
            cos, sin = qwen.rotary_emb(
                torch.zeros(1, device=device, dtype=torch.float32), torch.arange(cache, device=device)[None]
            )
        # A turn is x cos + roll(x) sin, the sine's first half negative.
        half = self._width // 2
        self._cos = cos[0].to(dtype)
        self._sin = torch.cat((-sin[0, :, :half], sin[0, :, half:]), dim=-1).to(dtype)
        self._place = torch.zeros(1, device=device, dtype=torch.long)
        self._token = torch.zeros(1, device=device, dtype=torch.long)
        self._no_stop = torch.zeros(1, device=device)
        self._read = 0
        self._scores: Any = None
        self._best: Any = None
        self._graph: Any = None

    @property
    def graphs(self) -> int:
        """1 once the step is captured; 0 without CUDA."""
        return int(self._graph is not None)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def capture(self) -> None:
        """Record the step as a graph; nothing without CUDA."""
        if not self._speech.is_cuda:
            return
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._place.fill_(1)
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._step()

    def begin(self, prompt: Any) -> None:
        """Read the prompt, (1, n, width of the model); its last place gives the first token's scores.

        Raises:
            SynthesisError: it leaves no room for speech.
        """
        n = prompt.shape[1]
        if n >= self._places:
            raise SynthesisError(f"reference and text are {n} tokens and the cache has {self._places}")
        x = prompt[0].to(self.dtype)
        for number, layer in enumerate(self._layers):
            q, k, v = self._qkv(x, layer, self._cos[:n, None], self._sin[:n, None])
            self._cache[number, :, :n, 0] = k.transpose(0, 1)
            self._cache[number, :, :n, 1] = v.transpose(0, 1)
            heard = _F.scaled_dot_product_attention(
                q.transpose(0, 1)[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None],
                is_causal=True, enable_gqa=True,
            )  # fmt: skip
            x = self._rest(x, heard[0].transpose(0, 1).reshape(n, -1), layer)
        self._place.fill_(n)
        self._read = n
        self._score(x[-1:])

    def step(self, token: int) -> None:
        """Read one token; afterwards `scores` and `best` are those of the next.

        Raises:
            SynthesisError: the cache is full.
        """
        if self._read == self._places:
            raise SynthesisError(f"the sentence does not end within {self._places} tokens; make it shorter")
        self._read += 1
        self._token.fill_(token)
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def may_stop(self, allowed: bool) -> None:
        """Say whether the end of speech may be drawn from the scores that come next."""
        self._no_stop.fill_(0.0 if allowed else float("-inf"))

    def best(self) -> tuple[Any, list[int]]:
        """Return the probabilities, float32 (25,), of the best candidates in falling order, and the candidates."""
        values, places = self._best.cpu().numpy()
        return values, places.astype(np.int64).tolist()

    def scores(self) -> Any:
        """Return the logarithms of all probabilities, float32, on the CPU."""
        return self._scores.to("cpu", copy=True)

    def _step(self) -> None:
        x = _F.embedding(self._token, self._speech)
        parts = self.parts
        for number, layer in enumerate(self._layers):
            qkv = parts.project(x, layer.norm, *layer.qkv, self._eps)
            heard = parts.attend(qkv, self._cos, self._sin, self._cache[number], self._place)
            x = parts.add_product(x, heard, layer.out)
            x = parts.add_product(x, parts.gate(x, layer.norm_up, layer.up, self._eps), layer.down)
        self._place += 1
        self._score(x)

    def _qkv(self, x: Any, layer: _Layer, cos: Any, sin: Any) -> tuple[Any, Any, Any]:
        """Return queries, (n, heads, width), and keys and values, (n, kv_heads, width), turned."""
        n = x.shape[0]
        y = plain.project(x, layer.norm, *layer.qkv, self._eps)
        y = y.view(n, self._heads + 2 * self._kv_heads, self._width)
        turning, v = y.split((self._heads + self._kv_heads, self._kv_heads), dim=1)
        turned = torch.addcmul(turning * cos, turning.roll(self._width // 2, dims=-1), sin)
        q, k = turned.split((self._heads, self._kv_heads), dim=1)
        return q, k, v

    def _rest(self, x: Any, heard: Any, layer: _Layer) -> Any:
        """Return a layer's output from what its attention heard."""
        x = plain.add_product(x, heard, layer.out)
        return plain.add_product(x, plain.gate(x, layer.norm_up, layer.up, self._eps), layer.down)

    def _score(self, x: Any) -> None:
        """Keep the scores and the best candidates of the last place, (1, width)."""
        z = _F.linear(_F.rms_norm(x, x.shape[-1:], self._norm, self._eps), *self._head)[0].float()
        scores = z.log_softmax(dim=-1)
        scores[self._stop : self._stop + 1] += self._no_stop
        values, places = scores.softmax(dim=0).topk(BEST)
        best = torch.stack((values, places.float()))
        if self._scores is None:
            self._scores, self._best = scores.clone(), best.clone()
        else:
            self._scores.copy_(scores)
            self._best.copy_(best)


def draw(decoder: Decoder, spoken: list[int], generator: Any) -> int:
    """Return the next token as upstream's `ras_sampling` draws it, from the candidates alone where that suffices.

    From the nucleus; a token that was spoken a moment ago gives way to one drawn from all others.
    """
    values, candidates = decoder.best()
    # Upstream adds up in float32 until it has 0.8.
    taken = 1 + int(np.count_nonzero(np.cumsum(values[:-1], dtype=np.float32) < np.float32(TOP_P)))
    nucleus = torch.from_numpy(values[:taken])
    token = candidates[int(nucleus.multinomial(1, replacement=True, generator=generator))]
    if token in spoken[-WINDOW:]:
        scores = decoder.scores()
        scores[token] = float("-inf")
        token = int(scores.softmax(dim=0).multinomial(1, replacement=True, generator=generator))
    return token


def _layer(layer: Any, dtype: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)

    def kept(tensor: Any) -> Any:
        return tensor.detach().to(dtype).contiguous()

    return _Layer(
        norm=kept(layer.input_layernorm.weight),
        qkv=(kept(torch.cat([p.weight for p in parts])), kept(torch.cat([p.bias for p in parts]))),
        out=kept(attention.o_proj.weight),
        norm_up=kept(layer.post_attention_layernorm.weight),
        up=kept(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
        down=kept(mlp.down_proj.weight),
    )
