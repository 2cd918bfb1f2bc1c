"""F5-TTS's flow solved in CUDA graphs: what `CFM.sample` computes for one text, without its kernel launches.

As the package runs it, a step of the solver is some 700 kernels started one by one, and on a fast GPU the starting
takes longer than the arithmetic. Here a whole step is one CUDA graph, and what does not change between steps is
computed once: every AdaLN modulation (they depend on the step alone), the share of the input projection that belongs
to reference and text, and the rotary angles. Queries, keys and values come from one product.

A graph has fixed sizes, so lengths are rounded up to whole buckets and the padding is masked out of convolutions and
attention: what is padded cannot be heard. The same seed draws the same noise as the package, and the result differs
from the package's by rounding (docs/RESEARCH-F5-TTS.md has the figures). Without CUDA the same step runs uncaptured.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from f5_tts.model.utils import get_epss_timesteps, list_str_to_idx

from bench.errors import BadInput
from bench.serving.f5.package import torch

BUCKET_FRAMES = 128
"""1.37 s of mel frames: at most this much is computed in vain, a tenth of an ordinary solve."""
KEPT_GRAPHS = 24
_F = torch.nn.functional


@dataclass(frozen=True, slots=True)
class _Block:
    """The tensors of one DiT block. References to them outlive `model.float()`, which graphs rely on."""

    qkv: tuple[Any, Any]
    out: tuple[Any, Any]
    up: tuple[Any, Any]
    down: tuple[Any, Any]


@dataclass(slots=True)
class _Plan:
    """One bucket: the tensors a step reads and writes in place, and its graph once there is one."""

    frames: int
    flow: Any
    """The state of the ODE, (1, frames, mel)."""
    given: Any
    """Reference and text behind the input projection, with and without guidance: (2, frames, dim)."""
    modulation: Any
    """Of the step: rows of (6 a block + 2, dim)."""
    dt: Any
    valid: Any
    """1 for a frame that is meant, 0 for padding: (frames, 1)."""
    bias: Any
    """Added to the attention's scores: 0, or minus infinity for padded keys."""
    rotation: Any
    """cos + i sin of the rotary angles, (frames, dim_head / 2)."""
    graph: Any = field(default=None)


