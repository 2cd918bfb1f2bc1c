"""CosyVoice 2's flow solved in CUDA graphs: what `solve_euler` computes, without its kernel launches.

Each of the ten Euler steps is a network evaluation with and without guidance: upstream starts some 3,000 kernels a
step, and reads the GPU 14 times while it makes masks. Here a step is one graph a length. Lengths are rounded up to 50
frames (25 tokens) and what pads is masked; the network attends and convolves backwards only, or is masked, so padding
at the end changes nothing that is kept.

On a CPU the same arithmetic runs uncaptured.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from bench.serving.cosyvoice2.package import torch

BUCKET_FRAMES = 50
KEPT_GRAPHS = 64
_BANDS = 80


@dataclass(slots=True)
class _Plan:
    """One length: the tensors that a step reads and writes in place, and its graph once there is one."""

    flow: Any
    """The state of the ODE, float32 (1, 80, frames)."""
    mask: Any
    """1 for a frame that is meant: (2, 1, frames)."""
    mu: Any
    spks: Any
    cond: Any
    """What guides, and zeros: (2, 80, frames), (2, 80) and (2, 80, frames)."""
    t: Any
    dt: Any
    graph: Any = None


class GraphedSolve:
    """Stands for `CausalConditionalCFM.solve_euler` of a loaded flow."""

    def __init__(self, decoder: Any, dtype: Any) -> None:
        """Take over the loaded decoder; its network is turned into `dtype`."""
        self._estimator = decoder.estimator.to(dtype)
        self._dtype = dtype
        self._rate = decoder.inference_cfg_rate
        self._plans: OrderedDict[tuple[int, bool], _Plan] = OrderedDict()
        self._pool: Any = None
        self._estimator.forward = without_reads(self._estimator)
        # Upstream keeps its noise on the CPU and sends it over for each chunk.
        decoder.rand_noise = decoder.rand_noise.to(next(self._estimator.parameters()).device)

    @property
    def dtype(self) -> Any:
        """What the network computes in."""
        return next(self._estimator.parameters()).dtype

    @property
    def graphs(self) -> int:
        """How many are captured; 0 without CUDA."""
        return sum(plan.graph is not None for plan in self._plans.values())

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prepare(self, shortest: int, longest: int) -> None:
        """Capture the graphs for solves of `shortest` to `longest` frames, so that no request waits for one."""
        for frames in range(_bucket(shortest), _bucket(longest) + 1, BUCKET_FRAMES):
            for streaming in (True, False):
                self._plan(frames, streaming)

    def solve(
        self, x: Any, t_span: Any, mu: Any, mask: Any, spks: Any, cond: Any, streaming: bool = False
    ) -> Any:
        """Return the mel spectrogram, float32 (1, 80, n), that noise `x` flows to."""
        n = x.size(2)
        plan = self._plan(_bucket(n), streaming)
        plan.flow.zero_()[:, :, :n] = x
        plan.mask.zero_()[:, :, :n] = mask
        plan.mu.zero_()[:1, :, :n] = mu
        plan.cond.zero_()[:1, :, :n] = cond
        plan.spks.zero_()[:1] = spks
        plan.t.copy_(t_span[:1])
        for step in range(1, len(t_span)):
            # As upstream: what is left to the next time, from the time that was added up.
            plan.dt.copy_(t_span[step : step + 1] - plan.t)
            if plan.graph is None:
                self._step(plan, streaming)
            else:
                plan.graph.replay()
        return plan.flow[:, :, :n].clone()

    def _plan(self, frames: int, streaming: bool) -> _Plan:
        key = (frames, streaming)
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        device = next(self._estimator.parameters()).device

        def zeros(*shape: int, dtype: Any = self._dtype) -> Any:
            return torch.zeros(shape, device=device, dtype=dtype)

        plan = _Plan(
            flow=zeros(1, _BANDS, frames, dtype=torch.float32),
            mask=zeros(2, 1, frames),
            mu=zeros(2, _BANDS, frames),
            spks=zeros(2, _BANDS),
            cond=zeros(2, _BANDS, frames),
            t=zeros(1, dtype=torch.float32),
            dt=zeros(1, dtype=torch.float32),
        )
        plan.mask.fill_(1)
        if device.type == "cuda":
            self._capture(plan, streaming)
        self._plans[key] = plan
        while len(self._plans) > KEPT_GRAPHS:
            self._plans.popitem(last=False)
        return plan

    def _capture(self, plan: _Plan, streaming: bool) -> None:
        """Record one step as a graph; the warm-up is what CUDA asks for before a capture."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self._step(plan, streaming)
        torch.cuda.current_stream().wait_stream(aside)
        # One pool for all: only one graph runs at a time, and none reads what another computed.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        plan.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(plan.graph, pool=self._pool, capture_error_mode="thread_local"):
            self._step(plan, streaming)

    def _step(self, plan: _Plan, streaming: bool) -> None:
        """Advance `plan.flow` by one Euler step with classifier-free guidance, in place."""
        x = plan.flow.to(self._dtype)
        speed = self._estimator(
            torch.cat((x, x)), plan.mask, plan.mu, plan.t.to(self._dtype).expand(2), plan.spks, plan.cond,
            streaming=streaming,
        ).float()  # fmt: skip
        plan.flow.add_(plan.dt * ((1.0 + self._rate) * speed[:1] - self._rate * speed[1:]))
        plan.t.add_(plan.dt)


def without_reads(module: Any) -> Callable[..., Any]:
    """Return `module.forward` with a mask function that never reads the GPU; nothing else of it changes.

    Upstream's looks whether a row of the mask is empty, and warns. A read ends a capture.
    """
    forward = type(module).forward
    names = {**forward.__globals__, "add_optional_chunk_mask": _chunk_mask}
    same = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    same.__kwdefaults__ = forward.__kwdefaults__
    return MethodType(same, module)


def _chunk_mask(
    xs: Any, masks: Any, dynamic: bool, dynamic_left: bool, decoding: int, size: int, left: int, *_: Any
) -> Any:
    """Return which frames a frame may attend to, (batch, n or 1, n): those up to the end of its chunk of `size`."""
    if dynamic or dynamic_left or decoding or left >= 0:
        raise NotImplementedError(
            "CosyVoice 2 speaks with chunks of one fixed size that hear all before them"
        )
    if size <= 0:
        return masks
    place = torch.arange(xs.size(1), device=xs.device)
    heard = place[None, :] < ((place // size + 1) * size)[:, None]
    return masks & heard[None]


def _bucket(frames: int) -> int:
    return -(-frames // BUCKET_FRAMES) * BUCKET_FRAMES
