"""F5-TTS's flow solved in CUDA graphs: what `CFM.sample` computes for one text, without its kernel launches.

As the package runs it, a step of the solver is some 700 kernels started one by one, and on a fast GPU the starting
takes longer than the arithmetic. Here a whole step is one CUDA graph, and so is what comes before the first step. What
does not change between steps is computed once: every AdaLN modulation (they depend on the step alone), the share of the
input projection that belongs to reference and text, and the rotary angles. Queries, keys and values come from one
product. What torch would do in several kernels parts.py does in one, where it can.

A graph has fixed sizes, so lengths are rounded up to whole buckets and the padding is left out of convolutions and
attention: what is padded cannot be heard. The same seed draws the same noise as the package, and the result differs
from the package's by rounding (docs/RESEARCH-F5-TTS.md has the figures). Without CUDA the same step runs uncaptured.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from f5_tts.model.utils import get_epss_timesteps, list_str_to_idx

from bench.errors import BadInput
from bench.serving.f5.graphs import Plans, Recorder, blanked
from bench.serving.f5.package import torch
from bench.serving.f5.parts import Sizes, choose

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
    """One bucket: the tensors that are read and written in place, and what does the work on them."""

    flow: Any
    """The state of the ODE, (1, frames, mel)."""
    tokens: Any
    """Of reference and speech, int64 (1, frames), counted from 1; 0 where the text has ended."""
    reference: Any
    """Mel of the reference, (1, frames, mel); 0 where it has ended."""
    given: Any
    """Reference and text behind the input projection, with and without guidance: (2, frames, dim)."""
    now: Any
    """Of the step: rows of modulation, 6 a block + 2, and one that holds dt: (rows, dim)."""
    meant: Any
    """How many of the frames are no padding: int32 (1,), read on the device."""
    cos: Any
    """Of the rotary angles, float32 (frames, dim_head / 2)."""
    sin: Any
    begin: Callable[[], None] = lambda: None
    """Fills `given`."""
    step: Callable[[], None] = lambda: None
    """Advances `flow`."""


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
            or net.text_embed.average_upsampling
        ):
            raise BadInput(
                "solver: graphed knows F5TTS_v1_Base's kind of network (no long skip, no qk_norm, rotary "
                "position on all heads, text not upsampled); use solver: package for this one."
            )
        self._model = model
        self._cfg_strength = cfg_strength
        self._on_step = on_step
        self._heads = net.transformer_blocks[0].attn.heads
        self._mel = model.num_channels
        project = net.input_embed.proj
        self._from_flow = project.weight[:, : self._mel].detach().contiguous()
        self._from_given = (project.weight[:, self._mel :].detach().contiguous(), project.bias.detach())
        position = [m for m in net.input_embed.conv_pos_embed.conv1d if isinstance(m, torch.nn.Conv1d)]
        self._position = [_convolution(each) for each in position]
        self._blocks = [_block(each) for each in net.transformer_blocks]
        self._to_mel = _linear(net.proj_out)
        self._text_embed = copy.deepcopy(net.text_embed)
        self._schedules: dict[tuple[int, float | None], Any] = {}
        self._plans = Plans(self._plan)
        self._recorder = Recorder(cuda=self._from_flow.is_cuda)
        self._parts = choose(
            Sizes(
                heads=self._heads,
                head_channels=self._blocks[0].qkv[0].shape[0] // (3 * self._heads),
                up=self._blocks[0].up[0].shape[0],
                groups=position[0].groups,
                taps=position[0].kernel_size[0],
                dtype=self._from_flow.dtype,
                device=self._from_flow.device,
            )
        )

    @property
    def kernels(self) -> dict[str, str]:
        """Return what each part of a step runs on, and why where it is plain torch."""
        said: dict[str, str] = self._parts.said
        return said

    @property
    def graphs(self) -> int:
        """How many lengths are captured; 0 without CUDA."""
        return len(self._plans.all()) if self._from_flow.is_cuda else 0

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prepare(self, shortest: int, longest: int) -> None:
        """Capture the graphs for solves of `shortest` to `longest` frames, so that no request waits for one."""
        self._plans.prepare(shortest, longest)

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
        return self.solve(self.mel(cond), text, duration, steps, sway_sampling_coef), None

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def mel(self, wave: Any) -> Any:
        """Return the mel of a reference's wave, (1, samples), as the network takes it: (1, n, mel)."""
        return self._model.mel_spec(wave).permute(0, 2, 1).to(self._from_flow.dtype)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def solve(self, reference: Any, text: list[str], duration: int, steps: int, sway: float | None) -> Any:
        """Return as `sample` does, of a reference's mel, (1, n, mel)."""
        dtype, device = self._from_flow.dtype, self._from_flow.device
        tokens = list_str_to_idx(text, self._model.vocab_char_map)
        length = reference.shape[1]
        n = max(duration, int((tokens != -1).sum()) + 1, length + 1)
        plan = self._plans.of(n)
        schedule = self._schedule(steps, sway)
        plan.flow.zero_()
        plan.flow[0, :n] = torch.randn(n, self._mel, device=device, dtype=dtype)
        plan.tokens.copy_(_F.pad(tokens[:, :n] + 1, (0, plan.tokens.shape[1] - tokens[:, :n].shape[1])))
        plan.reference.zero_()
        plan.reference[:, :length] = reference
        plan.meant.fill_(n)
        plan.begin()
        for now in schedule:
            plan.now.copy_(now)
            self._on_step()
            plan.step()
        speech = plan.flow[:, :n].clone()
        speech[:, :length] = reference
        return speech

    def _schedule(self, steps: int, sway: float | None) -> Any:
        """Return what `_Plan.now` holds in each step, (steps, rows, dim)."""
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
            rows.append((times[1:] - times[:-1])[:, None, None].expand(-1, 1, emb.shape[-1]))
            self._schedules[key] = torch.cat(rows, dim=1)
        return self._schedules[key]

    def _plan(self, frames: int) -> _Plan:
        like = {"dtype": self._from_flow.dtype, "device": self._from_flow.device}
        dim = self._from_flow.shape[0]
        angles, _ = self._model.transformer.rotary_embed.forward_from_seq_len(frames)
        angles = angles[0, :, ::2].float()
        plan = _Plan(
            flow=torch.zeros(1, frames, self._mel, **like),
            tokens=torch.zeros(1, frames, dtype=torch.int64, device=like["device"]),
            reference=torch.zeros(1, frames, self._mel, **like),
            given=torch.zeros(2, frames, dim, **like),
            now=torch.zeros(6 * len(self._blocks) + 3, dim, **like),
            meant=torch.full((1,), frames, dtype=torch.int32, device=like["device"]),
            cos=angles.cos().contiguous(),
            sin=angles.sin().contiguous(),
        )
        plan.begin = self._recorder.record(partial(self._begin, plan))
        plan.step = self._recorder.record(partial(self._step, plan))
        return plan

    def _begin(self, plan: _Plan) -> None:
        """Fill `plan.given` with what reference and text put into the network's input."""
        reference = torch.cat((plan.reference, torch.zeros_like(plan.reference)))
        inputs = torch.cat((reference, self._text(plan.tokens, plan.meant)), dim=-1)
        plan.given.copy_(_F.linear(inputs, *self._from_given))

    def _text(self, tokens: Any, meant: Any) -> Any:
        """Return the package's text embedding, with the text and with none: (2, frames, text_dim).

        Its blocks norm over the frames and look to both sides, so what is padded is made 0 before they do.
        """
        embed = self._text_embed
        frames = tokens.shape[1]
        beyond = (torch.arange(frames, device=tokens.device) >= meant)[None, :, None]
        hidden = (tokens == 0)[..., None] if embed.mask_padding else beyond
        x = embed.text_embed(torch.cat((tokens, torch.zeros_like(tokens))))
        if not embed.extra_modeling:
            return x
        x = (x + embed.freqs_cis[:frames]).masked_fill(hidden, 0.0)
        # cuDNN makes an execution plan for every shape it meets, over 200 ms on an H100. Torch's own kernel for these
        # depthwise convolutions needs none.
        norms = [block.grn for block in embed.text_blocks]
        with torch.backends.cudnn.flags(enabled=False), blanked(norms, beyond):
            for block in embed.text_blocks:
                x = block(x).masked_fill(hidden, 0.0)
        return x

    def _step(self, plan: _Plan) -> None:
        """Advance `plan.flow` by one Euler step with classifier-free guidance, in place."""
        parts, meant = self._parts, plan.meant
        x = placed = plan.given + _F.linear(plan.flow, self._from_flow)
        for number, (weight, bias) in enumerate(self._position, start=1):
            last = number == len(self._position)
            placed = parts.convolve(placed, weight, bias, meant, x if last else None)
        x, y, gate = placed, None, None
        for number, block in enumerate(self._blocks):
            shift, scale, gate_heard, shift_up, scale_up, gate_up = plan.now[6 * number : 6 * number + 6]
            qkv = _F.linear(parts.add_and_norm(x, y, gate, scale, shift), *block.qkv)
            qkv = qkv.unflatten(-1, (3, self._heads, -1))
            parts.turn_keys(qkv, plan.cos, plan.sin)
            y = _F.linear(parts.attend(qkv, plan.cos, plan.sin, meant), *block.out)
            up = parts.raise_with_gelu(parts.add_and_norm(x, y, gate_heard, scale_up, shift_up), *block.up)
            y, gate = _F.linear(up, *block.down), gate_up
        scale, shift, dt = plan.now[-3:]
        guided, free = _F.linear(parts.add_and_norm(x, y, gate, scale, shift), *self._to_mel).chunk(2)
        plan.flow.addcmul_(torch.add(guided, guided - free, alpha=self._cfg_strength), dt[0])


def _convolution(layer: Any) -> tuple[Any, Any]:
    """Return the layer's weight as (groups, taps, channels in, channels out) of a group, and its bias."""
    weight = layer.weight.detach().unflatten(0, (layer.groups, -1)).permute(0, 3, 2, 1)
    return weight.contiguous(), layer.bias.detach()


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