class GraphedFlow:
    """Stands where `infer_batch_process` expects the package's `CFM`, whose `sample` is all that it calls."""

    def __init__(self, model: Any, cfg_strength: float, on_step: Callable[[], object] = lambda: None) -> None:
        """Take over the loaded model's weights; `on_step` is called for every evaluation of the network.

        Raises:
            BadInput: the architecture has a part that this solver does not know.
        """
        net = model.transformer
        processor = net.transformer_blocks[0].attn.processor
        if (
            net.long_skip_connection is not None
            or net.transformer_blocks[0].attn.q_norm is not None
            or processor.pe_attn_head is not None
        ):
            raise BadInput(
                "solver: graphed knows F5TTS_v1_Base's kind of network (no long skip, no qk_norm, rotary "
                "position on all heads); use solver: package for this one."
            )
        self._model = model
        self._cfg_strength = cfg_strength
        self._on_step = on_step
        self._heads = net.transformer_blocks[0].attn.heads
        self._mel = model.num_channels
        project = net.input_embed.proj
        self._from_flow = project.weight[:, : self._mel].detach().contiguous()
        self._from_given = (project.weight[:, self._mel :].detach().contiguous(), project.bias.detach())
        self._position = [
            (conv.weight.detach(), conv.bias.detach(), conv.groups, conv.padding[0])
            for conv in net.input_embed.conv_pos_embed.conv1d
            if isinstance(conv, torch.nn.Conv1d)
        ]
        self._blocks = [_block(each) for each in net.transformer_blocks]
        self._to_mel = _linear(net.proj_out)
        self._plans: OrderedDict[int, _Plan] = OrderedDict()
        self._schedules: dict[tuple[int, float | None], tuple[Any, Any]] = {}
        self._pool: Any = None

    @property
    def graphs(self) -> int:
        """How many lengths are captured; 0 without CUDA."""
        return sum(plan.graph is not None for plan in self._plans.values())

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prepare(self, shortest: int, longest: int) -> None:
        """Capture the graphs for solves of `shortest` to `longest` frames, so that no request waits for one."""
        for frames in range(_bucket(shortest), _bucket(longest) + 1, BUCKET_FRAMES):
            self._plan(frames)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def sample(
        self,
        cond: Any,
        text: list[str],
        duration: int,
        *,
        steps: int,
        cfg_strength: float,
        sway_sampling_coef: float | None,
    ) -> tuple[Any, None]:
        """Return the mel of reference and speech, (1, n, mel), as `CFM.sample` does for a batch of one.

        Args:
            cond: the reference's wave, (1, samples).
            text: its words and the words to say, one list of tokens.
            duration: frames of both.
            steps: evaluations of the network.
            cfg_strength: must be the one the solver was made with.
            sway_sampling_coef: the package's warping of time.
        """
        if cfg_strength != self._cfg_strength:
            raise ValueError("the guidance is part of the captured step")
        model, dtype = self._model, self._from_flow.dtype
        reference = model.mel_spec(cond).permute(0, 2, 1).to(dtype)
        tokens = list_str_to_idx(text, model.vocab_char_map).to(reference.device)
        length = reference.shape[1]
        n = max(duration, int((tokens != -1).sum()) + 1, length + 1)
        plan = self._plan(_bucket(n))
        times, modulations = self._schedule(steps, sway_sampling_coef)
        plan.flow.zero_()
        plan.flow[0, :n] = torch.randn(n, self._mel, device=reference.device, dtype=dtype)
        plan.given.zero_()
        plan.given[:, :n] = self._given(_F.pad(reference, (0, 0, 0, n - length)), tokens, n)
        plan.valid.zero_()
        plan.valid[:n] = 1
        plan.bias.fill_(float("-inf"))
        plan.bias[..., :n] = 0
        for step in range(steps):
            plan.modulation.copy_(modulations[step])
            plan.dt.copy_(times[step + 1] - times[step])
            self._on_step()
            if plan.graph is None:
                self._step(plan)
            else:
                plan.graph.replay()
        speech = plan.flow[:, :n].clone()
        speech[:, :length] = reference
        return speech, None

    def _schedule(self, steps: int, sway: float | None) -> tuple[Any, Any]:
        """Return the times, (steps + 1,), and every step's modulations, (steps, 6 a block + 2, dim)."""
        key = (steps, sway)
        if key not in self._schedules:
            dtype, device = self._from_flow.dtype, self._from_flow.device
            times = get_epss_timesteps(steps, device=device, dtype=dtype)
            if sway is not None:
                times = times + sway * (torch.cos(torch.pi / 2 * times) - 1 + times)
            net = self._model.transformer
            emb = _F.silu(net.time_embed(times[:-1]))
            rows = [block.attn_norm.linear(emb).view(steps, 6, -1) for block in net.transformer_blocks]
            rows.append(net.norm_out.linear(emb).view(steps, 2, -1))
            self._schedules[key] = times, torch.cat(rows, dim=1)
        return self._schedules[key]

    def _given(self, reference: Any, tokens: Any, n: int) -> Any:
        """Return what reference and text put into the network's input, with them and without: (2, n, dim)."""
        embed = self._model.transformer.text_embed
        # cuDNN makes an execution plan for every length it meets, over 200 ms on an H100, and speech is always of a
        # new length. Torch's own kernel for these depthwise convolutions needs none.
        with torch.backends.cudnn.flags(enabled=False):
            text, no_text = (embed(tokens, seq_len=n, drop_text=drop) for drop in (False, True))
        inputs = torch.cat(
            (
                torch.cat((reference, text), dim=-1),
                torch.cat((torch.zeros_like(reference), no_text), dim=-1),
            )
        )
        return _F.linear(inputs, *self._from_given)

    def _plan(self, frames: int) -> _Plan:
        if frames in self._plans:
            self._plans.move_to_end(frames)
            return self._plans[frames]
        like = {"dtype": self._from_flow.dtype, "device": self._from_flow.device}
        dim = self._from_flow.shape[0]
        angles, _ = self._model.transformer.rotary_embed.forward_from_seq_len(frames)
        angles = angles[0, :, ::2].float()
        plan = _Plan(
            frames=frames,
            flow=torch.zeros(1, frames, self._mel, **like),
            given=torch.zeros(2, frames, dim, **like),
            modulation=torch.zeros(6 * len(self._blocks) + 2, dim, **like),
            dt=torch.zeros((), **like),
            valid=torch.ones(frames, 1, **like),
            bias=torch.zeros(1, 1, 1, frames, **like),
            rotation=torch.polar(torch.ones_like(angles), angles),
        )
        if self._from_flow.is_cuda:
            self._capture(plan)
        self._plans[frames] = plan
        while len(self._plans) > KEPT_GRAPHS:
            self._plans.popitem(last=False)
        return plan

    def _capture(self, plan: _Plan) -> None:
        """Record one step as a graph; the warm-up is what CUDA asks for before a capture."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self._step(plan)
        torch.cuda.current_stream().wait_stream(aside)
        # One pool for all: only one graph runs at a time, and none reads what another computed.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        plan.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(plan.graph, pool=self._pool, capture_error_mode="thread_local"):
            self._step(plan)

    def _step(self, plan: _Plan) -> None:
        """Advance `plan.flow` by one Euler step with classifier-free guidance, in place."""
        x = plan.given + _F.linear(plan.flow, self._from_flow)
        x = x + self._placed(x, plan.valid)
        for number, block in enumerate(self._blocks):
            shift, scale, gate, shift_up, scale_up, gate_up = plan.modulation[6 * number : 6 * number + 6]
            x = torch.addcmul(x, gate, self._attention(block, _modulated(x, scale, shift), plan))
            up = _F.gelu(_F.linear(_modulated(x, scale_up, shift_up), *block.up), approximate="tanh")
            x = torch.addcmul(x, gate_up, _F.linear(up, *block.down))
        scale, shift = plan.modulation[-2:]
        guided, free = _F.linear(_modulated(x, scale, shift), *self._to_mel).chunk(2)
        plan.flow.addcmul_(torch.add(guided, guided - free, alpha=self._cfg_strength), plan.dt)

    def _placed(self, x: Any, valid: Any) -> Any:
        """Return the convolutional position embedding of (2, n, dim), blind to padding."""
        mask = valid.T
        x = x.transpose(1, 2) * mask
        for weight, bias, groups, padding in self._position:
            x = _F.mish(_F.conv1d(x, weight, bias, padding=padding, groups=groups) * mask)
        return x.transpose(1, 2)

    def _attention(self, block: _Block, x: Any, plan: _Plan) -> Any:
        """Return multi-head attention over (2, n, dim), rotary positions on queries and keys."""
        batch, n, _ = x.shape
        qkv = _F.linear(x, *block.qkv).view(batch, n, 3, self._heads, -1)
        turned = torch.view_as_complex(qkv[:, :, :2].float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(turned * plan.rotation[:, None, None]).flatten(-2).to(x.dtype)
        query, key = turned.permute(2, 0, 3, 1, 4)
        heard = _F.scaled_dot_product_attention(
            query, key, qkv[:, :, 2].transpose(1, 2), attn_mask=plan.bias.expand(batch, self._heads, n, n)
        )
        return _F.linear(heard.transpose(1, 2).flatten(2), *block.out)


def _bucket(frames: int) -> int:
    return -(-frames // BUCKET_FRAMES) * BUCKET_FRAMES


def _modulated(x: Any, scale: Any, shift: Any) -> Any:
    # The modulation is the layer norm's affine part: one kernel instead of three.
    return _F.layer_norm(x, x.shape[-1:], 1 + scale, shift, eps=1e-6)


def _linear(layer: Any) -> tuple[Any, Any]:
    return layer.weight.detach(), layer.bias.detach()


def _block(block: Any) -> _Block:
    attn, ff = block.attn, block.ff.ff
    parts = (attn.to_q, attn.to_k, attn.to_v)
    return _Block(
        qkv=(torch.cat([p.weight.detach() for p in parts]), torch.cat([p.bias.detach() for p in parts])),
        out=_linear(attn.to_out[0]),
        up=_linear(ff[0][0]),
        down=_linear(ff[2]),
    )
