"""Chatterbox's text model (T3), a token at a time on a cache of fixed length: on a GPU each token is one CUDA graph.

Upstream runs transformers' Llama for each token, with all attentions and hidden states kept for nobody, then guidance,
a penalty, min-p and a draw as some thirty kernels more. Here the layers' weights lie together and a token, its draw
included, is one graph, which leaves the next token where it reads it. In float32 the logits are upstream's but for
rounding, and the draw takes from a generator what upstream's takes from torch's, so a seed gives the same tokens.

On a CPU the same arithmetic runs uncaptured, in plain torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.serving.adapter import SynthesisError
from bench.serving.chatterbox import plain
from bench.serving.chatterbox.package import torch
from bench.serving.chatterbox.parts import Sizes, choose
from bench.serving.chatterbox.settings import ChatterboxSettings

CACHE = 2048
"""Places of the cache: the voice's 34, the text and 1,000 tokens of speech. A text of more than 1,000 tokens would not
fit, and no 40 s of speech have room for it."""
ROWS = 2
"""Guidance: each step is computed with the text and without it."""
_F = torch.nn.functional


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: Any
    qkv: Any
    out: Any
    norm_up: Any
    up: Any
    down: Any


class Decoder:
    """Stands for `T3.inference`'s loop."""

    def __init__(self, t3: Any, settings: ChatterboxSettings, cache: int = CACHE) -> None:
        """Take over the weights of a loaded `T3`."""
        llama, config = t3.tfmr, t3.cfg
        self.dtype = dtype = getattr(torch, settings.t3_dtype)
        self._t3, self._settings, self._places = t3, settings, cache
        self._heads, self._eps = config.num_attention_heads, config.rms_norm_eps
        self._width = config.head_dim
        self._layers = [_layer(each, dtype) for each in llama.layers]
        self._norm = llama.norm.weight.detach().to(dtype)
        self._head = t3.speech_head.weight.detach().to(dtype)
        self._speech = t3.speech_emb.weight.detach().to(dtype)
        self._position = t3.speech_pos_emb.emb.weight.detach().to(dtype)
        device = self._head.device
        self.parts = choose(
            Sizes(
                channels=config.hidden_size,
                up=config.intermediate_size,
                heads=self._heads,
                head_channels=self._width,
                eps=self._eps,
                dtype=dtype,
                device=device,
            )
        )
        like = {"device": device, "dtype": dtype}
        # Keys and values side by side, so that one copy keeps both.
        self._cache = torch.zeros(len(self._layers), ROWS, self._heads, cache, 2, self._width, **like)
        with torch.no_grad():
            cos, sin = llama.rotary_emb(
                torch.zeros(1, device=device, dtype=torch.float32), torch.arange(cache, device=device)[None]
            )
        half = self._width // 2
        self._cos = cos[0].to(dtype)
        self._sin = torch.cat((-sin[0, :, :half], sin[0, :, half:]), dim=-1).to(dtype)
        self._place = torch.zeros(1, device=device, dtype=torch.long)
        self._said = torch.zeros(1, device=device, dtype=torch.long)
        """How many tokens of speech were drawn."""
        self._token = torch.zeros(1, device=device, dtype=torch.long)
        self._seen = torch.zeros(self._head.shape[0], device=device, dtype=torch.bool)
        self._logits = torch.zeros(self._head.shape[0], device=device)
        self.generator = torch.Generator(device)
        """Of the draws alone: in a stream the flow and the vocoder draw between them."""
        self._read = 0
        self._graph: Any = None

    @property
    def graphs(self) -> int:
        """1 once the step is captured; 0 without CUDA."""
        return int(self._graph is not None)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def capture(self) -> None:
        """Record the step as a graph; nothing without CUDA."""
        if not self._head.is_cuda:
            return
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._place.fill_(1)
                self._said.fill_(1)
                self._step()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.generator)
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._step()

    def tokens(self, cond: Any, text_tokens: Any, most: int) -> Iterator[int]:
        """Yield the tokens of one utterance, `T3.inference`'s own, the stop token included where it was drawn.

        `cond` is the voice, a `T3Cond`; `text_tokens` (2, n) with start and stop; `most` how many at most.

        Raises:
            SynthesisError: the text leaves no room for speech, or the cache is full.
        """
        start, stop = self._t3.hp.start_speech_token, self._t3.hp.stop_speech_token
        self.begin(self.prompt(cond, text_tokens), start)
        for number in range(most):
            if number:
                self.step()
            token = int(self._token)
            yield token
            if token == stop:
                return

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prompt(self, cond: Any, text_tokens: Any) -> Any:
        """Return what upstream gives its model first, (2, n, width): the voice, the text, and the start token twice."""
        t3 = self._t3
        start = torch.full_like(text_tokens[:, :1], t3.hp.start_speech_token)
        embedded, _ = t3.prepare_input_embeds(
            t3_cond=cond, text_tokens=text_tokens, speech_tokens=start, cfg_weight=self._settings.cfg_weight
        )
        begin = t3.speech_emb(start) + t3.speech_pos_emb.get_fixed_embedding(0)
        return torch.cat((embedded, begin), dim=1)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def begin(self, prompt: Any, start: int) -> None:
        """Read the prompt and draw the first token."""
        n = prompt.shape[1]
        if n >= self._places:
            raise SynthesisError(f"voice and text are {n} tokens and the cache has {self._places}")
        x = prompt.to(self.dtype).reshape(ROWS * n, -1)
        cos, sin = self._cos[:n, None], self._sin[:n, None]
        for number, layer in enumerate(self._layers):
            parts = plain.project(x, layer.norm, layer.qkv, self._eps).view(
                ROWS, n, 3, self._heads, self._width
            )
            q, k = (plain.turn(parts[:, :, which], cos, sin).transpose(1, 2) for which in (0, 1))
            v = parts[:, :, 2].transpose(1, 2)
            self._cache[number, :, :, :n, 0] = k
            self._cache[number, :, :, :n, 1] = v
            heard = _F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = plain.add_product(x, heard.transpose(1, 2).reshape(ROWS * n, -1), layer.out)
            x = plain.add_product(x, plain.gate(x, layer.norm_up, layer.up, self._eps), layer.down)
        self._place.fill_(n)
        self._said.fill_(0)
        self._seen.zero_()
        self._seen[start] = True
        self._read = n
        self._draw(x.view(ROWS, n, -1)[:, -1])

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """Read the token that was drawn and draw the next.

        Raises:
            SynthesisError: the cache is full.
        """
        if self._read == self._places:
            raise SynthesisError(f"the utterance does not end within {self._places} tokens; make it shorter")
        self._read += 1
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def hand_over(self) -> None:
        """Let torch's own generator go on from where the draws have come to, as it does upstream."""
        state = self.generator.get_state()
        if self._head.is_cuda:
            torch.cuda.set_rng_state(state, self._head.device)
        else:
            torch.set_rng_state(state)

    def _step(self) -> None:
        x = _F.embedding(self._token, self._speech) + _F.embedding(self._said, self._position)
        x = x.expand(ROWS, -1).contiguous()
        parts = self.parts
        for number, layer in enumerate(self._layers):
            qkv = parts.project(x, layer.norm, layer.qkv, self._eps)
            heard = parts.attend(qkv, self._cos, self._sin, self._cache[number], self._place)
            x = parts.add_product(x, heard, layer.out)
            x = parts.add_product(x, parts.gate(x, layer.norm_up, layer.up, self._eps), layer.down)
        self._place += 1
        self._draw(x)

    def _draw(self, x: Any) -> None:
        """Draw a token from the last place's channels, (2, width), as `T3.inference` does."""
        settings = self._settings
        heard, unheard = plain.project(x, self._norm, self._head, self._eps).float()
        logits = heard + settings.cfg_weight * (heard - unheard)
        self._logits.copy_(logits)
        penalised = torch.where(
            logits < 0, logits * settings.repetition_penalty, logits / settings.repetition_penalty
        )
        logits = torch.where(self._seen, penalised, logits)
        if settings.temperature != 1.0:
            logits = logits / settings.temperature
        probabilities = logits.softmax(dim=-1)
        unlikely = probabilities < settings.min_p * probabilities.amax()
        probabilities = logits.masked_fill(unlikely, float("-inf")).softmax(dim=-1)
        # What torch.multinomial does for one draw, without its look at the values, which reads the GPU.
        chance = torch.empty_like(probabilities).exponential_(1, generator=self.generator)
        self._token.copy_((probabilities / chance).argmax(dim=-1, keepdim=True))
        self._seen.index_fill_(0, self._token, True)
        self._said += 1


def _layer(layer: Any, dtype: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp

    def kept(*tensors: Any) -> Any:
        return torch.cat([tensor.detach() for tensor in tensors]).to(dtype).contiguous()

    return _Layer(
        norm=kept(layer.input_layernorm.weight),
        qkv=kept(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight),
        out=kept(attention.o_proj.weight),
        norm_up=kept(layer.post_attention_layernorm.weight),
        up=kept(mlp.gate_proj.weight, mlp.up_proj.weight),
        down=kept(mlp.down_proj.weight),
    )
